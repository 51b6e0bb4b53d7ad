"""By LMTP: a reply for each recipient, on either side."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent

from smtpcb import Envelope, Settings
from smtpcb.client import Server
from smtpcb.engine import ClientSettings
from smtpcb.handlers.relay import Relay, changes

from .relaying import conversation

Serve = Callable[..., int]
TEXT = b"Subject: x\r\n\r\nHi\r\n"
LMTP = Settings(lmtp=True)


class Delivers:
    """The next server: some mailboxes are full, and one is for nobody."""

    def __init__(self) -> None:
        self.got: list[str] = []

    def message(self, envelope: Envelope) -> Any:
        return {one: self.deliver(one) for one in envelope.recipients}

    def deliver(self, recipient: Any) -> Any:
        if recipient.local_part == "full":
            return 452, "4.2.2", "Mailbox full"
        if recipient.local_part == "spam":
            return 554, "5.7.1", "Not for me"
        self.got.append(recipient.local_part)
        return 250, "2.1.5", f"For {recipient.local_part}"


def relay(port: int, **options: Any) -> Relay:
    settings = ClientSettings(starttls="off", lmtp=True)
    return Relay(Server("127.0.0.1", port), settings, **options)


@contextmanager
def lmtp_client(port: int) -> Iterator[Callable[..., list[bytes]]]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        lines = client.makefile("rb")

        def say(octets: bytes, replies: int = 1) -> list[bytes]:
            client.sendall(octets)
            said = []
            while len(said) < replies:
                line = lines.readline()
                assert line, said
                if line[3:4] == b" ":
                    said.append(line.rstrip())
            return said

        say(b"")
        say(b"LHLO client.example.org\r\n")
        yield say


def send_by_lmtp(port: int, *names: str) -> list[bytes]:
    with lmtp_client(port) as say:
        say(b"MAIL FROM:<a@example.org>\r\n")
        for name in names:
            assert say(f"RCPT TO:<{name}@example.org>\r\n".encode())[0][:3] == b"250"
        say(b"DATA\r\n")
        return say(TEXT + b".\r\n", len(names))


@pytest_twisted.ensureDeferred
async def test_each_recipient_has_the_reply_that_was_said_there(serve: Serve) -> None:
    """In order: who is full there is full here, and the others have it."""
    behind = Delivers()
    port = serve(relay(serve(behind, LMTP)), LMTP)
    said = await deferToThread(send_by_lmtp, port, "bob", "full", "carol", "spam")
    assert said == [
        b"250 2.0.0 For bob",
        b"452 4.2.2 Mailbox full",
        b"250 2.0.0 For carol",
        b"554 5.7.1 Not for me",
    ]
    assert behind.got == ["bob", "carol"]


@pytest.mark.parametrize(
    ("names", "code"),
    [(("bob", "carol"), 250), (("bob", "full"), 451), (("full", "full"), 452), (("spam",), 554)],
)
@pytest_twisted.ensureDeferred
async def test_a_client_that_can_hear_one_reply_only(
    serve: Serve, names: tuple[str, ...], code: int
) -> None:
    """Where some have it and some not, SMTP can say but "again": a second copy, and no loss."""
    behind = Delivers()
    port = serve(relay(serve(behind, LMTP)))

    def send(client: smtplib.SMTP) -> Any:
        client.mail("a@example.org")
        for name in names:
            client.rcpt(f"{name}@example.org")
        return client.data(TEXT)

    assert (await conversation(port, send))[0] == code


@pytest_twisted.ensureDeferred
async def test_an_smtp_server_behind_answers_for_all(serve: Serve) -> None:
    """Each of our LMTP client's recipients hears the one reply that there is."""
    got: list[int] = []

    class Behind:
        def message(self, envelope: Envelope) -> Any:
            got.append(len(envelope.recipients))
            return 250, "2.0.0", "All of them"

    settings = ClientSettings(starttls="off")
    port = serve(Relay(Server("127.0.0.1", serve(Behind())), settings), LMTP)
    said = await deferToThread(send_by_lmtp, port, "bob", "carol")
    assert said == [b"250 2.0.0 All of them"] * 2
    assert got == [2]


@pytest.mark.parametrize(
    ("names", "reply"),
    [
        (("quarantine",), b"250 2.0.0 For quarantine"),
        (("quarantine", "full"), b"452 4.2.2 Mailbox full"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_was_redirected_is_answered_for_all(
    serve: Serve, names: tuple[str, ...], reply: bytes
) -> None:
    """The worst of what is said to those who get it in place of the recipients."""
    behind = Delivers()

    class Filter:
        def data(self, envelope: Envelope) -> None:
            changes(envelope).redirect(*(f"{name}@example.org" for name in names))

    port = serve(relay(serve(behind, LMTP), filter=Filter), LMTP)
    said = await deferToThread(send_by_lmtp, port, "bob", "carol")
    assert said == [reply] * 2
    assert behind.got == ["quarantine"]


@pytest_twisted.ensureDeferred
async def test_who_was_added_and_has_not_got_it_is_told_in_the_log(serve: Serve) -> None:
    """The others have theirs, and hear so: nobody gets it twice for an archive that is full."""
    behind = Delivers()

    class Filter:
        def data(self, envelope: Envelope) -> None:
            changes(envelope).add_recipient("full@example.org")

    port = serve(relay(serve(behind, LMTP), filter=Filter), LMTP)
    with capturedLogs() as events:
        said = await deferToThread(send_by_lmtp, port, "bob")
    assert said == [b"250 2.0.0 For bob"]
    [told] = [formatEvent(one) for one in events if "a filter's recipient" in formatEvent(one)]
    assert "<full@example.org> has not got a message: 452" in told
