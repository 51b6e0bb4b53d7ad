"""Postfix, which asks for notifications and takes addresses of any script."""

from __future__ import annotations

import hashlib
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..running import Server, wait_until
from .postfix import Postfix
from .servers import notes, open_folder, recorded, relayed_to, said

SENDER = "anne@example.org"
BODY = b"Gr\xc3\xbc\xc3\x9fe\r\n.\r\n..\r\n"
PLACES = ("clear.example", "secured.example")


@dataclass
class Relay:
    """
    Postfix, the server that it relays to, and what happens between them in one test.

    :ivar server: is there for all tests, as Postfix is.
    :ivar before: how many messages it had taken before the test.
    """

    server: Server
    postfix: Postfix
    before: int
    transcripts_before: frozenset[Path]

    def notes(self) -> list[dict[str, Any]]:
        """Return what became of each message."""
        return notes(self.server)[self.before :]

    def commands(self, verb: str) -> list[str]:
        """Return what Postfix has said with this verb."""
        new = set(recorded(self.server)) - self.transcripts_before
        return [line for line in said(sorted(new), "C") if line.startswith(verb)]

    def ends_with(self, *texts: str) -> None:
        """Wait until the log has all of these, and the queue is empty."""
        wait_until(lambda: "status=" in self.postfix.log)
        wait_until(lambda: not self.postfix.queued())
        assert all(text in self.postfix.log for text in texts), self.postfix.log

    def send(
        self,
        *recipients: str,
        sender: str = SENDER,
        options: tuple[str, ...] = (),
        rcpt_options: tuple[str, ...] = (),
        body: bytes = BODY,
    ) -> None:
        """Hand a message to Postfix."""
        head = f"From: <{sender}>\r\nTo: <{recipients[0]}>\r\nSubject: x\r\n\r\n".encode()
        with smtplib.SMTP("127.0.0.1", self.postfix.inlet) as client:
            client.ehlo("client.example.org")
            client.command_encoding = "utf-8"  # of commands; in ASCII otherwise
            for command in (
                " ".join((f"MAIL FROM:<{sender}> BODY=8BITMIME", *options)),
                *(" ".join((f"RCPT TO:<{one}>", *rcpt_options)) for one in recipients),
            ):
                code, text = client.docmd(command)
                assert code == 250, text
            assert client.data(head + body)[0] == 250


@pytest.fixture(scope="module")
def relaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Postfix]]:
    """The two of them."""
    folder = tmp_path_factory.mktemp("relayed-to")
    with (
        relayed_to(folder, "Plain", "--xforward-from", "127.0.0.1") as server,
        open_folder() as own,
    ):
        postfix = Postfix(own, server.port)
        try:
            yield server, postfix
        finally:
            postfix.stop()


@pytest.fixture
def relay(relaying: tuple[Server, Postfix]) -> Relay:
    """The same, with the eyes of one test."""
    server, postfix = relaying
    wait_until(lambda: not postfix.queued())  # whatever a test before has left
    postfix.forget()
    return Relay(server, postfix, len(notes(server)), frozenset(recorded(server)))


@pytest.mark.parametrize("place", PLACES)
def test_a_message_with_8_bit_text(relay: Relay, place: str) -> None:
    """It arrives once, its text as it was, in the clear and over STARTTLS."""
    relay.send(f"bob@{place}")
    relay.ends_with("status=sent")
    [note] = relay.notes()
    assert note["to"] == [f"bob@{place}"]
    assert note["content"].encode().endswith(b"\r\n\r\n" + BODY)
    assert note["tls"] is (place == "secured.example")
    assert " BODY=8BITMIME" in relay.commands("MAIL")[0]


DSN_ADDRESSES = [
    "rfc822;Bob@clear.example",
    "rfc822;bob+2Bx@example.org",
    "utf-8;\\x{7528}\\x{6237}@example.org",
    "utf-8;\u7528\u6237@example.org",
    "rfc822;+E7+94+A8@example.org",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("original", DSN_ADDRESSES)
def test_what_a_client_wants_to_be_notified_of(relay: Relay, place: str, original: str) -> None:
    """NOTIFY, ORCPT, RET and ENVID go on to the next server, which must take them (RFC 3461)."""
    wanted = ("NOTIFY=SUCCESS,DELAY", f"ORCPT={original}")
    options: tuple[str, ...] = ("RET=HDRS", "ENVID=QQ314159")
    if not original.isascii():
        options = (*options, "SMTPUTF8")
    relay.send(f"bob@{place}", options=options, rcpt_options=wanted)
    relay.ends_with("status=sent")
    assert len(relay.notes()) == 1
    [mail], [rcpt] = relay.commands("MAIL"), relay.commands("RCPT")
    assert " RET=HDRS" in mail
    assert " ENVID=QQ314159" in mail
    assert " NOTIFY=SUCCESS,DELAY" in rcpt
    assert " ORCPT=" in rcpt


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("sender", "local_part"),
    [
        pytest.param("j\u00f6rg@example.org", "bob", id="sender"),
        # Postfix says who that was at first, too: ORCPT=rfc822;+E7+94+A8…
        pytest.param(SENDER, "\u7528\u6237", id="recipient"),
    ],
)
def test_addresses_in_utf8(relay: Relay, place: str, sender: str, local_part: str) -> None:
    """Sender and recipient may be written in any script (RFC 6531)."""
    relay.send(f"{local_part}@{place}", sender=sender, options=("SMTPUTF8",))
    relay.ends_with("status=sent")
    [note] = relay.notes()
    assert (note["from"], note["to"]) == (sender, [f"{local_part}@{place}"])
    assert " SMTPUTF8" in relay.commands("MAIL")[0]


@pytest.mark.parametrize("place", PLACES)
def test_from_whom_the_relay_has_a_message(relay: Relay, place: str) -> None:
    """Postfix says by XFORWARD who its client was; handler and log have it (P34)."""
    relay.send(f"bob@{place}")
    relay.ends_with("status=sent")
    [note] = relay.notes()
    forwarded = note["forwarded"]
    assert (forwarded["address"], forwarded["hello"]) == ("127.0.0.1", "client.example.org")
    assert (forwarded["protocol"], forwarded["source"]) == ("ESMTP", "LOCAL")
    assert f"{forwarded['identifier']}: to=<bob@{place}>" in relay.postfix.log
    assert relay.commands("XFORWARD")
    wait_until(lambda: f", for 127.0.0.1 as {forwarded['identifier']})" in relay.server.log)


@pytest.mark.parametrize("place", PLACES)
def test_a_large_message_to_many(relay: Relay, place: str) -> None:
    """A message of some megabytes goes to all its recipients in one transaction."""
    recipients = [f"user{number}@{place}" for number in range(40)]
    body = b"".join(b"%07d " % number * 9 + b"\r\n" for number in range(40_000))
    relay.send(*recipients, body=body)
    relay.ends_with("status=sent")
    [note] = relay.notes()
    assert sorted(note["to"]) == sorted(recipients)
    assert note["body"] == hashlib.sha256(body).hexdigest()


def test_a_recipient_who_is_refused_for_good(relay: Relay) -> None:
    """The others get the message; its sender gets a bounce, from nobody, with our words."""
    relay.send("bob@clear.example", "unknown@clear.example")
    relay.ends_with("status=sent", "status=bounced")
    assert len(relay.notes()) == 2
    message, bounce = sorted(relay.notes(), key=lambda note: -len(note["from"]))
    assert message["to"] == ["bob@clear.example"]
    assert bounce["to"] == [SENDER]
    assert "MAIL FROM:<>" in " ".join(relay.commands("MAIL"))
    assert "No such user" in bounce["content"]
    assert "Status: 5." in bounce["content"]


def test_a_recipient_who_is_refused_for_now(relay: Relay) -> None:
    """The message waits in the queue and arrives later; nobody hears of it."""
    relay.send("bob@clear.example", "busy@clear.example")
    wait_until(lambda: len(relay.notes()) == 1)
    wait_until(lambda: "status=deferred" in relay.postfix.log)
    assert relay.postfix.queued() == 1
    (relay.server.folder / "not-busy").touch()
    relay.postfix.try_again()
    wait_until(lambda: len(relay.notes()) == 2)
    relay.ends_with()
    first, second = (note["to"] for note in relay.notes())
    assert (first, second) == (["bob@clear.example"], ["busy@clear.example"])
    assert "status=bounced" not in relay.postfix.log
