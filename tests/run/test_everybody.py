"""A network that is everybody is said to be, where that is dangerous or makes a policy useless."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from smtpcb.policies.local_domains import LocalDomains
from smtpcb.run.build import Share, make_service
from smtpcb.run.options import read_file, resolve
from smtpcb.run.tap import Options

PROXIES = [
    ("--proxy-from", "anybody may say who they are"),
    ("--xclient-from", "anybody may say who they are"),
    ("--xforward-from", "anybody may say from whom a message is"),
]
OPEN = "this is an open relay"
NOBODY = "this judges nobody"
POLICIES = [
    ("local-domains:*", f"* is every domain: {OPEN}"),
    ("local-domains:example.org,*", f"* is every domain: {OPEN}"),
    ("local-domains:example.org,relay-from=NET", f"relay-from=NET is everybody: {OPEN}"),
    ("recipients:FILE,relay-from=NET", f"relay-from=NET is everybody: {OPEN}"),
    ("allow:NET", "NET is everybody: they are all served"),
    ("rate:messages=5,exempt=NET", f"exempt=NET is everybody: {NOBODY}"),
    ("helo:exempt=NET", f"exempt=NET is everybody: {NOBODY}"),
    ("dnsbl:zen.example,exempt=NET", f"exempt=NET is everybody: {NOBODY}"),
    ("fcrdns:exempt=NET", f"exempt=NET is everybody: {NOBODY}"),
    ("sender-domain:exempt=NET", f"exempt=NET is everybody: {NOBODY}"),
    ("greylist:trusted=NET", f"trusted=NET is everybody: {NOBODY}"),
]

POLICY = LocalDomains(["*"])
COUNTING: Any = type("Counting", (), {"warnings": 5, "rcpt": lambda self, recipient, envelope: 1})()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("anne@example.org\n")
    return tmp_path


def warnings(
    *arguments: str, file: dict[str, Any] | None = None, share: Share | None = None
) -> list[str]:
    """Return what a start with these options warns of."""
    options = Options()
    options.parseOptions(["--no-tls", *arguments])
    with capturedLogs() as events:
        make_service(resolve(options.said, file or {}), Clock(), share=share)
    return [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]


@pytest.mark.parametrize(("option", "means"), PROXIES)
@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_if_everybody_is_a_proxy_that_is_said(option: str, means: str, network: str) -> None:
    """One line, that says what follows."""
    assert warnings(option, network) == [f"{option} {network} is everybody: {means}"]


@pytest.mark.parametrize(("option", "means"), PROXIES)
def test_both_families_are_one_line(option: str, means: str) -> None:
    """And two halves are a whole."""
    networks = ["::/0", "192.0.2.1", "0.0.0.0/1", "128.0.0.0/1"]
    said = [word for network in networks for word in (option, network)]
    assert warnings(*said) == [f"{option} 0.0.0.0/0 and ::/0 is everybody: {means}"]


@pytest.mark.parametrize(("option", "_"), PROXIES)
@pytest.mark.parametrize("network", ["0.0.0.0/1", "10.0.0.0/8", "2000::/3", "unix"])
def test_what_is_merely_wide_is_not(option: str, _: str, network: str) -> None:
    """Whoever names it may know everybody there."""
    assert warnings(option, network) == []


def test_each_listener_is_looked_at(folder: Path) -> None:
    """What one has of its own is said of it, and what they share once."""
    path = folder / "s.toml"
    path.write_text(
        'xclient-from = "::/0"\n'
        '[listener.mx]\nlisten = "tcp:0"\nproxy-from = "0.0.0.0/0"\n'
        '[listener.submission]\nlisten = "tcp:0:interface=127.0.0.1"\n'
    )
    said = warnings(file=read_file(path))
    assert len(said) == 2
    assert any("[listener.mx] proxy-from 0.0.0.0/0 is everybody: anybody may" in x for x in said)
    assert any("xclient-from ::/0 is everybody: anybody may" in x for x in said)


@pytest.mark.parametrize(("description", "says"), POLICIES, ids=[one for one, _ in POLICIES])
@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_a_policy_that_lets_everybody_says_so(description: str, says: str, network: str) -> None:
    """Relaying for all the world, or judging nobody of it."""
    named = description.replace("NET", network)
    assert warnings("--policy", named) == [f"--policy {named}: {says.replace('NET', network)}"]


@pytest.mark.parametrize("description", [one for one, _ in POLICIES if "NET" in one])
@pytest.mark.parametrize("network", ["0.0.0.0/1", "2000::/3", "unix", "192.0.2.1"])
def test_one_that_lets_many_does_not(description: str, network: str) -> None:
    """A network that is merely wide is somebody's."""
    assert warnings("--policy", description.replace("NET", network)) == []


def test_to_shut_everybody_out_is_noticed_at_once() -> None:
    """All of IPv6 may be meant."""
    assert warnings("--policy", "deny:::/0") == []


def test_of_several_workers_none_says_it_again() -> None:
    """Their supervisor has."""
    said = ("--policy", "local-domains:*", "--proxy-from", "::/0", "--listen", "tcp:0")
    assert len(warnings(*said)) == 2
    assert warnings(*said, share=Share(1, 2, ((0, socket.AF_INET),))) == []


def test_one_of_your_own_may_warn_too() -> None:
    """And may have something else by that name."""
    assert warnings("--policy", f"python:{__name__}.POLICY") == [
        f"--policy python:{__name__}.POLICY: * is every domain: {OPEN}"
    ]
    assert warnings("--policy", f"python:{__name__}.COUNTING") == []


def test_check_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is served."""
    said = ("--policy", "local-domains:*", "--proxy-from", "0.0.0.0/0", "--listen", "tcp:0")
    with pytest.raises(SystemExit):
        Options().parseOptions(["--no-tls", "--check", *said])
    lines = [line for line in capsys.readouterr().err.splitlines() if "every" in line]
    assert [re.sub("^smtpcb: warning: ", "", line) for line in lines] == [
        f"--policy local-domains:*: * is every domain: {OPEN}",
        "--proxy-from 0.0.0.0/0 is everybody: anybody may say who they are",
    ]
