"""Several processes serve one set of ports, and one more looks after them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ..certificates import make_identity, unchecked, write_pem
from ..running import ANY_PORT, TWISTD, Client, Server, run_twistd, running, wait_until
from .load import workers_of
from .test_stopping import is_closed

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")

TWO = ("--workers", "2")
TOLD = ("--handler", "python:tests.process.handlers.Told")
CONTENT = b"Subject: x\r\n\r\nhello\r\n"


@pytest.fixture(autouse=True)
def _finds_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def processes_in(folder: Path) -> set[int]:
    """Return the workers whose current folder this is."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")) == folder:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                if b"smtpcb.run.workers" in command:
                    found.add(int(entry.name))
        except OSError:
            pass  # it has ended
    return found


@contextmanager
def clients_of_all(
    server: Server, count: int = 2
) -> Iterator[tuple[dict[int, Client], Callable[[], None]]]:
    """
    Connect until each worker has a client.

    :return: one for each worker, by the worker's process, and what closes all that there are.
    """
    with ExitStack() as stack:
        found: dict[int, Client] = {}

        def connect() -> bool:
            client = stack.enter_context(Client(server.port))
            reply = client.send(CONTENT)
            found.setdefault(process_of(reply), client)
            return len(found) == count

        wait_until(connect)
        # The server waits for a while until those that it has told to go have gone.
        yield found, stack.close


def process_of(reply: bytes) -> int:
    """Return the process that took a message: `Told` and the names of messages tell."""
    match = re.search(rb"250 2\.0\.0 ([0-9]+) |M[0-9]{6}P([0-9]+)Q", reply)
    assert match is not None, reply
    return int(match[1] or match[2])


def test_messages_are_taken_by_several_processes_and_kept_once(tmp_path: Path) -> None:
    """Clients need not know of each other; the files are those that one process would make."""
    with running(tmp_path, *TWO) as server:
        assert "by 2 workers (process " in server.log
        assert processes_in(tmp_path) == {
            int(number) for number in re.findall(r"[0-9]+", server.log.split("(process ")[1])[:2]
        }
        with clients_of_all(server) as (clients, _), ExitStack() as stack:
            sent = [CONTENT] * len(server.messages())
            others = [stack.enter_context(Client(server.port)) for _ in range(10)]
            for number, client in enumerate([*clients.values(), *others] * 3):
                message = f"Subject: {number}\r\n\r\n".encode()
                assert client.send(message).startswith(b"250 ")
                sent.append(message)
            assert sorted(server.messages()) == sorted(sent)
            for client in clients.values():
                assert client.say("QUIT").startswith(b"221 ")
        # Names of transcripts have the process.
        wait_until(
            lambda: {int(path.name.split("-")[1]) for path in server.transcripts()} == set(clients)
        )
        assert "Traceback" not in server.log


def test_one_that_is_killed_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    """Only its own sessions are lost; what it had accepted is there."""
    with running(tmp_path, *TWO) as server:
        with clients_of_all(server) as (clients, _):
            (killed, lost), (other, kept) = clients.items()
            accepted = len(server.messages())
            kept.begin()
            os.kill(killed, signal.SIGKILL)
            assert lost.reply() == b""
            kept.socket.sendall(CONTENT + b".\r\n")
            assert process_of(kept.reply()) == other
            wait_until(lambda: "is at work" in server.log)
        assert len(server.messages()) == accepted + 1
        pattern = rf"\(process {killed}\) was killed by SIGKILL; it is started again\n"
        assert re.search(pattern, server.log)
        with clients_of_all(server) as (clients, _):
            assert other in clients
            assert killed not in clients


def test_a_worker_that_is_busy_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Connections are not dealt out: whoever has time takes the next one."""
    with running(tmp_path, *TWO) as server, clients_of_all(server) as (clients, _):
        busy, other = clients
        os.kill(busy, signal.SIGSTOP)
        try:
            for _ in range(5):
                with Client(server.port) as client:
                    assert process_of(client.send(CONTENT)) == other
        finally:
            os.kill(busy, signal.SIGCONT)


def test_a_supervisor_that_does_nothing_stops_no_mail(tmp_path: Path) -> None:
    """Workers that have much to log do not wait for it; what it misses is counted."""
    chatty = ("--handler", "python:tests.process.chatty.Inbox")
    with running(tmp_path, "--workers", "1", *chatty) as server, Client(server.port) as client:
        server.signal(signal.SIGSTOP)
        try:
            for _ in range(40):
                assert client.send(CONTENT).startswith(b"250 ")
        finally:
            server.signal(signal.SIGCONT)
        # What comes next brings the number with it.
        assert client.send(CONTENT).startswith(b"250 ")
        wait_until(
            lambda: client.send(CONTENT) and re.search("[0-9]+ log events were dropped", server.log)
        )


def test_one_that_is_asked_to_end_finishes_first(tmp_path: Path) -> None:
    """SIGTERM to a worker is how one is exchanged for a fresh one."""
    with running(tmp_path, *TWO) as server, clients_of_all(server) as (clients, leave):
        [(ending, client), (_, other)] = clients.items()
        client.begin()
        os.kill(ending, signal.SIGTERM)
        os.kill(ending, signal.SIGTERM)
        client.socket.sendall(CONTENT + b".\r\n")
        assert process_of(client.reply()) == ending
        assert client.reply().startswith(b"421 ")
        assert other.send(CONTENT).startswith(b"250 ")
        leave()
        wait_until(lambda: f"(process {ending}) ended; it is started again" in server.log)
        wait_until(lambda: "is at work" in server.log)


def test_all_of_them_drain(tmp_path: Path) -> None:
    """SIGTERM to twistd: no port listens, what is under way is finished, nobody is left."""
    with running(tmp_path, *TWO) as server, clients_of_all(server) as (clients, leave):
        idle = Client(server.port)
        for client in clients.values():
            client.begin()
        server.signal()
        with idle:
            assert idle.reply().startswith(b"421 4.3.2 ")
        wait_until(lambda: is_closed(server.port))
        for process, client in clients.items():
            client.socket.sendall(CONTENT + b".\r\n")
            assert process_of(client.reply()) == process
            assert client.reply().startswith(b"421 4.3.2 ")
        leave()
        assert server.wait() == -signal.SIGTERM
        assert not processes_in(tmp_path)
        assert "started again" not in server.log
        assert "Traceback" not in server.log


def test_ctrl_c_is_one_stop(tmp_path: Path) -> None:
    """The terminal sends it to all processes; only the supervisor acts on it."""
    with running(tmp_path, *TWO) as server, clients_of_all(server) as (clients, leave):
        [client, _] = clients.values()
        client.begin()
        for process in clients:
            os.kill(process, signal.SIGINT)
        server.signal(signal.SIGINT)
        client.socket.sendall(CONTENT + b".\r\n")
        assert client.reply().startswith(b"250 ")
        leave()
        assert server.wait() == -signal.SIGINT
        assert "started again" not in server.log


def test_certificates_are_reloaded_in_all(tmp_path: Path) -> None:
    """SIGHUP to twistd reaches each of them."""
    old, new = make_identity(["localhost"]), make_identity(["localhost"])
    path = write_pem(tmp_path / "id.pem", old.certificate, old.private_key)
    options = (*TWO, "--tls-certificate", str(path), "--smtps", ANY_PORT, "--listen", ANY_PORT)

    def seen(server: Server) -> bytes | None:
        with (
            socket.create_connection(("127.0.0.1", server.smtps_ports[0]), 10) as plain,
            unchecked().wrap_socket(plain) as secured,
        ):
            assert secured.recv(4).startswith(b"220")
            return secured.getpeercert(binary_form=True)

    with running(tmp_path, *options) as server:
        assert seen(server) == old.der
        write_pem(path, new.certificate, new.private_key)
        server.signal(signal.SIGHUP)
        for number in (1, 2):
            line = f"[worker {number}: smtpcb.server#info] certificates reloaded"
            wait_until(lambda line=line: line in server.log)
        assert {seen(server) for _ in range(20)} == {new.der}


def test_a_signal_for_the_log_ends_no_worker(tmp_path: Path) -> None:
    """SIGUSR1 begins a new log file; a service manager sends it to all processes of a service."""
    with running(tmp_path, *TWO) as server:
        workers = workers_of(server)
        for process in workers:
            os.kill(process, signal.SIGUSR1)
        server.signal(signal.SIGHUP)  # each of them has had the other one before it answers this
        for number in (1, 2):
            line = f"[worker {number}: smtpcb.server#info] certificates reloaded"
            wait_until(lambda line=line: line in server.log)
        assert workers_of(server) == workers


def test_workers_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    """They finish what is under way, like on SIGTERM, and leave the ports free."""
    with running(tmp_path, *TWO) as server, clients_of_all(server) as (clients, leave):
        (process, busy), (_, idle) = clients.items()
        busy.begin()
        server.process.kill()
        server.process.wait()
        assert idle.reply().startswith(b"421 4.3.2 ")
        wait_until(lambda: is_closed(server.port))
        busy.socket.sendall(CONTENT + b".\r\n")
        assert process_of(busy.reply()) == process
        assert busy.reply().startswith(b"421 4.3.2 ")
        leave()
        wait_until(lambda: not processes_in(tmp_path))


@pytest.mark.parametrize(
    ("handler", "line"),
    [
        ("tests.process.handlers.nothing", "--handler .* has no nothing"),
        ("tests.process.handlers.broken", "worker 2 cannot start: ValueError: no room"),
    ],
)
def test_a_handler_that_cannot_start(tmp_path: Path, handler: str, line: str) -> None:
    """One line, exit status 1, and no process is left: here or in a worker."""
    options = (*TWO, "--handler", f"python:{handler}", "--listen", ANY_PORT)
    process = run_twistd(tmp_path, *options, errors=subprocess.PIPE)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert re.fullmatch(f"smtpcb: {line}\n", errors.decode()), errors
    assert b"mail is taken" not in output
    assert not processes_in(tmp_path)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """One line and exit status 1, as with one process."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        options = (*TWO, "--listen", ANY_PORT, "--listen", f"tcp:{number}:interface=127.0.0.1")
        process = run_twistd(tmp_path, *options, errors=subprocess.PIPE)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 1
        line = (
            f"smtpcb: cannot listen on 127.0.0.1:{number}: Address already in use "
            "(stop what listens there, or name another port with --listen)\n"
        )
        assert errors.decode() == line
        # It is no matter to a check, which binds nothing and starts nobody.
        checked = run_twistd(tmp_path, *options, "--check")
        output, _ = checked.communicate(timeout=20)
        assert checked.returncode == 0
        assert output == b"smtpcb: the settings are good\n" or b"certificate" in output


def test_each_has_a_handler_of_its_own(tmp_path: Path) -> None:
    """What a handler keeps in memory is one worker's; its connections say which one that is."""
    with running(tmp_path, *TWO, *TOLD) as server, clients_of_all(server) as (clients, _):
        counts, numbers = [], set()
        for process, client in clients.items():
            words = [client.send(CONTENT).split()[2:] for _ in range(3)]
            assert {int(word[0]) for word in words} == {process}
            counts.append([int(word[1]) for word in words])
            numbers |= {int(word[2]) for word in words}
        for first, second, third in counts:
            assert (second, third) == (first + 1, first + 2)
        assert numbers == {1, 2}
        notes = (tmp_path / "notes").read_text().splitlines()
        assert len(notes) == sum(third for _, _, third in counts)


def test_most_connections_over_all(tmp_path: Path) -> None:
    """Each worker takes its share, and no more."""
    with (
        running(tmp_path, *TWO, "--connections", "3") as server,
        ExitStack() as stack,
    ):
        welcome = 0

        def connect() -> bool:
            nonlocal welcome
            client = socket.create_connection(("127.0.0.1", server.port), 10)
            greeting = client.recv(100)
            if greeting.startswith(b"220 "):
                welcome += 1
                stack.callback(client.close)
            else:
                assert greeting.startswith(b"421 ")
                client.close()
            return welcome == 4  # twice the half of three, rounded up

        wait_until(connect)
        for _ in range(10):
            connect()
        assert welcome == 4


def test_a_daemon(tmp_path: Path) -> None:
    """Whoever starts it may send mail when it returns; what workers log is in the one log."""
    command = [
        *(TWISTD, f"--pidfile={tmp_path}/pid", f"--logfile={tmp_path}/log", "smtpcb", *TWO),
        *("--listen", ANY_PORT, "--state", str(tmp_path / "state")),
    ]
    started = subprocess.run(command, cwd=tmp_path, timeout=20, check=True, capture_output=True)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert b"error" not in started.stderr
        log = (tmp_path / "log").read_text()
        match = re.search(r"mail is taken on 127\.0\.0\.1:([0-9]+) \(STARTTLS\) by 2 workers", log)
        assert match is not None
        with Client(int(match[1])) as client:
            assert client.send(CONTENT).startswith(b"250 ")
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not (tmp_path / "pid").exists())
    assert "[worker 2: " in (tmp_path / "log").read_text()
    wait_until(lambda: not processes_in(tmp_path))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_they_run_as_another_user() -> None:
    """The port and the private key are root's; a worker that is started later has both."""
    folder = Path(tempfile.mkdtemp(prefix="smtpcb-"))
    try:
        folder.chmod(0o755)
        try:
            command = [sys.executable, "-c", "import smtpcb.run.workers._worker"]
            subprocess.run(command, check=True, cwd=folder, user=65534, group=65534)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("nobody else can run this Python")
        issued = make_identity(["localhost"])
        key = write_pem(folder / "id.pem", issued.certificate, issued.private_key)
        key.chmod(0o600)
        command = [
            *(TWISTD, "-n", "--pidfile=", "--uid=65534", "--gid=65534", "smtpcb", *TWO),
            *("--listen", "tcp:0:interface=127.0.0.1", "--tls-certificate", str(key)),
            *("--state", str(folder / "state")),
        ]
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        try:
            wait_until(lambda: "mail is taken on" in log.read_text() or process.poll() is not None)
            workers = processes_in(folder)
            assert len(workers) == 2, log.read_text()
            for worker in workers:
                assert Path(f"/proc/{worker}").stat().st_uid == 65534
            os.kill(min(workers), signal.SIGKILL)
            wait_until(lambda: "is at work" in log.read_text())
            assert "Permission denied; what was read before is used" in log.read_text()
        finally:
            process.terminate()
            assert process.wait(20) == -signal.SIGTERM
    finally:
        shutil.rmtree(folder)
