"""
Where a message comes from: whatever somebody has, as pieces of octets, from the beginning.

==================================  ==================  ============================================
given                               can be sent again   read
==================================  ==================  ============================================
`email.message.Message`             yes                 written at once; see `_written`
bytes, bytearray, memoryview        yes                 as it is at that time
`pathlib.Path`, any `os.PathLike`   yes                 opened for each attempt, in pieces
an open binary file                 if it can seek      from where it stands, in pieces
an iterable of bytes (a list)       yes                 iterated anew
an async iterable of bytes          yes                 the same
an iterator, a generator, async too no                  once
a Twisted ``IBodyProducer``         no                  at its own speed, paused while nobody takes
a callable                          yes                 called for each attempt; it returns any of
                                                        these, fresh (but no callable)
==================================  ==================  ============================================

A str is none of these: nobody knows whether it is a message, in which charset, or a file's name.
"""

from __future__ import annotations

import io
import os
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Set,
)
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, TypeAlias

from smtpcb.client._errors import ContentError
from smtpcb.client._written import written

PIECE_OCTETS = 65_536

Pieces: TypeAlias = Iterator[bytes] | AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Source:
    """
    The octets of one message, for as many attempts as it can be read.

    :ivar start: returns an iterator over all of its pieces, a plain or an async one; each piece is
        some octets, of any number.
    :ivar again: whether ``start`` may be called a second time.
    """

    start: Callable[[], Pieces]
    again: bool


def source_of(given: object) -> Source:
    """
    Make a source of what somebody wants to send; see the table above.

    :raises TypeError: it is nothing that can be sent; the text says what would be.
    :raises ContentError: a message of `email` that cannot be written.
    """
    if isinstance(given, Message):
        given = written(given)
    if isinstance(given, (bytes, bytearray, memoryview)):
        octets = bytes(given)
        return Source(lambda: cut(octets), again=True)
    if isinstance(given, os.PathLike):
        path = Path(os.fsdecode(given))
        # A pipe that has a name is still read once.
        again = os.path.isfile(path) or not os.path.exists(path)
        return Source(lambda: _read_path(path), again)
    # Before files: what is read asynchronously has a `read`, too.
    if isinstance(given, AsyncIterable):
        return Source(given.__aiter__, again=not isinstance(given, AsyncIterator))
    if hasattr(given, "read"):
        return _of_file(given)
    if hasattr(given, "startProducing"):
        return Source(lambda: _produced(given), again=False)
    if isinstance(given, Iterable) and not isinstance(given, (str, Mapping, Set)):
        return Source(lambda: _together(given), again=not isinstance(given, Iterator))
    if callable(given) and not isinstance(given, type):
        return _of_callable(given)
    raise TypeError(_cannot(given))


def _cannot(given: object) -> str:
    if isinstance(given, str):
        return (
            "a str is no message: give its octets (text.encode()), an EmailMessage,"
            " or a pathlib.Path for a file of that name"
        )
    if hasattr(given, "__await__"):
        return f"{type(given).__name__} is to be awaited first: what comes out may be sent"
    return (
        f"{type(given).__name__} cannot be sent: give an EmailMessage, bytes, a pathlib.Path, a"
        " file opened with 'rb', an iterable or async iterable of bytes, an IBodyProducer, or a"
        " callable that returns one of these"
    )


def octets_of(piece: object) -> bytes:
    """
    Return a piece of a source as bytes.

    :raises ContentError: it is something else.
    """
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, (bytearray, memoryview)):
        return bytes(piece)
    raise ContentError(f"a source of octets gave {type(piece).__name__}: {piece!r:.40}")


def _of_callable(make: Callable[[], object]) -> Source:
    last: object = None

    def start() -> Pieces:
        nonlocal last
        made = make()
        if callable(made) and not hasattr(made, "read"):
            raise TypeError(f"a callable returned another one: {made!r:.80}")
        source = source_of(made)
        if made is last and not source.again:
            raise ContentError(f"a callable returned the same {type(made).__name__} twice")
        last = made
        return source.start()

    return Source(start, again=True)


def cut(octets: bytes) -> Iterator[bytes]:
    """Yield octets in pieces of no more than ``PIECE_OCTETS``."""
    if len(octets) <= PIECE_OCTETS:
        return iter((octets,))
    return (octets[at : at + PIECE_OCTETS] for at in range(0, len(octets), PIECE_OCTETS))


def _read_path(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        yield from _read(file)


def _read(file: Any) -> Iterator[bytes]:
    # Nothing to read for now (`None`, of a file that does not wait) is not the end.
    while piece := octets_of(file.read(PIECE_OCTETS)):
        yield piece


def _read_from(file: Any, place: int) -> Iterator[bytes]:
    while True:
        # Two may read at once: the same message to two servers.
        file.seek(place)
        piece = octets_of(file.read(PIECE_OCTETS))
        if not piece:
            return
        place += len(piece)
        yield piece


def _of_file(file: Any) -> Source:
    if isinstance(file, io.TextIOBase):
        raise TypeError("a file of text cannot be sent: open it with 'rb', or take its .buffer")
    if not (hasattr(file, "seekable") and file.seekable()):
        return Source(lambda: _read(file), again=False)
    beginning = file.tell()
    return Source(lambda: _read_from(file, beginning), again=True)


def _together(given: Iterable[object]) -> Iterator[bytes]:
    """Yield pieces of some size out of what may be lines, and of what may be very long."""
    pieces = iter(given)
    held: list[bytes] = []
    size = 0
    try:
        for each in pieces:
            piece = octets_of(each)
            held.append(piece)
            size += len(piece)
            if size >= PIECE_OCTETS:
                yield from cut(b"".join(held) if len(held) > 1 else piece)
                held, size = [], 0
        if held:
            yield b"".join(held)
    finally:
        if isinstance(pieces, Generator):
            pieces.close()


async def _produced(producer: Any) -> AsyncIterator[bytes]:
    # Not at the top: a Feed is made of Twisted's Deferreds, and the other sources do without.
    from smtpcb.client._feed import Feed

    feed = Feed()
    feed.follow(producer)
    try:
        async for piece in feed:
            yield piece
    finally:
        await feed.aclose()
