"""A recipient map: who there is, from a file or from code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import fail, succeed

from smtpcb.policies.recipients import Recipients

from .conftest import client, made

Rcpt = Callable[..., None]
UNKNOWN = "550 5.1.1 No such mailbox"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recipients"
    path.write_text("# who there is\nAnne@Example.org\r\n\n@example.net\nbob.b@example.org\n")
    return path


def test_who_stands_in_the_file_is_there(rcpt: Rcpt, file: Path) -> None:
    """Case does not count; a domain with an @ before it has everybody."""
    rcpt(
        made(f"recipients:{file}"),
        ("anne@example.org", "250"),
        ("ANNE@EXAMPLE.ORG", "250"),
        ('"anne"@example.org', "250"),
        ("whoever@example.net", "250"),
        ("carol@example.org", UNKNOWN),
        ("anne@example.com", UNKNOWN),
        ("anne+shop@example.org", UNKNOWN),
    )


def test_the_postmaster_of_each_domain_is_there(rcpt: Rcpt, file: Path) -> None:
    """Listed or not (RFC 5321 §4.5.1); that of other domains is not ours."""
    rcpt(
        made(f"recipients:{file}"),
        ("Postmaster", "250"),
        ("PostMaster@example.org", "250"),
        ("postmaster@example.com", UNKNOWN),
    )


def test_a_delimiter_makes_many_addresses_of_one(rcpt: Rcpt, file: Path) -> None:
    """Up to the first one behind the first letter."""
    rcpt(
        made(f"recipients:{file},delimiter=+"),
        ("anne+shop@example.org", "250"),
        ("anne+a+b@example.org", "250"),
        ("+anne@example.org", UNKNOWN),
        ("carol+anne@example.org", UNKNOWN),
    )


def test_who_may_relay_may_send_to_domains_that_are_not_in_it(rcpt: Rcpt, file: Path) -> None:
    """A user's mail for elsewhere is not refused; a slip in our own domain is."""
    anywhere = ("bob@example.com", "250"), ("carol@example.org", UNKNOWN)
    rcpt(made(f"recipients:{file}"), *anywhere, connection=client(identity="anne"))
    rcpt(made(f"recipients:{file},relay-from=203.0.113.0/24"), *anywhere)


def test_the_file_is_read_again_when_it_changes(rcpt: Rcpt, file: Path) -> None:
    """No restart, and no signal."""
    policy = made(f"recipients:{file}")
    rcpt(policy, ("carol@example.org", UNKNOWN))
    file.write_text("carol@example.org\n")
    rcpt(policy, ("carol@example.org", "250"), ("anne@example.org", UNKNOWN))


def test_a_file_that_is_gone_or_broken_bounces_nothing(rcpt: Rcpt, file: Path) -> None:
    """Clients come again later, by when it is there again; the postmaster is reached."""
    policy = made(f"recipients:{file}")
    text = file.read_text()
    file.unlink()
    rcpt(policy, ("anne@example.org", "451 4.3.0"), ("Postmaster", "250"))
    file.write_text("anne at example.org\n")
    rcpt(policy, ("anne@example.org", "451 4.3.0"))
    file.write_bytes(b"\xff@example.org\n")
    rcpt(policy, ("anne@example.org", "451 4.3.0"))
    file.unlink()
    os.mkfifo(file)
    rcpt(policy, ("anne@example.org", "451 4.3.0"))
    file.unlink()
    file.write_text(text)
    rcpt(policy, ("anne@example.org", "250"))


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("recipients", "a file is wanted"),
        ("recipients:a,b", "a file is wanted"),
        ("recipients:/nowhere/at/all", "No such file"),
        ("recipients:FILE,delimiter=xx", "one sign"),
        ("recipients:BROKEN", "line 2: an address or @DOMAIN is wanted, not 'bob'"),
    ],
)
def test_a_mistake_is_one_line(description: str, why: str, file: Path) -> None:
    """Before anything is served; a broken file names its line."""
    broken = file.with_name("broken")
    broken.write_text("anne@example.org\nbob\n")
    with pytest.raises(ValueError, match=why):
        made(description.replace("FILE", str(file)).replace("BROKEN", str(broken)))


async def _later(found: bool) -> bool:
    return found


@pytest.mark.parametrize("how", [bool, _later, lambda found: succeed(found)])
def test_a_function_may_know_who_there_is(rcpt: Rcpt, how: Callable[[bool], Any]) -> None:
    """It gets the address in lower case, and may take its time."""
    policy = Recipients(lambda address: how(address == "anne@example.org"))
    rcpt(policy, ("Anne@Example.ORG", "250"), ("bob@example.org", UNKNOWN), ("Postmaster", "250"))


@pytest.mark.parametrize(
    "knows", [lambda a: 1 / 0, lambda a: fail(OSError("down")), lambda a: None, lambda a: [("x",)]]
)
def test_a_function_that_fails_bounces_nothing(rcpt: Rcpt, knows: Any) -> None:
    """A database that is down, or an answer that is none, is 451."""
    rcpt(Recipients(knows), ("anne@example.org", "451 4.3.0"))


def test_what_is_no_function_is_a_mistake() -> None:
    """A list is not called."""
    with pytest.raises(TypeError, match="a function is wanted"):
        Recipients(["anne@example.org"])
