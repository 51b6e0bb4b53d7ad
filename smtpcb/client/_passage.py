"""One message going through once: its lines, its header section, and what is seen of both."""

from __future__ import annotations

from dataclasses import dataclass, replace

from smtpcb.client._errors import ContentError
from smtpcb.client._lines import LineEnds
from smtpcb.client._section import Section
from smtpcb.smtp import BodyType

_BODIES = tuple(BodyType)  # each takes what those before it do


@dataclass(frozen=True, slots=True)
class Needs:
    """
    What a server has to offer for a message.

    :ivar body: what to declare with BODY; other than 7BIT needs 8BITMIME (RFC 6152), or BINARYMIME
        and CHUNKING (RFC 3030).
    :ivar smtputf8: whether the header section is not ASCII (RFC 6531); what the paths of the
        transaction need is not counted here.
    :ivar size_octets: what to declare with SIZE (RFC 1870), CRLF counted as two and stuffed dots
        not at all; ``None`` if it is not known.
    """

    body: BodyType = BodyType.EIGHT_BIT_MIME
    smtputf8: bool = False
    size_octets: int | None = None

    def declared(self, body: BodyType, *, known: bool) -> Needs:
        """
        Return the same with another body.

        :param known: whether what it is now is what it is, and not only what it may be.
        :raises ContentError: it is more than that.
        """
        if known and _BODIES.index(body) < _BODIES.index(self.body):
            raise ContentError(f"the message was to be {body}, and is {self.body}")
        return replace(self, body=body)


class Passage:
    """
    What is given goes in, what is sent comes out, in the same pieces.

    :param section: its header section; ``None``: it is not looked at.
    :param exact: whether line ends stay as they are.
    :ivar size_octets: how much came out.
    """

    __slots__ = (
        "_eight_bit",
        "_exact",
        "_lines",
        "_odd",
        "_section",
        "size_octets",
    )

    def __init__(self, section: Section | None, lines: LineEnds, *, exact: bool) -> None:
        self._section = section
        self._exact = exact
        # Of what stays as it is, they only tell whether they would have done something.
        self._lines = lines
        self._odd = False
        self._eight_bit = False
        self.size_octets = 0

    @property
    def past_header(self) -> bool:
        """Whether the header section has come out."""
        return self._section is None or self._section.done

    @property
    def message_id(self) -> str:
        """The Message-ID that came out, with brackets; ``""`` if none did."""
        return self._section.message_id if self._section is not None else ""

    def read(self, octets: bytes) -> bytes:
        """
        Take the next octets.

        :raises ContentError: they cannot be sent; see `LineEnds` and `Section`.
        """
        if not self._exact:
            octets = self._lines.read(octets)
        if self._section is not None:
            octets = self._section.read(octets)
        return self._seen(octets)

    def finish(self) -> bytes:
        """Return what comes out at the end."""
        octets = b"" if self._exact else self._lines.finish()
        if self._section is not None:
            octets = self._section.read(octets) + self._section.finish()
        self._seen(octets)
        if self._exact and not self._odd:
            self._odd = self._is_odd(None)
        return octets

    def needs(self, *, whole: bool = True) -> Needs:
        """
        Return what a server has to offer for what came out.

        :param whole: whether that was all; if not, the rest is taken for the worst it may be.
        """
        if self._exact and (self._odd or not whole):
            body = BodyType.BINARY_MIME
        elif self._eight_bit or not whole:
            body = BodyType.EIGHT_BIT_MIME
        else:
            body = BodyType.SEVEN_BIT
        return Needs(body, self._wide(), self.size_octets if whole else None)

    def check(self, needs: Needs) -> None:
        """
        Compare what came out with what has been declared.

        :raises ContentError: it is more than that.
        """
        if self._eight_bit and needs.body is BodyType.SEVEN_BIT:
            raise ContentError("the message was to be of 7 bits, and has octets above 127")
        if self._odd and needs.body is not BodyType.BINARY_MIME:
            raise ContentError("the message was to be lines that end in CRLF, and is not")
        if self._wide() and not needs.smtputf8:
            raise ContentError("the header section was to be ASCII, and is not")

    def _wide(self) -> bool:
        return self._section is not None and self._section.wide

    def _seen(self, octets: bytes) -> bytes:
        self.size_octets += len(octets)
        if not self._eight_bit:
            self._eight_bit = not octets.isascii()
        if self._exact and not self._odd:
            self._odd = self._is_odd(octets)
        return octets

    def _is_odd(self, octets: bytes | None) -> bool:
        """Whether content that stays as it is would not do so as lines; ``None`` is its end."""
        try:
            self._lines.finish() if octets is None else self._lines.read(octets)
        except ContentError:
            return True
        return self._lines.changed
