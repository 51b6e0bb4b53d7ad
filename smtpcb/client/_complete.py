"""The fields that a header section has become, by the rules and by what is missing."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from smtpcb.client._errors import ContentError
from smtpcb.client._field import FieldValue, is_domain, written_field
from smtpcb.client._rules import SINGLE, HeaderRules
from smtpcb.smtp import ForwardPath, ReversePath

# Names nobody (RFC 2606 §2): the null reverse-path has no domain.
_NO_DOMAIN = "unknown.invalid"


@dataclass(frozen=True, slots=True)
class Origin:
    """
    What a message is completed with: made once, so that each attempt sends the same.

    :ivar recipients: for a ``To`` that is made of them.
    :ivar date: when the message was complete (RFC 5322 §3.6.1), with its time zone.
    :ivar unique: what no other Message-ID has before its ``@``; it tells nothing else.
    """

    reverse_path: ReversePath = ReversePath.NULL
    recipients: Sequence[ForwardPath] = ()
    date: datetime = field(default_factory=lambda: datetime.now().astimezone())
    unique: str = field(default_factory=lambda: secrets.token_hex(16))

    def message_id(self, domain: str = "") -> str:
        """
        Return a new Message-ID with its brackets (RFC 5322 §3.6.4).

        :param domain: instead of that of the reverse-path.
        """
        domain = domain or self.reverse_path.domain
        if not domain.isascii():
            try:
                domain = domain.encode("idna").decode("ascii")
            except UnicodeError:
                domain = ""
        return f"<{self.unique}@{domain if is_domain(domain) else _NO_DOMAIN}>"


def completed(sources: Sequence[bytes], rules: HeaderRules, origin: Origin) -> bytes:
    """
    Return a header section as it is sent, without the empty line behind it.

    What stays is as it was, octet for octet, and in its order; what is added stands behind it.

    :param sources: the fields of the message, each without its last CRLF.
    :raises ContentError: there is no From, or a path cannot be made a field.
    """
    out: list[bytes] = []
    seen: set[str] = set()
    for source in sources:
        known = source.partition(b":")[0].rstrip(b" \t").decode("ascii").lower()
        if known in rules.prohibited:
            continue
        first = known not in seen
        seen.add(known)
        if known in rules.overridden:
            if first:
                out += _set(known, rules, origin)
        elif first or known not in SINGLE or not rules.complete:
            out += (source, b"\r\n")
    out += _missing(seen, rules, origin)
    return b"".join(out)


def _missing(seen: set[str], rules: HeaderRules, origin: Origin) -> Iterator[bytes]:
    known = [one for one in rules.fields if one not in seen]
    if rules.from_recipients and "to" not in seen:
        known.append("to")
    if rules.complete and "date" not in seen and "date" not in known:
        yield written_field("Date", origin.date)
    if rules.complete and "from" not in seen and "from" not in known:
        yield _from(origin)
    for one in known:
        yield from _set(one, rules, origin)
    if rules.complete and "message-id" not in (seen | rules.prohibited | set(known)):
        message_id = origin.message_id(rules.message_id_domain)
        yield b"Message-ID: " + message_id.encode("ascii") + b"\r\n"


def _set(known: str, rules: HeaderRules, origin: Origin) -> tuple[bytes, ...]:
    if known != "to" or not rules.from_recipients:
        return rules.fields[known]
    # <Postmaster> has no domain, and is no address in a field (RFC 5322 §3.4.1).
    named = [one for one in origin.recipients if one.domain]
    return (_made("To", named),) if named else ()


def _from(origin: Origin) -> bytes:
    if origin.reverse_path == ReversePath.NULL:
        raise ContentError(
            "the message has no From field, and none can be made of the null reverse-path:"
            " write or set one (RFC 5322 §3.6)"
        )
    return _made("From", origin.reverse_path)


def _made(name: str, value: FieldValue) -> bytes:
    try:
        return written_field(name, value)
    except ValueError as error:
        raise ContentError(f"no field can be made of the envelope: {error}") from error
