"""What a server is told once is checked once."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine._settings import Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"hostname": ""},
        {"hostname": "two words"},
        {"hostname": "exämple.org"},
        {"hostname": "x.\r\n"},
        {"hostname": "x" * 256},
        {"banner": "ESMTP\r\n250 hello"},
        {"banner": "é"},
        {"banner": "x" * 500},
        {"bare_newline": "ignore"},
    ],
)
def test_what_cannot_be_said_is_refused_at_once(wrong: Any) -> None:
    """Not when the first client comes."""
    with pytest.raises(ValueError, match=r"."):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"hostname": None}, "hostname is a str, not None"),
        ({"hostname": b"x"}, "hostname is a str"),
        ({"banner": 3}, "banner is a str"),
        ({"lenient_addresses": "no"}, "lenient_addresses is True or False, not 'no'"),
        ({"require_tls": 1}, "require_tls is True or False"),
        ({"require_client_certificate": "yes"}, "require_client_certificate is True or False"),
        ({"require_auth": None}, "require_auth is True or False"),
        ({"limits": {"recipients": 3}}, "limits is a Limits"),
        ({"limits": None}, "limits is a Limits"),
        ({"extensions": 5}, "extensions is some Extensions"),
        ({"extensions": ["DSN"]}, "an extension is an Extension, not 'DSN'"),
    ],
)
def test_what_is_of_another_type_is_refused_at_once(wrong: Any, complaint: str) -> None:
    """A setting says what it is, and what was given instead."""
    with pytest.raises(TypeError, match=complaint):
        Settings(**wrong)


@pytest.mark.parametrize("hostname", ["localhost", "mail.example.org", "[127.0.0.1]", "[IPv6:::1]"])
def test_a_name_is_a_domain_or_an_address_literal(hostname: str) -> None:
    """RFC 5321 §4.1.1.1."""
    assert Settings(hostname=hostname).hostname == hostname
