"""How a session begins and ends: greeting, EHLO or what is there instead, STARTTLS, QUIT."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from smtpcb.engine._client._failure import Cause, ClientFailure
from smtpcb.engine._client._login import log_in
from smtpcb.engine._client._offers import Offers
from smtpcb.engine._client._settings import is_hostname
from smtpcb.engine._client._table import ClientStep, Stage
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import upper
from smtpcb.smtp._xclient import XCLIENT, XClient, write_attributes

if TYPE_CHECKING:
    from smtpcb.engine._client._dialogue import ClientDialogue

Script = Generator[Stage | None, Any, None]
"""Is sent the next reply, or what the owner gives; yields what a reply will be about, where the
state does not say it."""

# Not known, or not in that form: HELO may be (RFC 5321 §3.2).
_NO_EHLO = frozenset({500, 501, 502, 504})
# Promised in the clear, it is promised by anybody (RFC 8689 §2).
_INSIDE_TLS = frozenset({"REQUIRETLS"})


def refusal(stage: Stage, reply: Reply, *, elsewhere: bool | None = None) -> ClientFailure:
    """Return what a reply means that is not the one that was hoped for."""
    if reply.code < 400:
        text = "a reply that does not fit"
        return ClientFailure(stage, Cause.PROTOCOL, text, reply, temporary=True)
    return ClientFailure(stage, Cause.REFUSED, "", reply, elsewhere=elsewhere)


def opening(dialogue: ClientDialogue) -> Script:
    """Come to where messages can be sent."""
    reply = yield None
    if reply.code != 220:
        raise refusal(Stage.GREETING, reply)
    dialogue.move(ClientStep.GREETED)
    yield from _hello(dialogue)
    if dialogue.tls is None and dialogue.settings.starttls != "off":
        yield from _secure(dialogue)
    lacking = dialogue.settings.require - dialogue.offers.keys()
    if lacking:
        text = f"the server does not offer {', '.join(sorted(lacking))}"
        raise ClientFailure(Stage.HELLO, Cause.LACKING, text)
    if dialogue.settings.xclient is not None:
        yield from _speak_for(dialogue, dialogue.settings.xclient)
    if dialogue.settings.login != "off":
        yield from log_in(dialogue)
    dialogue.move(ClientStep.OPENED)
    yield None


def _hello(dialogue: ClientDialogue, name: str = "") -> Script:
    """Introduce ourselves, or whom we speak for, and read what is offered."""
    settings = dialogue.settings
    name = name or dialogue.hostname
    verb = "LHLO" if settings.lmtp else "EHLO"
    dialogue.outbox.write(f"{verb} {name}\r\n".encode("ascii"))
    reply = yield None
    if reply.code == 250:
        ignored = settings.without if dialogue.tls is not None else settings.without | _INSIDE_TLS
        dialogue.forget(Offers(reply, ignored))
        return
    if settings.lmtp or reply.code not in _NO_EHLO:
        raise refusal(Stage.HELLO, reply)
    dialogue.outbox.write(f"HELO {name}\r\n".encode("ascii"))
    reply = yield None
    if reply.code != 250:
        raise refusal(Stage.HELLO, reply, elsewhere=True)
    dialogue.forget(Offers())


def _secure(dialogue: ClientDialogue) -> Script:
    """Get TLS, if it is to be had (RFC 3207)."""
    if "STARTTLS" not in dialogue.offers:
        if dialogue.settings.starttls == "required":
            raise ClientFailure(Stage.TLS, Cause.TLS, "STARTTLS is not offered")
        return
    dialogue.move(ClientStep.STARTTLS)
    dialogue.outbox.write(b"STARTTLS\r\n")
    reply = yield None
    if reply.code != 220:
        raise refusal(Stage.TLS, reply)
    if dialogue.reader.waiting:
        raise injected()
    # Whatever was said in the clear, anybody on the way may have said (RFC 3207 §4.2).
    dialogue.forget(Offers())
    dialogue.move(ClientStep.TLS_AGREED)
    dialogue.tls = yield None
    dialogue.move(ClientStep.SECURED)
    yield from _hello(dialogue)


def _speak_for(dialogue: ClientDialogue, client: XClient) -> Script:
    """Say who the client is from here on: the session begins again at the greeting."""
    offered = upper(dialogue.offers.get("XCLIENT", "")).split()
    if "ADDR" not in offered:
        raise ClientFailure(Stage.HELLO, Cause.LACKING, "the server does not take XCLIENT from us")
    said = write_attributes(client, XCLIENT, offered)
    dialogue.outbox.write(f"XCLIENT {said}\r\n".encode("ascii"))
    reply = yield None
    if reply.code != 220:
        raise refusal(Stage.HELLO, reply, elsewhere=False)
    # What it calls itself may be anything (RFC 5321 §4.1.4), and not all of that can be said.
    hello = client.hello or ""
    yield from _hello(dialogue, hello if is_hostname(hello) else "")


def injected() -> ClientFailure:
    """Return what is said of octets that came between the 220 to STARTTLS and the handshake."""
    return ClientFailure(Stage.TLS, Cause.PROTOCOL, "something came in the clear behind the 220")


def quitting(dialogue: ClientDialogue) -> Script:
    """Wait for the last word, whatever it is: what was accepted before stays so."""
    yield None
    dialogue.end(None)
    yield None
