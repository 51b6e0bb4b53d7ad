"""
Several processes serve one set of ports; this one looks after them.

It opens the sockets itself, and hands them to each worker at its start: a connection that waits is
taken by whichever worker has time, so one that dies keeps nobody waiting.  They are not Twisted's
own ports, which are shut down when they are closed, for all processes at once.

A worker (`_worker`) reads on its standard input what it is to do, and ends when that is closed: by
us, or by the system because we were killed.  Each line of its standard output is a log
event in JSON, or one of `READY` and `FAILED`; each line of its standard error is what nobody else
caught.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError, ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IStreamServerEndpoint
from twisted.internet.process import reapAllProcesses
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import LogEvent, Logger, LogLevel, eventFromJSON, globalLogPublisher
from twisted.python.failure import Failure

from smtpcb.run._options import Configuration
from smtpcb.run._server import on_second_signal
from smtpcb.run._start import announce, cannot_listen, give_up, one_line
from smtpcb.run.build import Share, endpoints_of, make_service
from smtpcb.tls import Identity

READY = b"ready"
FAILED = b"failed "

FIRST_DESCRIPTOR = 3
# What a worker may take longer than --grace-seconds: a handler's last answers, threads, the disk.
STOP_SECONDS = 5.0
# A worker that has lived so long may die without being thought broken.
HEALTHY_SECONDS = 60.0
LONGEST_DELAY_SECONDS = 60.0
# How long the last words of a worker may take that has ended.
HEIRS_SECONDS = 1.0
_LONGEST_LINE = 1_048_576

_log = Logger(namespace="smtpcb.workers")


class SharedSocket:
    """A socket that listens, and that nobody accepts from in this process."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return where it listens."""
        name = self.socket.getsockname()
        kind = IPv6Address if self.socket.family == socket.AF_INET6 else IPv4Address
        return kind("TCP", *name)


class SocketReactor:
    """A reactor as TCP endpoints see it, which opens sockets and does nothing with them."""

    def listenTCP(
        self, port: int, factory: object, backlog: int = 50, interface: str = ""
    ) -> SharedSocket:
        """
        Open a socket.

        :raises CannotListenError: it cannot be.
        """
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # With the number of the interface that a link-local address is of.
                found = socket.getaddrinfo(interface, port, family, socket.SOCK_STREAM)
                opened.bind(found[0][4])
            else:
                opened.bind((interface, port))
            opened.listen(backlog)
            opened.setblocking(False)
        except OSError as error:
            opened.close()
            raise CannotListenError(interface, port, error) from None
        return SharedSocket(opened)


class Worker(ProcessProtocol):
    """
    One process, from its start to its end.

    :param number: from 1; who takes the place of one that died has the same.
    :param task: what it is to do.
    :ivar pid: of the process, also when that has ended.
    :ivar ready: whether it takes mail.
    :ivar ended: how it ended, once it has.
    :ivar why: what it has said of that.
    :ivar gone: fires when it has ended, and all that it said has been read.
    """

    transport: Any

    def __init__(self, number: int, task: bytes, supervisor: Supervisor) -> None:
        self.number = number
        self.pid: int | None = None
        self.ready = False
        self.ended = ""
        self.why = ""
        self.gone: Deferred[None] = Deferred()
        self._task = task
        self._supervisor = supervisor
        self._rest = {1: b"", 2: b""}
        self._reload = False
        self._told = self._failed = False
        self._heirs: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Say what to do."""
        self.pid = self.transport.pid  # Twisted forgets it when the process has ended
        self.transport.write(self._task)

    def childDataReceived(self, descriptor: int, data: bytes) -> None:
        """Read lines."""
        *lines, rest = (self._rest[descriptor] + data).split(b"\n")
        if len(rest) > _LONGEST_LINE:  # nobody of ours says that
            lines, rest = [*lines, rest], b""
        self._rest[descriptor] = rest
        for line in lines:
            (self._said if descriptor == 1 else self._caught)(line)

    def processExited(self, reason: Failure) -> None:
        """Tell how it ended, at once if it was at work: its heirs may hold its outputs open."""
        value: Any = reason.value
        if isinstance(value, ProcessDone):
            self.ended = "ended"
        elif value.signal is not None:
            self.ended = f"was killed by {signal.Signals(value.signal).name}"
        else:
            self.ended = f"ended with status {value.exitCode}"
        if self.ready:
            self._tell()
        else:
            # It may have said why, in octets that are still on their way; but an heir of its
            # outputs is not waited for.
            self._heirs = self._supervisor.later(HEIRS_SECONDS, self._tell)

    def processEnded(self, reason: Failure) -> None:
        """Tell that nothing more will come; one that never was at work has said why by now."""
        for descriptor in (1, 2):
            if self._rest[descriptor]:
                self.childDataReceived(descriptor, b"\n")
        self._tell()
        self.forget()

    def _tell(self) -> None:
        if self._heirs is not None and self._heirs.active():
            self._heirs.cancel()
        if not self._told:
            self._told = True
            self._supervisor.died(self)

    def forget(self) -> None:
        """Wait for it no longer."""
        if not self.gone.called:
            self.gone.callback(None)

    def reload(self) -> None:
        """Have it read its certificates again: now, or when it can."""
        self._reload = not self.ready
        if self.ready:
            self._signal("HUP")

    def stop(self) -> None:
        """Let it end: no more connections, what is under way is finished."""
        self.transport.closeStdin()

    def hurry(self) -> None:
        """Have it end at once, after `stop`; what is under way is cut."""
        if not self.ended:
            self._signal("TERM")

    def kill(self) -> bool:
        """End it; tell whether it was still there."""
        return not self.ended and self._signal("KILL")

    def _signal(self, name: str) -> bool:
        try:
            self.transport.signalProcess(name)
        except ProcessExitedAlready:
            return False
        return True

    def _said(self, line: bytes) -> None:
        if line == READY:
            if not self.ended:
                self.ready = True
                if self._reload:
                    self.reload()
                self._supervisor.works(self)
        elif line.startswith(FAILED):
            self._failed, self.why = True, line.removeprefix(FAILED).decode(errors="replace")
        else:
            event = _event(line)
            if event is None:
                self._caught(line)
            else:
                level = event.get("log_level")
                name = event.get("log_namespace", "-")
                event.setdefault("log_system", f"{name}#{level.name if level else '-'}")
                event["log_system"] = f"worker {self.number}: {event['log_system']}"
                event["worker"] = self.number
                globalLogPublisher(event)

    def _caught(self, line: bytes) -> None:
        text = line.decode(errors="backslashreplace").rstrip()
        if text:
            if not self.ready and not self._failed:
                self.why = text
            _log.warn("worker {worker}: {text}", worker=self.number, text=text)


def _event(line: bytes) -> LogEvent | None:
    """Return the log event that a worker has sent, or ``None``: it is something else."""
    try:
        event = eventFromJSON(line.decode())
    except Exception:  # the loaders of Twisted raise what they like
        return None
    if not isinstance(event, dict) or not isinstance(event.get("log_level"), _LEVEL_OR_NONE):
        return None
    # Objects of the other process.
    for key in ("log_logger", "log_source"):
        event.pop(key, None)
    return event


_LEVEL_OR_NONE = (type(LogLevel.info), type(None))


class Supervisor(Service):
    """
    Starts the workers, starts again those that die, and stops them.

    :param configuration: what all of them do.
    :param endpoints: made with a `SocketReactor`.
    :param report: what else to say once they are at work.
    :param identity: for workers that cannot read it themselves.
    :param as_root: what else is done while we may still be root.
    :ivar sockets: what is bound, in the order of the endpoints.
    :ivar workers: those that run, by their numbers.
    """

    name = "smtpcb"

    def __init__(
        self,
        reactor: Any,
        configuration: Configuration,
        endpoints: Sequence[IStreamServerEndpoint],
        report: Sequence[str],
        identity: Identity | None = None,
        as_root: Callable[[], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._as_root = as_root
        self._configuration = configuration
        self._endpoints = endpoints
        self._report = report
        self._identity = None if identity is None else (identity.pem, identity.source)
        self.sockets: list[SharedSocket] = []
        self.workers: dict[int, Worker] = {}
        self._starting = False
        self._fault = ""
        self._started: dict[int, float] = {}
        self._early_deaths: Counter[int] = Counter()
        self._restarts: dict[int, Any] = {}
        self._old_signal: Any = None

    def privilegedStartService(self) -> None:
        """
        Bind the ports.

        :raises StartError: one cannot be bound, which has been said.
        """
        super().privilegedStartService()
        if self._as_root is not None:
            self._as_root()
        faults: list[Failure] = []
        for endpoint in self._endpoints:
            opening: Deferred[Any] = endpoint.listen(Factory())
            opening.addCallbacks(self.sockets.append, faults.append)
        if faults:
            self._close()
            error = faults[0].value
            cannot_listen(error if isinstance(error, Exception) else RuntimeError(str(error)))

    def startService(self) -> None:
        """
        Start the workers, and wait until all of them are at work.

        :raises StartError: one could not start, which has been said, and none runs.  Where the
            reactor runs already it is said only.
        """
        if self.running:
            return
        if not self.sockets:
            self.privilegedStartService()
        super().startService()
        self._starting, self._fault = True, ""
        with suppress(ValueError):  # not in the main thread: signals are somebody else's
            self._old_signal = signal.signal(
                signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.reload)
            )
        for number in range(1, self._configuration["workers"] + 1):
            if not self._fault:
                self._start(number)
        if not self._reactor.running:
            # Whoever starts us learns from our exit status whether all went well, and the parent
            # of a daemon learns it too: so this is no moment to return.
            while self._starting:
                self._reactor.iterate(0.05)
                reapAllProcesses()
            if self._fault:
                give_up(self._fault)

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, and have all workers finish what they are at.

        :return: fires when the last one has ended; it is killed if that takes too long.
        """
        super().stopService()
        if self._old_signal is not None:
            signal.signal(signal.SIGHUP, self._old_signal)
            self._old_signal = None
        self._close()
        for restart in self._restarts.values():
            restart.cancel()
        self._restarts.clear()
        workers = list(self.workers.values())
        for worker in workers:
            worker.stop()

        def hurry() -> None:
            for worker in workers:
                worker.hurry()

        before = on_second_signal(self._reactor, hurry)

        def ended(_: object) -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        return gatherResults([self._end_of(worker) for worker in workers]).addCallback(ended)

    def later(self, seconds: float, work: Callable[[], None]) -> IDelayedCall:
        """Do something in a while."""
        call: IDelayedCall = self._reactor.callLater(seconds, work)
        return call

    def reload(self) -> None:
        """Have all workers read their certificates again."""
        for worker in self.workers.values():
            worker.reload()

    def works(self, worker: Worker) -> None:
        """A worker is ready."""
        if not self._starting:
            _log.info(
                "worker {worker} (process {process}) is at work",
                worker=worker.number,
                process=worker.pid,
            )
        elif not self._fault and all(one.ready for one in self.workers.values()):
            self._starting = False
            count = len(self.workers)
            processes = ", ".join(str(one.pid) for one in self.workers.values())
            announce(
                [one.getHost() for one in self.sockets],
                len(self._configuration["listen"]),
                self._report,
                f" by {count} {'workers' if count > 1 else 'worker'} (process {processes})",
            )

    def died(self, worker: Worker) -> None:
        """A worker has ended; another one takes its place, later if this happens often."""
        number = worker.number
        why = f": {worker.why}" if worker.why else ""
        del self.workers[number]
        if self._starting:
            if not self._fault:
                self._fault = f"worker {number} cannot start{why or f': it {worker.ended}'}"
                self.stopService().addCallback(self._given_up)
            return
        if not self.running:
            return
        lived = self._reactor.seconds() - self._started[number]
        if lived >= HEALTHY_SECONDS:
            self._early_deaths[number] = 0
        early = self._early_deaths[number]
        self._early_deaths[number] += 1
        delay = min(LONGEST_DELAY_SECONDS, 2.0 ** min(early - 1, 10)) if early else 0.0
        _log.error(
            "worker {worker} (process {process}) {ended}{why}; it is started again{later}",
            worker=number,
            process=worker.pid,
            ended=worker.ended,
            why=why,
            later=f" in {delay:g} s" if delay else "",
        )
        self._restarts[number] = self._reactor.callLater(delay, self._restart, number)

    def _restart(self, number: int) -> None:
        del self._restarts[number]
        self._start(number)

    def _start(self, number: int) -> None:
        sockets = [one.socket for one in self.sockets]
        share = Share(
            number,
            self._configuration["workers"],
            tuple(
                (descriptor, int(one.family))
                for descriptor, one in enumerate(sockets, FIRST_DESCRIPTOR)
            ),
            self._identity,
        )
        worker = Worker(number, task(self._configuration, share, self._reactor), self)
        self.workers[number] = worker
        self._started[number] = self._reactor.seconds()
        try:
            self._reactor.spawnProcess(
                worker,
                sys.executable,
                # -P: the current folder is no place to look for modules of ours.
                [sys.executable, "-P", "-m", "smtpcb.run.workers", str(number)],
                env=dict(os.environ),
                childFDs={
                    0: "w",
                    1: "r",
                    2: "r",
                    **{at: one.fileno() for at, one in enumerate(sockets, FIRST_DESCRIPTOR)},
                },
            )
        except OSError as error:
            worker.ended, worker.why = "could not be started", one_line(error)
            worker.forget()
            self.died(worker)

    def _end_of(self, worker: Worker) -> Deferred[None]:
        """Return when a worker has ended, which it does."""

        timers: list[Any] = []

        def kill() -> None:
            if worker.kill():
                _log.error(
                    "worker {worker} (process {process}) did not end and is killed",
                    worker=worker.number,
                    process=worker.pid,
                )
            # What it started may hold its outputs open.
            timers.append(self._reactor.callLater(1.0, worker.forget))

        def ended(_: None) -> None:
            for timer in timers:
                if timer.active():
                    timer.cancel()

        grace = self._configuration.limits.grace_seconds
        timers.append(self._reactor.callLater(grace + STOP_SECONDS, kill))
        return worker.gone.addCallback(ended)

    def _given_up(self, _: None) -> None:
        self._starting = False
        if self._reactor.running:
            _log.error("{why}", why=self._fault)

    def _close(self) -> None:
        for one in self.sockets:
            one.socket.close()
        self.sockets.clear()


def task(configuration: Configuration, share: Share, reactor: Any) -> bytes:
    """
    Return what a worker is told: a length, and what `smtpcb.run.workers._worker` reads.

    It goes through a pipe, since everybody on the machine can see command lines, and settings
    may hold passwords.
    """
    identity = None
    if share.identity is not None:
        pem, source = share.identity
        identity = [pem.decode("ascii"), source]
    told = json.dumps(
        {
            "path": sys.path,
            "reactor": type(reactor).__module__,
            "configuration": configuration.as_json(),
            "seconds": configuration.limits.grace_seconds + STOP_SECONDS,
            "share": [share.number, share.workers, share.sockets, identity],
        }
    ).encode()
    return len(told).to_bytes(4, "big") + told


def understood(told: Mapping[str, Any]) -> tuple[Configuration, Share]:
    """Return what `task` was made of."""
    number, workers, sockets, identity = told["share"]
    share = Share(
        number,
        workers,
        tuple((descriptor, family) for descriptor, family in sockets),
        (identity[0].encode("ascii"), identity[1]) if identity is not None else None,
    )
    return Configuration.from_json(told["configuration"]), share


def make_supervisor(
    configuration: Configuration, reactor: Any = None, *, owner: tuple[int, int] | None = None
) -> Supervisor:
    """
    Check everything, as `make_service` does, and build what runs the workers; bind nothing.

    :raises ConfigurationError: a setting is wrong or a file cannot be used; one line says which.
    """
    if reactor is None:
        from twisted.internet import reactor
    # It finds the mistakes, and makes what only root can make, while we may still be root.
    service = make_service(configuration, reactor, owner=owner)
    opening = SocketReactor()
    endpoints = endpoints_of(configuration, opening, opening)
    return Supervisor(
        reactor,
        configuration,
        endpoints,
        service.report or (),
        service.identity,
        service.prepare_as_root,
    )
