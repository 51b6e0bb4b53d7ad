"""What stands behind ``--handler relay:``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smtpcb.handlers.relay import MxRelay, Relay, RelayPlugin


def made(argument: str) -> Relay:
    setting: Any = SimpleNamespace(reactor=None)
    return RelayPlugin().make(argument, setting)


@pytest.mark.parametrize(
    "argument",
    ["", ":25", "host:", "host:0", "host:x", "host:70000", "unix:", "[::1", "[x]:25", "a b", "u@h"],
)
def test_where_to_has_to_be_said(argument: str) -> None:
    """One line says how."""
    with pytest.raises(ValueError, match=r"relay:HOST\[:PORT\], relay:unix:PATH or relay:mx"):
        made(argument)


@pytest.mark.parametrize(
    ("argument", "name", "goes_to"),
    [
        ("mail.example.org", "mail.example.org:25", ("mail.example.org", 25)),
        ("mail.example.org:2525", "mail.example.org:2525", ("mail.example.org", 2525)),
        ("192.0.2.1:26", "192.0.2.1:26", ("192.0.2.1", 26)),
        ("2001:db8::1", "[2001:db8::1]:25", ("2001:db8::1", 25)),
        ("[2001:db8::1]:26", "[2001:db8::1]:26", ("2001:db8::1", 26)),
        ("mail.example.org,tls=implicit", "mail.example.org:465", ("mail.example.org", 465)),
        ("localhost,lmtp=yes", "localhost:24", ("localhost", 24)),
        ("unix:/run/lmtp,lmtp=yes", "unix:/run/lmtp", ("/run/lmtp", None)),
    ],
)
def test_where_it_goes(argument: str, name: str, goes_to: tuple[str, int | None]) -> None:
    """A name, an address of either kind, or a socket; the usual port unless another is said."""
    relay = made(argument)
    assert (relay.server.name, relay.goes_to) == (name, goes_to)
    assert name in relay.report[0]


@pytest.mark.parametrize(
    ("argument", "starttls", "lmtp"),
    [
        ("mail.example.org", "opportunistic", False),
        ("mail.example.org,tls=starttls", "required", False),
        ("mail.example.org,tls=implicit", "off", False),
        ("mail.example.org,tls=off", "off", False),
        ("mail.example.org,tls-hostname=x.example.org", "required", False),
        ("127.0.0.1", "off", False),
        ("127.0.0.1,tls=starttls", "required", False),
        ("unix:/run/lmtp,lmtp=yes", "off", True),
        ("mx", "opportunistic", False),
        ("mx,tls=starttls,relay-from=192.0.2.0/24", "required", False),
    ],
)
def test_how_it_speaks(argument: str, starttls: str, lmtp: bool) -> None:
    """TLS where it is offered, unless nobody is on the way or more is wanted."""
    settings = made(argument).settings
    assert (settings.starttls, settings.lmtp) == (starttls, lmtp)
    assert settings.login == "off"


def test_who_logs_in(tmp_path: Path) -> None:
    """The first line of a file is the password, and it is said inside TLS alone."""
    file = tmp_path / "password"
    file.write_text("p\u00e4ss word\r\nmore\n")
    file.chmod(0o600)
    relay = made(f"mail.example.org,user=anne,password-file={file},ehlo=us.example.org,sessions=3")
    assert (relay.settings.starttls, relay.settings.login) == ("required", "required")
    assert (relay.settings.hostname, relay.size) == ("us.example.org", 3)
    assert not relay.settings.allow_insecure_auth
    credentials = relay.give("PLAIN")
    assert (credentials.username, credentials.password) == ("anne", "p\u00e4ss word")
    assert made(f"127.0.0.1,user=anne,password-file={file}").settings.allow_insecure_auth


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("h,tsl=off", "no such setting: tsl=; there are tls=, tls-hostname=, ca="),
        ("h,tls=yes", "tls=yes: opportunistic or starttls or implicit or off is wanted"),
        ("h,tls=off,tls=off", "tls= is given twice"),
        ("h,lmtp", "NAME=VALUE is wanted, not 'lmtp'"),
        ("h,lmtp=1", "lmtp=1: yes or no is wanted"),
        ("h,user=", "something is wanted behind it"),
        ("h,user=anne", "user= needs password-file=FILE"),
        ("h,password-file=/x", "password-file= is that of user="),
        ("h,user=anne,password-file=/no/such/file", "No such file"),
        ("h,tls=off,ca=/x", "tls=off: ca= and tls-hostname= are of no use"),
        ("h,pass-on=ident", "xclient or xforward or proxy or proxy-v1 is wanted"),
        ("h,ehlo=a b", "ehlo=a b: hostname is no domain"),
        ("h,sessions=0", "a number above 0 is wanted"),
        ("unix:/x,tls=starttls", "tls=starttls on a socket needs tls-hostname="),
        ("mx,pass-on=proxy", "no such setting: pass-on=; there are tls="),
        ("mx,tls=implicit", "no exchanger of a domain has that"),
        ("mx,relay-from=0.0.0.0/0", "is everybody: this would be an open relay"),
        ("mx,relay-from=0.0.0.0/1,relay-from=128.0.0.0/1", "an open relay"),
        ("mx,relay-from=x", "relay-from=x: "),
    ],
)
def test_what_means_nothing_is_told(argument: str, why: str) -> None:
    """In one line, with what would be right."""
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        made(argument)
    assert why in str(caught.value)


@pytest.mark.parametrize(("mode", "text"), [(0o644, "x\n"), (0o600, "\n"), (0o600, "a\0b\n")])
def test_a_file_that_is_no_place_for_a_password(tmp_path: Path, mode: int, text: str) -> None:
    """Others may read it, or there is none in it: nothing starts."""
    file = tmp_path / "password"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(ValueError, match=r"others may read it: chmod o-r|is no password"):
        made(f"h,user=anne,password-file={file}")


@pytest.mark.parametrize(
    "options",
    [{"size": 0}, {"wait_seconds": 0}, {"pass_on": "ident"}],
)
def test_what_cannot_be_is_told_in_a_program_too(options: dict[str, Any]) -> None:
    """At once."""
    with pytest.raises(ValueError, match=r"size is 1 or more|pass_on is one of"):
        Relay(made("h").server, **options)
    with pytest.raises(ValueError, match=r"size is 1 or more|pass_on is "):
        MxRelay(**options)
    with pytest.raises(ValueError, match="not for any in the world"):
        MxRelay(pass_on="xclient")
