"""Where a message may come from."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from smtpcb.client import ContentError
from smtpcb.client._source import PIECE_OCTETS, Source, source_of
from tests.client.running import finished

OCTETS = bytes(range(256)) * 1024  # four pieces


async def _read(source: Source) -> list[bytes]:
    pieces: Any = source.start()
    if hasattr(pieces, "__anext__"):
        return [piece async for piece in pieces]
    return list(pieces)


def read(source: Source) -> list[bytes]:
    return finished(_read(source))


async def asynchronous(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class Anew:
    """An async iterable that is no iterator."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return asynchronous(OCTETS)


def in_folder(path: Path) -> Path:
    file = path / "message"
    file.write_bytes(OCTETS)
    return file


def spooled() -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    file.write(OCTETS)
    file.seek(0)
    return file


@pytest.mark.parametrize(
    "give",
    [
        lambda _: OCTETS,
        lambda _: bytearray(OCTETS),
        lambda _: memoryview(OCTETS),
        in_folder,
        lambda path: in_folder(path).open("rb"),
        lambda _: io.BytesIO(OCTETS),
        lambda _: spooled(),
        lambda _: [OCTETS[:1000], bytearray(OCTETS[1000:])],
        lambda _: Anew(),
        lambda _: lambda: OCTETS,
        lambda _: lambda: iter([OCTETS]),
        lambda _: lambda: asynchronous(OCTETS),
        lambda _: lambda: io.BytesIO(OCTETS),
    ],
)
def test_what_can_be_read_again_begins_anew(give: Callable[[Path], Any], tmp_path: Path) -> None:
    """Each attempt has the whole message, from its beginning."""
    given = give(tmp_path)
    source = source_of(given)
    assert source.again
    assert b"".join(read(source)) == OCTETS
    half: Any = source.start()
    if hasattr(half, "__next__"):
        next(half)
    assert b"".join(read(source)) == OCTETS
    if hasattr(given, "close"):
        given.close()


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


class Reader:
    """All that some objects have of a file."""

    def __init__(self) -> None:
        self._file = io.BytesIO(OCTETS)

    def read(self, octets: int) -> bytes:
        return self._file.read(octets)


@pytest.mark.parametrize(
    "given",
    [iter([OCTETS]), (one for one in [OCTETS]), asynchronous(OCTETS), Pipe(OCTETS), Reader()],
)
def test_what_can_be_read_once_says_so(given: Any) -> None:
    """An iterator is not taken for something that can be sent twice."""
    source = source_of(given)
    assert not source.again
    assert b"".join(read(source)) == OCTETS


def test_a_callable_that_gives_the_same_iterator_again_is_found_out() -> None:
    """What is used up would be an empty message, or the end of one."""
    for stream in (iter([OCTETS]), asynchronous(OCTETS)):
        source = source_of(lambda stream=stream: stream)
        assert b"".join(read(source)) == OCTETS
        with pytest.raises(ContentError, match="twice"):
            read(source)
    octets = [OCTETS]
    source = source_of(lambda: octets)
    assert b"".join(read(source)) == b"".join(read(source)) == OCTETS


def test_a_file_is_sent_from_where_it_stands(tmp_path: Path) -> None:
    """What has been read of a file is no part of the message, in no attempt."""
    with in_folder(tmp_path).open("rb") as file:
        file.seek(1000)
        source = source_of(file)
        assert b"".join(read(source)) == OCTETS[1000:]
        assert b"".join(read(source)) == OCTETS[1000:]
        assert not file.closed


def test_a_compressed_file_is_one_like_others(tmp_path: Path) -> None:
    """Whatever reads as a binary file is one."""
    path = tmp_path / "message.gz"
    path.write_bytes(gzip.compress(OCTETS))
    with gzip.open(path) as file:
        source = source_of(file)
        assert b"".join(read(source)) == b"".join(read(source)) == OCTETS


def test_a_path_is_opened_when_it_is_sent(tmp_path: Path) -> None:
    """A file that is not there is the system's own error; no file stays open."""
    path = tmp_path / "later"
    source = source_of(path)
    with pytest.raises(FileNotFoundError, match="later"):
        read(source)
    path.write_bytes(b"now")
    assert source.again
    assert read(source) == [b"now"]
    with pytest.raises(IsADirectoryError):
        read(source_of(tmp_path))


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    """A pipe is no file that could be opened twice."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    source = source_of(path)
    assert not source.again
    writer = threading.Thread(target=path.write_bytes, args=(b"from a pipe",))
    writer.start()
    assert b"".join(read(source)) == b"from a pipe"
    writer.join()


@pytest.mark.parametrize("size", [1, 10, 70_000])
def test_pieces_have_some_size(size: int) -> None:
    """A message that is given line by line, or all at once, is not sent so."""
    pieces = read(source_of([OCTETS[at : at + size] for at in range(0, len(OCTETS), size)]))
    assert b"".join(pieces) == OCTETS
    assert len(pieces) <= 8
    assert max(map(len, pieces)) <= PIECE_OCTETS


def test_octets_are_those_of_the_moment() -> None:
    """What is changed afterwards is not what was to be sent."""
    given = bytearray(b"before")
    message = EmailMessage()
    message["Subject"] = "before"
    sources = [source_of(given), source_of(message)]
    given[:] = b"after!"
    message.replace_header("Subject", "after!")
    assert [b"before" in b"".join(read(source)) for source in sources] == [True, True]


async def coroutine() -> bytes:
    return b""


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("Subject: a\r\n", "a str is no message"),
        ("message.eml", "pathlib.Path"),
        (None, "NoneType cannot be sent"),
        (5, "int cannot be sent"),
        ({"Subject": "a"}, "dict cannot be sent"),
        ({b"a", b"b"}, "set cannot be sent"),
        (EmailMessage, "type cannot be sent"),
        (io.StringIO("a"), "'rb'"),
    ],
)
def test_what_cannot_be_sent_says_what_could(given: object, why: str) -> None:
    """A wrong kind is refused at once, and the right one is named."""
    with pytest.raises(TypeError, match=why):
        source_of(given)


def test_a_coroutine_is_awaited_first() -> None:
    """What is not there yet cannot be sent."""
    waiting = coroutine()
    with pytest.raises(TypeError, match="awaited"):
        source_of(waiting)
    waiting.close()
    with pytest.raises(TypeError, match="another one"):
        read(source_of(lambda: lambda: b""))
    with pytest.raises(TypeError, match="'rb'"):
        read(source_of(lambda: io.StringIO("a")))


def text() -> Iterator[str]:
    yield "Subject: a\r\n"


@pytest.mark.parametrize("given", [text(), ["a"], (5,), range(3), [None], text])
def test_pieces_are_octets(given: Any) -> None:
    """Text among the pieces is refused, not guessed at."""
    with pytest.raises(ContentError, match="a source of octets gave"):
        read(source_of(given))


def test_a_file_that_gives_text_is_refused() -> None:
    """However it hides it."""

    class Text:
        def read(self, _: int) -> str:
            return "text"

    with pytest.raises(ContentError, match="gave str"):
        read(source_of(Text()))


def test_a_file_that_has_nothing_yet_is_not_at_its_end() -> None:
    """A pipe that does not wait would cut the message; it is refused instead."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    with os.fdopen(ours, "rb", buffering=0) as file, pytest.raises(ContentError, match="NoneType"):
        read(source_of(file))
    os.close(theirs)


def test_one_file_may_be_read_by_two_at_once() -> None:
    """The same message goes to two servers at once, whole to each of them."""
    source = source_of(io.BytesIO(OCTETS))
    one, two = source.start(), source.start()
    mixed = [b"", b""]
    for _ in range(len(OCTETS) // PIECE_OCTETS):
        for number, pieces in enumerate((one, two)):
            assert isinstance(pieces, Iterator)
            mixed[number] += next(pieces)
    assert mixed == [OCTETS, OCTETS]


def test_what_is_read_asynchronously_is_no_plain_file() -> None:
    """A reader of asyncio's, with a `read` that has to be awaited, is taken for what it is."""

    class Reader:
        def __init__(self) -> None:
            self._lines = asynchronous(b"one\n", b"two\n")

        async def read(self, octets: int = -1) -> bytes:
            raise NotImplementedError

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._lines

        async def __anext__(self) -> bytes:
            return await self._lines.__anext__()

    source = source_of(Reader())
    assert not source.again
    assert read(source) == [b"one\n", b"two\n"]
