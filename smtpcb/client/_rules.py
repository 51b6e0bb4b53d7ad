"""Which header fields a message is sent with (RFC 5322 §3.6, RFC 5321 §4.4)."""

from __future__ import annotations

from typing import Any

from smtpcb.client._field import (
    ADDRESSES,
    FieldValue,
    is_domain,
    listed,
    lower_name,
    written_field,
)
from smtpcb.smtp import printable

PROHIBITED = frozenset(
    {"return-path", "original-recipient", "bcc", "resent-bcc", "resent-reply-to"}
)
SINGLE = frozenset(
    {"date", "from", "sender", "reply-to", "to", "cc", "subject"}
    | {"message-id", "in-reply-to", "references"}
)
REQUIRED = frozenset({"date", "from"})
_UNTOUCHED = ("mime-", "content-", "resent-")
_LISTS = ADDRESSES - {"sender"}
_WHY = {
    "bcc": "who is not to be named is a recipient of the message, and in no field",
    "return-path": "the last server writes it, from the reverse-path",
    "original-recipient": "the last server writes it, from the ORCPT of RCPT",
    "resent-bcc": "who is not to be named is a recipient of the message, and in no field",
    "resent-reply-to": "nobody may write it any more (RFC 5322 §4.5.6)",
}


class HeaderRules:
    """
    What becomes of the header section of a message: what always does, and what the caller wants.

    - Date, From and Message-ID are added if they are missing.  From is the reverse-path; the null
      one can be none, so a report brings its own.  A Message-ID is made once, and is the same in
      each attempt.
    - Return-Path and Original-Recipient are taken out: the last server writes them, from MAIL
      (RFC 5321 §4.4) and from ORCPT (RFC 8098 §2.3).
    - Bcc and Resent-Bcc are taken out: nobody is to read of these recipients (RFC 5322 §3.6.3).
      Resent-Reply-To is, since nobody may write it any more (RFC 5322 §4.5.6).
    - Of the fields that a message has once (RFC 5322 §3.6: Date, From, Sender, Reply-To, To, Cc,
      Subject, Message-ID, In-Reply-To, References) the first one stays.
    - MIME-*, Content-*, Received and all other Resent-* are never touched, and cannot be set: they
      belong to the content, to the way it came, to who sent it again.
    - All others are not touched, unless the caller says so.

    What the message has itself stays, unless it is overridden::

        rules = HeaderRules()
        rules.set("Subject", "Monthly report")                     # if it has none
        rules.set("Reply-To", ("Anne", "anne@example.org"), override=True)
        rules.prohibit("X-Mailer")

    Each mistake is told at once, and nothing of it is kept.  One object may serve many messages.

    :param complete: whether all this is done; if not, nothing is but what is set, overridden or
        prohibited here: for mail of others, which is passed on.
    :param message_id_domain: what stands behind the ``@`` of a Message-ID that is made; by default
        the domain of the reverse-path.  The name of this machine is never used: it would be told
        to every recipient.
    :ivar fields: what was set, by its name in lower case, as it is written.
    :ivar overridden: which of them replace what the message has.
    :ivar prohibited: the names of what is taken out.
    """

    __slots__ = (
        "_from_recipients",
        "_values",
        "complete",
        "fields",
        "message_id_domain",
        "overridden",
        "prohibited",
    )

    def __init__(self, *, complete: bool = True, message_id_domain: str = "") -> None:
        if message_id_domain and not is_domain(message_id_domain):
            raise ValueError(f"no domain of a Message-ID: '{printable(message_id_domain, 80)}'")
        self.complete = complete
        self.message_id_domain = message_id_domain
        self.fields: dict[str, tuple[bytes, ...]] = {}
        self.overridden: set[str] = set()
        self.prohibited: set[str] = set(PROHIBITED) if complete else set()
        self._values: dict[str, tuple[str, list[Any]]] = {}
        self._from_recipients = False

    @property
    def from_recipients(self) -> bool:
        """Whether ``To`` is made of the recipients."""
        return self._from_recipients

    def set(self, name: str, value: FieldValue, *, override: bool = False) -> None:
        """
        Give the message a field that it does not have.

        A field of addresses takes more of them by a second call.  One that a message has once
        (RFC 5322 §3.6) is set once; any other is one more field with each call.

        :param value: text; for ``Date`` a `datetime` with a time zone, too; for addresses also a
            pair of display name and address, `email.headerregistry.Address`, a path, and a list of
            these (a tuple of two texts is a pair).
        :param override: whether it replaces what the message has, in its place.
        :raises ValueError: it cannot be written, must not be set, or is set already.
        """
        known = _settable(name)
        first_name, values = self._values.get(known, (name, []))
        if known in self.fields and known in SINGLE - _LISTS:
            raise ValueError(f"{name} is set already: a message has one (RFC 5322 §3.6)")
        if known in self.prohibited:
            raise ValueError(f"{name} is prohibited already")
        if known == "to" and self._from_recipients:
            raise ValueError(f"{name} is made of the recipients already")
        if known in _LISTS:
            # As a list now: an iterator brings its addresses once.
            values = [*values, *listed(value)]
            together = values[0] if len(values) == 1 else values
            self.fields[known] = (written_field(first_name, together),)
            self._values[known] = (first_name, values)
        else:
            self.fields[known] = (*self.fields.get(known, ()), written_field(name, value))
        if override:
            self.overridden.add(known)

    def set_to_from_recipients(self, *, override: bool = False) -> None:
        """
        Make ``To`` of the message's recipients, if it has none: each will read of all the others.

        :param override: whether it replaces the one that the message has.
        :raises ValueError: ``To`` is set or prohibited already.
        """
        if "to" in self.fields or "to" in self.prohibited:
            raise ValueError("To is set or prohibited already")
        self._from_recipients = True
        if override:
            self.overridden.add("to")

    def prohibit(self, name: str) -> None:
        """
        Take every field of this name out of the message; a Message-ID is not made then, either.

        :raises ValueError: a message must have it, it is one that is not touched, or it is set.
        """
        known = lower_name(name)
        if known in REQUIRED:
            raise ValueError(f"{name} cannot be prohibited: every message has it (RFC 5322 §3.6)")
        _check_touchable(name, known)
        if known in self.fields or (known == "to" and self._from_recipients):
            raise ValueError(f"{name} is set already")
        self.prohibited.add(known)


def _settable(name: str) -> str:
    known = lower_name(name)
    if known in _WHY:
        raise ValueError(f"{name} is not sent: {_WHY[known]}")
    _check_touchable(name, known)
    return known


def _check_touchable(name: str, known: str) -> None:
    if known not in PROHIBITED and (known.startswith(_UNTOUCHED) or known == "received"):
        raise ValueError(f"{name} stays as it is in the message: it cannot be set or prohibited")
