"""The false ends of data: none of them is one (P1-P4)."""

from __future__ import annotations

from itertools import product

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._plain import Driver
from smtpcb.engine._settings import Settings

from .scripts import Noting

BEGIN = b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n"
SMUGGLED = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<c@d>\r\nDATA\r\nhello\r\n"
END = b"\r\n.\r\n"

ENDS = (b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\0\r\n", b"\r\0\n")
FALSE = [
    before + b"." + after
    for before, after in product(ENDS, ENDS)
    if not (before.endswith(b"\r\n") and after == b"\r\n")
] + [b"\n.\n.\n", b"\r\n.\0\r\n", b"\r\n\0.\r\n", b"\r\n. \r\n", b"\r\n.\t\r\n", b"\r\n.\x0b\r\n"]


class Inbox:
    """Takes every message."""

    def message(self, envelope: Envelope) -> None:
        """Take it."""


def talk(pieces: list[bytes], settings: Settings) -> tuple[bytes, Noting]:
    """Send pieces to a new server; return what it said, and what it decided."""
    observer = Noting()
    driver = Driver(Inbox(), settings, Connection("x"), observer=observer)
    driver.start()
    said = b"".join(map(driver.receive, pieces))
    return said, observer


@pytest.mark.parametrize("mode", ["refuse", "normalize"])
@pytest.mark.parametrize("false_end", FALSE, ids=repr)
def test_a_false_end_ends_nothing(false_end: bytes, mode: str) -> None:
    """At every cut: one reply, one message or none; nothing behind it is a command (P1, P2)."""
    settings = Settings(bare_newline=mode)
    text = b"one" + false_end + SMUGGLED
    whole = BEGIN + text + END + b"QUIT\r\n"
    first = len(BEGIN)
    cuts = range(first, first + len(b"one" + false_end) + 2)
    outcomes = set()
    for pieces in [
        [whole],
        *([whole[:cut], whole[cut:]] for cut in cuts),
        [whole[at : at + 1] for at in range(len(whole))],
    ]:
        said, seen = talk(pieces, settings)
        codes = [line[:3] for line in said.splitlines()]
        assert codes[:4] == [b"250", b"250", b"250", b"354"]
        assert codes[5:] == [b"221"]
        assert len(seen.envelopes) + len(seen.ends) == 1
        kept = [envelope.content.bytes() for envelope in seen.envelopes]
        if mode == "refuse":
            bare = b"\r" in text.replace(b"\r\n", b"") or b"\n" in text.replace(b"\r\n", b"")
            assert codes[4] == (b"550" if bare else b"250")
            assert bool(kept) is not bare
        else:
            assert codes[4] == b"250"
            left = kept[0].replace(b"\r\n", b"")
            assert b"\r" not in left
            assert b"\n" not in left
        outcomes.add((said, *kept))
    assert len(outcomes) == 1


def test_there_are_enough_of_them() -> None:
    """Every way to write a line end wrongly before the dot, and behind it."""
    assert len(set(FALSE)) >= 42


@pytest.mark.parametrize("before", [b"", b"a", b"a\r", b"\r\n", b"a\0", b"a\r\n\r\n"])
def test_the_true_end_is_seen_at_every_cut(before: bytes) -> None:
    """Also as the very first line, and behind a stray CR (P3)."""
    whole = BEGIN + before + (END if before else b".\r\n") + b"QUIT\r\n"
    for cut in range(len(BEGIN), len(whole)):
        said, _ = talk([whole[:cut], whole[cut:]], Settings())
        assert said.count(b"\r\n") == 6


@pytest.mark.parametrize(
    "line",
    [b"NOOP\rRSET", b"NOOP\nRSET", b"NOOP\0RSET", b"NOOP \rRSET", b"NOOP \nRSET", b"\0"],
)
def test_nothing_but_crlf_ends_a_command(line: bytes) -> None:
    """Bare CR, bare LF and NUL get one 500, and hide no second command (P4)."""
    said, _ = talk([b"HELO me\r\n" + line + b"\r\nQUIT\r\n"], Settings())
    assert [reply[:3] for reply in said.splitlines()] == [b"250", b"500", b"221"]
