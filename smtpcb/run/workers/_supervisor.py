"""
Several processes serve one set of ports; this one looks after them.

It opens the sockets itself, and hands them to each worker at its start: a connection that waits is
taken by whichever worker has time, so one that dies keeps nobody waiting.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IStreamServerEndpoint
from twisted.internet.process import reapAllProcesses
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb._ending import STOP_SECONDS
from smtpcb._hangup import on_hangup
from smtpcb.run._signals import ONE_STOP_SECONDS
from smtpcb.run._sockets import SharedSocket, SocketReactor
from smtpcb.run._start import Announcement, cannot_listen, give_up, one_line
from smtpcb.run.build import Share, endpoints_of, make_service
from smtpcb.run.options import Configuration
from smtpcb.run.workers._process import Worker
from smtpcb.run.workers._task import task
from smtpcb.tls import Identity

FIRST_DESCRIPTOR = 3
# A worker that has lived so long may die without being thought broken.
HEALTHY_SECONDS = 60.0
LONGEST_DELAY_SECONDS = 60.0

_log = Logger(namespace="smtpcb.workers")


class Supervisor(Service):
    """
    Starts the workers, starts again those that die, and stops them.

    :param configuration: what all of them do.
    :param endpoints: made with a `SocketReactor`.
    :param announcement: what to say once they are at work.
    :param identities: for workers that cannot read them themselves.
    :param as_root: what else is done while we may still be root.
    :param now: seconds that only ever go forward; the reactor's follow a clock that may be set.
    :ivar sockets: what is bound, in the order of the endpoints.
    :ivar workers: those that run, by their numbers.
    :ivar log_faults: as for `ServerService`.
    """

    name = "smtpcb"

    def __init__(
        self,
        reactor: Any,
        configuration: Configuration,
        endpoints: Sequence[IStreamServerEndpoint],
        announcement: Announcement,
        identities: Sequence[Identity] = (),
        as_root: Callable[[], None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reactor = reactor
        self._as_root = as_root
        self._now = now
        self._configuration = configuration
        self._endpoints = endpoints
        self._announcement = announcement
        self.log_faults = True
        self._identities = tuple((one.pem, one.source) for one in identities)
        self.sockets: list[SharedSocket] = []
        self.workers: dict[int, Worker] = {}
        self._starting = False
        self._fault = ""
        self._started: dict[int, float] = {}
        self._early_deaths: Counter[int] = Counter()
        self._restarts: dict[int, Any] = {}
        self._give_back_signal: Callable[[], None] | None = None

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
            if not isinstance(error, Exception):
                error = RuntimeError(str(error))
            cannot_listen(error, log=self.log_faults)

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
        self._give_back_signal = on_hangup(self._reactor, self.reload)
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
                give_up(self._fault, log=self.log_faults)

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, and have all workers finish what they are at.

        :return: fires when the last one has ended; it is killed if that takes too long.
        """
        super().stopService()
        self._close()
        for restart in self._restarts.values():
            restart.cancel()
        self._restarts.clear()
        workers = list(self.workers.values())
        for worker in workers:
            worker.stop()
        return gatherResults([self._end_of(worker) for worker in workers]).addCallback(
            self._stopped
        )

    def cut(self) -> None:
        """Have all workers end at once, after `stopService`; what is under way is cut."""
        for worker in self.workers.values():
            worker.cut()

    def _stopped(self, _: object) -> None:
        # Not before: by default SIGHUP would end us while sessions are being finished.
        if self._give_back_signal is not None:
            self._give_back_signal()
            self._give_back_signal = None

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
            self._announcement.make(
                [one.getHost() for one in self.sockets],
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
        lived = self._now() - self._started[number]
        if lived >= HEALTHY_SECONDS:
            self._early_deaths[number] = 0
        early = self._early_deaths[number]
        self._early_deaths[number] += 1
        delay = min(LONGEST_DELAY_SECONDS, 2.0 ** min(early - 1, 10)) if early else 0.0
        if worker.clean:
            # It was asked to end.  If that is a stop of all of us, we hear of it any moment.
            delay = max(delay, ONE_STOP_SECONDS)
        _log.error(
            "worker {worker} (process {process}) {ended}{why}; it is started again{later}",
            worker=number,
            process=worker.pid,
            ended=worker.ended,
            why=why,
            later=f" in {delay:g} s" if delay >= 1 else "",
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
            self._identities,
        )
        worker = Worker(number, task(self._configuration, share, self._reactor), self)
        self.workers[number] = worker
        self._started[number] = self._now()
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
        grace = self._configuration.limits.grace_seconds
        due = self._now() + grace + STOP_SECONDS

        def look() -> None:
            rest = due - self._now()
            if rest > 0:  # it is only that somebody has set the clock
                timers.append(self._reactor.callLater(rest, look))
                return
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

        timers.append(self._reactor.callLater(due - self._now(), look))
        return worker.gone.addCallback(ended)

    def _given_up(self, _: None) -> None:
        self._starting = False
        if self._reactor.running:
            _log.error("{why}", why=self._fault)

    def _close(self) -> None:
        for one in self.sockets:
            one.socket.close()
        self.sockets.clear()


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
    assert service.announcement is not None
    opening = SocketReactor()
    endpoints = endpoints_of(configuration, opening)
    return Supervisor(
        reactor,
        configuration,
        endpoints,
        service.announcement,
        service.identities,
        service.prepare_as_root,
    )
