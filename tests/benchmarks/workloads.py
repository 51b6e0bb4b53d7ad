"""What is sent, and what is measured."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from smtpcb.run.options import BY_NAME
from tests.benchmarks import clients
from tests.benchmarks.peers import CLIENT
from tests.benchmarks.processes import HOST, FailedError, Server, raise_file_limit

MEGABYTE = 1_000_000
LONG_OCTETS = 200 * MEGABYTE
IDLE_CONNECTIONS = 5000
CONNECTIONS_AT_ONCE = 250
NOOP_PAUSE_SECONDS = 0.0005
RECIPIENTS = 10
# How often postal is started until it has lived for as many minutes as are wanted.
MOST_POSTALS = 5

Figures = Mapping[str, float]

ALL_OURS = ("smtpcb", "smtpcb-async", "smtpcb-transcripts")
CHUNK = "smtpcb-chunk"
#: With ``smtpcb[fast]``; all others run without.
FAST = "smtpcb-fast"
CHUNK_FAST = "smtpcb-chunk-fast"
#: Those that are measured while they send, in the place of their server.
OTHER_CLIENTS = ("smtplib", "aiosmtplib", "twisted.mail-client", "nodemailer-client", "libesmtp")
SEND_SECONDS = 300.0


@dataclass(frozen=True)
class Metric:
    """
    One figure.

    :ivar key: within its workload; empty if that has only one.
    """

    unit: str
    key: str = ""


@dataclass(frozen=True)
class Run:
    """
    One server under one workload.

    :ivar quick: a twentieth of the load will do.
    :ivar folder: for what is written meanwhile.
    :ivar sender: starts the client that is measured, where one is.
    """

    server: Server
    quick: bool
    folder: Path
    sender: Sequence[str] | None = None

    def few(self, number: int, least: int = 1) -> int:
        """Return the number, or a twentieth of it."""
        return max(least, number // 20) if self.quick else number


@dataclass(frozen=True)
class Workload:
    """
    One group of rows.

    :ivar measure: sends, and returns the figures.
    :ivar ours: which makes of smtpcb take part.
    :ivar peers: whether others do, or which of them.
    :ivar tls: the server gets a certificate.
    :ivar handler: of smtpcb, in the place of its usual one.
    :ivar options: for ``twistd smtpcb``.
    :ivar all_cores: nobody is pinned.
    :ivar extra: it runs only when it is asked for.
    """

    name: str
    title: str
    measure: Callable[[Run], Figures]
    metrics: tuple[Metric, ...] = (Metric("µs/message"),)
    ours: tuple[str, ...] = ("smtpcb",)
    peers: bool | tuple[str, ...] = True
    tls: bool = False
    handler: str | None = None
    options: tuple[str, ...] = ()
    all_cores: bool = False
    extra: bool = False

    def unavailable(self) -> str | None:
        """Say why it cannot be run at all, or nothing."""
        for option in self.options:
            name = option.partition("=")[0].removeprefix("--")
            if option.startswith("--") and name not in BY_NAME:
                return f"twistd smtpcb has no --{name}"
        return None


def _cpu(run: Run, load: Callable[[int], object], messages: int, warm: int) -> Figures:
    """Return CPU per message of a load, which is told how many messages to send."""
    load(warm)
    before = run.server.settled_cpu_nanoseconds()
    load(messages)
    used = run.server.settled_cpu_nanoseconds() - before
    return {"": used / messages / 1000}


def _sending(sessions: int, messages: int, octets: int) -> Callable[[Run], Figures]:
    """A client sends to smtp-sink; what it costs the client is what it says of itself."""

    def measure(run: Run) -> Figures:
        assert run.sender is not None
        load = (run.few(sessions), 1) if messages == 1 else (sessions, run.few(messages))
        command = [*run.sender, *map(str, (run.server.port, *load, octets))]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=SEND_SECONDS
            )
            cpu, seconds = map(float, done.stdout.split())
        except (subprocess.SubprocessError, ValueError) as error:
            said = getattr(error, "stderr", None) or error
            raise FailedError(f"the client failed: {str(said)[-200:]}") from None
        number = load[0] * load[1]
        return {"": cpu / number * 1e6, "rate": number / seconds}

    return measure


def _source(sessions: int, messages: int, octets: int, *options: str) -> Callable[[Run], Figures]:
    """smtp-source with that many sessions at once; a tenth of the messages goes ahead."""

    def measure(run: Run) -> Figures:
        def load(number: int) -> None:
            fixed = ["-s", str(min(sessions, number)), "-l", str(octets), *options]
            clients.smtp_source(run.server.port, [*fixed, "-m", str(number)])

        return _cpu(run, load, run.few(messages, sessions), max(sessions, run.few(messages) // 10))

    return measure


def _pipelined_data(run: Run) -> Figures:
    def load(messages: int) -> None:
        clients.pipelined_data(run.server.port, 20, messages // 20, 1000)

    return _cpu(run, load, run.few(6000, 20) // 20 * 20, 600)


def _pipelined_bdat(run: Run) -> Figures:
    def load(messages: int) -> None:
        clients.pipelined_bdat(run.server.port, 20, messages // 200, 1000, at_once=10)

    return _cpu(run, load, run.few(12_000, 200) // 200 * 200, 600)


def _over_tls(
    connections: int, messages: int, octets: int, threads: int = 4
) -> Callable[[Run], Figures]:
    def measure(run: Run) -> Figures:
        one_each = messages == 1
        each = run.few(connections if one_each else messages)

        def load(number: int) -> None:
            share = max(1, number // threads)
            times = (share, 1) if one_each else (connections, share)
            clients.over_tls(run.server.port, threads, *times, octets)

        return _cpu(run, load, each * threads, max(1, each // 10) * threads)

    return measure


def _idle(run: Run) -> Figures:
    count = run.few(IDLE_CONNECTIONS)
    raise_file_limit(IDLE_CONNECTIONS + 200)
    _warm(run)
    before = run.server.memory_octets()
    with ExitStack() as stack:
        # Many at once: nodemailer greets a tenth of a second late, to catch who talks early.
        for done in range(0, count, CONNECTIONS_AT_ONCE):
            _greeted(stack, run.server.port, min(CONNECTIONS_AT_ONCE, count - done))
        run.server.settled_cpu_nanoseconds()
        used = run.server.memory_octets() - before
    return {"": used / count / 1024}


def _greeted(stack: ExitStack, port: int, count: int) -> None:
    try:
        opened = [
            stack.enter_context(socket.create_connection((HOST, port), 30)) for _ in range(count)
        ]
        greetings = [connection.recv(4096) for connection in opened]
    except OSError as error:
        raise FailedError(f"a connection was refused: {error}") from None
    for greeting in greetings:
        if not greeting.startswith(b"220"):
            raise FailedError(f"a connection was refused: {greeting!r}")


def _peak(run: Run) -> Figures:
    _warm(run)
    run.server.settled_cpu_nanoseconds()
    run.server.forget_peak()
    before = run.server.memory_octets()
    clients.send_one(run.server.port, run.few(LONG_OCTETS))
    return {"": (run.server.memory_octets("VmHWM") - before) / MEGABYTE}


def _delays(run: Run) -> Figures:
    _warm(run)
    clients.send_one(run.server.port, MEGABYTE)
    octets = run.few(LONG_OCTETS, LONG_OCTETS // 4)
    delays = [
        1000 * delay for delay in clients.reply_delays(run.server.port, octets, NOOP_PAUSE_SECONDS)
    ]
    if len(delays) < 2:
        raise FailedError("the long message was over before anything could be measured")
    cuts = quantiles(delays, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98], "worst": max(delays)}


def _fairness(flooding: int) -> Callable[[Run], Figures]:
    def measure(run: Run) -> Figures:
        _warm(run)
        delays = [
            1000 * delay
            for delay in clients.mail_delays(run.server.port, flooding, run.few(60, 5), 0.02)
        ]
        return {"p50": median(delays), "worst": max(delays)}

    return measure


def _warm(run: Run) -> None:
    clients.smtp_source(run.server.port, ["-s", "5", "-m", "200", "-l", "1000", "-d"])


def _decisions(run: Run) -> Figures:
    return {"": clients.recipients_at_once(run.server.port, RECIPIENTS)}


def _rate(run: Run) -> Figures:
    messages = run.few(6000, 40)
    options = ["-s", "40", "-l", "1000", "-d"]
    clients.smtp_source(run.server.port, [*options, "-m", str(max(40, messages // 10))])
    start = time.perf_counter()
    clients.smtp_source(run.server.port, [*options, "-m", str(messages)])
    return {"": messages / (time.perf_counter() - start)}


def _postal(run: Run) -> Figures:
    wanted = 1 if run.quick else clients.POSTAL_MINUTES
    sent = wrong = used = minutes = 0
    # postal itself dies of a signal now and then, whoever is its server: whole minutes count.
    for _ in range(MOST_POSTALS):
        with clients.Postal(run.server.port, run.folder) as postal, suppress(clients.EndedError):
            postal.minute()
            while minutes < wanted:
                before = run.server.cpu_nanoseconds()
                messages, errors = postal.minute()
                used += run.server.cpu_nanoseconds() - before
                sent += messages
                wrong += errors
                minutes += 1
        if minutes == wanted:
            break
    if not sent or minutes < wanted:
        raise FailedError(f"postal sent {sent} messages in {minutes} whole minutes")
    return {"": used / sent / 1000, "rate": sent / minutes / 60, "errors": wrong}


WORKLOADS: tuple[Workload, ...] = (
    Workload(
        "small",
        "1 KB, 20 sessions kept open (`-s 20 -m 6000 -l 1000 -d`)",
        _source(20, 6000, 1000, "-d"),
        ours=ALL_OURS,
    ),
    Workload(
        "single",
        "1 KB, a connection a message (`-s 20 -m 3000 -l 1000`)",
        _source(20, 3000, 1000),
        ours=ALL_OURS,
    ),
    Workload(
        "rcpt50",
        "1 KB to 50 recipients (`-s 10 -m 600 -l 1000 -d -r 50`)",
        _source(10, 600, 1000, "-d", "-r", "50"),
        ours=ALL_OURS,
    ),
    Workload(
        "50k",
        "50 KB (`-s 10 -m 3000 -l 50000 -d`)",
        _source(10, 3000, 50_000, "-d"),
        ours=(*ALL_OURS, CHUNK, FAST, CHUNK_FAST),
    ),
    Workload(
        "10m",
        "10 MB (`-s 4 -m 60 -l 10000000 -d`)",
        _source(4, 60, 10_000_000, "-d"),
        ours=(*ALL_OURS, CHUNK, FAST, CHUNK_FAST),
    ),
    Workload(
        "pipelined-data",
        "1 KB, 20 sessions, MAIL RCPT DATA in one write",
        _pipelined_data,
    ),
    Workload(
        "pipelined-bdat",
        "1 KB, 20 sessions, ten times MAIL RCPT BDAT LAST in one write",
        _pipelined_bdat,
    ),
    Workload(
        "starttls-single",
        "1 KB, STARTTLS, a connection a message, 4 at once",
        _over_tls(150, 1, 1000),
        tls=True,
    ),
    Workload(
        "tls-10m",
        "10 MB over STARTTLS, 4 sessions",
        _over_tls(1, 15, 10_000_000),
        ours=("smtpcb", CHUNK, FAST, CHUNK_FAST),
        tls=True,
    ),
    Workload(
        "idle",
        f"memory of {IDLE_CONNECTIONS} connections that were greeted and say nothing",
        _idle,
        (Metric("KiB/connection"),),
    ),
    Workload(
        "memory-200m",
        "peak memory that one message of 200 MB adds",
        _peak,
        (Metric("MB"),),
        ours=(CHUNK,),
    ),
    Workload(
        "delay-200m",
        "reply to a NOOP (twisted.mail: RSET) of another session while 200 MB come in",
        _delays,
        (Metric("ms, p50", "p50"), Metric("ms, p99", "p99"), Metric("ms, worst", "worst")),
        ours=(CHUNK,),
    ),
    *(
        Workload(
            f"fairness-{number}",
            f"a mail of another session while {number} connections pipeline RSET without end",
            _fairness(number),
            (Metric("ms, p50", "p50"), Metric("ms, worst", "worst")),
            peers=False,
        )
        for number in (20, 100)
    ),
    Workload(
        "decisions",
        "10 recipients in one write, each decision takes 50 ms",
        _decisions,
        (Metric("s"),),
        peers=False,
        handler="Slow",
    ),
    Workload(
        "decisions-concurrent",
        "the same with `concurrent_recipients`",
        _decisions,
        (Metric("s"),),
        peers=False,
        handler="SlowAtOnce",
    ),
    *(
        Workload(
            f"workers-{number}",
            f"a handler that burns 200 µs a message, `--workers {number}`, nobody pinned",
            _rate,
            (Metric("messages/s"),),
            peers=False,
            handler="Burning",
            options=(f"--workers={number}",),
            all_cores=True,
        )
        for number in (1, 2)
    ),
    *(
        Workload(
            name,
            f"a client's CPU, and how fast it sends to smtp-sink: {title}",
            _sending(sessions, messages, octets),
            (Metric("µs/message"), Metric("messages/s", "rate")),
            ours=(CLIENT,),
            peers=OTHER_CLIENTS,
        )
        for name, title, sessions, messages, octets in (
            ("send-single", "1 KB, a session a message", 100, 1, 1000),
            ("send-small", "1 KB, one session", 1, 500, 1000),
            ("send-50k", "50 KB, one session", 1, 100, 50_000),
            ("send-10m", "10 MB, one session", 1, 5, 10_000_000),
        )
    ),
    Workload(
        "postal",
        f"postal `-t 50 -c 3` at its own rate, whole minutes: {clients.POSTAL_MINUTES} or more",
        _postal,
        (
            Metric("µs/message"),
            Metric("messages/s", "rate"),
            Metric("errors", "errors"),
        ),
        ours=("smtpcb",),
        # Minutes each: those that a program would use in our place.
        peers=("aiosmtpd", "nodemailer", "go-smtp"),
        extra=True,
    ),
)

BY_WORKLOAD: Mapping[str, Workload] = {workload.name: workload for workload in WORKLOADS}


def takes_part(workload: Workload, name: str, ours: bool, tls: bool) -> bool:
    """Say whether a server has a row in a workload."""
    if ours:
        return name in workload.ours
    if isinstance(workload.peers, bool):
        invited = workload.peers and name not in OTHER_CLIENTS
    else:
        invited = name in workload.peers
    return invited and (tls or not workload.tls)


def names(workloads: Sequence[Workload] = WORKLOADS) -> list[str]:
    """Return their names."""
    return [workload.name for workload in workloads]
