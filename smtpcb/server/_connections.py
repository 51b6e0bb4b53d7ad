"""The connections of one service, how their dialogues are led, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

if TYPE_CHECKING:
    from smtpcb.engine import Settings
    from smtpcb.handling._known import Known
    from smtpcb.server._factory import SmtpServerFactory
    from smtpcb.server._preface import Preface
    from smtpcb.server._protocol import SmtpServerProtocol


class Doorway(Factory):
    """
    A factory for the ports of one service; several services may share a server.

    `SmtpServerFactory.doorway` makes it.

    :param server: makes the protocols.
    :param settings: how the dialogues of these connections are led.
    :param known: what is known of the server's handlers, where dialogues are led so.
    :ivar protocols: the connections that are there, or whose handlers are still at work.
    """

    noisy = False

    def __init__(self, server: SmtpServerFactory, settings: Settings, known: Known) -> None:
        self.server = server
        self.settings = settings
        self.known = known
        self.idle_seconds = settings.limits.idle_seconds
        # Ordered: the oldest first.
        self.protocols: dict[SmtpServerProtocol | Preface, None] = {}
        self.stopping = False
        self._all_gone: list[Deferred[None]] = []

    def logPrefix(self) -> str:
        """Return what Twisted calls us when it logs that a port is open."""
        return "SMTP"

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Return the protocol of a new connection; one that is too many is told so and closed."""
        return self.server.protocol_for(addr, self)

    def concluded(self, protocol: SmtpServerProtocol | Preface) -> None:
        """Forget a connection.  Its protocol says so when its handler has heard all."""
        if self.protocols.pop(protocol, self) is self or self.protocols:
            return
        waiting, self._all_gone = self._all_gone, []
        for gone in waiting:
            gone.callback(None)

    def drain(self) -> Deferred[None]:
        """
        End all connections: let transactions finish, then 421 (RFC 5321 §3.8).

        :return: fires when the last one is gone.  What is not, after ``grace_seconds``, is cut.
        """
        self.stopping = True
        gone: Deferred[None] = Deferred()
        if not self.protocols:
            gone.callback(None)
            return gone
        self._all_gone.append(gone)
        gone.addCallback(self._cut_after(self.server.settings.limits.grace_seconds))
        for protocol in list(self.protocols):
            protocol.shut_down()
        return gone

    def _cut_after(self, grace_seconds: float) -> Callable[[object], None]:
        """Cut what is still there when the time is over; return what stops that."""
        reactor: Any = self.server.reactor
        end = self.server.seconds() + grace_seconds
        timer: Any = None

        def look() -> None:
            nonlocal timer
            # The reactor's timers follow the wall clock, which jumps.
            left = end - self.server.seconds()
            if left > 0:
                timer = reactor.callLater(left, look)
            else:
                timer = None
                self.cut()

        def stop(_: object) -> None:
            if timer is not None:
                timer.cancel()

        timer = reactor.callLater(grace_seconds, look)
        return stop

    def cut(self) -> None:
        """End all connections now."""
        for protocol in list(self.protocols):
            protocol.cut_short()

    def resume(self) -> None:
        """Take connections again after `drain`."""
        self.stopping = False
