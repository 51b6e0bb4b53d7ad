"""Who looks after the workers: starts, deaths, ends, and what they say."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, capturedLogs, eventAsJSON, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb._ending import STOP_SECONDS
from smtpcb.run._signals import ONE_STOP_SECONDS
from smtpcb.run._sockets import SocketReactor
from smtpcb.run._start import Announcement, Place, StartError
from smtpcb.run.build import Share
from smtpcb.run.options import BY_NAME, Configuration, ConfigurationError, read_value, resolve
from smtpcb.run.workers._process import HEIRS_SECONDS, Worker
from smtpcb.run.workers._supervisor import (
    HEALTHY_SECONDS,
    LONGEST_DELAY_SECONDS,
    Supervisor,
    make_supervisor,
)
from smtpcb.run.workers._task import task, understood
from smtpcb.run.workers._words import FAILED, READY
from tests.certificates import make_identity, write_pem
from tests.running import ANY_PORT


class Process:
    """A process that does nothing by itself: what `spawnProcess` gives a protocol."""

    def __init__(self, protocol: Worker, pid: int, options: dict[str, Any]) -> None:
        self.protocol = protocol
        self.pid: int | None = pid
        self.descriptors = options["childFDs"]
        self.told = b""
        self.signals: list[str] = []
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        self.told += data

    @property
    def words(self) -> list[bytes]:
        """What it has been told since its task."""
        return self.told[4 + int.from_bytes(self.told[:4], "big") :].splitlines()

    def signalProcess(self, name: str) -> None:
        if self.pid is None:
            raise ProcessExitedAlready
        self.signals.append(name)

    def says(self, line: bytes, descriptor: int = 1) -> None:
        self.protocol.childDataReceived(descriptor, line + b"\n")

    def exits(self, status: int = 0, by: int | None = None) -> None:
        """End, with its outputs held open by somebody."""
        self.pid = None
        clean = not status and by is None
        self.reason = Failure(ProcessDone(0) if clean else ProcessTerminated(status, by))
        self.protocol.processExited(self.reason)

    def ends(self, status: int = 0, by: int | None = None) -> None:
        self.exits(status, by)
        self.protocol.processEnded(self.reason)


class Reactor(Clock):
    """Time and processes, both made up."""

    running = True

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.refuses = False
        self.set_seconds = 0.0
        self.turns: Iterator[Callable[[], object]] = iter(())

    @property
    def now(self) -> float:
        """The time that nobody can set."""
        return self.seconds() - self.set_seconds

    def set(self, seconds: float) -> None:
        """Set the wall clock forward."""
        self.set_seconds += seconds
        self.advance(seconds)

    def spawnProcess(self, protocol: Worker, executable: str, args: list[str], **rest: Any) -> None:
        assert executable == args[0] == sys.executable
        assert args[-1] == str(protocol.number)
        if self.refuses:
            raise PermissionError(13, "Permission denied", executable)
        self.processes.append(Process(protocol, 100 + len(self.processes), rest))

    def iterate(self, seconds: float) -> None:
        next(self.turns)()

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        function(*arguments)


def configured(**said: Any) -> Configuration:
    """Return settings for two workers."""
    return resolve({"listen": (ANY_PORT,), "workers": 2, **said}, {})


def supervisor_of(reactor: Reactor, **said: Any) -> Supervisor:
    """Return a supervisor with one port."""
    from twisted.internet.endpoints import serverFromString

    endpoint = serverFromString(SocketReactor(), ANY_PORT)
    place = Place(invitation="a first message")
    says = Announcement([place], starttls=False, report=["messages: /x"])
    return Supervisor(reactor, configured(**said), [endpoint], says, now=lambda: reactor.now)


def texts(events: Any) -> list[str]:
    """Return what log events say."""
    return [formatEvent(event) for event in events]


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def started(reactor: Reactor) -> Iterator[Supervisor]:
    """A supervisor whose two workers are at work; it is stopped at the end."""
    supervisor = supervisor_of(reactor)
    supervisor.startService()
    for process in reactor.processes:
        process.says(READY)
    yield supervisor
    if supervisor.running:
        supervisor.stopService()
    supervisor._close()


class TestSockets:
    """What is bound, without a reactor that accepts."""

    def test_none_stays_bound_when_one_cannot_be(
        self, reactor: Reactor, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The line is that of one process."""
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        supervisor = supervisor_of(reactor)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            supervisor._endpoints = [*supervisor._endpoints, *supervisor_of(reactor)._endpoints]
            supervisor._endpoints[1]._port = number
            with pytest.raises(StartError):
                supervisor.startService()
        line = (
            f"smtpcb: cannot listen on 127.0.0.1:{number}: Address already in use "
            "(stop what listens there, or name another port with --listen)\n"
        )
        assert capfd.readouterr().err == line
        assert supervisor.sockets == []
        assert not supervisor.running

    def test_an_endpoint_that_fails_oddly(
        self, reactor: Reactor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is one line, whatever it is."""
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)

        @implementer(IStreamServerEndpoint)
        class Odd:
            def listen(self, factory: Factory) -> Deferred[Any]:
                failed: Deferred[Any] = Deferred()
                failed.errback(ValueError("odd\nthing"))
                return failed

        says = Announcement([Place()], starttls=False, report=[])
        with pytest.raises(StartError, match="cannot listen: odd thing"):
            Supervisor(reactor, configured(), [Odd()], says).privilegedStartService()


class TestStart:
    """Until all are at work."""

    def test_each_is_told_its_share(self, reactor: Reactor, started: Supervisor) -> None:
        """Settings go through a pipe, and the sockets are inherited."""
        for number, process in enumerate(reactor.processes, 1):
            told = json.loads(process.told[4:])
            assert int.from_bytes(process.told[:4], "big") == len(process.told) - 4
            share = Share(number, 2, ((3, int(socket.AF_INET)),))
            assert understood(told) == (configured(), share)
            assert told["path"] == sys.path
            assert process.descriptors == {
                0: "w",
                1: "r",
                2: "r",
                3: started.sockets[0].socket.fileno(),
            }

    def test_it_is_said_when_all_are_at_work(self, reactor: Reactor) -> None:
        """And not before; starting again does nothing."""
        supervisor = supervisor_of(reactor)
        with capturedLogs() as events:
            supervisor.startService()
            supervisor.startService()
            reactor.processes[1].says(READY)
            assert not events
            reactor.processes[0].says(READY)
        port = supervisor.sockets[0].getHost().port
        said = texts(events)
        by = "by 2 workers (process 100, 101)"
        assert said[0] == f"mail is taken on 127.0.0.1:{port} (no TLS) {by}"
        assert f"smtplib.SMTP('127.0.0.1', {port})" in said[1]
        assert said[2:] == ["messages: /x"]
        for process in reactor.processes:
            process.ends()
        supervisor.stopService()

    def test_one_alone(self, reactor: Reactor) -> None:
        """It is looked after as well."""
        supervisor = supervisor_of(reactor, workers=1)
        supervisor.startService()
        with capturedLogs() as events:
            reactor.processes[0].says(READY)
        assert texts(events)[0].endswith("by 1 worker (process 100)")
        supervisor.stopService()

    def test_one_that_fails_ends_the_start(
        self, reactor: Reactor, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before the reactor runs it is waited for; the line is what the first one said."""
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        reactor.running = False
        supervisor = supervisor_of(reactor)

        def first_fails() -> None:
            reactor.processes[0].says(READY)
            reactor.processes[1].says(FAILED + b"no room")
            reactor.processes[1].says(b"Traceback", 2)
            reactor.processes[1].ends(1)
            assert reactor.processes[0].words == [b"stop"]

        reactor.turns = iter([first_fails, lambda: reactor.processes[0].ends()])
        with pytest.raises(StartError, match="worker 2 cannot start: no room"):
            supervisor.startService()
        assert capfd.readouterr().err == "smtpcb: worker 2 cannot start: no room\n"
        assert not supervisor.running
        assert supervisor.sockets == []
        assert not reactor.getDelayedCalls()

    def test_before_the_reactor_runs_it_waits(self, reactor: Reactor) -> None:
        """Whoever starts us finds all at work when we return."""
        reactor.running = False
        supervisor = supervisor_of(reactor)
        processes = reactor.processes
        reactor.turns = iter([lambda at=at: processes[at].says(READY) for at in (0, 1)])
        supervisor.startService()
        assert all(worker.ready for worker in supervisor.workers.values())
        supervisor.stopService()

    @pytest.mark.parametrize(
        ("status", "by", "output", "why"),
        [
            (1, None, b"Traceback\n  x\nModuleNotFoundError: y", "ModuleNotFoundError: y"),
            (3, None, b"", "it ended with status 3"),
            (0, None, b"", "it ended"),
            (0, 11, b"", "it was killed by SIGSEGV"),
        ],
    )
    def test_one_that_dies_at_once(
        self, reactor: Reactor, status: int, by: int | None, output: bytes, why: str
    ) -> None:
        """Its last words say why, and how it ended does where there are none."""
        supervisor = supervisor_of(reactor)
        supervisor.startService()
        one, other = reactor.processes
        one.protocol.childDataReceived(2, output)
        with capturedLogs() as events:
            one.ends(status, by)
            other.ends()
        assert texts(events)[-1] == f"worker 1 cannot start: {why}"
        assert not supervisor.running

    def test_one_that_the_system_refuses(self, reactor: Reactor) -> None:
        """The others are not tried."""
        reactor.refuses = True
        with capturedLogs() as events:
            supervisor_of(reactor).startService()
        [text] = texts(events)
        assert text.startswith("worker 1 cannot start: [Errno 13] Permission denied: ")

    def test_in_a_thread(self, reactor: Reactor) -> None:
        """Signals are somebody else's there."""
        supervisor = supervisor_of(reactor)
        before = signal.getsignal(signal.SIGHUP)
        thread = threading.Thread(target=supervisor.startService)
        thread.start()
        thread.join()
        assert supervisor.running
        assert signal.getsignal(signal.SIGHUP) == before
        supervisor.stopService()


class TestDeaths:
    """Of workers that were at work."""

    def test_it_is_replaced_at_once(self, reactor: Reactor, started: Supervisor) -> None:
        """The log says who died, of what, and when another one has its place."""
        with capturedLogs() as events:
            reactor.processes[0].exits(by=9)
            assert 1 not in started.workers
            reactor.advance(0)
            reactor.processes[2].says(READY)
        assert texts(events) == [
            "worker 1 (process 100) was killed by SIGKILL; it is started again",
            "worker 1 (process 102) is at work",
        ]
        assert started.workers[1].pid == 102

    def test_one_that_dies_again_and_again(self, reactor: Reactor, started: Supervisor) -> None:
        """The wait gets longer, up to a minute, and one that has lived is replaced at once."""
        delays = []
        for _ in range(9):
            process = reactor.processes[-1]
            process.protocol.childDataReceived(2, b"out of luck\n")
            process.ends(1)
            [restart] = reactor.getDelayedCalls()
            delays.append(restart.getTime() - reactor.seconds())
            reactor.advance(delays[-1])
        assert delays == [0, 1, 2, 4, 8, 16, 32, LONGEST_DELAY_SECONDS, LONGEST_DELAY_SECONDS]
        reactor.processes[-1].says(READY)
        reactor.advance(HEALTHY_SECONDS)
        with capturedLogs() as events:
            reactor.processes[-1].ends(1)
        [text] = texts(events)
        assert text.endswith("ended with status 1; it is started again")

    def test_one_that_was_asked_to_end(self, reactor: Reactor, started: Supervisor) -> None:
        """Another takes its place, but not before we know that it is not a stop of all of us."""
        reactor.processes[0].ends()
        reactor.advance(ONE_STOP_SECONDS / 2)
        assert len(reactor.processes) == 2
        reactor.advance(ONE_STOP_SECONDS / 2)
        assert len(reactor.processes) == 3
        reactor.processes[1].ends()
        started.stopService()
        reactor.advance(ONE_STOP_SECONDS)
        assert len(reactor.processes) == 3

    def test_one_that_cannot_start_later(self, reactor: Reactor, started: Supervisor) -> None:
        """It is tried again, and the others go on."""
        reactor.processes[0].ends(by=9)
        reactor.advance(0)
        reactor.processes[2].says(FAILED + b"no module")
        with capturedLogs() as events:
            reactor.processes[2].ends(1)
        assert texts(events) == [
            "worker 1 (process 102) ended with status 1: no module; it is started again in 1 s"
        ]
        reactor.refuses = True
        with capturedLogs() as events:
            reactor.advance(1)
        assert "could not be started: [Errno 13]" in texts(events)[0]
        assert texts(events)[0].endswith("; it is started again in 2 s")
        assert started.running

    def test_what_comes_after_its_end(self, reactor: Reactor, started: Supervisor) -> None:
        """One that said it was ready and was gone by then is dead once, and not at work."""
        reactor.processes[0].ends(by=9)
        reactor.advance(0)
        process = reactor.processes[2]
        process.exits(by=9)
        with capturedLogs() as events:
            process.says(READY)
            process.protocol.processEnded(process.reason)
        assert len(events) == 1
        assert 1 not in started.workers


class TestReload:
    """SIGHUP."""

    def test_it_reaches_all(self, reactor: Reactor, started: Supervisor) -> None:
        """One that is not ready yet finds it in its pipe; one that has just ended needs none."""
        reactor.processes[0].ends(by=9)
        reactor.advance(0)
        os.kill(os.getpid(), signal.SIGHUP)
        assert [process.words for process in reactor.processes] == [[], [b"reload"], [b"reload"]]
        reactor.processes[1].exits()
        started.reload()
        assert [process.words for process in reactor.processes][1:] == [
            [b"reload"],
            [b"reload", b"reload"],
        ]

    def test_the_signal_is_given_back(
        self, reactor: Reactor, request: pytest.FixtureRequest
    ) -> None:
        """Whoever had it before has it afterwards."""

        def before(number: int, frame: object) -> None:
            pass

        others = signal.signal(signal.SIGHUP, before)
        request.addfinalizer(lambda: signal.signal(signal.SIGHUP, others))
        supervisor = supervisor_of(reactor)
        supervisor.startService()
        assert signal.getsignal(signal.SIGHUP) != before
        supervisor.stopService()
        # Sessions are being finished, and by default SIGHUP would end us.
        assert signal.getsignal(signal.SIGHUP) != before
        for process in reactor.processes:
            process.ends()
        assert signal.getsignal(signal.SIGHUP) == before


class TestStop:
    """Everybody finishes, within limits."""

    def test_all_are_waited_for(self, reactor: Reactor, started: Supervisor) -> None:
        """Sockets are closed at once; nobody is started any more."""
        reactor.processes[0].ends(by=9)
        gone: list[object] = []
        started.stopService().addCallback(gone.append)
        assert started.sockets == []
        assert reactor.processes[1].words == [b"stop"]
        reactor.advance(1)
        assert not gone
        with capturedLogs() as events:
            reactor.processes[1].ends()
        assert gone == [None]
        assert not events
        assert len(reactor.processes) == 2
        assert not reactor.getDelayedCalls()

    def test_one_that_does_not_end_is_killed(self, reactor: Reactor, started: Supervisor) -> None:
        """After the grace that sessions have, and some more; the log says so."""
        gone: list[object] = []
        started.stopService().addCallback(gone.append)
        reactor.processes[0].ends()
        limit = configured().limits.grace_seconds + STOP_SECONDS
        reactor.advance(limit - 0.1)
        assert reactor.processes[1].signals == []
        with capturedLogs() as events:
            reactor.advance(0.1)
        assert reactor.processes[1].signals == ["KILL"]
        assert texts(events) == ["worker 2 (process 101) did not end and is killed"]
        reactor.processes[1].ends(by=9)
        assert gone == [None]
        assert not reactor.getDelayedCalls()

    def test_a_clock_that_is_set_kills_nobody(self, reactor: Reactor, started: Supervisor) -> None:
        """Who finishes a message has the whole grace, whatever the wall clock says."""
        started.stopService()
        limit = configured().limits.grace_seconds + STOP_SECONDS
        reactor.set(limit + 400)
        assert [process.signals for process in reactor.processes] == [[], []]
        reactor.advance(limit)
        assert [process.signals for process in reactor.processes] == [["KILL"], ["KILL"]]

    def test_one_that_has_just_ended_is_not_killed(
        self, reactor: Reactor, started: Supervisor
    ) -> None:
        """Its number may be somebody else's by now."""
        [gone, other] = started.workers.values()
        reactor.processes[0].pid = None
        assert not gone.kill()
        reactor.processes[1].exits()
        assert not other.kill()
        assert reactor.processes[1].signals == []

    def test_who_holds_its_outputs_is_not_waited_for(
        self, reactor: Reactor, started: Supervisor
    ) -> None:
        """A worker may have started programs, which are no matter of ours."""
        gone: list[object] = []
        started.stopService().addCallback(gone.append)
        for process in reactor.processes:
            process.exits()
        reactor.advance(configured().limits.grace_seconds + STOP_SECONDS)
        assert not gone
        reactor.advance(1)
        assert gone == [None]
        for process in reactor.processes:
            process.protocol.processEnded(process.reason)
            assert process.signals == []


class TestOutput:
    """What workers say is in our log, each event once."""

    def test_events(self, reactor: Reactor, started: Supervisor) -> None:
        """They keep level, time, text and namespace; the worker is in all of them."""
        event = {
            "log_format": "hello {name!r}\nand more",
            "name": "x",
            "log_level": LogLevel.warn,
            "log_namespace": "shop.inbox",
            "log_time": 12.5,
            "log_logger": Logger(),
            "log_source": object(),
        }
        text = eventAsJSON(event).encode() + b"\n"
        with capturedLogs() as events:
            # In pieces, as pipes have them.
            reactor.processes[1].protocol.childDataReceived(1, text[:20])
            assert not events
            reactor.processes[1].protocol.childDataReceived(1, text[20:])
        [got] = events
        assert formatEvent(got) == "hello 'x'\nand more"
        assert got["log_level"] is LogLevel.warn
        assert got["log_time"] == 12.5
        assert got["log_system"] == "worker 2: shop.inbox#warn"
        assert got["worker"] == 2
        assert "log_logger" not in got

    @pytest.mark.parametrize(
        "line",
        [
            b"some text",
            b"3",
            json.dumps({"log_level": 3}).encode(),
            b'{"__class_uuid__": "x"}',
            b"\xff",
        ],
    )
    def test_what_is_no_event(self, reactor: Reactor, started: Supervisor, line: bytes) -> None:
        """It is logged as it is."""
        with capturedLogs() as events:
            reactor.processes[0].says(line)
        assert texts(events) == [f"worker 1: {line.decode(errors='backslashreplace')}"]

    def test_lines_that_nobody_caught(self, reactor: Reactor, started: Supervisor) -> None:
        """Standard error, line by line; empty ones are nothing, nor does one go on for ever."""
        process = reactor.processes[0]
        with capturedLogs() as events:
            process.protocol.childDataReceived(2, b"Fatal Python error\n\nlast")
            process.protocol.childDataReceived(2, b" words")
            process.ends(by=11)
        assert texts(events)[0] == "worker 1: Fatal Python error"
        assert texts(events)[-1] == "worker 1: last words"
        with capturedLogs() as events:
            reactor.processes[1].protocol.childDataReceived(2, b"x" * 2_000_000)
        assert len(events) == 1


class TestMaking:
    """From settings."""

    def made(self, folder: Path, **said: str) -> Supervisor:
        values: dict[str, Any] = {
            key: read_value(BY_NAME[key.replace("_", "-")], text, key) for key, text in said.items()
        }
        values.setdefault("listen", ANY_PORT)
        for key in {"listen", "tls_certificate"} & values.keys():
            values[key] = (values[key],)
        return make_supervisor(resolve({**values, "workers": 3, "state": folder / "state"}, {}))

    def test_nothing_is_made_before(self, tmp_path: Path) -> None:
        """Folders and the self-signed certificate are the workers' business, who are not root."""
        supervisor = self.made(tmp_path)
        assert not (tmp_path / "state").exists()
        assert supervisor._identities == ()
        assert supervisor.sockets == []

    def test_a_key_that_only_root_may_read(self, tmp_path: Path) -> None:
        """It is read before, and workers are given it."""
        issued = make_identity(["localhost"])
        path = write_pem(tmp_path / "id.pem", issued.certificate, issued.private_key)
        supervisor = self.made(tmp_path, tls_certificate=str(path))
        assert supervisor._identities == ((issued.identity.pem, str(path)),)

    def test_other_endpoints(self, tmp_path: Path) -> None:
        """UNIX sockets and those of plug-ins cannot be shared."""
        line = r"--listen unix:/x: --workers can serve tcp: and tcp6: only"
        with pytest.raises(ConfigurationError, match=line):
            self.made(tmp_path, listen="unix:/x")

    def test_mistakes_are_found(self, tmp_path: Path) -> None:
        """Here, and not in a worker."""
        with pytest.raises(ConfigurationError, match="no such handler"):
            self.made(tmp_path, handler="nope")

    def test_the_reactor_is_named(self) -> None:
        """Workers run the same one."""
        told = json.loads(task(configured(), Share(1, 2, ()), Reactor())[4:])
        assert told["reactor"] == __name__


class TestSecondReview:
    """What somebody broke."""

    def test_a_worker_that_never_works_is_tried_for_ever(
        self, reactor: Reactor, started: Supervisor
    ) -> None:
        """Also when it has died a thousand times: the database may be back tomorrow."""
        started._early_deaths[1] = 5000
        reactor.processes[0].ends(1)
        reactor.advance(LONGEST_DELAY_SECONDS)
        assert len(reactor.processes) == 3

    def test_heirs_of_a_failed_start_are_not_waited_for(
        self, reactor: Reactor, started: Supervisor
    ) -> None:
        """What a handler's module has started may hold the outputs open for hours."""
        reactor.processes[0].ends(1)
        reactor.advance(0)
        failed = reactor.processes[2]
        failed.exits(1)
        assert len(reactor.processes) == 3
        reactor.advance(HEIRS_SECONDS)
        reactor.advance(1)
        assert len(reactor.processes) == 4

    def test_a_second_stop_reaches_the_workers(self, reactor: Reactor, started: Supervisor) -> None:
        """Whoever asks twice is not kept waiting (P50)."""
        done = started.stopService()
        started.cut()
        assert [process.words for process in reactor.processes] == [[b"stop", b"cut"]] * 2
        reactor.processes[0].ends()
        started.cut()
        reactor.processes[1].ends()
        assert done.called
        assert [process.words[2:] for process in reactor.processes] == [[], [b"cut"]]
