"""What a client hears where the next server has said nothing, or nothing that can be passed on."""

from __future__ import annotations

from smtpcb.client import NoSession
from smtpcb.client._protocol import ClientProtocol
from smtpcb.engine import Cause, ClientFailure
from smtpcb.smtp import BodyType, MailParameters, Reply

UNREACHABLE = Reply(451, "4.4.1", "The next server cannot be reached now, try again later")
LOST = Reply(451, "4.4.2", "The next server has not answered, try again later")
BUSY = Reply(451, "4.4.5", "The next server has too much to do, try again later")
UNTRUSTED = Reply(451, "4.3.5", "The next server is not set up for us, try again later")
LOOP = Reply(554, "5.4.6", "Too many hops: the message goes in circles")  # RFC 5321 §6.3
DENIED = Reply(550, "5.7.1", "Relaying denied")
NO_DOMAIN = Reply(550, "5.1.2", "A domain is wanted, such as postmaster@example.org")
ONE_DOMAIN = Reply(451, "4.5.3", "One domain at a time: send it to this one again")

NO_8BITMIME = Reply(554, "5.6.3", "The next server does not take 8BITMIME")  # RFC 6152 §3
NO_SMTPUTF8 = Reply(553, "5.6.7", "The next server does not take SMTPUTF8")  # RFC 6531 §3.5
NO_REQUIRETLS = Reply(550, "5.7.30", "The next server does not take REQUIRETLS")  # RFC 8689 §4.2.1
_TOO_BIG = Reply(552, "5.3.4", "The message is too big for the next server")  # RFC 1870 §6.1
_LACKING = Reply(554, "5.6.3", "The next server does not take such a message")
_NO_MORE = Reply(452, "4.5.3", "The next server takes no more, try again later")


def lacking(parameters: MailParameters, upstream: ClientProtocol) -> Reply | None:
    """Return what is said of a message that needs what the next server does not offer."""
    assert upstream.dialogue is not None
    offers = upstream.dialogue.offers
    if parameters.requiretls and not (upstream.is_verified and "REQUIRETLS" in offers):
        return NO_REQUIRETLS
    if parameters.smtputf8 and "SMTPUTF8" not in offers:
        return NO_SMTPUTF8
    if parameters.body is BodyType.EIGHT_BIT_MIME and "8BITMIME" not in offers:
        return NO_8BITMIME
    return None


def not_sent(failure: ClientFailure | NoSession, *, for_good: bool = False) -> Reply:
    """
    Return what is said of a message, or of a recipient, of which nothing was sent there.

    :param for_good: where nobody can be reached, and nobody ever will, say so; else it is taken for
        a fault of ours that somebody will mend.
    """
    if isinstance(failure, NoSession):
        last = failure.failures[-1][1]
        if for_good and not failure.temporary and last.reply is not None:
            return Reply(last.reply.code, last.reply.lines, status=last.reply.status or ...)
        full = any(one.cause is Cause.LIMIT for _, one in failure.failures)
        return BUSY if full else UNREACHABLE
    if failure.cause is Cause.LIMIT:
        return _NO_MORE if failure.temporary else _TOO_BIG
    return _LACKING if failure.cause is Cause.LACKING else LOST


def passed_on(reply: Reply) -> Reply | None:
    """Return a refusal as it was said there; None for a yes."""
    if reply.code < 400:
        return None
    if reply.code == 421:
        # It is their connection that is closed, and not that of our client.
        return Reply(451, reply.lines, status="4.3.2")
    return Reply(reply.code, reply.lines, status=reply.status or ...)


def final(reply: Reply) -> Reply:
    """Return what is said there to a whole message, as it is said here."""
    return passed_on(reply) or Reply(250, reply.lines, status="2.0.0")
