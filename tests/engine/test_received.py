"""The trace field that goes before a message (RFC 5321 §4.4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._received import received_header
from smtpcb.smtp._address import ForwardPath, ReversePath
from smtpcb.smtp._parameter import MailParameters
from smtpcb.testing._play import TLS

NOW = datetime(2026, 11, 28, 4, 20, tzinfo=UTC)


def field(
    hello: str | None = "client.example",
    recipients: tuple[str, ...] = ("tim",),
    *,
    smtputf8: bool = False,
    **about: Any,
) -> str:
    about = {"peer_address": "192.0.2.1", "hostname": "mx.example", "extended": True, **about}
    connection = Connection("x.1-2", hello=hello, **about)
    parameters = MailParameters(smtputf8=smtputf8)
    envelope = Envelope(connection, ReversePath.NULL, parameters)
    envelope.recipients += [Recipient(ForwardPath(one, "example.org")) for one in recipients]
    return received_header(envelope, NOW).decode()


def test_it_says_from_whom_by_whom_how_and_when() -> None:
    """In the order of the grammar, folded, each line ended by CRLF."""
    assert field().splitlines(keepends=True) == [
        "Received: from client.example ([192.0.2.1])\r\n",
        "\tby mx.example with ESMTP\r\n",
        "\tid <x.1-2-1@mx.example>\r\n",
        "\tfor <tim@example.org>;\r\n",
        "\tSat, 28 Nov 2026 04:20:00 +0000\r\n",
    ]


@pytest.mark.parametrize(
    ("about", "protocol"),
    [
        ({"extended": False}, "SMTP"),
        ({"tls": TLS}, "ESMTPS"),
        ({"identity": "anne"}, "ESMTPA"),
        ({"tls": TLS, "identity": "anne"}, "ESMTPSA"),
        ({"smtputf8": True}, "UTF8SMTP"),
        ({"lmtp": True, "tls": TLS}, "LMTPS"),
        ({"lmtp": True, "smtputf8": True}, "UTF8LMTP"),
        ({"smtputf8": True, "tls": TLS, "identity": "anne"}, "UTF8SMTPSA"),
    ],
)
def test_it_says_how_the_message_came(about: dict[str, Any], protocol: str) -> None:
    """The names of RFC 3848, and of RFC 6531 §4.3."""
    text = field(**about)
    assert f"with {protocol}\r\n" in text
    assert ("(TLSv1.3 " in text) == ("tls" in about)


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        ("[192.0.2.7]", "[192.0.2.7] ([192.0.2.1])"),
        ("my laptop", "[192.0.2.1] ([192.0.2.1]) (calls itself my laptop)"),
        ("a) by evil.example (", "[192.0.2.1] ([192.0.2.1]) (calls itself a? by evil.example ?)"),
        ('\\"x\\"', "[192.0.2.1] ([192.0.2.1]) (calls itself ??x??)"),
        ("jörg", "[192.0.2.1] ([192.0.2.1]) (calls itself j?rg)"),
        ("a" * 300, f"[192.0.2.1] ([192.0.2.1]) (calls itself {'a' * 64})"),
        (None, "[192.0.2.1] ([192.0.2.1])"),
    ],
)
def test_what_a_client_calls_itself_forges_nothing(hello: str | None, said: str) -> None:
    """A name that is none stands in a comment, cut, with nothing in it that could end one (P21)."""
    assert field(hello).splitlines()[0] == f"Received: from {said}"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("2001:db8::1", "client.example ([IPv6:2001:db8::1])"),
        ("fe80::1%eth0", "client.example ([IPv6:fe80::1])"),
        ("", "client.example"),
    ],
)
def test_an_address_is_a_literal(address: str, said: str) -> None:
    """RFC 5321 §4.1.3; a client on a UNIX socket has none."""
    assert field(peer_address=address).splitlines()[0] == f"Received: from {said}"


def test_somebody_without_name_and_address_is_unknown() -> None:
    """The clause has to be there all the same."""
    assert field("??", peer_address="").startswith("Received: from unknown (calls itself ??)\r\n")
    assert field(None, peer_address="").startswith("Received: from unknown\r\n")


@pytest.mark.parametrize("recipients", [(), ("tim", "anne")])
def test_of_several_recipients_none_is_named(recipients: tuple[str, ...]) -> None:
    """Each would read of the others, hidden ones too (RFC 5321 §7.2)."""
    assert " for " not in field(recipients=recipients)


def test_names_beyond_ascii_stand_in_it_with_smtputf8_only() -> None:
    """Elsewhere the header may have none (RFC 6531 §3.7.3)."""
    assert "from jörg.example (" in field("jörg.example", smtputf8=True)
    assert field("jörg.example").isascii()


def test_a_parser_finds_one_field() -> None:
    """It goes before the content as it stands."""
    message = message_from_bytes(field().encode() + b"Subject: x\r\n\r\nhi\r\n", policy=policy.SMTP)
    assert message.keys() == ["Received", "Subject"]
    assert re.search(r"\d \+0000$", message["Received"])


def test_a_time_without_a_zone_says_nothing() -> None:
    """Nobody could tell when it was."""
    envelope = Envelope(Connection("x"), ReversePath.NULL)
    with pytest.raises(ValueError, match="time zone"):
        received_header(envelope, datetime(2026, 11, 28))
    assert received_header(envelope).endswith(b" +0000\r\n")
