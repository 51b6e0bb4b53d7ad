"""
One client's messages on their way: what is asked there before it is answered here.

What was taken there for a transaction is given back at its end, whichever that is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectionAborted
from twisted.logger import Logger

from smtpcb.client import ContentError, Feed, Needs, Outgoing
from smtpcb.engine import Cause, ClientFailure, Destination, Envelope, Recipient
from smtpcb.engine._connection import Connection
from smtpcb.engine._reason import Reason
from smtpcb.engine._received import received_header
from smtpcb.engine._replies import BARE_NEWLINE
from smtpcb.handlers.relay import _replies as replies
from smtpcb.handlers.relay._changes import Changes, changeable
from smtpcb.handlers.relay._there import There
from smtpcb.smtp import BodyType, Refusal, Reply
from smtpcb.smtp._header import HeaderReader

if TYPE_CHECKING:
    from smtpcb.handlers.relay._relay import Relay

MOST_HOPS = 100
"""More trace fields than that are a loop (RFC 5321 §6.3)."""
MOST_SECTION_OCTETS = 1_048_576
"""
A header section is held so far, and goes on as it is from there; but not past a filter, which does
not see what follows, while whoever reads the message does.
"""

_AS_IT_COMES = Needs(BodyType.BINARY_MIME)  # what strangers wrote is not judged, but for line ends
_OK = Reply(250, "2.0.0", "Taken")

_log = Logger(namespace="smtpcb.handlers")


class Passing:
    """
    The messages of one client.

    What their senders want is passed on where the next server offers it.  Without DSN and
    MT-PRIORITY a message goes on all the same, as RFC 3461 and RFC 6710 have it.
    """

    extensions = frozenset({"DSN", "MT-PRIORITY", "REQUIRETLS"})

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        # Where a recipient may decide where the message goes, one comes after the other.
        self.concurrent_recipients = not relay.by_domain
        self._there = There(relay)
        self._begin()

    def _begin(self) -> None:
        self._named: list[tuple[Recipient, Destination]] = []
        self._changes = Changes()
        self._more: list[Destination] = []
        self._hops = 0
        self._reader = HeaderReader(MOST_SECTION_OCTETS)
        self._section = bytearray()
        self._feed: Feed | None = None
        self._sending: Deferred[None] | None = None

    # The envelope.

    async def mail(self, envelope: Envelope) -> Reply | None:
        """Ask there."""
        self._begin()
        self._changes = changeable(envelope)
        return None if self._relay.by_domain else await self._there.open(envelope)

    async def rcpt(self, recipient: Recipient, envelope: Envelope) -> Reply | None:
        """Ask there."""
        if self._relay.by_domain:
            refusal = self._relay.refuses(recipient, envelope)
            if refusal is None:
                refusal = await self._go_to(recipient.domain, envelope)
            if refusal is not None:
                return refusal
        destination = Destination(recipient.forward_path, recipient.parameters)
        refusal = await self._there.name(destination)
        if refusal is None:
            self._named.append((recipient, destination))
        return refusal

    async def _go_to(self, domain: str, envelope: Envelope) -> Reply | None:
        """Have a transaction with the servers of a domain."""
        if self._there.transaction is not None and self._there.domain == domain:
            return None
        if self._named:
            return replies.ONE_DOMAIN
        await self._there.drop()
        return await self._there.open(envelope, domain)

    # The content.

    def header(self, name: str, value: str, envelope: Envelope) -> Reply | None:
        """Count the hops."""
        if name.lower() == "received":
            self._hops += 1
        return replies.LOOP if self._hops > MOST_HOPS else None

    def _is_whole(self, octets: bytes) -> bool:
        """
        Take the next octets; return whether the header section has come, and goes on.

        :raises Refusal: it is too long for a filter.
        """
        self._section += octets
        self._reader.sources(octets)
        if self._reader.cut and (self._relay.filter is not None or self._changes):
            raise Refusal(552, "5.3.4", "The header section is too long for the filter here")
        return self._reader.done

    async def _go_on(self, envelope: Envelope) -> None:
        """Begin to send the content, of which the header section has come, and perhaps more."""
        section, self._section = bytes(self._section), bytearray()
        section = self._changes.applied(section)
        self._more = [Destination(one) for one in self._changes.more]
        if self._changes.instead is not None:
            instead = [Destination(one) for one in self._changes.instead]
            await self._redirect(envelope, instead + self._more)
        else:
            if not self._agrees(envelope):
                await self._name_again(envelope)
            for one in self._more:
                await self._require(one)
        feed = self._feed = Feed()
        if self._there.transaction is None:
            await feed.aclose()  # it goes nowhere
            return
        feed.write(received_header(envelope))
        feed.write(section)
        outgoing = Outgoing(feed, rules=None, declared=_AS_IT_COMES, exact=True)
        upstream, _ = self._there.both
        self._sending = ensureDeferred(upstream.proceed(outgoing))
        self._sending.addErrback(lambda reason: reason.trap(ClientFailure, ContentError))
        # The server may have refused DATA: then nobody takes from it what the client still sends.
        self._sending.addCallback(lambda _: ensureDeferred(feed.aclose()))

    def _agrees(self, envelope: Envelope) -> bool:
        """
        Whether it would go to those for whom the client has read 250, and to nobody else.

        Another handler beside this one may have refused somebody whom the next server has taken,
        and so has our own server if the answer took too long.
        """
        return len(self._there.named) == len(self._named) == len(envelope.recipients)

    async def _name_again(self, envelope: Envelope) -> None:
        self._named = [
            (one, Destination(one.forward_path, one.parameters)) for one in envelope.recipients
        ]
        await self._redirect(envelope, [destination for _, destination in self._named])

    async def _redirect(self, envelope: Envelope, destinations: list[Destination]) -> None:
        await self._there.drop()
        if not destinations:
            return
        refusal = await self._there.open(envelope, destinations[0].forward_path.domain)
        if refusal is not None:
            raise _not_as_wanted("sender", refusal)
        for one in destinations:
            await self._require(one)

    async def _require(self, destination: Destination) -> None:
        if self._relay.by_domain and destination.forward_path.domain != self._there.domain:
            refusal: Reply | None = replies.ONE_DOMAIN  # its servers are others
        else:
            refusal = await self._there.name(destination)
        if refusal is not None:
            raise _not_as_wanted(f"recipient <{destination.forward_path}>", refusal)

    async def _ended(self, envelope: Envelope) -> Reply | Mapping[Recipient, Reply]:
        """Send the end of the content; return what is said there."""
        assert self._feed is not None
        if self._there.transaction is None:
            return _OK
        upstream, transaction = self._there.both
        lmtp = self._relay.settings.lmtp
        self._feed.end()
        assert self._sending is not None
        await self._sending
        if lmtp:
            self._look_at_added()
        if lmtp and self._changes.instead is None:
            said = {recipient: _of(one) for recipient, one in self._named}
            return {one: said.get(one, replies.LOST) for one in envelope.recipients}
        reply = transaction.final_reply
        if lmtp:
            reply = max((one.reply for one in transaction.destinations), key=_badness)
        if reply is not None:
            return replies.final(reply)
        failure = transaction.failure or upstream.failure
        refused = failure is not None and failure.cause is Cause.SOURCE and not failure.temporary
        return BARE_NEWLINE if refused else replies.LOST

    def _look_at_added(self) -> None:
        """Tell of those whom a filter has added and who have not got it: the others have."""
        for one in self._more:
            if one.reply is None or one.reply.code >= 300:
                _log.error(
                    "a filter's recipient <{path}> has not got a message: {reply}",
                    path=one.forward_path,
                    reply="no reply" if one.reply is None else one.reply.text,
                )

    # The end.

    async def aborted(self, reason: Reason, envelope: Envelope) -> None:
        """Have it come to nothing there too."""
        if self._feed is None:
            await self._there.drop()
            return
        try:
            # There is no way to tell a server so in the midst of it, but to leave.
            self._feed.fail("the client has given it up")
            if self._sending is not None:
                await self._sending
        finally:
            self._there.give_back()

    def disconnected(self, reason: Reason, connection: Connection) -> None:
        """Leave no session behind."""
        self._there.give_back()


class Streaming(Passing):
    """The content goes on while it comes."""

    def chunk(self, octets: bytes, envelope: Envelope) -> Awaitable[None] | None:
        """Pass it on; the client waits until the next server takes more."""
        if self._feed is not None:
            return _room(self._feed, octets)
        return self._go_on(envelope) if self._is_whole(octets) else None

    async def message(self, envelope: Envelope) -> Reply | Mapping[Recipient, Reply]:
        """Say what is said there."""
        try:
            if self._feed is None:
                await self._go_on(envelope)
            return await self._ended(envelope)
        finally:
            self._there.give_back()


class Holding(Passing):
    """Nothing of a message goes on before a filter has seen all of it."""

    async def message(self, envelope: Envelope) -> Reply | Mapping[Recipient, Reply]:
        """Pass it on, and say what is said there."""
        try:
            pieces = envelope.content.pieces()
            for piece in pieces:
                if self._is_whole(piece):
                    break
            await self._go_on(envelope)
            assert self._feed is not None
            for piece in pieces:
                await _room(self._feed, piece)
            return await self._ended(envelope)
        finally:
            self._there.give_back()


def _room(feed: Feed, octets: bytes) -> Deferred[None]:
    """Write a piece; the Deferred fires when there is room for another one."""
    # Where nobody takes it any more there is an answer already.
    return feed.put(octets).addErrback(lambda reason: reason.trap(ConnectionAborted) and None)


def _of(destination: Destination) -> Reply:
    return replies.LOST if destination.reply is None else replies.final(destination.reply)


def _badness(reply: Reply | None) -> int:
    return 400 if reply is None else reply.code


def _not_as_wanted(whom: str, reply: Reply) -> Refusal:
    """Return what is raised where the next server does not take what a filter has added."""
    _log.error("a filter's {whom} is refused there: {reply}", whom=whom, reply=reply.text)
    return Refusal(451, "4.3.0", "The message cannot be passed on as it has to be, try again later")
