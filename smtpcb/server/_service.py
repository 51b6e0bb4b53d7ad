"""SmtpService: ports that take mail, as one more service of a Twisted application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb.server._factory import SmtpServerFactory

_log = Logger(namespace="smtpcb.server")


class SmtpService(Service):
    """
    Listens while it runs; it composes with other services as any `IService` does.

    Ports are bound in `privilegedStartService`, where twistd still has the rights for port 25, or
    in `startService`.  One that cannot be bound raises there, and none is left bound.

    :param endpoints: one or several; `twisted.internet.endpoints.wrapServerTLS` makes implicit TLS
        of one.
    :param factory: of all connections, over all endpoints.
    :ivar ports: what is bound, in the order of the endpoints: ``service.ports[0].getHost()``.
    """

    def __init__(
        self,
        endpoints: IStreamServerEndpoint | Sequence[IStreamServerEndpoint],
        factory: SmtpServerFactory,
    ) -> None:
        self._endpoints = list(endpoints) if isinstance(endpoints, Sequence) else [endpoints]
        self.factory = factory
        self.ports: list[IListeningPort] = []
        self._bound = False
        self._opening: list[Deferred[Any]] = []

    def privilegedStartService(self) -> None:
        """Bind the ports."""
        self._bind()
        super().privilegedStartService()

    def startService(self) -> None:
        """Bind the ports, if that has not been done, and take connections."""
        self.factory.resume()
        self._bind()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, let transactions finish, and close (RFC 5321 §3.8).

        :return: fires when the last connection is gone, ``grace_seconds`` later at most.  A
            second call cuts the connections at once.
        """
        again = not self.running
        super().stopService()
        closed = self._unbind()
        gone = self.factory.drain()
        if again:
            self.factory.cut()
        everything: list[Deferred[Any]] = [*closed, gone]
        return gatherResults(everything, consumeErrors=True).addCallback(lambda _: None)

    def _bind(self) -> None:
        if self._bound:
            return
        self._bound = True
        for endpoint in self._endpoints:
            opening = maybeDeferred(endpoint.listen, self.factory).addCallback(self._opened)
            if opening.called:
                faults: list[Failure] = []
                opening.addErrback(faults.append)
                if faults:
                    self._unbind()
                    faults[0].raiseException()
            else:
                # It takes its time, and when it fails there is nobody to raise it to.
                opening.addErrback(self._failed)
                self._opening.append(opening)

    def _unbind(self) -> list[Deferred[Any]]:
        self._bound = False
        opening, self._opening = self._opening, []
        for one in opening:
            one.cancel()
        ports, self.ports = self.ports, []
        return [maybeDeferred(port.stopListening) for port in ports]

    def _opened(self, port: IListeningPort) -> None:
        self.ports.append(port)

    def _failed(self, failure: Failure) -> None:
        if self._bound:
            _log.failure("cannot listen", failure)
