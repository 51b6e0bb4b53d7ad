"""SmtpService: ports that take mail, as one more service of a Twisted application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb.engine import Settings
from smtpcb.server._direct import at_once, is_supported
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._families import for_ipv6_alone, ports_of_both_families
from smtpcb.server._port import PatientPort
from smtpcb.server._preface import behind_prefaces
from smtpcb.server._proxied import refuse_proxied
from smtpcb.server._tls_layer import close_halves
from smtpcb.server._unix import tidy
from smtpcb.smtp._networks import Networks

_log = Logger(namespace="smtpcb.server")

Endpoint = IStreamServerEndpoint | str

SMTP_PORT = 25
NEVER_THERE = "LMTP is never spoken on port 25 (RFC 2033 §5)"


class SmtpService(Service):
    """
    Listens while it runs; it composes with other services as any `IService` does.

    It starts and stops what belongs to a server: a handler that is a service itself, transcripts,
    and certificates, which are read again on SIGHUP, when their files change, and once a day.

    Ports are bound in `privilegedStartService`, where twistd still has the rights for port 25, or
    in `startService`.  One that cannot be bound raises there, and none is left bound; nor is port
    25 where LMTP is spoken (RFC 2033 §5: never).

    :param endpoints: one or several, or their descriptions, such as ``"tcp:25"``; of a port that
        is described for both families, ``tcp:`` and ``tcp6:``, each takes its own clients;
        `twisted.internet.endpoints.wrapServerTLS` makes implicit TLS of one.
    :param factory: of all connections, over all endpoints.  Several services may share it.
    :param settings: how dialogues on these ports are led, where that is not as the factory says:
        a login required on port 587 and not on 25, LMTP spoken at a socket.  See
        `SmtpServerFactory.doorway`.
    :param direct: send each reply at once, where the endpoint is one of TCP.
    :param proxy_from: who speaks the PROXY protocol (v1, v2) before anything else, TLS included:
        networks such as ``"10.0.0.0/8"``, addresses, ``"unix"`` for UNIX sockets.  Nobody else is
        let in then.  Empty: nobody speaks it.
    :raises TypeError: something is no endpoint, or no factory.
    :raises ValueError: a description means nothing, there is no endpoint at all, or no network is
        named by ``proxy_from``.
    :ivar ports: what is bound, in the order of the endpoints: ``service.ports[0].getHost()``.
    """

    def __init__(
        self,
        endpoints: Endpoint | Sequence[Endpoint],
        factory: SmtpServerFactory,
        settings: Settings | None = None,
        *,
        direct: bool = True,
        proxy_from: Sequence[str] = (),
    ) -> None:
        if not isinstance(factory, SmtpServerFactory):
            raise TypeError(f"factory is a SmtpServerFactory, not {type(factory).__name__}")
        if not isinstance(direct, bool):
            raise TypeError(f"direct is True or False, not {type(direct).__name__}")
        several: Sequence[Any] = [endpoints]
        if isinstance(endpoints, Sequence) and not isinstance(endpoints, (str, bytes)):
            several = endpoints
        both = ports_of_both_families([one for one in several if isinstance(one, str)])
        self._endpoints = [_endpoint(one, factory.reactor, both, direct=direct) for one in several]
        if not self._endpoints:
            raise ValueError("endpoints is empty: a service that listens nowhere")
        #: Who speaks the PROXY protocol.
        self.balancers = _networks(proxy_from)
        self.factory = factory
        #: The connections of this service.
        self.doorway = factory.doorway(settings)
        self.ports: list[IListeningPort] = []
        self._bound = False
        self._opening: list[Deferred[Any]] = []

    def privilegedStartService(self) -> None:
        """Bind the ports."""
        self._bind()
        super().privilegedStartService()

    def startService(self) -> None:
        """
        Bind the ports, start what the handler and the transcripts are, and take connections.

        What the handler raises when it starts is raised, and no port is left bound.
        """
        if self.running:
            return
        self.doorway.resume()
        # Nobody is let in before the reactor has its turn.
        self._bind()
        try:
            self.factory.begin()
        except BaseException:
            self._unbind()  # no client has been taken yet
            raise
        super().startService()

    @inlineCallbacks
    def stopService(self) -> Any:
        """
        Stop listening, let transactions finish, and close (RFC 5321 §3.8).

        :return: fires when the last connection is gone, ``grace_seconds`` later at most, and the
            handler has stopped.  A second call cuts the connections at once.
        """
        again = not self.running
        super().stopService()
        closed = self._unbind()
        gone = self.doorway.drain()
        if again:
            self.cut()
        everything: list[Deferred[Any]] = [*closed, gone]
        yield gatherResults(everything, consumeErrors=True)
        if not again:
            yield self.factory.end()

    def cut(self) -> None:
        """End all connections now; somebody does not want to wait."""
        self.doorway.cut()

    def reload(self) -> Deferred[None]:
        """
        Read keys and certificates again; a pair that is broken leaves the old one in force.

        :return: fires when that is done.
        """
        return self.factory.reloads.now()

    def _bind(self) -> None:
        if self._bound:
            return
        self._bound = True
        for endpoint in self._endpoints:
            opening = maybeDeferred(endpoint.listen, self.doorway).addCallback(self._opened)
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
        if self.doorway.settings.lmtp and getattr(port.getHost(), "port", 0) == SMTP_PORT:
            port.stopListening()
            raise ValueError(NEVER_THERE)
        close_halves(port)
        if isinstance(port, PatientPort):
            port.connections = self.factory.everybody.__len__
        self.ports.append(port)
        if self.balancers:
            behind_prefaces(port, self.doorway, self.balancers)

    def _failed(self, failure: Failure) -> None:
        if self._bound:
            _log.failure("cannot listen", failure)


def _networks(proxy_from: Sequence[str]) -> Networks:
    try:
        return Networks(proxy_from)
    except (TypeError, ValueError) as error:
        raise type(error)(f"proxy_from: {error}") from None


def _endpoint(one: Any, reactor: Any, both: set[int], *, direct: bool) -> IStreamServerEndpoint:
    if not isinstance(one, str) and not IStreamServerEndpoint.providedBy(one):
        raise TypeError(f"{type(one).__name__} is no endpoint, and no description of one")
    refuse_proxied(one)
    if isinstance(one, str) and isinstance(reactor, PosixReactorBase):
        opening = for_ipv6_alone(one, both, reactor, direct=direct and is_supported())
        if opening is not reactor:
            alone: IStreamServerEndpoint = serverFromString(opening, one)
            return alone
    if direct:
        return tidy(at_once(one, reactor))
    endpoint: IStreamServerEndpoint = one
    if isinstance(one, str):
        endpoint = serverFromString(reactor, one)
    return tidy(endpoint)
