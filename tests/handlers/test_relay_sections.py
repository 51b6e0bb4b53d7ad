"""Header sections of strangers, which a filter is not to be passed by with."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from email import message_from_bytes
from typing import Any

import pytest
import pytest_twisted

from smtpcb import Envelope, callbacks
from smtpcb.handlers.relay import changes

from .relaying import conversation, gateway
from .test_relay_filter import Behind, send, without_trace

Serve = Callable[..., int]
END = b"X-Spam: no\r\n\r\nHi\r\n"
LONG = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 90) for number in range(1000))


def change(*arguments: Any) -> None:
    envelope: Envelope = arguments[-1]
    changes(envelope).add_field("X-Score", "7")
    changes(envelope).replace_field("X-Result", "bad")
    changes(envelope).remove_field("X-Spam")


@pytest.mark.parametrize("event", ["mail", "message"])
@pytest.mark.parametrize(
    "section",
    [
        pytest.param(LONG, id="more than is read at once"),
        pytest.param(b" \r\n", id="blanks in the first line"),
        pytest.param(b"\tx\r\n y\r\n", id="a first line that continues nothing"),
        pytest.param(b"From a@example.org Mon\r\n", id="from an mbox file"),
        pytest.param(b": x\r\n", id="a field without a name"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_no_field_is_passed_by_a_filter(serve: Serve, section: bytes, event: str) -> None:
    """What it takes out is out, wherever in the header section it stands, and behind whatever."""
    behind = Behind()
    port = serve(gateway(serve(behind), filter=callbacks(**{event: change})))
    [(code, _)] = await conversation(port, send(section + END))
    assert code == 250
    [(_, content)] = behind.got
    assert b"\r\nX-Spam" not in content
    assert b"X-Score: 7\r\n" in content
    assert b"X-Result: bad\r\n\r\nHi\r\n" in content


@pytest.mark.parametrize("event", ["mail", "message"])
@pytest_twisted.ensureDeferred
async def test_nobody_writes_into_the_fields_of_the_gateway(serve: Serve, event: str) -> None:
    """A message that begins with the rest of a field does not add it to the one before."""
    behind = Behind()
    port = serve(gateway(serve(behind), filter=callbacks(**{event: lambda *_: None})))
    plain = serve(gateway(serve(behind)))
    for each in port, plain:
        [(code, _)] = await conversation(each, send(b" forged\r\n\tit\r\nSubject: x\r\n\r\nHi\r\n"))
        assert code == 250
    for _, content in behind.got:
        assert b"forged" not in content
        assert without_trace(content) == b"Subject: x\r\n\r\nHi\r\n"


@pytest.mark.parametrize("event", ["mail", "message"])
@pytest_twisted.ensureDeferred
async def test_what_a_filter_adds_is_in_the_header_section(serve: Serve, event: str) -> None:
    """Where a line that is no field ends it, no blank line being there, it stands before that."""
    behind = Behind()
    port = serve(gateway(serve(behind), filter=callbacks(**{event: change})))
    [(code, _)] = await conversation(port, send(b"Subject: x\r\nHello there\r\nYours\r\n"))
    assert code == 250
    [(_, content)] = behind.got
    assert message_from_bytes(content)["X-Result"] == "bad"
    assert content.endswith(b"Subject: x\r\nX-Result: bad\r\nHello there\r\nYours\r\n")


def in_a_chunk(client: smtplib.SMTP) -> Any:
    client.mail("a@example.org")
    client.rcpt("b@example.org")
    text = b"Subject: x\r\nX-Spam: no"
    client.send(b"BDAT %d LAST\r\n%b" % (len(text), text))
    return client.getreply()


@pytest.mark.parametrize("event", ["mail", "message"])
@pytest_twisted.ensureDeferred
async def test_a_last_line_without_an_end_is_seen(serve: Serve, event: str) -> None:
    """By BDAT a message may end anywhere; its last field is a field all the same."""
    behind = Behind()
    port = serve(gateway(serve(behind), filter=callbacks(**{event: change})))
    assert (await conversation(port, in_a_chunk))[0] == 250
    [(_, content)] = behind.got
    assert without_trace(content) == b"X-Score: 7\r\nSubject: x\r\nX-Result: bad\r\n"


@pytest.mark.parametrize("event", ["header", "message"])
@pytest.mark.parametrize("section", [b"a:\r\n" * 10_001, b"X: " + b"a" * 1_100_000 + b"\r\n"])
@pytest_twisted.ensureDeferred
async def test_what_a_filter_cannot_see_does_not_go_on(
    serve: Serve, section: bytes, event: str
) -> None:
    """It is told a thousand times what honest mail has; longer sections are refused, not passed."""
    behind = Behind()
    port = serve(gateway(serve(behind), filter=callbacks(**{event: lambda *_: None})))
    [(code, text)] = await conversation(port, send(section + END))
    assert (code, text) == (552, b"5.3.4 The header section is too long for the filter here")
    assert behind.got == []
    open_to_all = serve(gateway(serve(behind)))
    [(code, _)] = await conversation(open_to_all, send(section + END))
    assert code == 250
    assert without_trace(behind.got[0][1]) == section + END


@pytest_twisted.ensureDeferred
async def test_a_message_that_goes_nowhere_goes_to_those_whom_a_filter_adds(serve: Serve) -> None:
    """Not to those for whom it was, and to the others all the same."""
    behind = Behind()

    def elsewhere(envelope: Envelope) -> None:
        changes(envelope).redirect()
        changes(envelope).add_recipient("audit@example.org")

    port = serve(gateway(serve(behind), filter=callbacks(message=elsewhere)))
    assert (await conversation(port, send(b"Subject: x\r\n\r\nHi\r\n")))[0][0] == 250
    assert [to for to, _ in behind.got] == [["audit@example.org"]]
