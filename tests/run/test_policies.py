"""``--policy``: who is asked before the handler."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from smtpcb.interfaces import ISmtpPolicyPlugin
from smtpcb.policies import POLICIES
from smtpcb.run.build import make_service
from smtpcb.run.options import ConfigurationError, read_file, resolve
from smtpcb.run.tap import Options
from smtpcb.testing import play

TWISTD = str(Path(sys.executable).parent / "twistd")

OWN = """
class Tuesdays:
    def rcpt(self, recipient, envelope):
        if recipient.local_part == "tuesday":
            return 550, "5.7.1", "Only on Tuesdays"

class Misspelt:
    def recpt(self, recipient, envelope):
        return 550

class Broken:
    def rcpt(self, recipient, envelope):
        return None

    def __init__(self):
        raise RuntimeError("broken")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "ownpolicies.py").write_text(OWN)
    return tmp_path


def build(*arguments: str, file: dict[str, Any] | None = None) -> Any:
    """Return the server of these options."""
    options = Options()
    options.parseOptions(["--no-tls", *arguments])
    configuration = resolve(options.said, file or {}, None)
    return make_service(configuration, Clock())


def handler_of(service: Any) -> Any:
    return service.smtp.factory.handlers.make


def test_policies_are_asked_in_the_order_of_the_command_line() -> None:
    """Ready-made ones and your own, around whatever handler there is."""
    service = build(
        *("--policy", "local-domains:example.org"),
        *("--policy", "python:ownpolicies.Tuesdays"),
    )
    play(
        """
        C: EHLO client.example.com
        S: 250 ...
        C: MAIL FROM:<a@example.com>
        S: 250
        C: RCPT TO:<tuesday@example.com>
        S: 550 5.7.1 Relaying denied
        C: RCPT TO:<tuesday@example.org>
        S: 550 5.7.1 Only on Tuesdays
        C: RCPT TO:<anne@example.org>
        S: 250
        """,
        handler_of(service),
    )


def test_a_file_of_settings_names_them_in_a_list(folder: Path) -> None:
    """In their order; one alone needs none."""
    (folder / "s.toml").write_text('policy = ["deny:192.0.2.0/24", "helo"]\n')
    assert read_file(folder / "s.toml")["policy"] == ("deny:192.0.2.0/24", "helo")
    (folder / "s.toml").write_text('policy = "helo"\n')
    assert read_file(folder / "s.toml")["policy"] == ("helo",)


MISTAKES = [
    ("nosuch", "no such policy; there are allow, deny, dnsbl, "),
    ("local-domain:example.org", r"did you mean local-domains:example\.org\?"),
    ("ownpolicies.Tuesdays", r"did you mean python:ownpolicies\.Tuesdays\?"),
    ("local-domains", "a domain is wanted"),
    ("local-domains:example.org,greylist", "greylist is a policy of its own"),
    ("local-domains:example.org, rate:messages=5", "rate is a policy of its own"),
    ("python:ownpolicies.Tuesday", r"did you mean python:ownpolicies\.Tuesdays\?"),
    ("python:ownpolicies.Misspelt", r"Misspelt\.recpt would never be called"),
    ("python:ownpolicies.OWN", "has no OWN"),
    ("python:nosuchmodule.X", "cannot import nosuchmodule"),
    ("recipients:nowhere", "nowhere: No such file or directory"),
]


@pytest.mark.parametrize(("description", "why"), MISTAKES, ids=[one for one, _ in MISTAKES])
def test_a_mistake_is_one_line_that_names_the_policy(description: str, why: str) -> None:
    """Before anything is bound."""
    with pytest.raises(ConfigurationError, match=why) as error:
        build("--policy", description)
    assert str(error.value).startswith(f"--policy {description}: ")
    assert "\n" not in str(error.value)


def test_what_is_wrong_with_the_handler_is_said_of_the_handler() -> None:
    """Policies in front of it change nothing."""
    with pytest.raises(ConfigurationError, match="mail for it would be lost") as error:
        build("--policy", "helo", "--handler", "python:ownpolicies.Tuesdays")
    assert str(error.value).startswith("--handler python:ownpolicies.Tuesdays: ")


def test_a_check_finds_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    """As a start does."""
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--check", "--no-tls", "--policy", "helo"])
    assert ended.value.code == 0
    assert "the settings are good" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="--policy nosuch: no such policy"):
        Options().parseOptions(["--check", "--no-tls", "--policy", "nosuch"])


def test_what_keeps_a_policy_from_starting_is_one_line(folder: Path) -> None:
    """It names the policy, also where the handler is a ready-made one."""
    (folder / "grey").write_text("no database " * 100)
    said = ["--policy", "greylist:file=grey", "--listen", "tcp:0:interface=127.0.0.1"]
    command = [TWISTD, "-n", "--pidfile=", "-l", "log", "smtpcb", "--no-tls", *said]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("smtpcb: --policy greylist:file=grey: ")
    assert "not a database" in line


def test_what_there_is_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, with how to write it."""
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--help-policies"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for plugin in POLICIES:
        assert re.search(rf"^  {re.escape(plugin.usage)} +{re.escape(plugin.help)}$", said, re.M)
    assert "python:MODULE.NAME" in said


@pytest.mark.parametrize("plugin", POLICIES, ids=lambda plugin: plugin.name)
def test_ready_made_policies_are_plug_ins_like_anybodys(plugin: object) -> None:
    """The interface is all that the server knows of them."""
    assert verifyObject(ISmtpPolicyPlugin, plugin)


class Clumsy:
    """A plug-in of somebody's."""

    name = "clumsy"
    help = "Fails."

    def make(self, argument: str, setting: object) -> object:
        if argument == "value":
            raise ValueError("that\ncannot be")
        if argument == "other":
            raise KeyError("edition")
        return Late()


class Late(Service):
    def startService(self) -> None:
        raise ValueError("too\nlate")

    def rcpt(self, recipient: object, envelope: object) -> None: ...


@pytest.mark.parametrize(
    ("argument", "why"), [("value", "that cannot be"), ("other", "KeyError: 'edition'")]
)
def test_a_plug_in_that_fails_is_named(
    argument: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises, it is one line."""
    monkeypatch.setattr("smtpcb.run.build._plugins.getPlugins", lambda kind: [Clumsy()])
    with pytest.raises(ConfigurationError) as error:
        build("--policy", f"clumsy:{argument}")
    assert str(error.value) == f"--policy clumsy:{argument}: {why}"


def test_a_policy_that_cannot_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler's own services start as ever."""
    monkeypatch.setattr("smtpcb.run.build._plugins.getPlugins", lambda kind: [Clumsy()])
    compound = handler_of(build("--policy", "clumsy"))
    with pytest.raises(ConfigurationError, match=r"^--policy clumsy: too late$"):
        compound.startService()
