"""
One message as it is sent: what it needs of a server, and its octets, attempt by attempt.

What can be read again is read once before anything is sent: so what a server must offer is known,
the size is exact, and a line that cannot be sent is named in time.  What can be read only once is
read as far as its header section goes.  Of the rest the worst is taken that is not excluded
(8BITMIME; BINARYMIME if it is to stay exactly as it is), and it is judged while it is sent.

No more of it is in memory than its header section and a few pieces.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from smtpcb.client._complete import Origin
from smtpcb.client._errors import ContentError
from smtpcb.client._lines import LineEnds
from smtpcb.client._passage import Needs, Passage
from smtpcb.client._reencode import reencode
from smtpcb.client._rules import HeaderRules
from smtpcb.client._section import Section
from smtpcb.client._source import PIECE_OCTETS, cut, octets_of, source_of
from smtpcb.smtp import BodyType, Limits

_COMPLETED = HeaderRules()
_LIMITS = Limits()
# Pieces that are looked at in one turn: 2 MiB, some 5 ms.
_PIECES_A_TURN = 32


async def _as_it_is(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


class Outgoing:
    """
    One message that is sent, perhaps several times.

    What is given is any source of octets::

        outgoing = Outgoing(message, Origin(reverse_path))
        needs = await outgoing.needs()  # before MAIL
        async with aclosing(outgoing.pieces()) as pieces:  # once an attempt
            async for octets in pieces:
                ...

    It can be an `email.message.Message`, bytes, a `pathlib.Path`, an open binary file, an iterable
    or async iterable of bytes, a Twisted ``IBodyProducer``, a `Feed`, or a callable that returns
    one of these afresh.  An iterator, a pipe, a producer and a `Feed` can be sent once, all else
    again and again.  Line ends may be CRLF or LF; a CR alone is refused (RFC 5321 §2.3.8).

    :param given: the message.
    :param origin: what it is completed with.
    :param rules: what the header section is to have; ``None``: it goes as it is.
    :param exact: whether the content goes as it is, its line ends too; that takes BINARYMIME unless
        it is lines that end in CRLF all the same.
    :param body: what it is declared as; ``None``: what it is, or what it may be at worst.  One that
        is more than that is refused, before anything is sent where it can be read again.
    :param declared: what the caller answers for, and the length of lines too: nothing is read
        before it is sent.
    :param limits: of it ``header_octets`` is the longest header section that is taken.
    :param pause: is awaited now and then while the message is looked at, so that others have their
        turn.
    :param wait: awaits what an async iterable of somebody's has to wait for, where not everything
        can be awaited that it may wait for.
    :raises TypeError: it is nothing that can be sent.
    :raises ContentError: a message of `email` that cannot be written.
    """

    def __init__(
        self,
        given: object,
        origin: Origin | None = None,
        *,
        rules: HeaderRules | None = _COMPLETED,
        exact: bool = False,
        body: BodyType | None = None,
        declared: Needs | None = None,
        limits: Limits = _LIMITS,
        pause: Callable[[], Awaitable[object]] | None = None,
        wait: Callable[[Awaitable[Any]], Awaitable[Any]] = _as_it_is,
    ) -> None:
        self._source = source_of(given)
        self._origin = origin or Origin()
        self._rules = rules
        self._exact = exact
        self._body = body
        self._limits = limits
        self._pause = pause
        self._wait = wait
        self._needs = declared
        # What the caller answers for is not judged: a gateway passes on what strangers wrote.
        self._judges = declared is None
        self._size_octets: int | None = None
        self._whole: bytes | None = None  # of a short message: how it goes out
        # Of what can be read once: what has been read, and the rest.
        self._head: list[bytes] = []
        self._rest: AsyncGenerator[bytes, None] | None = None
        self._begun = False
        self._message_id = ""

    @property
    def again(self) -> bool:
        """Whether it can be sent a second time."""
        return self._source.again

    @property
    def whole(self) -> bytes | None:
        """A short message as it goes out, known since `needs`; ``None``: it comes in pieces."""
        return self._whole

    @property
    def message_id(self) -> str:
        """Its Message-ID with brackets; ``""`` before `needs`, and when it has none."""
        return self._message_id

    async def needs(self) -> Needs:
        """
        Return what a server has to offer; the first call reads the message.

        :raises ContentError: it cannot be sent, or not a second time.
        :raises OSError: it cannot be read.
        """
        if self._begun and self._rest is None:
            self._check_again()
        if self._needs is None:
            again = self._source.again
            needs = await (self._look() if again else self._look_ahead())
            self._needs = needs if self._body is None else needs.declared(self._body, known=again)
        return self._needs

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """
        Yield the whole message from its beginning, in pieces of some 64 KiB.

        Only when the iterator has ended is the message whole: no final dot and no last chunk
        before that.  Whoever stops before closes it (`contextlib.aclosing`).

        :raises ContentError: it is not what it was said to be, or cannot be read a second time.
        """
        needs = await self.needs()
        if self._whole is not None:
            if self._whole:
                yield self._whole
            return
        passage = self._passage()
        async with aclosing(self._given()) as given:
            async for piece in given:
                octets = passage.read(piece)
                passage.check(needs)
                if octets:
                    yield octets
        octets = passage.finish()
        passage.check(needs)
        if self._size_octets not in (None, passage.size_octets):
            raise ContentError(
                f"the message has changed: it had {self._size_octets} octets, and has now"
                f" {passage.size_octets}"
            )
        self._size_octets = passage.size_octets
        if octets:
            yield octets

    async def reencoded(self) -> Outgoing:
        """
        Return the message in 7 bits, for a server without 8BITMIME, BINARYMIME or SMTPUTF8.

        `email` writes it anew: text as quoted-printable, all else in base64, header fields as
        encoded-words, and so what has lines that are too long.  The whole message is in memory
        meanwhile.  What can be read once is used up.

        :raises ContentError: it cannot be: it is signed, or an address in its header section is no
            ASCII.
        """
        async with aclosing(self._given()) as given:
            octets = b"".join([piece async for piece in given])
        other = Outgoing(
            reencode(octets),
            self._origin,
            rules=self._rules,
            limits=self._limits,
            pause=self._pause,
            wait=self._wait,
        )
        needs = await other.needs()
        if needs.body is not BodyType.SEVEN_BIT or needs.smtputf8:
            raise ContentError("an address that is no ASCII needs SMTPUTF8")
        return other

    async def aclose(self) -> None:
        """Give up a message that will not be sent: who produces it is stopped, a file closed."""
        begun, self._begun = self._begun, True
        self._head.clear()
        rest, self._rest = self._rest, None
        if rest is not None:
            await rest.aclose()
        elif not (begun or self._source.again):
            pieces = self._source.start()
            if hasattr(pieces, "aclose"):  # whoever writes into a Feed may be waiting already
                await self._wait(pieces.aclose())

    def _passage(self) -> Passage:
        section = None
        if self._judges or self._rules is not None:
            most_octets = self._limits.header_octets
            section = Section(self._rules, self._origin, most_octets, judged=self._judges)
        # Read a second time, lines are known to be short enough.
        limited = self._judges and (self._exact or self._size_octets is None)
        return Passage(section, LineEnds(limited=limited), exact=self._exact)

    async def _look(self) -> Needs:
        """Read the whole message; a short one is kept as it goes out."""
        passage = self._passage()
        out: list[bytes] = []
        number = 0
        try:
            async with aclosing(self._given()) as given:
                async for piece in given:
                    octets = passage.read(piece)
                    number += 1
                    if passage.size_octets <= PIECE_OCTETS:
                        out.append(octets)
                    if self._pause is not None and not number % _PIECES_A_TURN:
                        await self._pause()
            out.append(passage.finish())
        except ContentError as error:
            if error.line is not None:
                error.line += await self._lines_before(number)
            raise
        if passage.size_octets <= PIECE_OCTETS:
            self._whole = b"".join(out)
        self._size_octets = passage.size_octets
        self._message_id = passage.message_id
        return passage.needs()

    async def _look_ahead(self) -> Needs:
        """Read as far as the header section goes; what has been read is kept, as it came."""
        passage = self._passage()
        rest = self._rest = self._start()
        number = 0
        try:
            async for piece in rest:
                self._head.append(piece)
                passage.read(piece)
                if passage.past_header:
                    self._message_id = passage.message_id
                    return passage.needs(whole=False)
                number += 1
            passage.finish()
        except ContentError as error:
            if error.line is not None:
                error.line += sum(piece.count(b"\n") for piece in self._head[:number])
            await self.aclose()
            raise
        self._message_id = passage.message_id
        return passage.needs()

    async def _lines_before(self, pieces: int) -> int:
        """Count the lines that end in so many pieces: an error names a line of the message."""
        lines = 0
        async with aclosing(self._given()) as given:
            async for piece in given:
                pieces -= 1
                if pieces < 0:
                    break
                lines += piece.count(b"\n")
        return lines

    def _given(self) -> AsyncGenerator[bytes, None]:
        """Yield the message as it was given, from its beginning."""
        if self._rest is None:
            return self._start()
        rest, self._rest = self._rest, None
        head, self._head = self._head, []
        return _behind(head, rest)

    def _start(self) -> AsyncGenerator[bytes, None]:
        if self._begun:
            self._check_again()
        self._begun = True
        return _started(self._source.start(), self._wait)

    def _check_again(self) -> None:
        if not self._source.again:
            raise ContentError(
                "this message can be read only once, and has been: give bytes, a file, a list, or a"
                " callable that starts anew each time"
            )


async def _behind(
    head: list[bytes], rest: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        for piece in head:
            yield piece
        async for piece in rest:
            yield piece


async def _started(
    pieces: Any, wait: Callable[[Awaitable[Any]], Awaitable[Any]]
) -> AsyncGenerator[bytes, None]:
    try:
        if hasattr(pieces, "__anext__"):
            while True:
                try:
                    piece = await wait(anext(pieces))
                except StopAsyncIteration:
                    break
                for octets in cut(octets_of(piece)):
                    yield octets
        else:
            for piece in pieces:
                yield piece
    finally:
        if hasattr(pieces, "aclose"):
            await wait(pieces.aclose())
        elif hasattr(pieces, "close"):
            pieces.close()
