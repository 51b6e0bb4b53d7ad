"""Who sends: smtp-source, postal, and a client of ours that costs little."""

from __future__ import annotations

import multiprocessing
import os
import selectors
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.synchronize import Event
from pathlib import Path

from tests.benchmarks.processes import HOST, FailedError

MAIL = b"MAIL FROM:<a@example.com>\r\n"
RCPT = b"RCPT TO:<b@example.com>\r\n"
DATA = b"DATA\r\n"
END = b".\r\n"
#: What may be repeated for ever.
FLOOD = b"RSET\r\n"
PIECE_OCTETS = 65_536
PATIENCE_SECONDS = 300.0
POSTAL_MINUTES = 1


class EndedError(Exception):
    """What sends has ended before it was to."""


class NotOfferedError(Exception):
    """The server does not have the extension that a workload needs."""


def content(octets: int) -> bytes:
    """Return a message of about that size, in whole lines, without the dot that ends it."""
    head = b"Subject: benchmark\r\n\r\n"
    line = b"x" * 76 + b"\r\n"
    lines, rest = divmod(octets - len(head), len(line))
    return head + line * lines + (b"x" * (rest - 2) + b"\r\n" if rest > 2 else b"")


class Session:
    """One connection, blocking; a reply that is not the expected one is a failure."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        self.expect(220)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def expect(self, *codes: int) -> list[bytes]:
        """Read one reply for each code, and return the lines of the last."""
        lines: list[bytes] = []
        for code in codes:
            lines = []
            while True:
                line, found, rest = self._unread.partition(b"\r\n")
                if not found:
                    self._unread += self._receive()
                    continue
                self._unread = rest
                lines.append(line)
                if line[3:4] != b"-":
                    break
            if line[:3] != b"%d" % code:
                raise FailedError(f"{code} was expected, not {line.decode('latin-1')!r}")
        return lines

    def _receive(self) -> bytes:
        received = self.socket.recv(PIECE_OCTETS)
        if not received:
            raise FailedError("the server closed the connection")
        return received

    def knows(self, command: bytes) -> bool:
        """Say whether a command is answered 250."""
        self.socket.sendall(command)
        try:
            self.expect(250)
        except FailedError:
            return False
        return True

    def ehlo(self, *needed: str) -> None:
        """Introduce ourselves; raise `NotOfferedError` if an extension is missing."""
        self.socket.sendall(b"EHLO client.example.com\r\n")
        keywords = {line[4:].split(b" ")[0].upper() for line in self.expect(250)}
        for keyword in needed:
            if keyword.encode() not in keywords:
                raise NotOfferedError(f"{keyword} is not offered")

    def starttls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS, and introduce ourselves again."""
        self.ehlo("STARTTLS")
        self.socket.sendall(b"STARTTLS\r\n")
        self.expect(220)
        self.socket = context.wrap_socket(self.socket)
        self.ehlo()

    def send(self, message: Iterable[bytes]) -> None:
        """Send one message, a command at a time."""
        for command, code in ((MAIL, 250), (RCPT, 250), (DATA, 354)):
            self.socket.sendall(command)
            self.expect(code)
        for piece in message:
            self.socket.sendall(piece)
        self.socket.sendall(END)
        self.expect(250)

    def quit(self) -> None:
        """Say goodbye, and close."""
        self.socket.sendall(b"QUIT\r\n")
        self.expect(221)
        self.socket.close()


def tls_context() -> ssl.SSLContext:
    """Return one that trusts everybody: the server's certificate was made a moment ago."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def pieces(octets: int) -> Iterator[bytes]:
    """Yield a long message in pieces."""
    piece = content(PIECE_OCTETS)
    whole, rest = divmod(octets, len(piece))
    for _ in range(whole):
        yield piece
    if rest:
        yield content(rest)


def smtp_source(port: int, options: Sequence[str]) -> None:
    """Send with Postfix's load generator, which ends with an error when one reply is wrong."""
    found = find("smtp-source")
    if found is None:
        raise FailedError("smtp-source is not installed")
    addresses = ["-f", "a@example.com", "-t", "b@example.com", "-M", "client.example.com"]
    try:
        done = subprocess.run(
            [found, *options, *addresses, f"inet:{HOST}:{port}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FailedError(f"smtp-source took more than {PATIENCE_SECONDS:.0f} s") from None
    said = " ".join((done.stderr + done.stdout).split())
    if done.returncode or said:
        raise FailedError(f"smtp-source ended with {done.returncode}: {said or 'nothing was said'}")


def find(program: str) -> str | None:
    """Return where a program is, also if it is one for administrators."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def pipelined_data(port: int, sessions: int, rounds: int, octets: int) -> None:
    """In every session MAIL, RCPT and DATA leave in one write (RFC 2920)."""
    commands = MAIL + RCPT + DATA
    message = content(octets) + END
    with ExitStack() as stack:
        opened = _open(stack, port, sessions, "PIPELINING")
        for _ in range(rounds):
            for session in opened:
                session.socket.sendall(commands)
            for session in opened:
                session.expect(250, 250, 354)
                session.socket.sendall(message)
            for session in opened:
                session.expect(250)


def pipelined_bdat(port: int, sessions: int, rounds: int, octets: int, at_once: int) -> None:
    """In every session several messages leave in one write (RFC 3030)."""
    message = content(octets)
    written = (MAIL + RCPT + b"BDAT %d LAST\r\n" % len(message) + message) * at_once
    codes = (250, 250, 250) * at_once
    with ExitStack() as stack:
        opened = _open(stack, port, sessions, "PIPELINING", "CHUNKING")
        for _ in range(rounds):
            for session in opened:
                session.socket.sendall(written)
            for session in opened:
                session.expect(*codes)


def _open(stack: ExitStack, port: int, sessions: int, *needed: str) -> list[Session]:
    opened = [stack.enter_context(Session(port)) for _ in range(sessions)]
    for session in opened:
        session.ehlo(*needed)
    return opened


def over_tls(port: int, threads: int, connections: int, messages: int, octets: int) -> None:
    """In each thread, one connection after the other sends its messages after STARTTLS."""
    context = tls_context()
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(connections):
                with Session(port) as session:
                    session.starttls(context)
                    for _ in range(messages):
                        session.send(pieces(octets))
                    session.quit()
        except Exception as error:
            errors.append(error)

    # STARTTLS that is missing is better found out before threads are there.
    with Session(port) as session:
        session.ehlo("STARTTLS")
    at_work = [threading.Thread(target=work) for _ in range(threads)]
    for thread in at_work:
        thread.start()
    for thread in at_work:
        thread.join()
    if errors:
        raise errors[0] if isinstance(errors[0], FailedError) else FailedError(repr(errors[0]))


def send_one(port: int, octets: int) -> None:
    """Send one long message."""
    with Session(port) as session:
        session.ehlo()
        session.send(pieces(octets))
        session.quit()


def _send_politely(port: int, octets: int, begun: Event, done: Event) -> None:
    # Both clients share a core, and it is not our own delay that is to be measured.
    with suppress(OSError):
        os.nice(10)

    def watched() -> Iterator[bytes]:
        begun.set()
        yield from pieces(octets)

    try:
        with Session(port) as session:
            session.ehlo()
            session.send(watched())
            done.set()
            session.quit()
    finally:
        begun.set()
        done.set()


def reply_delays(port: int, octets: int, pause_seconds: float) -> list[float]:
    """Return how long each NOOP took, in seconds, while a long message came in beside it."""
    delays = []
    context = multiprocessing.get_context("fork")
    begun, done = context.Event(), context.Event()
    with Session(port) as session:
        session.ehlo()
        # twisted.mail does not know NOOP.
        probe = b"NOOP\r\n" if session.knows(b"NOOP\r\n") else b"RSET\r\n"
        sender = context.Process(
            target=_send_politely, args=(port, octets, begun, done), daemon=True
        )
        sender.start()
        try:
            begun.wait(PATIENCE_SECONDS)
            while not done.is_set():
                start = time.perf_counter()
                session.socket.sendall(probe)
                session.expect(250)
                delays.append(time.perf_counter() - start)
                time.sleep(pause_seconds)
            sender.join(PATIENCE_SECONDS)
        finally:
            sender.kill()
            sender.join()
    if sender.exitcode:
        raise FailedError("the long message was not taken")
    return delays


def _flood(port: int, connections: int, begun: Event, done: Event) -> None:
    """Pipeline commands on many connections, as fast as they are answered, until it is over."""
    with suppress(OSError):
        os.nice(10)  # it shares a core with the client whose delay is measured
    with ExitStack() as stack:
        opened = [stack.enter_context(Session(port)) for _ in range(connections)]
        for session in opened:
            session.socket.setblocking(False)
        begun.set()
        batch = FLOOD * 200
        with selectors.DefaultSelector() as selector:
            for session in opened:
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                selector.register(session.socket, both, data=[0])
            while not done.is_set():
                for key, events in selector.select(0.1):
                    one, sent = key.fileobj, key.data
                    assert isinstance(one, socket.socket)
                    with suppress(BlockingIOError):
                        if events & selectors.EVENT_READ and not one.recv(PIECE_OCTETS):
                            raise FailedError("the server closed a connection that pipelines")
                        if events & selectors.EVENT_WRITE:
                            sent[0] = (sent[0] + one.send(batch[sent[0] :])) % len(FLOOD)


def mail_delays(port: int, flooding: int, messages: int, pause_seconds: float) -> list[float]:
    """Return how long each mail of one client took, in seconds, while others pipeline."""
    context = multiprocessing.get_context("fork")
    begun, done = context.Event(), context.Event()
    flood = context.Process(target=_flood, args=(port, flooding, begun, done), daemon=True)
    delays = []
    with Session(port) as session:
        session.ehlo()
        flood.start()
        try:
            if not begun.wait(PATIENCE_SECONDS) or not flood.is_alive():
                raise FailedError("the connections that pipeline were not taken")
            time.sleep(0.5)
            for _ in range(messages):
                start = time.perf_counter()
                session.send([content(1000)])
                delays.append(time.perf_counter() - start)
                time.sleep(pause_seconds)
            if not flood.is_alive():
                raise FailedError("the connections that pipeline were gone before the end")
        finally:
            done.set()
            flood.join(5)
            flood.kill()
            flood.join()
    return delays


def recipients_at_once(port: int, recipients: int) -> float:
    """Return how long the replies to recipients took that were sent in one write."""
    with Session(port) as session:
        session.ehlo("PIPELINING")
        session.socket.sendall(MAIL)
        session.expect(250)
        start = time.perf_counter()
        session.socket.sendall(RCPT * recipients)
        session.expect(*[250] * recipients)
        elapsed = time.perf_counter() - start
        session.quit()
    return elapsed


class Postal:
    """
    postal with many threads: at most about 400 messages a second, whatever is asked of it.

    It prints a line a minute; the first minute is partial.
    """

    def __init__(self, port: int, folder: Path) -> None:
        found = find("postal")
        if found is None:
            raise FailedError("postal is not installed")
        self._folder = folder  # it leaves a postal.log where it is started
        users = folder / "users.txt"
        users.write_text("".join(f"user{number}@example.com\n" for number in range(100)))
        self._command = ["stdbuf", "-oL", found, "-t", "50", "-c", "3", f"[{HOST}]{port}", users]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Postal:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._folder,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def minute(self) -> tuple[int, int]:
        """Wait for the end of a minute, and return how many messages and errors it had."""
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            fields = line.strip().split(",")
            if len(fields) >= 4 and all(field.isdigit() for field in fields[1:4]):
                return int(fields[1]), int(fields[3])
        raise EndedError(f"postal ended with {self._process.wait()}")
