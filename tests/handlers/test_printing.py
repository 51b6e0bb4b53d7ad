"""Messages that are printed, and messages that are thrown away."""

from __future__ import annotations

import io
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from smtpcb.engine._envelope import Recipient
from smtpcb.handlers import READY_MADE
from smtpcb.handlers.discard import Discard
from smtpcb.handlers.printing import Print
from smtpcb.interfaces import IReadyMadeHandler, ISmtpHandlerPlugin
from smtpcb.smtp._address import ForwardPath

from .layers import HandReactor, envelope_of


def printed(octets: bytes, output: io.TextIOBase | None = None) -> tuple[int, str]:
    """Print a message; return the code of the reply, and what was printed."""
    reactor = HandReactor()
    raw = io.BytesIO()
    stream: Any = output or io.TextIOWrapper(raw, encoding="utf-8", newline="")
    handler = Print(reactor, stream)
    envelope = envelope_of(octets)
    envelope.recipients = [Recipient(ForwardPath("anne", "example.org"))]
    envelope.connection.hello = "me\x1b[2J"
    reply: Any = reactor.wait(handler.message(envelope))
    reactor.wait(handler.stopService())
    return reply.code, raw.getvalue().decode()


def test_a_message_is_printed_with_its_envelope() -> None:
    """From whom, to whom, by whom, and the message as lines."""
    code, text = printed("Subject: grüße\r\n\r\nhello\r\n".encode())
    assert code == 250
    first, *lines = text.splitlines()
    assert first.startswith("---------- MESSAGE ")
    assert lines == [
        *("from <>", "to <anne@example.org>", r"by me\x1b[2J []", ""),
        *("Subject: grüße", "", "hello", "---------- END ----------"),
    ]


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b"\x1b]0;title\x07", r"\x1b]0;title\x07"),
        (b"\xff\xc3", r"\xff\xc3"),
        ("\u202eabc\u0085\u2028".encode(), r"\u202eabc\x85\u2028"),
        (b"a\rb\r\nc\nd\r", "a\\rb\nc\nd\\r"),
        (b"tab\t\0", "tab\t\\x00"),
    ],
)
def test_a_terminal_obeys_no_message(octets: bytes, shown: str) -> None:
    """What it would act on is escaped, and a message that ends without a line end gets one."""
    assert printed(octets)[1].endswith(f"\n{shown}\n---------- END ----------\n")


def test_a_terminal_without_the_letters() -> None:
    """What its encoding has not is escaped, and no reason to refuse mail."""
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding="ascii")
    assert printed("grün".encode(), output)[0] == 250
    assert b"gr\\xfcn" in raw.getvalue()


def test_an_output_that_is_gone() -> None:
    """Nobody has seen the message, so its client is asked to send it again."""

    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    assert printed(b"x", Gone())[0] == 451
    closed = io.StringIO()
    closed.close()
    assert printed(b"x", closed)[0] == 451


def test_discarding_says_so() -> None:
    """It has no method for messages, and says by name that this is meant."""
    handler = Discard()
    assert verifyObject(IReadyMadeHandler, handler)
    assert handler.discards_content
    assert "thrown away" in handler.report[0]
    assert handler.check() == ()


def test_all_are_plug_ins_like_anybodys() -> None:
    """Each has a name and a line that explains it."""
    names = [plugin.name for plugin in READY_MADE]
    assert names == ["capture", "discard", "maildir", "print", "relay"]
    for plugin in READY_MADE:
        assert verifyObject(ISmtpHandlerPlugin, plugin)
