"""Whole messages, as they are sent."""

from __future__ import annotations

import io
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.client import ContentError, HeaderRules, Needs, Origin, Outgoing
from smtpcb.smtp import BodyType, Limits, ReversePath
from tests.client.running import all_pieces, finished, sent

ORIGIN = Origin(
    ReversePath("anne", "example.org"), (), datetime(2026, 11, 28, tzinfo=UTC), "unique"
)
HEADER = b"Date: a\r\nFrom: b\r\nMessage-ID: <c@d>\r\n\r\n"
LINES = b"one\r\n.two\r\n" * 20_000


def needs(outgoing: Outgoing) -> Needs:
    return finished(outgoing.needs())


async def asynchronous(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize(
    "give",
    [
        lambda octets: octets,
        lambda octets: io.BytesIO(octets),
        lambda octets: [octets[:9], octets[9:]],
        lambda octets: lambda: iter([octets]),
        lambda octets: lambda: asynchronous(octets[:5], octets[5:]),
    ],
)
@pytest.mark.parametrize("body", [b"short\n", LINES, LINES.replace(b"\r\n", b"\n"), b""])
def test_each_attempt_sends_the_same(give: Callable[[bytes], Any], body: bytes) -> None:
    """However often a message is tried, and wherever it is from, it is the same message."""
    wire = HEADER + body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    outgoing = Outgoing(give(HEADER + body), ORIGIN)
    assert outgoing.again
    assert needs(outgoing) == Needs(BodyType.SEVEN_BIT, False, len(wire))
    assert sent(outgoing) == sent(outgoing) == wire


@given(
    st.lists(st.text("\r\n.a\xe4", max_size=9), max_size=9),
    st.booleans(),
)
def test_what_is_said_before_is_what_is_sent(texts: list[str], known: bool) -> None:
    """The size is exact, and nothing is sent that was not announced; or it is refused first."""
    pieces = [HEADER] * known + [text.encode() for text in texts]
    outgoing = Outgoing(pieces, ORIGIN)
    try:
        need = needs(outgoing)
    except ContentError:
        assert b"\r" in b"".join(pieces).replace(b"\r\n", b"")
        return
    wire = sent(outgoing)
    assert need.size_octets == len(wire)
    assert (need.body is BodyType.SEVEN_BIT) == wire.isascii()
    assert wire.replace(b"\r\n", b"").isascii() or need.body is BodyType.EIGHT_BIT_MIME
    assert wire.endswith(b"\r\n")
    assert not set(wire.replace(b"\r\n", b"")) & set(b"\r\n")
    once = Outgoing(iter(pieces), ORIGIN)
    assert sent(once) == wire


@pytest.mark.parametrize(
    ("octets", "need"),
    [
        (HEADER, Needs(BodyType.SEVEN_BIT, False, len(HEADER))),
        (HEADER + b"\xc3\xa4", Needs(BodyType.EIGHT_BIT_MIME, False, len(HEADER) + 4)),
        (b"Subject: \xc3\xa4\r\n" + HEADER, Needs(BodyType.EIGHT_BIT_MIME, True, len(HEADER) + 13)),
    ],
)
def test_what_a_server_must_offer_is_known(octets: bytes, need: Needs) -> None:
    """8BITMIME, SMTPUTF8 and the size are known before MAIL."""
    assert needs(Outgoing(octets, ORIGIN)) == need
    assert needs(Outgoing(octets, rules=None)) == need


@pytest.mark.parametrize(
    ("octets", "body"),
    [
        (HEADER + b"a\r\n", BodyType.SEVEN_BIT),
        (HEADER + b"\xe4\r\n", BodyType.EIGHT_BIT_MIME),
        (HEADER + b"a\n", BodyType.BINARY_MIME),
        (HEADER + b"a\r", BodyType.BINARY_MIME),
        (HEADER + b"a\rb\r\n", BodyType.BINARY_MIME),
        (HEADER + b"a", BodyType.BINARY_MIME),
        (HEADER + b"a\0\r\n", BodyType.BINARY_MIME),
        (HEADER + b"a" * 999 + b"\r\n", BodyType.BINARY_MIME),
        (b"", BodyType.SEVEN_BIT),
        (b"a\n\nb\n", BodyType.BINARY_MIME),
    ],
)
def test_content_may_go_exactly_as_it_is(octets: bytes, body: BodyType) -> None:
    """Who asks for it has every octet as it was, and BINARYMIME only where it is needed."""
    outgoing = Outgoing(octets, rules=None, exact=True)
    assert needs(outgoing) == Needs(body, False, len(octets))
    assert sent(outgoing) == octets
    once = Outgoing(iter([octets]), rules=None, exact=True)
    assert needs(once).body in (body, BodyType.BINARY_MIME)
    assert sent(once) == octets


def test_a_binary_body_stands_behind_a_complete_section() -> None:
    """Fields are added to what goes as it is, too."""
    outgoing = Outgoing(b"Subject: a\r\n\r\n\0\r\n\n", ORIGIN, exact=True)
    assert needs(outgoing).body is BodyType.BINARY_MIME
    octets = sent(outgoing)
    assert octets.startswith(b"Subject: a\r\nDate: ")
    assert octets.endswith(b"\r\n\r\n\0\r\n\n")


def test_what_can_be_read_once_is_sent_once() -> None:
    """A second attempt with what is used up is an error, never an empty message."""
    for source in (iter([HEADER, LINES]), asynchronous(HEADER, LINES), iter([HEADER])):
        outgoing = Outgoing(source, ORIGIN)
        assert not outgoing.again
        assert sent(outgoing).startswith(HEADER)
        with pytest.raises(ContentError, match="only once"):
            sent(outgoing)


def test_of_what_can_be_read_once_the_worst_is_taken() -> None:
    """Of a body that nobody has seen, it is not known that it is 7-bit, nor how long it is."""
    outgoing = Outgoing(iter([HEADER, b"x" * 70_000]), ORIGIN, rules=None, exact=True)
    assert needs(outgoing) == Needs(BodyType.BINARY_MIME)
    outgoing = Outgoing(asynchronous(HEADER[:9], HEADER[9:], b"x"), ORIGIN)
    assert needs(outgoing) == Needs(BodyType.EIGHT_BIT_MIME)
    assert outgoing.message_id == "<c@d>"
    assert sent(outgoing) == HEADER + b"x\r\n"
    # One that is all there is known.
    assert needs(Outgoing(iter([HEADER[:-2]]), ORIGIN)) == Needs(
        BodyType.SEVEN_BIT, False, len(HEADER)
    )


def test_only_the_header_section_is_read_ahead() -> None:
    """Of a stream no more is taken than has to be known."""
    taken = []

    def stream() -> Iterator[bytes]:
        for piece in (HEADER + b"x" * 900 + b"\n") * 70, b"y\n" * 33_000, b"z\n" * 33_000:
            taken.append(piece[:1])
            yield piece

    outgoing = Outgoing(stream(), ORIGIN)
    needs(outgoing)
    assert len(taken) == 1
    assert sent(outgoing).endswith(b"z\r\n")


def test_declared_is_not_looked_at() -> None:
    """A gateway passes on what strangers wrote, and answers for it itself."""
    given = b"Subject: J\xf6rg\r\nX: " + b"y" * 2000 + b"\r\n\r\n\0\r\n"
    declared = Needs(BodyType.EIGHT_BIT_MIME)
    outgoing = Outgoing(iter([given]), rules=None, declared=declared)
    assert needs(outgoing) is declared
    assert sent(outgoing) == given
    assert outgoing.message_id == ""


def test_an_attempt_is_like_the_one_before() -> None:
    """Something that is used up without telling is found out at the second attempt."""

    class UsedUp:
        def __init__(self) -> None:
            self._pieces = iter([HEADER, LINES])

        def __iter__(self) -> Iterator[bytes]:
            return self._pieces

    outgoing = Outgoing(UsedUp(), rules=None, declared=Needs())
    assert sent(outgoing) == HEADER + LINES
    with pytest.raises(ContentError, match="has changed"):
        sent(outgoing)


def test_a_gateway_adds_a_field_to_what_strangers_wrote() -> None:
    """Octets in a header section that are no UTF-8 are the sender's fault, and pass."""
    rules = HeaderRules(complete=False)
    rules.set("X-Seen", "yes")
    given = b"Subject: J\xf6rg\r\n\r\nbody\r\n"
    outgoing = Outgoing(iter([given]), rules=rules, declared=Needs())
    assert sent(outgoing) == b"Subject: J\xf6rg\r\nX-Seen: yes\r\n\r\nbody\r\n"


def test_memory_does_not_grow_with_the_message(tmp_path: Path) -> None:
    """A message of many megabytes takes no more than some pieces of it."""
    path = tmp_path / "message"
    path.write_bytes(HEADER + LINES * 40)

    async def through(outgoing: Outgoing) -> None:
        async with aclosing(outgoing.pieces()) as pieces:
            async for _ in pieces:
                pass

    tracemalloc.start()
    try:
        finished(through(Outgoing(path, ORIGIN)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000 < path.stat().st_size // 8


@pytest.mark.parametrize(
    ("octets", "declared", "why"),
    [
        (HEADER + b"\xe4", Needs(BodyType.SEVEN_BIT), "7 bits"),
        (HEADER + b"a\rb", Needs(), "CR without LF"),
    ],
)
def test_what_was_declared_holds(octets: bytes, declared: Needs, why: str) -> None:
    """Octets that the server was not asked for are not sent to it."""
    with pytest.raises(ContentError, match=why):
        sent(Outgoing(octets, ORIGIN, rules=None, declared=declared))


def test_exact_content_that_was_declared_to_be_lines_is_lines() -> None:
    """Without BINARYMIME no bare line end is sent, whatever was promised."""
    for body in (b"a\nb\r\n", b"a\rb\r\n", b"a\r", b"a"):
        outgoing = Outgoing(HEADER + body, rules=None, exact=True, declared=Needs())
        with pytest.raises(ContentError, match="lines that end in CRLF"):
            sent(outgoing)


def test_a_file_that_changes_is_not_sent_as_if_it_had_not(tmp_path: Path) -> None:
    """A log that is cut or grows between two readings does not arrive as a whole message."""
    path = tmp_path / "message"
    path.write_bytes(HEADER + LINES)
    outgoing = Outgoing(path, ORIGIN)
    needs(outgoing)
    for changed in (LINES[:-5], LINES + b"x\r\n"):
        path.write_bytes(HEADER + changed)
        with pytest.raises(ContentError, match="has changed"):
            sent(outgoing)
    path.write_bytes(HEADER + LINES[:-4] + b"\xe4\xe4\r\n")
    with pytest.raises(ContentError, match="7 bits"):
        sent(outgoing)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        sent(outgoing)
    path.write_bytes(HEADER + LINES + b"\xe4\r\n")
    eight_bit = Outgoing(path, ORIGIN)
    needs(eight_bit)
    path.write_bytes(b"X: \xc3\xa4\r\n" + HEADER + LINES)
    with pytest.raises(ContentError, match="was to be ASCII"):
        sent(eight_bit)


def test_a_line_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    """Whoever has a million lines hears which one cannot be sent."""
    path = tmp_path / "message"
    path.write_bytes(HEADER + LINES + b"three\rfour\n")
    for give in (lambda: path, lambda: path.open("rb"), lambda: [HEADER, LINES, b"three\rfour"]):
        given = give()
        with pytest.raises(ContentError, match="line 40005: ") as caught:
            needs(Outgoing(given, ORIGIN))
        assert "three" in str(caught.value)
        if isinstance(given, io.IOBase):
            given.close()
    with pytest.raises(ContentError, match="line 40004: "):
        needs(Outgoing(HEADER + LINES[:-2] + b"\r", ORIGIN))


def test_a_line_in_what_can_be_read_once_is_named_too() -> None:
    """As far as it has been read, lines are counted; later ones are shown only."""
    with pytest.raises(ContentError, match="line 2: "):
        needs(Outgoing(asynchronous(b"Subject: a\n", b"To: b\r", b"c: d\n"), ORIGIN))
    with pytest.raises(ContentError, match="line 3: "):
        needs(Outgoing(asynchronous(b"Subject: a\n", b"To: b\r\n", b"c: d\r"), ORIGIN))
    outgoing = Outgoing(asynchronous(HEADER, b"good\nba", b"d\rone\n"), ORIGIN)
    needs(outgoing)
    with pytest.raises(ContentError, match=r"begins with 'd'"):
        sent(outgoing)


def test_after_a_refusal_nothing_is_left_to_send() -> None:
    """What was found wrong is not sent from where the reading stopped."""
    outgoing = Outgoing(iter([b" no field\r\n\r\n", b"body"]), ORIGIN)
    for _ in range(2):
        with pytest.raises(ContentError):
            needs(outgoing)
    no_author = Outgoing(b"Subject: a\n\n")
    for _ in range(2):
        with pytest.raises(ContentError, match="From"):
            sent(no_author)


def test_a_message_that_is_not_sent_is_given_back() -> None:
    """A generator is closed when its message is given up, or when an attempt ends early."""
    closed = []

    def stream() -> Iterator[bytes]:
        try:
            while True:
                yield HEADER + LINES
        finally:
            closed.append(True)

    given_up = Outgoing(stream(), ORIGIN)
    needs(given_up)
    finished(given_up.aclose())
    assert closed == [True]
    with pytest.raises(ContentError, match="only once"):
        sent(given_up)

    async def one_piece(outgoing: Outgoing) -> None:
        async with aclosing(outgoing.pieces()) as pieces:
            async for _ in pieces:
                break

    for outgoing in (Outgoing(stream(), ORIGIN), Outgoing(stream, ORIGIN, declared=Needs())):
        finished(one_piece(outgoing))
    assert closed == [True] * 3
    unread = Outgoing(stream(), ORIGIN)
    finished(unread.aclose())
    with pytest.raises(ContentError, match="only once"):
        needs(unread)


def test_no_file_stays_open(tmp_path: Path) -> None:
    """Each reading of a path closes it, also one that ends early."""
    path = tmp_path / "message"
    path.write_bytes(HEADER + LINES)
    before = len(os.listdir("/proc/self/fd"))
    outgoing = Outgoing(path, ORIGIN)
    sent(outgoing)

    async def one_piece() -> None:
        async with aclosing(outgoing.pieces()) as pieces:
            await anext(pieces)

    finished(one_piece())
    assert len(os.listdir("/proc/self/fd")) == before


def test_others_have_their_turn_while_a_long_message_is_looked_at() -> None:
    """A message of many megabytes is looked at in steps."""
    turns = []

    async def pause() -> None:
        turns.append(True)

    outgoing = Outgoing([HEADER, b"x\r\n" * 3_000_000], ORIGIN, pause=pause)
    needs(outgoing)
    assert 3 <= len(turns) <= 5


def test_a_short_message_is_read_once_and_goes_out_in_one_piece() -> None:
    """Nothing is done twice for the many messages that are short."""
    calls = []

    def make() -> bytes:
        calls.append(True)
        return HEADER + b"x\r\n" * 300

    outgoing = Outgoing(make, ORIGIN)
    assert len(finished(all_pieces(outgoing))) == len(finished(all_pieces(outgoing))) == 1
    assert calls == [True]


def test_pieces_are_bounded() -> None:
    """However it is given, it comes in pieces that fit a write."""
    for source in ([HEADER + LINES * 5], asynchronous(HEADER + LINES * 5), HEADER + LINES * 5):
        pieces = finished(all_pieces(Outgoing(source, ORIGIN)))
        assert max(map(len, pieces)) <= 140_000


def test_the_message_id_is_kept() -> None:
    """Every attempt has the same Message-ID and the same date; the caller knows it."""
    outgoing = Outgoing(lambda: iter([b"\n" + LINES]), Origin(ReversePath("a", "b.c")))
    first, second = sent(outgoing), sent(outgoing)
    assert first == second
    assert f"Message-ID: {outgoing.message_id}\r\n".encode() in first


def test_a_message_of_email_arrives_as_it_was() -> None:
    """What `email` made is what `email` reads on the other side; Bcc is not in it."""
    message = EmailMessage()
    message["Subject"] = "J\xf6rg"
    message["From"] = "Anne <anne@example.org>"
    message["To"] = "J\xf6rg <j@x.y>"
    message["Bcc"] = "hidden@x.y"
    message.set_content("\xe4\n.\n..\n" * 100, cte="quoted-printable")
    message.add_attachment(bytes(range(256)), maintype="application", subtype="octet-stream")
    outgoing = Outgoing(message, ORIGIN)
    assert needs(outgoing).body is BodyType.SEVEN_BIT
    got: Any = message_from_bytes(sent(outgoing), policy=policy.SMTP)
    assert got["Subject"] == "J\xf6rg"
    assert "Bcc" not in got
    assert got["Date"].datetime == ORIGIN.date
    text, attachment = got.iter_parts()
    assert text.get_content().splitlines() == ["\xe4", ".", ".."] * 100
    assert attachment.get_content() == bytes(range(256))


def test_a_header_section_has_the_limit_that_is_set() -> None:
    """Who wants longer sections says so."""
    given = b"X: " + b"a" * 900 + b"\r\n" + HEADER
    needs(Outgoing(given, ORIGIN))
    with pytest.raises(ContentError, match="over 500 octets"):
        needs(Outgoing(given, ORIGIN, limits=Limits(header_octets=500)))
