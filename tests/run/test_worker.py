"""One of several processes: what it is told, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import pytest_twisted
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, eventFromJSON, formatEvent
from twisted.python.failure import Failure

from smtpcb._ending import LAST_WORDS_SECONDS, STOP_SECONDS
from smtpcb.run._server import ServerService
from smtpcb.run._sockets import SocketReactor
from smtpcb.run.build import Share, make_service
from smtpcb.run.build import _endpoints as endpoints_module
from smtpcb.run.build import _service as service_module
from smtpcb.run.options import BY_NAME, Configuration, read_value, resolve
from smtpcb.run.workers import _worker as worker
from smtpcb.run.workers._reporter import MOST_OCTETS, Reporter
from smtpcb.run.workers._task import task, understood
from smtpcb.run.workers._words import CUT, RELOAD, STOP
from smtpcb.run.workers._worker import Orders, listen_to, read_task, serve
from smtpcb.server._port import SharedDirectPort, SharedPort
from smtpcb.tls import IdentityError, self_signed
from tests.certificates import make_identity, write_pem
from tests.running import ANY_PORT


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends to read and to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def lines_of(descriptor: int) -> list[bytes]:
    """Return what has been written into a pipe."""
    os.set_blocking(descriptor, False)
    return os.read(descriptor, 1_000_000).split(b"\n")[:-1]


def reported(pipe: tuple[int, int], *events: LogEvent) -> list[bytes]:
    """Return the lines that a reporter makes of events."""
    reporter = Reporter(pipe[1])
    for event in events:
        reporter(event)
    reporter.close(10.0)
    return lines_of(pipe[0])


def configured(folder: Path, **said: str) -> Configuration:
    """Return settings for two workers."""
    values: dict[str, Any] = {
        key: (value,) if BY_NAME[key.replace("_", "-")].many else value
        for key, text in said.items()
        for value in [read_value(BY_NAME[key.replace("_", "-")], text, key)]
    }
    return resolve({"listen": (ANY_PORT,), "workers": 2, "state": folder, **values}, {})


Shared = Callable[[], tuple[int, int]]


@pytest.fixture
def shared() -> Iterator[Shared]:
    """Make descriptors that listen, as a worker inherits them."""
    opened = []

    def open_one() -> tuple[int, int]:
        one = SocketReactor().listenTCP(0, None, 5, "127.0.0.1").socket
        opened.append(one)
        # Who adopts it closes it.
        return os.dup(one.fileno()), int(one.family)

    yield open_one
    for one in opened:
        one.close()


class Nothing:
    def message(self, envelope: object) -> None:
        pass


class Reactor(Clock):
    """It runs once, for as long as the test has something to do."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile = meanwhile
        self.first: list[Callable[[], object]] = []
        self.last: list[Callable[[], object]] = []
        self.stopped = 0

    def addSystemEventTrigger(self, phase: str, event: str, function: Any) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.last.append(function)

    def callWhenRunning(self, function: Any) -> None:
        self.first.append(function)

    def callFromThread(self, function: Any, *arguments: object) -> None:
        function(*arguments)

    def adoptStreamPort(self, *_: object) -> object:
        raise AssertionError("it is shared")

    def addReader(self, port: object) -> None:
        pass

    removeReader = removeWriter = addReader

    def run(self) -> None:
        for function in self.first:
            function()
        self._meanwhile()
        for function in self.last:
            function()
        self.advance(0)

    def stop(self) -> None:
        self.stopped += 1
        if self.stopped > 1:
            raise ReactorNotRunning


def tell(configuration: Configuration, share: Share) -> dict[str, Any]:
    """What a worker reads."""
    told: dict[str, Any] = json.loads(task(configuration, share, object())[4:])
    return told


class TestTask:
    """Read from standard input."""

    def test_in_pieces(self, pipe: tuple[int, int], tmp_path: Path) -> None:
        """What the supervisor wrote is what is read, and the pipe stays open."""
        identities = ((b"-----BEGIN", "a.pem"), (b"-----END", "b.pem"))
        configuration, share = configured(tmp_path), Share(1, 2, ((3, 2),), identities)
        os.write(pipe[1], task(configuration, share, object()))
        got = read_task(pipe[0])
        assert got is not None
        assert understood(got) == (configuration, share)
        os.fstat(pipe[0])

    @pytest.mark.parametrize("said", [b"", b"\0\0", b"\0\0\0\x09half"])
    def test_a_supervisor_that_is_gone(self, pipe: tuple[int, int], said: bytes) -> None:
        """Nothing is to be done."""
        os.write(pipe[1], said)
        os.close(pipe[1])
        assert read_task(pipe[0]) is None


class TestReporter:
    """Every event is one line."""

    def test_events(self, pipe: tuple[int, int]) -> None:
        """Whatever is in their text."""
        [line] = reported(pipe, {"log_format": "a\n{b}", "b": "c\n", "log_level": LogLevel.info})
        event = eventFromJSON(line.decode())
        assert formatEvent(event) == "a\nc\n"
        assert event["log_level"] is LogLevel.info

    def test_what_json_cannot_say(self, pipe: tuple[int, int]) -> None:
        """Its text goes through."""
        circle: list[object] = []
        circle.append(circle)
        event: LogEvent = {"log_format": "round {circle}", "circle": circle, "log_time": 1.0}
        [line] = reported(pipe, event)
        got = eventFromJSON(line.decode())
        assert formatEvent(got) == "round [[...]]"
        assert got["log_time"] == 1.0

    def test_failures(self, pipe: tuple[int, int]) -> None:
        """They have their traceback, and what the error says."""
        event: LogEvent = {"log_format": "oh, {who}", "who": "dear", "log_level": LogLevel.critical}
        try:
            raise KeyError("what")
        except KeyError:
            event["log_failure"] = Failure()
        [line] = reported(pipe, event)
        got = eventFromJSON(line.decode())
        text = formatEvent(got)
        assert text.startswith("oh, dear\nTraceback (most recent call last):\n")
        assert "KeyError: 'what'" in text
        assert got["log_level"] is LogLevel.critical

    def test_nobody_listens(self, pipe: tuple[int, int]) -> None:
        """The supervisor has been killed; we end well all the same."""
        os.close(pipe[0])
        reporter = Reporter(pipe[1])
        reporter.say(b"hello")
        reporter.close(10.0)
        assert not reporter._thread.is_alive()

    def test_a_supervisor_that_does_not_read(self, pipe: tuple[int, int]) -> None:
        """Nobody waits for it: what is too much is dropped, counted, and told of later."""
        reporter = Reporter(pipe[1])
        event: LogEvent = {"log_format": "x" * 10_000}
        count = 0
        # This would block if it waited: the pipe holds 64 KiB.
        while not reporter._dropped:
            reporter(event)
            count += 1
        reporter(event)
        reporter.say(b"ready")
        assert 100 <= count <= (MOST_OCTETS + 200_000) // 10_000
        seen = b""

        def read() -> None:
            nonlocal seen
            while piece := os.read(pipe[0], 65536):
                seen += piece

        reading = threading.Thread(target=read)
        reading.start()
        reporter.close(10.0)
        os.close(pipe[1])
        reading.join(10.0)
        lines = seen.splitlines()
        lines.remove(b"ready")
        texts = [formatEvent(eventFromJSON(line.decode())) for line in lines]
        dropped = [int(text.split()[0]) for text in texts if "were dropped" in text]
        assert sum(dropped) > 0
        assert sum(dropped) + len(texts) - len(dropped) == count + 1

    def test_it_goes_on_when_somebody_reads_again(self, pipe: tuple[int, int]) -> None:
        """The next event that there is room for comes behind the number of the dropped ones."""
        reporter = Reporter(pipe[1])
        with reporter._changed:
            reporter._lines.append(b"x\n")
            reporter._octets = MOST_OCTETS
            reporter({"log_format": "dropped"})
            reporter._octets = 2
            reporter({"log_format": "kept"})
        reporter.close(10.0)
        assert [formatEvent(eventFromJSON(line.decode())) for line in lines_of(pipe[0])[1:]] == [
            "1 log events were dropped: twistd's process did not read them",
            "kept",
        ]

    def test_its_end_is_not_waited_for_without_end(self, pipe: tuple[int, int]) -> None:
        """A worker ends, whether its last words are read or not."""
        reporter = Reporter(pipe[1])
        reporter.say(b"x" * 200_000)
        reporter.close(0.01)
        assert reporter._thread.is_alive()
        reporter._descriptor = -1


class TestWords:
    """What the supervisor says while a worker is at work."""

    def heard(
        self, monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int], *said: bytes
    ) -> list[object]:
        """Return what becomes of what is said before the supervisor is gone."""
        happened: list[object] = []

        class Timer:
            def __init__(self, seconds: float, function: object, arguments: list[int]) -> None:
                assert function is os._exit
                self.watches = ("watched for", seconds, *arguments)

            def start(self) -> None:
                assert self.daemon
                happened.append(self.watches)

        monkeypatch.setattr(worker, "Timer", Timer)
        for octets in said:
            os.write(pipe[1], octets)
        os.close(pipe[1])
        listen_to(pipe[0], happened.append, 35.0)
        return happened

    def test_it_ends_with_the_supervisor(
        self, monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]
    ) -> None:
        """It is asked to, and made to when it does not."""
        assert self.heard(monkeypatch, pipe) == [("watched for", 35.0, 1), STOP]

    def test_each_is_heard(self, monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]) -> None:
        """However they are cut; one stop is watched, and it is none to go on listening."""
        heard = self.heard(monkeypatch, pipe, b"reload\nst", b"op\ncut\n")
        assert heard == [RELOAD, ("watched for", 35.0, 1), STOP, CUT, STOP]

    def test_a_pipe_that_somebody_has_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A handler that closes descriptors of others ends the process, but in order."""
        monkeypatch.setattr(worker, "Timer", lambda *_: Mock())
        heard: list[bytes] = []
        listen_to(-1, heard.append, 1.0)
        assert heard == [STOP]

    def test_all_stops_are_one(self) -> None:
        """Systemd sends SIGTERM to all processes, and the supervisor says so too."""
        reactor = Reactor(lambda: None)
        orders = Orders(reactor)
        orders.heed(STOP)
        orders.heed(STOP)
        assert reactor.stopped == 2

    def test_what_is_not_known(self) -> None:
        """A word from a newer version, or one that comes too early, does nothing."""
        reactor = Reactor(lambda: None)
        Orders(reactor).heed(b"dance")
        assert reactor.stopped == 0


class TestServing:
    """From the task to the exit status."""

    def test_it_says_that_it_is_ready(
        self,
        pipe: tuple[int, int],
        tmp_path: Path,
        shared: Shared,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """When it listens; SIGTERM then stops it, as often as it comes, and cuts nobody."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        said: list[bytes] = []

        def meanwhile() -> None:
            reporter.close(10.0)
            said.extend(lines_of(pipe[0]))
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGHUP)
            orders.heed(RELOAD)
            assert happened == ["reload"]
            orders.heed(CUT)
            assert happened == ["reload", "cut"]

        happened: list[str] = []
        kind = ServerService
        monkeypatch.setattr(kind, "reload", lambda self: happened.append("reload"))
        monkeypatch.setattr(kind, "cut", lambda self: happened.append("cut"))
        reactor = Reactor(meanwhile)
        orders = Orders(reactor)
        handler = f"python:{__name__}.Nothing"
        told = tell(configured(tmp_path, handler=handler), Share(2, 2, (shared(),)))
        reporter = Reporter(pipe[1])
        try:
            assert serve(told, reactor, reporter, orders) == 0
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert said[-1] == b"ready"
        assert reactor.stopped == 2
        assert not reactor.getDelayedCalls()

    def test_a_mistake(self, pipe: tuple[int, int], tmp_path: Path) -> None:
        """It is one line, without a traceback."""
        told = tell(configured(tmp_path, handler="python:no_such_module.X"), Share(1, 2, ()))
        reactor, reporter = Reactor(lambda: None), Reporter(pipe[1])
        assert serve(told, reactor, reporter, Orders(reactor)) == 1
        reporter.close(10.0)
        [line] = lines_of(pipe[0])
        assert line.startswith(b"failed --handler python:no_such_module.X: cannot import")

    def test_what_nobody_foresaw(
        self,
        pipe: tuple[int, int],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        clean_reactor: list[LogEvent],
    ) -> None:
        """It is one line too, and logged with its traceback."""
        monkeypatch.setattr("smtpcb.run.build.make_service", lambda *_, **__: [][0])
        told = tell(configured(tmp_path), Share(1, 2, ()))
        reactor, reporter = Reactor(lambda: None), Reporter(pipe[1])
        assert serve(told, reactor, reporter, Orders(reactor)) == 1
        reporter.close(10.0)
        assert lines_of(pipe[0]) == [b"failed IndexError: list index out of range"]
        [event] = clean_reactor
        assert isinstance(event["log_failure"], Failure)
        clean_reactor.clear()


class TestMain:
    """The process, but for its descriptors."""

    def test_nobody_tells_it_anything(self) -> None:
        """Then nothing is done, and nothing said."""
        command = [sys.executable, "-P", "-m", "smtpcb.run.workers", "1"]
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=20
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")

    def test_all_of_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Shared
    ) -> None:
        """The parts are put together in the right order."""
        from twisted.internet import reactor

        happened: list[Any] = []
        told = tell(configured(tmp_path, grace_seconds="2"), Share(1, 2, (shared(),)))
        told |= {"path": ["/somewhere", *sys.path], "reactor": "no.such.reactor"}
        descriptor = told["share"][2][0][0]
        os.set_inheritable(descriptor, True)
        for name in ("signal", "dup", "dup2", "set_blocking"):
            owner = worker.signal if name == "signal" else worker.os
            monkeypatch.setattr(owner, name, lambda *said, name=name: happened.append((name, said)))
        monkeypatch.setattr(worker, "read_task", lambda descriptor: told)
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setattr(
            worker.globalLogBeginner, "beginLoggingTo", lambda observers: happened.append("log")
        )
        monkeypatch.setattr(worker, "Reporter", lambda descriptor: reporter)
        monkeypatch.setattr(worker, "serve", lambda *said: 7 if said[:2] == (told, reactor) else 8)
        reporter = Mock()

        class Thread:
            def __init__(self, target: Any, args: Any, daemon: bool) -> None:
                assert target is listen_to
                assert daemon
                _, self.heed, self.seconds = args

            def start(self) -> None:
                assert isinstance(self.heed.__self__, Orders)
                assert self.seconds > 2 + STOP_SECONDS  # later than the supervisor kills
                happened.append("listens")

        monkeypatch.setattr(worker, "Thread", Thread)
        with pytest.raises(SystemExit) as caught:
            worker.main()
        assert caught.value.code == 7
        reporter.close.assert_called_once_with(LAST_WORDS_SECONDS)
        assert sys.path[0] == "/somewhere"
        assert happened[:2] == [
            ("signal", (signal.SIGINT, signal.SIG_IGN)),
            ("signal", (signal.SIGHUP, signal.SIG_IGN)),
        ]
        assert happened[-3:] == [("set_blocking", (2, False)), "log", "listens"]
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)


class TestShare:
    """What is different in a worker's service."""

    def made(self, folder: Path, number: int = 1, **said: str) -> Any:
        identity = self_signed(folder, "localhost")
        share = Share(number, 2, ((3, 2),), ((identity.pem, identity.source),))
        configuration = configured(folder, **said)
        return make_service(configuration, share=share)

    @pytest_twisted.ensureDeferred
    async def test_ports(self, tmp_path: Path, shared: Shared) -> None:
        """They take one connection a turn; those in clear write at once, unless told otherwise."""
        kinds = []
        for direct in (True, False):
            configuration = configured(tmp_path)
            values = {**configuration.values, "smtps": (ANY_PORT,), "no_direct_writes": not direct}
            share = Share(2, 2, (shared(), shared()))
            service = make_service(Configuration(values), share=share)
            service.privilegedStartService()
            kinds.append([type(port) for port in service.smtp.ports])
            await service.stopService()
        assert kinds == [[SharedDirectPort, SharedPort], [SharedPort, SharedPort]]

    def test_a_stop_that_does_not_wait(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All sessions end."""
        service = self.made(tmp_path)
        happened: list[str] = []
        monkeypatch.setattr(service.smtp, "cut", lambda: happened.append("cut"))
        service.cut()
        assert happened == ["cut"]

    def test_what_must_be_known_before_mail(self, tmp_path: Path) -> None:
        """`--require-auth` and `--require-tls` are settings of the same names."""
        configuration = configured(tmp_path)
        for name in ("require_auth", "require_tls"):
            values = {**configuration.values, name: True}
            share = Share(1, 2, ((3, 2),))
            settings = make_service(Configuration(values), share=share).smtp.factory.settings
            assert getattr(settings, name) is True
            assert settings.require_auth != settings.require_tls

    def test_another_twisted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where its ports are not as we know them, they are taken as they are."""
        from twisted.internet import reactor

        for module in (endpoints_module, service_module):
            monkeypatch.setattr(module, "is_supported", lambda: False)
        [endpoint] = self.made(tmp_path).smtp._endpoints
        assert endpoint.reactor is reactor

    @pytest.mark.parametrize(
        ("said", "expected"), [("5", 3), ("4", 2), ("1", 1), ("0", 0), ("none", None)]
    )
    def test_most_connections(self, tmp_path: Path, said: str, expected: int | None) -> None:
        """A worker has its share of them, rounded up."""
        service = self.made(tmp_path, connections=said)
        assert service.smtp.factory.settings.limits.connections == expected

    def test_all_record_and_none_reports(self, tmp_path: Path) -> None:
        """Each writes transcripts and clears up; the supervisor says where, once."""
        services = [self.made(tmp_path, number) for number in (1, 2)]
        assert all(service.smtp.factory.transcripts is not None for service in services)
        assert [service.announcement for service in services] == [None, None]

    def test_connections_say_whose_they_are(self, tmp_path: Path) -> None:
        """Handlers can tell that there are several processes."""
        protocol = self.made(tmp_path, 2).smtp.factory.buildProtocol(None)
        assert protocol.connection.worker == 2

    def test_a_certificate_that_cannot_be_read(self, tmp_path: Path) -> None:
        """The one that the supervisor has read is used; a reload says that it cannot."""
        issued = make_identity(["localhost"])
        path = write_pem(tmp_path / "id.pem", issued.certificate, issued.private_key)
        path.write_text("being written")
        service = self.made(tmp_path, tls_certificate=str(path))
        assert service.identities == (self_signed(tmp_path, "localhost"),)
        with pytest.raises(IdentityError):
            service.smtp.factory.tls.reload()
        write_pem(path, issued.certificate, issued.private_key)
        service.smtp.factory.tls.reload()
