"""A message that is too big: refused at its end, and hung up on where that does not come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smtpcb.engine import Reason
from smtpcb.smtp import Limits
from tests.server.client import HELLO, MAIL, RCPT, Client, Observer, Recorder

Connect = Callable[..., Client]
SLACK = 1_048_576


def begin(connect: Connect, handler: Any, limit: int) -> Client:
    client = connect(handler, limits=Limits(message_octets=limit))
    client.send(HELLO + MAIL + RCPT)
    return client


@pytest.mark.parametrize("times", [2, 3, 20, 500])
@pytest.mark.parametrize("kind", [Recorder, Observer])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_end_in_the_same_read_is_seen(
    chunked: bool, kind: Any, times: int, connect: Connect
) -> None:
    """However many times a small limit it is: 552, and the session goes on."""
    handler = kind()
    client = begin(connect, handler, 100)
    content = b"x" * 98 * times + b"\r\n"
    if chunked:
        octets = b"BDAT %d LAST\r\n" % len(content) + content
    else:
        octets = b"DATA\r\n" + content + b".\r\n"
    codes = client.codes(octets + b"NOOP\r\n")
    assert codes == ([552, 250] if chunked else [354, 552, 250])
    assert not client.closing
    assert handler.said("message") == []


def test_one_that_does_not_end_is_hung_up_on(connect: Connect) -> None:
    """At twice the limit and a mebibyte, by which a client should have heard SIZE."""
    handler = Recorder()
    client = begin(connect, handler, 1000)
    assert client.codes(b"DATA\r\n", b"x" * 2000, b"x" * (SLACK - 2)) == [354]
    assert client.codes(b"xxx") == [552, 421] or client.closing
    assert client.closing
    client.leave()
    assert handler.said("disconnected") == [(Reason.LIMIT,)]


def test_an_end_past_that_is_seen_if_it_is_there(connect: Connect) -> None:
    """Nobody is hung up on who has come to the end."""
    client = begin(connect, Recorder(), 1000)
    octets = b"x" * (3 * SLACK) + b"\r\n.\r\nNOOP\r\n"
    assert client.codes(b"DATA\r\n", octets) == [354, 552, 250]
    assert not client.closing
