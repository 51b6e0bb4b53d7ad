"""The envelope of a captured message, which its reader has beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.handlers._envelope import CapturedEnvelope
from smtpcb.smtp._address import ForwardPath, ReversePath
from smtpcb.smtp._parameter import MailParameters, RcptParameters

ANNE, TIM = ForwardPath("anne", "example.org"), ForwardPath("tim", "example.org")


def written(content: bytes, *recipients: ForwardPath, **more: Any) -> dict[str, Any]:
    """Return what the file says of a message."""
    envelope = Envelope(Connection("x"), ReversePath.NULL)
    envelope.recipients += [Recipient(one) for one in recipients]
    for name, value in more.items():
        setattr(envelope, name, value)
    captured = CapturedEnvelope(envelope)
    assert b"".join(captured.reading([content[:20], content[20:]])) == content
    told: dict[str, Any] = json.loads(captured.as_json())
    return told


def hidden(content: bytes, *recipients: ForwardPath) -> list[str]:
    """Return the recipients that the message does not name."""
    told = written(content, *recipients)["recipients"]
    return [one["forward_path"] for one in told if one["bcc"]]


def test_everything_that_was_said() -> None:
    """Sender, recipients and the parameters of both; who the client was."""
    connection = Connection(
        "20260101T000000Z-1-1", "192.0.2.1", 4711, hello="client.example.org", identity="anne"
    )
    connection.tls = TlsInformation("TLSv1.3", "AES", 256)
    envelope = Envelope(
        connection,
        ReversePath("anne", "example.net"),
        MailParameters.read(" SIZE=10 BODY=8bitmime SMTPUTF8 AUTH=<>", utf8=True),
        number=7,
    )
    parameters = RcptParameters.read(" NOTIFY=FAILURE,DELAY ORCPT=rfc822;t@x.example")
    envelope.recipients.append(Recipient(TIM, parameters))
    captured = CapturedEnvelope(envelope)
    envelope.recipients.clear()  # the next transaction
    connection.hello = "other"
    told = json.loads(captured.as_json())
    assert told.pop("received").endswith("+00:00")
    assert told == {
        "id": "20260101T000000Z-1-1-7",
        "reverse_path": "anne@example.net",
        "parameters": {"SIZE": 10, "BODY": "8BITMIME", "SMTPUTF8": True, "AUTH": ""},
        "recipients": [
            {
                "forward_path": "tim@example.org",
                "parameters": {
                    "NOTIFY": ["DELAY", "FAILURE"],
                    "ORCPT": {"type": "rfc822", "address": "t@x.example"},
                },
                "bcc": True,
            }
        ],
        "connection": {
            "id": "20260101T000000Z-1-1",
            "peer_address": "192.0.2.1",
            "peer_port": 4711,
            "hello": "client.example.org",
            "tls": "TLSv1.3",
            "identity": "anne",
        },
    }


def test_a_bounce() -> None:
    """Its sender is nobody."""
    assert written(b"")["reverse_path"] == ""


@dataclass(frozen=True, slots=True)
class Typed:
    size: int | None = None
    ret: object | None = None


def test_parameters_of_any_shape() -> None:
    """Also those of somebody's own extension."""
    told = written(b"", parameters={"X": Typed(3), "Y": object, "Z": {"a": [1, "b"]}})
    assert told["parameters"] == {"X": {"size": 3}, "Y": str(object), "Z": {"a": [1, "b"]}}


@pytest.mark.parametrize(
    "field",
    [
        b"To: anne@example.org",
        b"Cc: Tim <tim@example.org>, Anne <ANNE@Example.ORG>",
        b"to: friends:anne@example.org;",
        b'To:\r\n\t"Anne, the first" (hers)\r\n <anne@example.org>',
        b"Resent-To: <anne@example.org>",
        b"RESENT-CC: anne@example.org",
    ],
)
def test_who_is_named(field: bytes) -> None:
    """In To or Cc, however it is written, and whoever resent it."""
    content = b"Subject: x\r\n" + field + b"\r\n\r\nbody\r\n"
    assert hidden(content, ANNE, ForwardPath("eve", "example.org")) == ["eve@example.org"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Subject: x\r\n\r\nTo: anne@example.org\r\n",
        b"Bcc: anne@example.org\r\n\r\n",
        b"From: anne@example.org\r\nReply-To: anne@example.org\r\n\r\n",
        b"To: joanne@example.org, anne@example.org.example.com\r\n\r\n",
        b"X-To: anne@example.org\r\n\r\n",
        b"\xff\x00: \xff\r\n\r\n",
    ],
)
def test_who_is_not_named(content: bytes) -> None:
    """A recipient who stands in neither is one that the others do not see (Bcc)."""
    assert hidden(content, ANNE) == ["anne@example.org"]


def test_odd_addresses() -> None:
    """Quoted, with an address literal, and without a domain."""
    odd = [ForwardPath("a b", "example.org"), ForwardPath("a", "[IPv6:2001:db8::1]")]
    content = b'To: "a b"@example.org, <a@[IPv6:2001:db8::1]>\r\n\r\n'
    assert hidden(content, *odd, ForwardPath("Postmaster", "")) == ["Postmaster"]


def test_a_header_that_ends_with_the_message() -> None:
    """There need not be a body."""
    assert hidden(b"To: anne@example.org\r\n", ANNE) == []


def calls_for(content: bytes, recipients: Sequence[ForwardPath]) -> int:
    """Count the calls, of Python and of C, that it takes to write one down."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        written(content, *recipients)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("piece", [b"a", b"@", b"<", b"a@b,", b"\r\n ", b'"', b"a@[", b":;"])
def test_the_work_is_linear(piece: bytes) -> None:
    """Whatever a stranger puts into To, twice as much of it takes twice as long."""
    few, many = (b"To: " + piece * number + b"\r\n\r\n" for number in (2000, 4000))
    assert calls_for(many, [ANNE]) <= 2.2 * calls_for(few, [ANNE])
