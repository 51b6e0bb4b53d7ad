"""
What Operations shows can be done.

Its command lines pass a check on a machine that has what they name; its files, log lines and
transcripts are as they are written.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.cred.credentials import UsernamePassword
from zope.interface.verify import verifyObject

from smtpcb import Connection, ISmtpHandlerPlugin, Recipient, Settings
from smtpcb.engine import Driver
from smtpcb.run._hashes import SCHEMES
from smtpcb.run._passwords import PasswordFile
from smtpcb.server._observers import MessageLog
from smtpcb.transcript import read

from .certificates import make_authority, make_identity, write_pem, write_pkcs12
from .running import TWISTD
from .test_docs import BLOCKS, ENDING, ROOT, Block, command_lines, operations, readme_handler, run


@dataclass(frozen=True)
class Machine:
    """
    A machine on which what is shown can be done.

    :ivar folder: stands for its root, and for the current folder.
    """

    folder: Path

    def on_it(self, text: str) -> str:
        """Return what is shown as it is done here."""
        for name in ("/etc/", "/var/", "/run/", "/srv/"):
            text = re.sub(rf"(?<![\w./-]){name}", f"{self.folder}{name}", text)
        return text.replace("192.0.2.1", "127.0.0.1")  # an address of its own


def plugin_source() -> str:
    """Return the module that adds a handler by name."""
    (block,) = [b for b in BLOCKS if b.language == "python" and "(IPlugin, " in b.text]
    return block.text


@pytest.fixture
def machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Machine:
    """Make all that the command lines name: keys, passwords, settings, handlers, folders."""
    monkeypatch.chdir(tmp_path)
    machine = Machine(tmp_path)
    for name in ("etc/smtpcb", "var/lib", "var/log/smtpcb", "run/smtpcb", "srv", "shop"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name).chmod(0o700)
    own = make_identity(["mx.example.org"], make_authority())
    for folder in (tmp_path, tmp_path / "etc/smtpcb"):
        write_pem(folder / "fullchain.pem", *own.chain)
        write_pem(folder / "privkey.pem", own.private_key)
    live = tmp_path / "etc/letsencrypt/live/mx.example.org"
    live.mkdir(parents=True)
    for name in ("mx.pem", "lists.pem", "ca.pem", live / "fullchain.pem"):
        write_pem(tmp_path / name, *own.chain, own.private_key)
    write_pem(live / "privkey.pem", own.private_key)
    write_pkcs12(tmp_path / "mx.p12", own.private_key, own.certificate, passphrase=b"opens it")
    (tmp_path / "mx.pass").write_text("opens it\n")
    (tmp_path / "inbox.py").write_text(readme_handler())
    (tmp_path / "shop/inbox.py").write_text(readme_handler())
    package = tmp_path_factory.mktemp("package")  # Twisted keeps a list of plug-ins beside them
    (package / "twisted/plugins").mkdir(parents=True)
    (package / "twisted/plugins/sizes.py").write_text(plugin_source())
    monkeypatch.setenv("PYTHONPATH", f"{package}:{ROOT}")
    hashed = f"anne:{SCHEMES[0].make('tim')}\n"
    for name, text in (
        *(("etc/smtpcb/passwords", "anne:tim\n"), ("etc/smtpcb/hashes", hashed)),
        *(("passwords", hashed), ("password", "tim\n")),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    for name in ("desk.py", "gateway.py"):
        (tmp_path / name).write_text((ROOT / "docs" / "examples" / name).read_text())
    (toml,) = [
        block for block in BLOCKS if block.language == "toml" and block.page == "operations.rst"
    ]
    (tmp_path / "etc/smtpcb.toml").write_text(machine.on_it(toml.text))
    return machine


@pytest.mark.parametrize("arguments", list(command_lines()))
def test_every_command_line_passes_a_check(arguments: str, machine: Machine) -> None:
    """What is shown would start, on a machine that has what it names; and nothing is changed."""
    words = [word for word in shlex.split(machine.on_it(arguments)) if word not in ENDING]
    before = sorted(machine.folder.rglob("*"))
    twistd = str(Path(sys.executable).parent / "twistd")
    checked = subprocess.run(
        [twistd, "-n", "--pidfile=", "smtpcb", *words, "--check"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.endswith("smtpcb: the settings are good\n")
    assert sorted(machine.folder.rglob("*")) == before


def test_the_file_with_listeners_passes_a_check(machine: Machine) -> None:
    """Configuration shows it, with a login required on some of its ports."""
    (toml,) = [block for block in BLOCKS if block.language == "toml" and "[listener" in block.text]
    Path("listeners.toml").write_text(machine.on_it(toml.text))
    checked = subprocess.run(
        [TWISTD, "-n", "--pidfile=", "smtpcb", "--check", "--config", "listeners.toml"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.stdout == "smtpcb: the settings are good\n", checked.stderr


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ("", ""),
        (":5000", ""),
        (":many", "smtpcb: --handler sizes:many: a number of octets is wanted\n"),
    ],
)
def test_a_plug_in_adds_a_name(argument: str, error: str, machine: Machine) -> None:
    """The module that is shown provides what it says; what it refuses is one line."""
    names = run(Block("operations.rst", 1, "python", plugin_source()))
    assert verifyObject(ISmtpHandlerPlugin, names["plugin"])
    twistd = str(Path(sys.executable).parent / "twistd")
    checked = subprocess.run(
        [twistd, "-n", "--pidfile=", "smtpcb", "--handler", f"sizes{argument}", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.stderr == error
    assert checked.returncode == bool(error)


def test_old_logs_are_removed_as_it_is_shown(machine: Machine) -> None:
    """The line removes those that are old, and neither the newest nor what is no log."""
    (line,) = [
        line
        for block in BLOCKS
        if block.language == "sh"
        for line in block.text.splitlines()
        if line.startswith("find ")
    ]
    folder = machine.folder / "var/log/smtpcb"
    for name in ("smtp.log", "smtp.log.1", "smtp.log.2", "notes"):
        (folder / name).write_text("")
        if name != "smtp.log.1":
            os.utime(folder / name, (0, 0))
    subprocess.run(["sh", "-ec", machine.on_it(line)], check=True, timeout=30)
    assert sorted(path.name for path in folder.iterdir()) == ["notes", "smtp.log", "smtp.log.1"]


def test_the_file_of_passwords_is_one(tmp_path: Path) -> None:
    """Who stands in the file that is shown may log in, with all that stands behind the colon."""
    (tmp_path / "passwords").write_text(operations("text", "# who").text)
    known = PasswordFile(tmp_path / "passwords")
    for name, password, may in (
        (b"anne", b"correct horse: battery", True),
        (b"anne", b"correct horse", False),
        (b"bob", b"tanstaaftanstaaf", True),
    ):
        outcomes: list[object] = []
        known.requestAvatarId(UsernamePassword(name, password)).addBoth(outcomes.append)
        assert (outcomes == [name]) is may


def test_the_transcript_that_is_shown_can_be_read() -> None:
    """It is written as transcripts are."""
    lines = list(read(operations("none", "# smtpcb transcript").text))
    assert [line.side for line in lines] == list("SCSSSCS*")
    assert lines[1].octets == b"EHLO client.example.org"
    assert lines[-1].seconds == 0.009


def test_the_lines_of_the_log_are_as_shown() -> None:
    """A message, what is refused and a login are logged in these words."""
    shown = operations("none", "20").text.splitlines()
    written: list[str] = []
    lines: Any = SimpleNamespace(write=written.append)
    connection = Connection(
        "20261120T081450.123456Z-4711-1-9f3a2c08",
        peer_address="192.0.2.7",
        started=datetime(2026, 11, 20, tzinfo=UTC),
    )
    observer = MessageLog(lines)(connection)

    class Inbox:
        def authenticate(self, credentials: object, connection: object) -> bool:
            return True

        def rcpt(self, recipient: Recipient, envelope: object) -> object:
            return recipient.local_part == "bob" or (550, "No such user")

        def message(self, envelope: object) -> None: ...

    driver = Driver(
        Inbox(),
        Settings(hostname="mx.example.org", allow_insecure_auth=True),
        connection,
        observer=observer,
    )
    driver.start()
    for line in (
        "EHLO client.example.org",
        "AUTH PLAIN AGFubmUAdGlt",
        "MAIL FROM:<anne@example.org> SIZE=99000000",
        "MAIL FROM:<anne@example.org>",
        "RCPT TO:<eve@example.org>",
        "RCPT TO:<bob@example.org>",
        "DATA",
        "x" * 306 + "\r\n\r\n.",
    ):
        driver.receive(line.encode() + b"\r\n")
    as_written = [re.sub(r"[0-9.]+ s,", "0.004 s,", line) for line in written]
    assert sorted(as_written) == sorted(shown)
