"""How long a message may be, by its recipient; and how many a bounce may have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from smtpcb import around
from smtpcb.testing import play

from .conftest import Inbox, client, made

Rcpt = Callable[..., None]

SAID = """
    C: EHLO client.example.com
    S: 250 ...
    C: MAIL FROM:<a@example.com> SIZE=2000
    S: 250
    C: RCPT TO:<anne@example.org>
    S: {anne}
    C: RCPT TO:<bob@example.org>
    S: {bob}
"""
SENT = """
    C: EHLO client.example.com
    S: 250 ...
    C: MAIL FROM:<a@example.com>
    S: 250
    C: RCPT TO:<{to}@example.org>
    S: 250
    C: DATA
    S: 354
    C: {text}
    C: .
    S: {reply}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sizes"
    path.write_text("anne@example.org 1k\n@example.org 1M\n")
    return path


def test_who_says_how_long_it_will_be_is_refused_that_recipient(file: Path) -> None:
    """Others of the same message still get it (RFC 1870 §6.1)."""
    script = SAID.format(anne="552 5.2.3 Message is too long", bob="250")
    script = script.replace("too long", "too long for that recipient")
    play(script, around(Inbox, made(f"size:{file}")))


def test_who_does_not_say_it_is_refused_the_message(file: Path) -> None:
    """When it is there, and its length is known."""
    policy = made(f"size:{file}")
    for to, octets, reply in (("anne", 1022, "250"), ("anne", 1023, "552"), ("bob", 5000, "250")):
        lines = "\n    C: ".join(["x" * 98] * (octets // 100) + ["x" * (octets % 100)])
        play(SENT.format(to=to, text=lines, reply=reply), around(Inbox, policy))


def test_a_file_that_is_gone_bounces_nothing(file: Path) -> None:
    """451, and it is read again when it is back."""
    policy = made(f"size:{file}")
    file.unlink()
    play(SAID.format(anne="451 4.3.0", bob="451 4.3.0"), around(Inbox, policy))


@pytest.mark.parametrize("text", ["anne@example.org\n", "anne@example.org much\n", "anne 10M\n"])
def test_a_mistake_in_the_file_names_its_line(file: Path, text: str) -> None:
    """Before anything is served."""
    file.write_text(text)
    with pytest.raises(ValueError, match="line 1: "):
        made(f"size:{file}")
    with pytest.raises(ValueError, match="a file is wanted"):
        made("size")


def test_a_bounce_has_one_recipient(rcpt: Rcpt) -> None:
    """The others are not lost: the client sends them theirs."""
    policy = made("single-bounce")
    first, second = "a@example.org", "b@example.org"
    rcpt(policy, (first, "250"), (second, "452 4.5.3"), sender="")
    rcpt(policy, (first, "250"), (second, "250"), connection=client())
    with pytest.raises(ValueError, match="no argument"):
        made("single-bounce:2")
