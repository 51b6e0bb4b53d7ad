"""SmtpService: ports that take mail, as one more service of a Twisted application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb.server.factory import SmtpServerFactory

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
        self._bound: Deferred[Any] | None = None

    def privilegedStartService(self) -> None:
        """Bind the ports."""
        super().privilegedStartService()
        self._bind()

    def startService(self) -> None:
        """Bind the ports, if that has not been done, and take connections."""
        super().startService()
        self.factory.resume()
        self._bind()

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, let transactions finish, and close (RFC 5321 §3.8).

        :return: fires when the last connection is gone, ``grace_seconds`` later at most.  A
            second call cuts the connections at once.
        """
        again = not self.running
        super().stopService()
        self._bound = None
        ports, self.ports = self.ports, []
        closed: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in ports]
        gone = self.factory.drain()
        if again:
            self.factory.cut()
        everything: list[Deferred[Any]] = [*closed, gone]
        return gatherResults(everything, consumeErrors=True).addCallback(lambda _: None)

    def _bind(self) -> None:
        if self._bound is not None:
            return
        faults: list[Failure] = []
        waiting = [
            maybeDeferred(endpoint.listen, self.factory).addCallbacks(
                self.ports.append, faults.append
            )
            for endpoint in self._endpoints
        ]
        self._bound = gatherResults(waiting)
        if faults:
            self._bound = None
            ports, self.ports = self.ports, []
            for port in ports:
                port.stopListening()
            faults[0].raiseException()
