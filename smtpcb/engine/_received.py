"""The Received field that a server puts before a message (RFC 5321 §4.4)."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from smtpcb.smtp import _grammar as grammar

if TYPE_CHECKING:
    from smtpcb.engine._connection import Connection
    from smtpcb.engine._envelope import Envelope

# What a client calls itself is trusted no further than this.
_NAME = re.compile(f"(?:{grammar.DOMAIN}|{grammar.ADDRESS_LITERAL})")
_LONGEST_NAME = 255
_LONGEST_OTHER_NAME = 64
_NOT_IN_A_COMMENT = re.compile(r"[^ !#-'*-\[\]-~]")


def received_header(envelope: Envelope, now: datetime | None = None) -> bytes:
    """
    Return the trace field of a message: from whom, by whom, how, under which name, when.

    Whoever passes a message on, or delivers it, puts it before the content (RFC 5321 §4.4)::

        received_header(envelope) + envelope.content.bytes()

    Nothing of it is written as the client has sent it unless it is a domain or an address literal:
    another name that it calls itself by stands in a comment, without quotes and parentheses.  One
    recipient is named; of several none is, since each would read of the others (§7.2).

    :param now: the time that stands in it, with a time zone; now by default.
    :return: one folded field with its CRLF, in ASCII unless the transaction is one of SMTPUTF8.
    :raises ValueError: ``now`` has no time zone.
    """
    now = datetime.now(UTC) if now is None else now
    if now.tzinfo is None:
        raise ValueError(f"the time of a Received field needs its time zone: {now}")
    connection = envelope.connection
    clauses = [
        f"from {_client(connection, wide=envelope.parameters.smtputf8)}",
        f"by {connection.hostname} with {_protocol(envelope)}",
        f"id <{envelope.id}@{connection.hostname}>",
    ]
    tls = connection.tls
    if tls is not None:
        clauses.insert(1, f"({tls.version} {tls.cipher})")
    if len(envelope.recipients) == 1:
        clauses.append(f"for <{envelope.recipients[0].forward_path}>")
    text = "Received: " + "\r\n\t".join(clauses) + f";\r\n\t{format_datetime(now)}\r\n"
    return text.encode()


def _client(connection: Connection, *, wide: bool) -> str:
    """Return Extended-Domain: what the client calls itself, and where it really is."""
    name = connection.hello or ""
    literal = _literal(connection.peer_address)
    if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) and (wide or name.isascii()):
        return f"{name} ({literal})" if literal else name
    # RFC 5321 §4.1.4 lets it call itself anything.
    said = _NOT_IN_A_COMMENT.sub("?", name[:_LONGEST_OTHER_NAME])
    place = f"{literal} ({literal})" if literal else "unknown"
    return f"{place} (calls itself {said})" if said else place


def _literal(address: str) -> str:
    """Return an address literal (RFC 5321 §4.1.3), or nothing where there is no address."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    return f"[IPv6:{known}]" if known.version == 6 else f"[{known}]"


def _protocol(envelope: Envelope) -> str:
    """Return how it came (RFC 3848, and RFC 6531 §4.3)."""
    connection = envelope.connection
    if not connection.extended:
        return "SMTP"
    secure = "S" if connection.tls is not None else ""
    authenticated = "A" if connection.identity is not None else ""
    utf8 = "UTF8" if envelope.parameters.smtputf8 else ""
    name = "LMTP" if connection.lmtp else "SMTP" if utf8 else "ESMTP"
    return utf8 + name + secure + authenticated
