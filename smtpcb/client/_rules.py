"""
Which header fields a message is sent with (RFC 5322 §3.6, RFC 5321 §4.4).

=============================  ====================================================================
Date, From                     added if missing: every message has them.  From is the reverse-path;
                               the null one can be none, so a report brings its own
Message-ID                     added if missing; made once, the same in each attempt
Return-Path                    taken out: the last server writes it, from MAIL (RFC 5321 §4.4)
Original-Recipient             taken out: the last server writes it, from ORCPT (RFC 8098 §2.3)
Bcc, Resent-Bcc                taken out: nobody is to read of these recipients (RFC 5322 §3.6.3)
Resent-Reply-To                taken out: nobody may write it any more (RFC 5322 §4.5.6)
MIME-*, Content-*, Received,   never touched, and cannot be set: they belong to the content, to the
the other Resent-*             way it came, to who sent it again
those of ``SINGLE``, twice     the first one stays: a message has one (RFC 5322 §3.6)
all others                     never touched, unless the caller says so
=============================  ====================================================================
"""

from __future__ import annotations

from typing import Any

from smtpcb.client._field import ADDRESSES, FieldValue, listed, lower_name, written_field

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
    What the caller wants in the header section of a message, beside what the table above says.

    What the message has itself stays, unless it is overridden::

        rules = HeaderRules()
        rules.set("Subject", "Monthly report")                     # if it has none
        rules.set("Reply-To", ("Anne", "anne@example.org"), override=True)
        rules.prohibit("X-Mailer")

    Each mistake is told at once, and nothing of it is kept.  One object may serve many messages.

    :param complete: whether the table above holds; if not, nothing is done but what is set,
        overridden or prohibited here: for mail of others, which is passed on.
    :param message_id_domain: what stands behind the ``@`` of a Message-ID that is made; by default
        the domain of the reverse-path.  The name of this machine is never used: it would be told
        to every recipient.
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
        if message_id_domain:
            written_field("Message-ID", f"<x@{message_id_domain}>")
            if not message_id_domain.isascii() or set(message_id_domain) & set(" \t<>@"):
                raise ValueError(f"no domain of a Message-ID: {message_id_domain!r:.80}")
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
