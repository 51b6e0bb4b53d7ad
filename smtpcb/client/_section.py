"""Mail data on its way out: the header section is held until it is complete, the body never is."""

from __future__ import annotations

import re
from email.errors import MissingHeaderBodySeparatorDefect
from typing import NoReturn

from smtpcb.client._complete import Origin, completed
from smtpcb.client._errors import ContentError
from smtpcb.client._rules import HeaderRules
from smtpcb.smtp._header import MOST_FIELDS, BareLineFeedDefect, HeaderReader, with_crlf

# What readers of mail pass over; to write the section anew would lose it.
_NO_FIELD = re.compile(rb"\A[ \t]|^:|^From ", re.MULTILINE)
_MESSAGE_ID = re.compile(rb"^Message-ID[ \t]*:\s*(<[^>\r\n]*>)", re.MULTILINE | re.IGNORECASE)


class Section:
    """
    The header section of one message, completed, and the body behind it as it is.

    :param rules: what the section is to have; ``None``: it stays as it is, and is only looked at.
    :param most_octets: how long it may be.
    :param judged: whether octets above 127 are looked for.
    :ivar wide: whether it has such, as it goes out; known once it is ``done``.
    :ivar message_id: the Message-ID that it goes out with, with brackets; ``""`` if there is none.
    """

    __slots__ = (
        "_held",
        "_judged",
        "_most",
        "_origin",
        "_reader",
        "_rules",
        "_sources",
        "message_id",
        "wide",
    )

    def __init__(
        self, rules: HeaderRules | None, origin: Origin, most_octets: int, *, judged: bool = True
    ) -> None:
        self._rules = rules
        self._origin = origin
        self._most = most_octets
        self._judged = judged
        self._reader = HeaderReader(most_octets)
        self._sources: list[bytes] = []
        self._held: list[bytes] = []
        self.wide = False
        self.message_id = ""

    @property
    def done(self) -> bool:
        """Whether the section has been given out."""
        return self._reader.done

    def read(self, octets: bytes) -> bytes:
        """
        Take the next octets.

        :return: what goes out; nothing while the section is not complete.
        :raises ContentError: it is none, is too long, or cannot be completed.
        """
        if self._reader.done:
            return octets
        self._sources += self._reader.sources(octets)
        self._held.append(octets)
        return self._given_out() if self._reader.done else b""

    def finish(self) -> bytes:
        """Return what goes out at the end of a message that is nothing but a header section."""
        if self._reader.done:
            return b""
        self._sources += self._reader.last_sources()
        return self._given_out()

    def _given_out(self) -> bytes:
        whole = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held.clear()
        body_at = self._reader.body_at
        if self._rules is None:
            bare = BareLineFeedDefect in self._reader.defects
            # Where the body begins is counted with CRLF.
            self._look_at((with_crlf(whole) if bare else whole)[:body_at])
            return whole
        self._check(whole)
        section = completed(self._sources, self._rules, self._origin)
        self._sources.clear()
        self._look_at(section)
        return b"".join((section, b"\r\n", memoryview(whole)[body_at:]))

    def _look_at(self, section: bytes) -> None:
        found = _MESSAGE_ID.search(section)
        if found:
            self.message_id = found[1].decode("utf-8", "replace")
        self.wide = self._judged and not section.isascii()
        if self.wide:
            try:
                section.decode("utf-8")
            except UnicodeDecodeError as error:
                _refuse("a header field with octets that are no UTF-8", section, error.start)

    def _check(self, whole: bytes) -> None:
        """Refuse a section of which something would be lost."""
        reader = self._reader
        if BareLineFeedDefect in reader.defects:
            raise ContentError("a header section whose lines end in LF can only be sent as it is")
        if MissingHeaderBodySeparatorDefect in reader.defects:
            cut = len(whole) >= self._most and whole.find(b"\r\n", reader.body_at, self._most) < 0
            if cut or len(self._sources) >= MOST_FIELDS:
                raise ContentError(
                    f"a header section of over {self._most} octets or {MOST_FIELDS} fields"
                )
        if len(reader.defects) > (MissingHeaderBodySeparatorDefect in reader.defects):
            passed_over = _NO_FIELD.search(whole, 0, reader.body_at)
            assert passed_over is not None
            _refuse(
                "no header field (before a body that has no header section stands an empty line;"
                " the From line of an mbox file is none of the message)",
                whole,
                passed_over.start(),
            )


def _refuse(reason: str, octets: bytes, at: int) -> NoReturn:
    """Raise the error for the line that `at` is in."""
    start = octets.rfind(b"\n", 0, at) + 1
    shown = octets[start : start + 64].partition(b"\r")[0]
    raise ContentError(reason, None, shown)
