"""Names that want to be paths, or to be seen as something else: wherever a client can say one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import FileLogObserver, formatEventAsClassicLogText, globalLogPublisher

from smtpcb import Settings, SmtpServerFactory, TranscriptFolder, TranscriptSettings
from smtpcb.handlers.capture import Capture
from smtpcb.handlers.maildir import Deliver
from smtpcb.server._preface import PrefaceFactory
from smtpcb.smtp._networks import Networks
from tests.handlers.layers import HandReactor
from tests.server.client import Client
from tests.server.test_preface import Behind
from tests.server.test_proxy import INET, v2, value

NAMES = {
    "up": b"../../x",
    "root": b"/etc/x",
    "nul": b"a\0b",
    "long": b"a" * 300,
    "parent": b"..",
    "itself": b".",
    "option": b"-rf",
    "newline": b"a\nb\r\nMAIL FROM:<x@y>",
    "percent": b"%2e%2e%2fx",
    "unicode": "\u202e\u2028\u00fc/\u2025".encode(),
    "latin-1": b"\xff\xfe/x",
    "escape": b"\x1b]0;x\x07\x9b31m",
    "tilde": b"~root/x",
    "format": b"{log_source}%s\\",
}
"""Each could be the name of a file elsewhere, or a line of its own in a log."""


def xtext(name: bytes) -> bytes:
    """Write a value of XCLIENT, in which everything can be said."""
    return b"".join(b"+%02X" % octet for octet in name)


def quoted(name: bytes) -> bytes:
    """Write a local part that can hold nearly everything."""
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def mail(sender: bytes, recipient: bytes) -> bytes:
    """Write a transaction, with SMTPUTF8 for whoever needs it."""
    end = b" SMTPUTF8" if not (sender + recipient).isascii() else b""
    return (
        b"MAIL FROM:<%b@example.org>%b\r\nRCPT TO:<%b@example.org>\r\n" % (sender, end, recipient)
    ) + b"DATA\r\nSubject: x\r\n\r\nx\r\n.\r\nRSET\r\n"


def login(name: bytes) -> bytes:
    """Write a login as somebody."""
    return b"AUTH PLAIN " + base64.b64encode(b"\0" + name + b"\0secret") + b"\r\n"


HELLO = b"EHLO client.example\r\n"
PLACES = {
    "EHLO": lambda name: b"EHLO %b\r\n" % name + mail(b"a", b"b"),
    "login": lambda name: HELLO + login(name) + mail(b"a", b"b"),
    "recipient": lambda name: HELLO + mail(b"a", quoted(name)) + mail(b"a", name),
    "sender": lambda name: HELLO + mail(quoted(name), b"b") + mail(name, b"b"),
    "domain": lambda name: HELLO + mail(b"a@%b" % name, b"b@%b" % name),
    "parameter": lambda name: HELLO + b"MAIL FROM:<a@b.example> ENVID=%b\r\n" % xtext(name),
    "verb": lambda name: HELLO + name + b"\r\nVRFY " + name + b"\r\n",
    "XCLIENT NAME": lambda name: b"XCLIENT NAME=%b\r\n" % xtext(name) + HELLO + mail(b"a", b"b"),
    "XCLIENT HELO": lambda name: b"XCLIENT HELO=%b\r\n" % xtext(name) + HELLO + mail(b"a", b"b"),
    "XCLIENT LOGIN": lambda name: b"XCLIENT LOGIN=%b\r\n" % xtext(name) + HELLO + mail(b"a", b"b"),
    "XFORWARD IDENT": lambda name: (
        HELLO + b"XFORWARD IDENT=%b\r\n" % xtext(name) + mail(b"a", b"b")
    ),
    "PROXY": lambda name: HELLO + mail(b"a", b"b"),
}
"""Where a client, or a proxy for it, can say a name."""

# A balancer that says more is closed (PROXY protocol §2.2.5).
MOST_UNIQUE_ID = 128
IN_FILES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,_=@%+-"


class Anybody:
    """Lets everybody in, by whatever name."""

    def authenticate(self, credentials: Any, connection: Any) -> bool:
        return True


class Kept:
    """A server that keeps what it can: mail, transcripts and a log; below one folder of many."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder / "one" / "two" / "three"
        self.folder.mkdir(parents=True, mode=0o700)
        self.reactor = HandReactor()
        mailboxes = self.folder / "mail"
        self.handler: Any = (
            Capture(mailboxes, self.reactor)
            if kind == "capture"
            else Deliver(mailboxes, self.reactor, per=kind)
        )
        self.handler.startService()
        if kind == "mailbox":
            (mailboxes / "b@example.org").mkdir(mode=0o700)
        self.clock = Clock()
        settings = Settings(
            allow_insecure_auth=True,
            lenient_addresses=True,
            xclient_from=("192.0.2.0/24",),
            xforward_from=("192.0.2.0/24",),
        )
        self.transcripts = TranscriptFolder(
            TranscriptSettings(self.folder / "transcripts", sessions="all"), self.clock
        )
        self.server = SmtpServerFactory(
            self.handler,
            settings,
            reactor=self.clock,
            authenticator=Anybody(),
            transcripts=self.transcripts,
            spool_folder=self.folder,
        )
        prefaces = PrefaceFactory(self.server, self.server, Networks(("10.0.0.0/8",)))
        self.prefaces: Any = prefaces

    def talk(self, octets: bytes, unique_id: bytes | None) -> None:
        """Hold a session to its end."""
        if unique_id is None:
            client = Client(factory=self.server, clock=self.clock)
        else:
            client = Behind(self.prefaces, self.clock)
            # It has a name for the connection, and what the client's TLS said of either side.
            tls = b"\x07\0\0\0\0" + value(0x21, b"TLSv1.3") + value(0x22, unique_id)
            said = value(0x05, unique_id) + value(0x02, unique_id) + value(0x20, tls)
            client.protocol.dataReceived(v2(INET + said))
        for line in octets.splitlines(keepends=True):
            client.protocol.dataReceived(line)
            self._wait_for_disk()
            self.clock.advance(2)
        client.leave()

    def _wait_for_disk(self) -> None:
        while self.handler._threads._unfinished:
            self.reactor.do_one()

    def stop(self) -> None:
        """End it."""
        self.reactor.wait(self.handler.stopService())
        assert self.transcripts.flush()
        self.transcripts.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The file in which an operator reads, as ``twistd`` writes it."""
    path = tmp_path / "log"
    with path.open("w", encoding="utf-8") as file:
        observer = FileLogObserver(file, formatEventAsClassicLogText)
        globalLogPublisher.addObserver(observer)
        yield path
        globalLogPublisher.removeObserver(observer)


@pytest.mark.parametrize("kind", ["capture", "recipient", "mailbox"])
@pytest.mark.parametrize("place", PLACES)
def test_no_name_leaves_its_folder_or_line(
    place: str, kind: str, log: Path, tmp_path: Path, clean_reactor: list[Any]
) -> None:
    """
    Nothing that a client or a proxy says names a file, and it is nowhere seen raw.

    There is no file outside of the folders that were given, no name in them but of plain
    characters (P22), and each line of log and transcript is one (P16, P20).
    """
    kept = Kept(tmp_path, kind)
    for name in NAMES.values():
        kept.talk(PLACES[place](name), name[:MOST_UNIQUE_ID] if place == "PROXY" else None)
    kept.stop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "one"]
    for folder in (tmp_path / "one", tmp_path / "one" / "two"):
        assert len([*folder.iterdir()]) == 1
    found = [*kept.folder.rglob("*")]
    assert {path.name for path in kept.folder.iterdir()} == {"mail", "transcripts"}
    for path in found:
        assert not path.is_symlink()
        assert set(path.name) <= set(IN_FILES), path.name
    if kind == "mailbox":
        assert [path.name for path in (kept.folder / "mail").iterdir()] == ["b@example.org"]
    assert "Traceback" not in log.read_text(encoding="utf-8")
    transcripts = [path for path in found if path.suffix == ".txt"]
    assert len(transcripts) >= len(NAMES)
    for path in (log, *transcripts):
        for line in path.read_bytes().decode("utf-8").split("\n"):
            assert line.removeprefix("\t").isprintable(), line
    for path in found:
        if path.suffix == ".json":
            assert path.read_bytes().isascii()
            json.loads(path.read_bytes())


def test_these_names_get_as_far_as_they_may(log: Path, tmp_path: Path) -> None:
    """Or nothing would have been tried: most are taken as a login, all as what a balancer says."""
    kept = Kept(tmp_path, "recipient")
    for name in NAMES.values():
        kept.talk(PLACES["PROXY"](name), name[:MOST_UNIQUE_ID])
        kept.talk(PLACES["login"](name), None)
    kept.stop()
    messages = [*(kept.folder / "mail" / "new").iterdir()]
    assert len(messages) >= 2 * len(NAMES) - 4
