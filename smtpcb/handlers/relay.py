"""
Pass every message on to another server while its client waits: a gateway without a queue.

Sender and recipients are asked there before they are answered here, the content streams through,
and the last reply there is the last reply here: nothing is accepted that was not accepted there, so
there is nothing to lose.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from zope.interface import implementer

from smtpcb.client import (
    ClientTimes,
    ContentError,
    Feed,
    Needs,
    NoSession,
    Outgoing,
    Server,
    open_session,
)
from smtpcb.client._protocol import ClientProtocol, GiveCredentials, nobody
from smtpcb.engine import Cause, ClientFailure, ClientSettings, Destination, Reason, Transaction
from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._received import received_header
from smtpcb.handlers._undemanding import Undemanding
from smtpcb.interfaces import ISmtpHandlerFactory, ISmtpHandlerPlugin, ISmtpHandlerSetting
from smtpcb.smtp import BodyType, MailParameters, Reply

__all__ = ["Relay", "RelayPlugin"]

MOST_HOPS = 100
"""More trace fields than that are a loop (RFC 5321 §6.3)."""

_LATER = Reply(451, "4.4.1", "The next server cannot be reached now, try again later")
_LOST = Reply(451, "4.4.2", "The next server has not answered, try again later")
_LOOP = Reply(554, "5.4.6", "Too many hops: the message goes in circles")
_NOT_THERE = {
    Cause.LACKING: Reply(554, "5.6.3", "The next server does not take such a message"),
    Cause.LIMIT: Reply(452, "4.5.3", "The next server takes no more, try again later"),
}


@implementer(ISmtpHandlerFactory)
class Relay(Undemanding):
    """
    A handler that passes messages on to a server.

    :param server: where to.
    :param settings: how the dialogue with it is led; by default STARTTLS where it is offered.
    :param give: says who logs in there; see `smtpcb.client.SubmissionSession`.
    :param times: how long it may take; our own client waits all that time.
    :param reactor: by default the one that is installed.
    """

    def __init__(
        self,
        server: Server,
        settings: ClientSettings | None = None,
        *,
        give: GiveCredentials = nobody,
        times: ClientTimes | None = None,
        reactor: Any = None,
    ) -> None:
        self.server = server
        self.settings = settings or ClientSettings(starttls="opportunistic")
        self.give = give
        self.times = times or ClientTimes()
        self._reactor = reactor
        self.report = (f"messages: they go on to {server.name}, and none is kept",)

    @property
    def reactor(self) -> Any:
        """For connections and their timers."""
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        return self._reactor

    def __call__(self, connection: Connection) -> _Relayed:
        """Return what passes on the messages of one client."""
        return _Relayed(self)


class _Relayed:
    """The messages of one client, over a connection that is kept for the next one."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._upstream: ClientProtocol | None = None
        self._transaction: Transaction | None = None
        self._feed: Feed | None = None
        self._sending: Deferred[None] | None = None
        self._hops = 0

    async def mail(self, envelope: Envelope) -> Reply | None:
        """Ask there."""
        said = envelope.parameters
        parameters = MailParameters(size=said.size, body=said.body, smtputf8=said.smtputf8)
        self._hops, self._feed, self._sending = 0, None, None
        for fresh in (False, True):
            upstream = self._upstream
            if upstream is None or upstream.failure is not None or fresh:
                try:
                    upstream = self._upstream = await self._connected()
                except NoSession:
                    return _LATER
                fresh = True
            transaction = self._transaction = Transaction(
                envelope.reverse_path, [], parameters=parameters
            )
            try:
                await upstream.open(transaction)
            except ClientFailure as failure:
                return _NOT_THERE.get(failure.cause, _LATER)
            reply = transaction.mail_reply
            if reply is not None:
                return _passed_on(reply)
            if fresh:
                break  # else it may have been left while it was idle
        return _LATER

    async def rcpt(self, recipient: Recipient, envelope: Envelope) -> Reply | None:
        """Ask there."""
        upstream, _ = self._open()
        destination = Destination(recipient.forward_path)
        try:
            await upstream.add(destination)
        except ClientFailure as failure:
            return _NOT_THERE.get(failure.cause, _LATER)
        return _LATER if destination.rcpt_reply is None else _passed_on(destination.rcpt_reply)

    def data(self, envelope: Envelope) -> None:
        """Begin to pass on the content."""
        upstream, _ = self._open()
        feed = self._feed = Feed()
        said = envelope.parameters
        declared = Needs(said.body or BodyType.SEVEN_BIT, said.smtputf8)
        if declared.body is BodyType.SEVEN_BIT:
            declared = Needs(BodyType.EIGHT_BIT_MIME, said.smtputf8)  # what strangers say is not so
        outgoing = Outgoing(feed, rules=None, declared=declared)
        feed.write(received_header(envelope))
        self._sending = ensureDeferred(upstream.proceed(outgoing))
        self._sending.addErrback(lambda reason: reason.trap(ClientFailure, ContentError))

    def header(self, name: str, value: str, envelope: Envelope) -> Reply | None:
        """Count the hops."""
        if name.lower() == "received":
            self._hops += 1
        return _LOOP if self._hops > MOST_HOPS else None

    def chunk(self, octets: bytes, envelope: Envelope) -> Deferred[None] | None:
        """Pass it on; the client waits until the next server takes more."""
        return None if self._feed is None else self._feed.put(octets)

    async def message(self, envelope: Envelope) -> Reply:
        """Say what is said there."""
        upstream, transaction = self._open()
        assert self._feed is not None
        assert self._sending is not None
        self._feed.end()
        await self._sending
        self._transaction = None
        reply = transaction.final_reply
        if reply is not None:
            return _passed_on(reply) or Reply(250, "2.0.0", " ".join(reply.lines))
        failure = transaction.failure or upstream.failure
        refused = failure is not None and failure.cause is Cause.SOURCE and not failure.temporary
        return Reply(554, "5.6.0", str(failure)) if refused else _LOST

    async def aborted(self, reason: Reason, envelope: Envelope) -> None:
        """Have it come to nothing there too."""
        upstream, self._transaction = self._upstream, None
        if self._feed is not None:
            # There is no way to tell a server so in the midst of it, but to leave.
            self._feed.fail("the client has given it up")
            if self._sending is not None:
                await self._sending
        elif upstream is not None and upstream.failure is None:
            await upstream.drop()

    async def disconnected(self, reason: Reason, connection: Connection) -> None:
        """Leave."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            await upstream.quit()

    async def _connected(self) -> ClientProtocol:
        relay = self._relay
        return await open_session(
            [relay.server],
            relay.settings,
            times=relay.times,
            give=relay.give,
            reactor=relay.reactor,
        )

    def _open(self) -> tuple[ClientProtocol, Transaction]:
        assert self._upstream is not None
        assert self._transaction is not None
        return self._upstream, self._transaction


def _passed_on(reply: Reply) -> Reply | None:
    """Return a refusal as it was said there; None for a yes."""
    if reply.code < 400:
        return None
    return Reply(reply.code, reply.lines, status=reply.status or ...)


@implementer(ISmtpHandlerPlugin)
class RelayPlugin:
    """``--handler relay:HOST[:PORT]``."""

    name = "relay"
    usage = "relay:HOST[:PORT]"
    help = "Passes every message on to a server while the client waits, and keeps none."

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> Relay:
        """
        Return a `Relay`.

        :raises ValueError: it is not said where to.
        """
        host, port = argument, "25"
        if argument.count(":") == 1:  # more are those of an IPv6 address
            host, _, port = argument.partition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("relay:HOST[:PORT] is wanted, such as relay:mail.example.org:25")
        return Relay(Server(host, int(port)), reactor=setting.reactor)


plugin = RelayPlugin()
