"""Nothing that is sent as the content of a message is read as its end, or as a command (P6)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smtpcb.client import ContentError, Needs, Outgoing
from smtpcb.engine._settings import Settings
from smtpcb.smtp._content import stuff
from tests.client.running import sent
from tests.engine.test_smuggling import BEGIN, FALSE, SMUGGLED, talk

LINE = b"x" * 62 + b"\r\n"
OFFSETS = [2**power + shift for power in (6, 12, 16) for shift in (-3, -2, -1, 0, 1, 2)]


def messages(false_end: bytes) -> Iterator[tuple[bytes, Outgoing]]:
    """Yield a message with a false end at many places, whole and cut there."""
    for offset in OFFSETS:
        start = (LINE * (offset // 64 + 1))[:offset]
        octets = start + false_end + SMUGGLED
        yield octets, Outgoing(octets, rules=None)
        for cut in range(offset - 1, offset + len(false_end) + 1):
            yield octets, Outgoing(iter([octets[:cut], octets[cut:]]), rules=None)
            # What is declared is not judged, but for its line ends.
            declared = Needs()
            yield octets, Outgoing([octets[:cut], octets[cut:]], rules=None, declared=declared)


@pytest.mark.parametrize("false_end", FALSE, ids=repr)
def test_a_false_end_never_goes_out(false_end: bytes) -> None:
    """A strict server takes one message with the lines of the source, or nothing is sent."""
    settings = Settings(bare_newline="refuse")
    taken: set[bytes] = set()
    for octets, outgoing in messages(false_end):
        try:
            wire = sent(outgoing)
        except ContentError:
            # CR alone in any case, NUL if it has not been declared to be in order.
            assert b"\r" in octets.replace(b"\r\n", b"") or b"\0" in octets
            continue
        assert wire.replace(b"\r\n", b"\n") == octets.replace(b"\r\n", b"\n")
        if wire in taken:
            continue
        taken.add(wire)
        said, seen = talk([BEGIN + stuff(wire) + b"QUIT\r\n"], settings)
        assert [line[:3] for line in said.splitlines()][4:] == [b"250", b"221"]
        assert [envelope.content.bytes() for envelope in seen.envelopes] == [wire]
    assert bool(taken) or b"\r" in false_end.replace(b"\r\n", b"")
