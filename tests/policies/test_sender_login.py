"""Users send under addresses of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import succeed

from smtpcb.policies.sender_login import SenderLogin

from .conftest import client, made

Rcpt = Callable[..., None]
NOT_YOURS = "553 5.7.1 That sender address is not yours"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "senders"
    path.write_text("# logins\nanne: anne@example.org, sales@example.org\nbob: @b.example\n")
    return path


@pytest.mark.parametrize(
    ("login", "sender", "reply"),
    [
        ("anne", "anne@example.org", "250"),
        ("anne", "Sales@EXAMPLE.org", "250"),
        ("anne", "bob@b.example", NOT_YOURS),
        ("bob", "whoever@b.example", "250"),
        ("carol", "anne@example.org", NOT_YOURS),
        ("anne", "", "250"),
        (None, "anne@example.org", "250"),
    ],
)
def test_a_user_has_the_addresses_of_the_file(
    rcpt: Rcpt, file: Path, login: str | None, sender: str, reply: str
) -> None:
    """A login without a line has none; who has not logged in is not asked about."""
    policy = made(f"sender-login:{file}")
    rcpt(policy, sender=sender, mail=reply, connection=client(identity=login))


def test_a_file_that_is_gone_refuses_nobody_for_good(rcpt: Rcpt, file: Path) -> None:
    """And it is read again when it changes."""
    policy = made(f"sender-login:{file}")
    anne = client(identity="anne")
    file.unlink()
    rcpt(policy, sender="anne@example.org", mail="451 4.3.0", connection=anne)
    file.write_text("anne: other@example.org\n")
    rcpt(policy, sender="anne@example.org", mail=NOT_YOURS, connection=anne)


async def _later(found: bool) -> bool:
    return found


@pytest.mark.parametrize("how", [bool, _later, succeed])
def test_a_function_may_know_whose_an_address_is(rcpt: Rcpt, how: Callable[[bool], Any]) -> None:
    """It gets the identity and the address, and may take its time."""
    policy = SenderLogin(lambda identity, address: how(address == f"{identity}@example.org"))
    anne = client(identity="anne")
    rcpt(policy, sender="Anne@example.org", mail="250", connection=anne)
    rcpt(policy, sender="bob@example.org", mail=NOT_YOURS, connection=anne)
    rcpt(policy, sender="bob@example.org", mail="250")


def test_a_function_that_says_neither_is_a_fault(rcpt: Rcpt) -> None:
    """A forgotten return opens nothing."""
    rcpt(SenderLogin(lambda i, a: None), mail="451", connection=client(identity="x"))
    with pytest.raises(TypeError, match="a function is wanted"):
        SenderLogin({})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("anne\n", "line 1: LOGIN: ADDRESS"),
        ("anne:\n", "line 1: LOGIN: ADDRESS"),
        ("anne: a@example.org\nanne: b@example.org\n", "line 2: 'anne' has a line already"),
        ("anne: nobody\n", "line 1: an address or @DOMAIN"),
    ],
)
def test_a_mistake_in_the_file_names_its_line(file: Path, text: str, why: str) -> None:
    """Before anything is served."""
    file.write_text(text)
    with pytest.raises(ValueError, match=why):
        made(f"sender-login:{file}")
    with pytest.raises(ValueError, match="a file is wanted"):
        made("sender-login")
