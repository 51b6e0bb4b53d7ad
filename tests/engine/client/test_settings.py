"""What a client is told once: looked at when it is said, not with the first server."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine import ClientDialogue, ClientSettings
from smtpcb.smtp import Extension
from smtpcb.smtp.sasl import PLAIN, XOAUTH2


def test_what_is_said_is_kept_in_one_form() -> None:
    """Keywords in upper case, mechanisms as what they are."""
    settings = ClientSettings(
        require=["dsn"],  # type: ignore[arg-type]
        without={"Chunking"},  # type: ignore[arg-type]
        mechanisms=["plain", XOAUTH2, "PLAIN"],  # type: ignore[arg-type]
        extensions=[Extension("XOWN")],  # type: ignore[arg-type]
    )
    assert settings.require == {"DSN"}
    assert settings.without == {"CHUNKING"}
    assert settings.mechanisms == (PLAIN, XOAUTH2)
    assert settings.extensions == (Extension("XOWN"),)
    assert ClientSettings(hostname="[IPv6:2001:db8::1]").hostname == "[IPv6:2001:db8::1]"
    assert ClientSettings().starttls == "required"
    assert ClientDialogue(ClientSettings()).hostname == "localhost"
    assert ClientDialogue(ClientSettings(), hostname="[192.0.2.1]").hostname == "[192.0.2.1]"
    named = ClientSettings(hostname="client.example.org")
    assert ClientDialogue(named, hostname="x").hostname == "client.example.org"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"hostname": "a b"}, "hostname is no domain"),
        ({"hostname": "a\r\nMAIL FROM:<>"}, "hostname is no domain"),
        ({"hostname": ""}, "hostname is no domain"),
        ({"hostname": "é.org"}, "hostname is no domain"),
        ({"hostname": "x." * 130 + "x"}, "hostname is no domain"),
        ({"hostname": b"a"}, "hostname is a str"),
        ({"lmtp": 1}, "lmtp is True or False"),
        ({"allow_insecure_auth": "no"}, "allow_insecure_auth is True or False"),
        ({"next_mechanism": None}, "next_mechanism is True or False"),
        ({"starttls": "maybe"}, "starttls is one of off, opportunistic, required"),
        ({"starttls": True}, "starttls is one of"),
        ({"login": True}, "login is one of off, optional, required"),
        ({"chunk_octets": 0}, "chunk_octets is a number"),
        ({"chunk_octets": True}, "chunk_octets is a number"),
        ({"chunk_octets": 1.5}, "chunk_octets is a number"),
        ({"xclient": "192.0.2.1"}, "xclient is an XClient"),
        ({"require": "DSN"}, "require is a set of keywords"),
        ({"require": 5}, "require is a set of keywords"),
        ({"without": [5]}, "which are text"),
        ({"without": ["A B"]}, "which is no keyword"),
        ({"extensions": ["DSN"]}, "extensions are Extensions"),
        ({"extensions": [Extension("DSN")]}, "DSN is a keyword already"),
        ({"mechanisms": "PLAIN"}, "mechanisms is some names"),
        ({"mechanisms": 5}, "mechanisms is some names"),
        ({"mechanisms": ["GSSAPI"]}, "and there are SCRAM-SHA-256-PLUS"),
        ({"mechanisms": [5]}, "a name or a Mechanism"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], why: str) -> None:
    """With what is wrong about it."""
    with pytest.raises((ValueError, TypeError), match=why):
        ClientSettings(**wrong)
