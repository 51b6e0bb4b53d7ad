"""A gateway without a queue: what is said there is said here."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.mail.smtp import SMTPDeliveryError, sendmail

from smtpcb import Envelope, Settings, SmtpServerFactory, SmtpService, all_of, threaded
from smtpcb.client import ClientTimes

from .relaying import conversation, gateway

TEXT = b"Subject: Hello\r\n\r\n.dots\r\n..\r\n\r\nHi\r\n"


class Mailbox:
    """What stands behind the gateway."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], bytes]] = []
        self.aborted_for: list[str] = []
        self.verdict: Any = None
        self.hellos: list[str] = []

    def hello(self, introduction: Any, connection: Any) -> None:
        self.hellos.append(introduction.name)

    def mail(self, envelope: Envelope) -> Any:
        return (550, "5.7.1", "Not you") if "spammer" in str(envelope.reverse_path) else None

    def rcpt(self, recipient: Any, envelope: Envelope) -> Any:
        if recipient.local_part == "no-one":
            return 550, "5.1.1", "No such mailbox there"
        return (452, "4.2.2", "Mailbox full") if recipient.local_part == "full" else None

    def message(self, envelope: Envelope) -> Any:
        to = [str(one.forward_path) for one in envelope.recipients]
        if self.verdict is None:
            self.got.append((to, envelope.content.bytes()))
        return self.verdict

    def aborted(self, reason: Any, envelope: Envelope) -> None:
        self.aborted_for.append(reason.name)


@pytest_twisted.ensureDeferred
async def test_what_is_accepted_here_was_accepted_there(serve: Callable[..., int]) -> None:
    """Each recipient and the message, with a trace field, octet for octet (P51)."""
    mailbox = Mailbox()
    port = serve(gateway(serve(mailbox)), Settings(hostname="gateway.example.org"))

    def send(client: smtplib.SMTP) -> Any:
        first = client.sendmail(
            "a@example.org", ["b@example.org", "no-one@example.org", "full@example.org"], TEXT
        )
        second = client.sendmail("a@example.org", ["c@example.org"], TEXT)
        return first, second

    refused, none = await conversation(port, send)
    assert refused == {
        "no-one@example.org": (550, b"5.1.1 No such mailbox there"),
        "full@example.org": (452, b"4.2.2 Mailbox full"),
    }
    assert none == {}
    [(to, content), (other, _)] = mailbox.got
    assert (to, other) == (["b@example.org"], ["c@example.org"])
    assert content.startswith(b"Received: from client.example.org ")
    assert content.endswith(b"\r\n" + TEXT)
    assert mailbox.hellos == ["gateway.example.org"]  # as our own clients know us


@pytest_twisted.ensureDeferred
async def test_what_is_refused_there_is_refused_here(serve: Callable[..., int]) -> None:
    """By the same reply, at the same place; the session goes on (P51)."""
    mailbox = Mailbox()
    port = serve(gateway(serve(mailbox)))

    def send(client: smtplib.SMTP) -> Any:
        said = [client.mail("spammer@example.org")]
        mailbox.verdict = (554, "5.7.1", "Spam")
        client.mail("a@example.org")
        client.rcpt("b@example.org")
        said.append(client.data(TEXT))
        mailbox.verdict = (451, "4.3.2", "Later")
        client.mail("a@example.org")
        client.rcpt("b@example.org")
        said.append(client.data(TEXT))
        mailbox.verdict = None
        client.mail("a@example.org")
        client.rcpt("b@example.org")
        client.rset()
        client.mail("a@example.org")
        client.rcpt("b@example.org")
        said.append(client.data(TEXT))
        return said

    said = await conversation(port, send)
    assert said[:3] == [(550, b"5.7.1 Not you"), (554, b"5.7.1 Spam"), (451, b"4.3.2 Later")]
    assert said[3][0] == 250
    assert len(mailbox.got) == 1


@pytest_twisted.ensureDeferred
async def test_where_nobody_is_there_the_client_comes_again(serve: Callable[..., int]) -> None:
    """451, and nothing is kept."""
    port = serve(gateway(1, times=ClientTimes(connect=5)))
    said = await conversation(port, lambda client: client.mail("a@example.org"))
    assert said == (451, b"4.4.1 The next server cannot be reached now, try again later")


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_in_the_midst_leaves_nothing_there(
    serve: Callable[..., int],
) -> None:
    """Half a message is none."""
    mailbox = Mailbox()
    port = serve(gateway(serve(mailbox)))

    def leave() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            lines = client.makefile("rb")
            for line in (b"", b"HELO me", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.org>"):
                if line:
                    client.sendall(line + b"\r\n")
                assert lines.readline()[:1] == b"2"
            client.sendall(b"DATA\r\n")
            assert lines.readline()[:3] == b"354"
            client.sendall(b"Subject: half\r\n\r\nof")

    await deferToThread(leave)
    for _ in range(100):
        if mailbox.aborted_for:
            break
        waiting: Deferred[None] = Deferred()
        reactor.callLater(0.02, waiting.callback, None)  # type: ignore[attr-defined]
        await waiting
    assert mailbox.got == []
    assert mailbox.aborted_for == ["DISCONNECTED"]


@pytest_twisted.ensureDeferred
async def test_a_message_that_goes_in_circles_is_stopped(serve: Callable[..., int]) -> None:
    """By its trace fields (RFC 5321 §6.3)."""
    mailbox = Mailbox()
    port = serve(gateway(serve(mailbox)))
    looping = b"Received: from x by y\r\n" * 101 + TEXT

    def send(client: smtplib.SMTP) -> Any:
        client.mail("a@example.org")
        client.rcpt("b@example.org")
        return client.data(looping)

    assert (await conversation(port, send))[0] == 554
    assert mailbox.got == []


@pytest_twisted.ensureDeferred
async def test_the_trap_of_sendmail(serve: Callable[..., int]) -> None:
    """
    Content that a handler was given has lines that end in CRLF; twisted.mail makes CR CR LF of it.

    What comes out is refused by a strict server, as our relay's is not.
    """
    mailbox = Mailbox()
    port = serve(mailbox)
    with pytest.raises(SMTPDeliveryError, match="Bare CR or LF"):
        await sendmail("127.0.0.1", "a@example.org", ["b@example.org"], TEXT, port=port)
    front = serve(gateway(port))
    await conversation(front, lambda client: client.sendmail("a@x.org", ["b@x.org"], TEXT))
    [(_, content)] = mailbox.got
    assert content.endswith(b"\r\n" + TEXT)


@pytest_twisted.ensureDeferred
async def test_the_trap_of_gateways_that_answer_first(serve: Callable[..., int]) -> None:
    """
    One that accepts all and then sends learns too late that a recipient is refused.

    Its client has read 250 for a recipient who gets nothing, and nobody is told; a relay's client
    is told at RCPT.
    """
    mailbox = Mailbox()
    behind = serve(mailbox)
    to = ["b@example.org", "no-one@example.org"]

    @threaded
    class HomeMade:
        def message(self, envelope: Envelope) -> None:
            with smtplib.SMTP("127.0.0.1", behind, timeout=20) as client:
                client.sendmail("a@x.org", list(map(str, envelope.recipients)), TEXT)

    for handler, refused in ((HomeMade, []), (gateway(behind), ["no-one@example.org"])):
        port = serve(handler)
        said = await conversation(port, lambda client: client.sendmail("a@x.org", to, TEXT))
        assert list(said) == refused
    assert [recipients for recipients, _ in mailbox.got] == [["b@example.org"]] * 2


@pytest_twisted.ensureDeferred
async def test_recipients_that_come_together_are_asked_together(
    serve: Callable[..., int],
) -> None:
    """A client that pipelines does not wait for one after the other; replies keep their order."""
    mailbox = Mailbox()
    front = serve(gateway(serve(mailbox)))
    names = ["b", "no-one", "c", "full", *(f"user{number}" for number in range(40))]

    def send(client: smtplib.SMTP) -> list[bytes]:
        commands = ["MAIL FROM:<a@x.org>", *(f"RCPT TO:<{name}@x.org>" for name in names), "DATA"]
        client.send("".join(f"{line}\r\n" for line in commands).encode())
        codes = [b"%d" % client.getreply()[0] for _ in commands]
        client.send(TEXT.replace(b"\n.", b"\n..") + b".\r\n")
        return [*codes, b"%d" % client.getreply()[0]]

    said = await conversation(front, send)
    assert said == [b"250", b"250", b"550", b"250", b"452", *[b"250"] * 40, b"354", b"250"]
    [(to, _)] = mailbox.got
    assert to == [f"{name}@x.org" for name in names if name not in ("no-one", "full")]


@pytest_twisted.ensureDeferred
async def test_it_goes_to_those_only_who_were_accepted_here(serve: Callable[..., int]) -> None:
    """Whom another handler beside the relay refuses gets nothing, although the server took him."""
    mailbox = Mailbox()

    class Refuses:
        discards_content = True

        def rcpt(self, recipient: Any, envelope: Envelope) -> Any:
            return (550, "Not him") if recipient.local_part == "eve" else None

    front = serve(all_of(gateway(serve(mailbox)), Refuses))
    to = ["anne@x.org", "eve@x.org", "bob@x.org"]
    refused = await conversation(front, lambda client: client.sendmail("a@x.org", to, TEXT))
    assert list(refused) == ["eve@x.org"]
    [(got, _)] = mailbox.got
    assert got == ["anne@x.org", "bob@x.org"]


@pytest_twisted.ensureDeferred
async def test_a_server_that_stops_leaves_well() -> None:
    """The sessions that were kept for the next message are quit, and that is waited for."""

    class Behind(Mailbox):
        gone: ClassVar[list[str]] = []

        def disconnected(self, reason: Any, connection: Any) -> None:
            self.gone.append(reason.name)

    services = []
    relay: Any = Behind()
    for _ in range(2):
        service = SmtpService("tcp:0:interface=127.0.0.1", SmtpServerFactory(relay))
        service.startService()
        services.append(service)
        port = service.ports[0].getHost().port
        relay = gateway(port)
    await conversation(port, lambda client: client.sendmail("a@x.org", ["b@x.org"], TEXT))
    assert Behind.gone == []
    await services[1].stopService()
    await services[0].stopService()
    assert Behind.gone == ["QUIT"]
