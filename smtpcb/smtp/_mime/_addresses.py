"""Addresses of From, To and their kin, also badly written ones (RFC 5322 §3.4, §4.4)."""

from __future__ import annotations

from email.headerregistry import Address, Group

from smtpcb.smtp._mime._charsets import clean
from smtpcb.smtp._mime._words import BLANK, SPECIAL, decode_words, tokens

# Ten times what a server takes as recipients of one message.  An address can be two octets in the
# field and a thousand in memory.
MOST_ADDRESSES = 10_000

_Token = tuple[str, str]


class AddressReader:
    """
    Reads one address list.

    What is no address is left out of the groups, with a defect.

    :ivar groups: as `email.headerregistry` has them; a single mailbox is a group without a name.
    :ivar defects: what was wrong, in words.
    """

    def __init__(self, value: str) -> None:
        self.groups: list[Group] = []
        self.defects: dict[str, None] = {}
        self._words: list[_Token] = []  # a display name, or an address without brackets
        self._angle: list[_Token] | None = None  # what is between < and >
        self._closed = True  # whether > has come
        self._group: str | None = None
        self._members: list[Address] = []
        self._left = MOST_ADDRESSES
        for kind, text in tokens(value):
            if self._left <= 0:
                self.defects["more addresses than are read"] = None
                break
            if kind != SPECIAL or not self._special(text):
                self._add((kind, text))
        self._end_mailbox()
        if self._group is not None:
            self.defects["a group without an end"] = None
            self._end_group()

    def _special(self, text: str) -> bool:
        """Return whether this one means something here."""
        if not self._closed:
            return self._within(text)
        if text == "<" and self._angle is None:
            self._angle, self._closed = [], False
        elif text == ",":
            self._end_mailbox()
        elif text == ";":
            self._end_mailbox()
            if self._group is None:
                self.defects["a semicolon behind no group"] = None
            else:
                self._end_group()
        elif text == ":" and self._group is None and self._angle is None:
            self._group, self._words = self._phrase(), []
        else:
            return False
        return True

    def _within(self, text: str) -> bool:
        """The same, between angle brackets."""
        assert self._angle is not None
        if text == ">":
            self._closed = True
        # A route has commas (§4.4); elsewhere one is a sign that the bracket has no end.
        elif text in ",;" and not (self._angle and self._angle[0][1] == "@"):
            self.defects["an angle bracket without an end"] = None
            self._closed = True
            return self._special(text)
        else:
            return False
        return True

    def _add(self, token: _Token) -> None:
        if self._angle is not None and not self._closed:
            self._angle.append(token)
        elif self._angle is None:
            self._words.append(token)
        elif token[0] != BLANK:
            self.defects["text behind an address"] = None

    def _end_mailbox(self) -> None:
        self._left -= 1
        words, angle = self._words, self._angle
        if not self._closed:
            self.defects["an angle bracket without an end"] = None
        self._words, self._angle, self._closed = [], None, True
        if angle is None:
            if all(kind == BLANK for kind, _ in words):
                return  # empty elements are allowed (§4.4)
            address = self._address("", words)
        else:
            self._words = words
            name = self._phrase()
            self._words = []
            address = self._address(name, angle)
        if address is None:
            self.defects["what is no address"] = None
        elif self._group is None:
            self.groups.append(Group(None, [address]))
        else:
            self._members.append(address)

    def _end_group(self) -> None:
        self.groups.append(Group(self._group or "", self._members))
        self._group, self._members = None, []

    def _phrase(self) -> str:
        """Return the display name; it can hold line ends once it is decoded, and must not."""
        text = "".join(" " if kind == BLANK else text for kind, text in self._words)
        decoded, well = decode_words(text)
        name = decoded.replace("\r", " ").replace("\n", " ").strip()
        if not well or len(name) != len(decoded.strip(" \t")) or "\n" in decoded or "\r" in decoded:
            self.defects["a display name that cannot be decoded"] = None
        return name

    def _address(self, name: str, given: list[_Token]) -> Address | None:
        words = _without_route(given)
        at = max((i for i, word in enumerate(words) if word == (SPECIAL, "@")), default=-1)
        local = _joined(words if at < 0 else words[:at])
        domain = "" if at < 0 else _joined(words[at + 1 :])
        if local is None or domain is None or not (local or domain or (name and not words)):
            return None
        if at < 0 or not domain:
            self.defects["an address without a domain"] = None
        elif any(word == (SPECIAL, "@") for word in words[:at]):
            self.defects["an address with more than one @"] = None
        return Address(name, local, domain)


def _without_route(words: list[_Token]) -> list[_Token]:
    """Leave out where the message should have gone through (§4.4)."""
    if words and words[0] == (SPECIAL, "@") and (SPECIAL, ":") in words:
        return words[words.index((SPECIAL, ":")) + 1 :]
    return words


def _joined(words: list[_Token]) -> str | None:
    """Return a local part or domain; ``None`` if it is more than one word."""
    parts: list[str] = []
    blank = False
    for kind, text in words:
        if kind == BLANK:
            blank = bool(parts)
            continue
        # Blanks may stand around a dot (§4.4).
        if blank and not parts[-1].endswith(".") and not text.startswith("."):
            return None
        blank = False
        parts.append(text)
    return clean("".join(parts))
