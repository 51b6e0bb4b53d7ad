"""Changes: what a filter wants to be otherwise in a message that goes on."""

from __future__ import annotations

import re
from weakref import WeakKeyDictionary

from smtpcb.client._field import FieldValue, lower_name, written_field
from smtpcb.engine import Destination, Envelope
from smtpcb.smtp import ForwardPath

_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_FIELD = re.compile(rb"[^\n]*(?:\n|\Z)(?:[ \t][^\n]*(?:\n|\Z))*")
# Lines that are no field, and behind which `HeaderReader` goes on.
_PASSED_OVER = re.compile(rb":|From ")
_NOBODYS = re.compile(rb"(?:[ \t][^\n]*(?:\n|\Z))+")
_known: WeakKeyDictionary[Envelope, Changes] = WeakKeyDictionary()


class Changes:
    """
    What is to be otherwise in one message.

    Where nothing is said here, every octet of the message goes on as it came, behind a Received
    field: signatures hold.  What is changed is changed in the header section alone, and all other
    fields stay as they are.  Only where a message begins with a line that continues no field, that
    is left out: it would continue one of ours.
    """

    def __init__(self) -> None:
        self._added: list[bytes] = []
        self._replaced: dict[str, bytes | None] = {}
        self._gone_on = False
        #: Who gets it as well.
        self.more: list[ForwardPath] = []
        #: Who gets it in place of those for whom it is; ``None``: it goes to these.
        self.instead: list[ForwardPath] | None = None

    def add_field(self, name: str, value: FieldValue) -> None:
        """
        Put a field in front of the header section, behind Received.

        :param value: see `smtpcb.client.HeaderRules.set`: text, a time, addresses.  Of text that
            `header` was told, octets that are no UTF-8 become U+FFFD.
        :raises ValueError: it cannot be such a field: a CR, LF or another control is in it.
        :raises RuntimeError: the message has begun to go on.
        """
        self._check()
        self._added.append(_written(name, value))

    def replace_field(self, name: str, value: FieldValue) -> None:
        """Put a field in place of all of this name, where the first one is; see `add_field`."""
        self._check()
        self._replaced[lower_name(name)] = _written(name, value)

    def remove_field(self, name: str) -> None:
        """Take out every field of this name; see `add_field`."""
        self._check()
        self._replaced[lower_name(name)] = None

    def add_recipient(self, address: str) -> None:
        """
        Have it delivered to somebody else as well, who is named there before the content goes on.

        Who is refused there makes the client send the message again (451): nobody is left out
        without a word.

        :raises ValueError: it is no address.
        :raises RuntimeError: the message has begun to go on.
        """
        self._check()
        self.more.append(Destination(address).forward_path)

    def redirect(self, *addresses: str) -> None:
        """
        Have it delivered to these, and to none of those for whom it is: into quarantine.

        With no address it goes nowhere, and the client hears 250: for who has stored it elsewhere,
        safely, before this is said.

        :raises ValueError: one is no address.
        :raises RuntimeError: the message has begun to go on.
        """
        self._check()
        self.instead = [Destination(one).forward_path for one in addresses]

    def _check(self) -> None:
        if self._gone_on:
            raise RuntimeError(
                "the message has begun to go on: say it in mail, rcpt, data or header; or have"
                " message(envelope) in the filter, as Relay(server, filter=...), which then gets"
                " the whole message first"
            )

    def __bool__(self) -> bool:
        """Whether a field is to be otherwise."""
        return bool(self._added or self._replaced)

    def applied(self, section: bytes) -> bytes:
        """Return a header section as it goes on; from now on nothing can be changed."""
        self._gone_on = True
        nobodys = _NOBODYS.match(section)
        at = nobodys.end() if nobodys else 0
        if not self._replaced:
            return b"".join(self._added) + section[at:]
        waiting = dict(self._replaced)
        out = list(self._added)
        while at < len(section) and (field := _FIELD.match(section, at)) is not None:
            named = _NAME.match(field[0])
            if named is None and not _PASSED_OVER.match(field[0]):
                break  # the end of the section, as `HeaderReader` sees it
            at = field.end()
            name = named[1].decode("ascii").lower() if named else ""
            if name not in self._replaced:
                out.append(field[0] if field[0].endswith(b"\n") else field[0] + b"\r\n")
            else:
                out.append(waiting.pop(name, None) or b"")
        out.extend(field for field in waiting.values() if field)
        return b"".join(out) + section[at:]


def _written(name: str, value: FieldValue) -> bytes:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return written_field(name, value)


def changes(envelope: Envelope) -> Changes:
    """
    Return what can be changed in a message that a relay passes on; for its filter.

    :raises LookupError: no relay passes it on.
    """
    found = _known.get(envelope)
    if found is None:
        raise LookupError("no relay passes this message on: see Relay(server, filter=...)")
    return found


def changeable(envelope: Envelope) -> Changes:
    """Return the same, and begin it if need be."""
    return _known.setdefault(envelope, Changes())


class Opener:
    """Stands before a filter, which may change a message from its MAIL on."""

    def mail(self, envelope: Envelope) -> None:
        """Begin its changes."""
        changeable(envelope)
