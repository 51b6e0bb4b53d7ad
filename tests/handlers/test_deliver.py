"""Mail that is delivered: where, with which fields before it, whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._keeping import MailData
from smtpcb.handlers._mailboxes import folder_name
from smtpcb.handlers.maildir import Deliver
from smtpcb.interfaces import IReadyMadeHandler
from smtpcb.smtp._address import AddressError, ForwardPath, ReversePath, read_forward_path

from .layers import MESSAGE, FailingLayer, HandReactor

PATHS = ["anne@example.org", "Tim@example.org", "anne@EXAMPLE.org"]


@pytest.fixture
def reactor() -> HandReactor:
    return HandReactor()


def path_of(address: str) -> ForwardPath:
    """Return a forward-path as a client has sent it."""
    return read_forward_path(f"<{address}>").path


def envelope_for(*paths: str, content: bytes = MESSAGE) -> Envelope:
    """Return a transaction with these recipients."""
    connection = Connection("x", peer_address="192.0.2.7")
    envelope = Envelope(connection, ReversePath("a", "example.net"))
    envelope.recipients = [Recipient(path_of(path)) for path in paths]
    envelope.kept = MailData()
    envelope.kept.write(content)
    return envelope


class Delivering:
    """A handler that delivers into a folder, and what has come."""

    def __init__(self, folder: Path, reactor: HandReactor, **said: Any) -> None:
        self.folder = folder
        self.reactor = reactor
        self.handler = Deliver(folder, reactor, **said)
        self.handler.startService()

    def deliver(self, *paths: str, content: bytes = MESSAGE) -> int:
        """Deliver a message, and return the code of the reply."""
        envelope = envelope_for(*paths, content=content)
        reply: Any = self.reactor.wait(self.handler.message(envelope))
        return int(reply.code)

    def found(self, *below: str) -> list[bytes]:
        """Return what a mail reader finds."""
        folder = self.folder.joinpath(*below)
        assert [*(folder / "tmp").iterdir()] == []
        return sorted(path.read_bytes() for path in (folder / "new").iterdir())


@pytest.fixture
def made(tmp_path: Path, reactor: HandReactor) -> Iterator[Any]:
    every: list[Delivering] = []

    def make(**said: Any) -> Delivering:
        every.append(Delivering(tmp_path / "mail", reactor, **said))
        return every[-1]

    yield make
    for one in every:
        reactor.wait(one.handler.stopService())


def head_of(message: bytes) -> str:
    """Return the fields before what the client has sent, which must be untouched."""
    assert message.endswith(MESSAGE)
    return message.removesuffix(MESSAGE).decode()


def test_one_message_for_one(made: Any) -> None:
    """Return-Path first, then for whom, then whence and when (RFC 5321 §4.4)."""
    one = made()
    assert one.deliver("tim@example.org") == 250
    [message] = one.found()
    assert re.fullmatch(
        r"Return-Path: <a@example\.net>\r\nDelivered-To: tim@example\.org\r\n"
        r"Received: from .*\[192\.0\.2\.7\].*for <tim@example\.org>;\r\n\t[^\r\n]*\r\n",
        head_of(message),
        re.DOTALL,
    )
    [path] = (one.folder / "new").iterdir()
    assert path.name.endswith(f",S={len(message)}")
    assert not {path.name for path in one.folder.iterdir()} - {"tmp", "new", "cur"}


@pytest.mark.parametrize("blank", [b" ", b"\t"])
def test_nobody_writes_into_our_fields(made: Any, blank: bytes) -> None:
    """What begins as a folded line does goes on with nothing; it is no field, but the body."""
    one = made()
    content = blank + b"by trusted.example.org\r\nSubject: x\r\n\r\nHi\r\n"
    assert one.deliver("tim@example.org", content=content) == 250
    [message] = one.found()
    head, _, rest = message.partition(b"\r\n\r\n")
    assert rest == content
    assert b"trusted" not in head
    [path] = (one.folder / "new").iterdir()
    assert path.name.endswith(f",S={len(message)}")


def test_one_message_for_several(made: Any) -> None:
    """None of them can read of the others in it."""
    one = made()
    assert one.deliver(*PATHS) == 250
    [message] = one.found()
    assert "anne" not in head_of(message).lower()
    assert "Delivered-To" not in head_of(message)


def test_a_copy_for_each(made: Any) -> None:
    """By choice; whoever is named twice gets one."""
    one = made(per="recipient")
    assert one.deliver("anne@example.org", "tim@example.org", "anne@example.org") == 250
    heads = [head_of(message) for message in one.found()]
    assert [head.splitlines()[1] for head in heads] == [
        *("Delivered-To: anne@example.org", "Delivered-To: tim@example.org")
    ]


def test_a_mailbox_for_each(made: Any) -> None:
    """Who has a folder has a mailbox, in whatever capitals; who has none is refused."""
    one = made(per="mailbox")
    for name in ("anne@example.org", "tim@example.org"):
        (one.folder / name).mkdir()
    replies = [
        one.reactor.wait(one.handler.rcpt(Recipient(path_of(path)), envelope_for()))
        for path in (*PATHS, "eve@example.org")
    ]
    assert [None if reply is None else reply.code for reply in replies] == [None, None, None, 550]
    assert one.deliver(*PATHS) == 250
    for name in ("anne@example.org", "tim@example.org"):
        [message] = one.found(name)
        assert f"Delivered-To: {name}" in head_of(message).replace("Tim", "tim")
    assert sorted(path.name for path in one.folder.iterdir()) == [
        *("anne@example.org", "tim@example.org")
    ]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("Anne@Example.ORG", "anne@example.org"),
        ("a.b+c=d_e-f@x", "a.b+c=d_e-f@x"),
        ("../../etc/passwd@x", None),
        ('"../../etc/passwd"@x', "%22..%2f..%2fetc%2fpasswd%22@x"),
        ('".."@x', "%22..%22@x"),
        ('"a b%c"@x', "%22a%20b%25c%22@x"),
        ("anne@[192.0.2.1]", "anne@%5b192.0.2.1%5d"),
        ("jürgen@x", "j%c3%bcrgen@x"),
        ("postmaster", "postmaster"),
    ],
)
def test_no_address_is_a_path(address: str, name: str | None) -> None:
    """Whatever a client writes, it names one folder, and that below ours (P22)."""
    try:
        path = path_of(address)
    except AddressError:
        assert name is None
        return
    made = folder_name(path)
    assert made == (name or made)
    assert re.fullmatch(r"[a-z0-9@._+=%-]{1,200}", made)
    assert not made.startswith(".")


def test_a_long_address_has_a_short_name() -> None:
    """What no file system has room for ends in a digest, another for each address."""
    names = {
        folder_name(path_of(f"{'ü' * 20}{end}@{'a' * 60}.{'b' * 60}.example")) for end in ("x", "y")
    }
    assert len(names) == 2
    assert all(len(name) == 200 for name in names)


@pytest.mark.parametrize("per", ["recipient", "mailbox"])
def test_a_disk_that_fails_anywhere(made: Any, per: str) -> None:
    """451, or 452 if it is full; nothing is left for anybody, and the next message works (P48)."""
    layer = FailingLayer()
    one = made(per=per, os_layer=layer)
    people = ("anne@example.org", "tim@example.org")
    for name in people if per == "mailbox" else ():
        (one.folder / name).mkdir()
    assert one.deliver(*people) == 250
    calls = len(layer.calls)
    assert calls == 16
    for path in [*one.folder.rglob("new/*")]:
        path.unlink()
    for at in range(calls):
        for number, code in ((errno.EIO, 451), (errno.ENOSPC, 452)):
            layer.calls.clear()
            layer.fails_at, layer.error = at, OSError(number, "x")
            assert one.deliver(*people) == code
            assert [*one.folder.rglob("new/*"), *one.folder.rglob("tmp/*")] == []
    layer.calls.clear()
    layer.fails_at = None
    assert one.deliver(*people) == 250


def test_a_mailbox_that_has_gone(made: Any) -> None:
    """Between RCPT and the message; nobody makes one for a stranger's address."""
    one = made(per="mailbox")
    assert one.deliver("anne@example.org") == 451
    assert [*one.folder.iterdir()] == []


def test_a_folder_of_all_mailboxes_that_has_gone(made: Any) -> None:
    """A disk that is not mounted says nothing of who has a mailbox: the client comes again."""
    one = made(per="mailbox")
    one.folder.rmdir()
    reply = one.reactor.wait(one.handler.rcpt(Recipient(path_of(PATHS[0])), envelope_for()))
    assert reply.code == 451


def test_a_folder_that_was_there_is_nobody_elses_to_clear(made: Any, tmp_path: Path) -> None:
    """No mark of ours says that delivered mail may be removed."""
    one = made()
    one.deliver("anne@example.org")
    assert {path.name for path in one.folder.iterdir()} == {"cur", "new", "tmp"}
    one.handler.check()
    (one.folder / "new").chmod(0o777)
    with pytest.raises(OSError, match="others may write"):
        one.handler.check()


def test_what_is_said_of_it(tmp_path: Path, reactor: HandReactor) -> None:
    """Where mail goes, and that nobody has a mailbox yet."""
    one = Deliver(tmp_path, reactor)
    assert verifyObject(IReadyMadeHandler, one)
    assert one.report == (f"messages: {tmp_path / 'new'}",)
    assert list(one.check()) == []
    several = Deliver(tmp_path, reactor, per="mailbox")
    [warning] = several.check()
    assert "every recipient is refused" in warning
    os.mkdir(tmp_path / "anne@example.org")
    assert list(several.check()) == []
    with pytest.raises(ValueError, match="message, recipient or mailbox is wanted"):
        Deliver(tmp_path, reactor, per="user")
