"""Filters: what they refuse, and what they change in messages that go on."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from email import message_from_bytes
from email.policy import default
from threading import current_thread, main_thread
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import Service

from smtpcb import Envelope, SmtpServerFactory, SmtpService, callbacks, threaded
from smtpcb.handlers.relay import changes

from .relaying import conversation, gateway

Serve = Callable[..., int]
HEADER = (
    b"Subject: Buy\r\nX-Spam: no\r\nTo: b@example.org\r\nX-Long: one\r\n two\r\nx-spam: maybe\r\n"
)
BODY = b"\r\nX-Spam: in the text\r\n.dots\r\n\xff\x00 octets\r\n"
TEXT = HEADER + BODY


class Behind:
    """The next server."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], bytes]] = []
        self.begun = 0
        self.strict = False

    def mail(self, envelope: Envelope) -> Any:
        return (550, "5.7.1", "Not you") if self.strict else None

    def rcpt(self, recipient: Any, envelope: Envelope) -> Any:
        return (550, "5.1.1", "No such mailbox") if recipient.local_part == "no-one" else None

    def data(self, envelope: Envelope) -> None:
        self.begun += 1

    def message(self, envelope: Envelope) -> None:
        to = [str(one.forward_path) for one in envelope.recipients]
        self.got.append((to, envelope.content.bytes()))


def send(*messages: bytes, to: str = "b@example.org") -> Callable[[smtplib.SMTP], Any]:
    def talk(client: smtplib.SMTP) -> list[tuple[int, bytes]]:
        said = []
        for one in messages:
            client.mail("a@example.org")
            said.append(client.rcpt(to))
            if said[-1][0] == 250:
                said[-1] = client.data(one)
            else:
                client.rset()
        return said

    return talk


def without_trace(content: bytes) -> bytes:
    """Return what stands behind the Received field that the gateway has written."""
    assert content.startswith(b"Received: from client.example.org ")
    lines = content.split(b"\r\n")
    at = next(number for number, line in enumerate(lines[1:], 1) if line[:1] not in (b"\t", b" "))
    return b"\r\n".join(lines[at:])


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("text", [TEXT, BODY, b"\r\nno header\r\n", b"no end of it", b"", HEADER])
@pytest_twisted.ensureDeferred
async def test_what_nobody_changes_goes_on_as_it_came(
    serve: Serve, text: bytes, whole: bool
) -> None:
    """Each octet behind the trace field, so signatures hold, whatever the message looks like."""
    behind = Behind()

    class Looks:
        def header(self, name: str, value: str, envelope: Envelope) -> None:
            changes(envelope)

    class LooksAtAll(Looks):
        def message(self, envelope: Envelope) -> None:
            changes(envelope)

    port = serve(gateway(serve(behind), filter=LooksAtAll if whole else Looks))
    [(code, _)] = await conversation(port, send(text))
    assert code == 250
    [(_, content)] = behind.got
    assert without_trace(content) == text + (b"" if text.endswith(b"\r\n") else b"\r\n")


@pytest.mark.parametrize("event", ["mail", "rcpt", "data", "header", "message"])
@pytest_twisted.ensureDeferred
async def test_fields_are_added_replaced_and_removed(serve: Serve, event: str) -> None:
    """At any event of a filter; what is not named stays as it is, and so does the body."""
    behind = Behind()

    def change(*arguments: Any) -> None:
        if event == "header" and arguments[0] != "To":
            return
        change = changes(arguments[-1])
        change.add_field("X-Score", "7 of 5")
        change.replace_field("Subject", "[SPAM] Buy")
        change.replace_field("X-New", "yes")
        change.remove_field("X-SPAM")

    port = serve(gateway(serve(behind), filter=callbacks(**{event: change})))
    await conversation(port, send(TEXT))
    [(to, content)] = behind.got
    assert to == ["b@example.org"]
    assert (
        without_trace(content)
        == (
            b"X-Score: 7 of 5\r\n"
            b"Subject: [SPAM] Buy\r\n"
            b"To: b@example.org\r\nX-Long: one\r\n two\r\nX-New: yes\r\n"
        )
        + BODY
    )


@pytest_twisted.ensureDeferred
async def test_a_field_may_be_made_of_what_stood_there(serve: Serve) -> None:
    """Whatever octets that was: those that are no text are marked, and no message is stuck."""
    behind = Behind()

    def header(name: str, value: str, envelope: Envelope) -> None:
        if name == "Subject":
            changes(envelope).replace_field(name, f"[SPAM] {value}")

    port = serve(gateway(serve(behind), filter=callbacks(header=header)))
    said = await conversation(port, send(b"Subject: \xffBuy =?utf-8?q?B=C3=BCy?=\r\n\r\nHi\r\n"))
    assert said[0][0] == 250
    [(_, content)] = behind.got
    assert (
        str(message_from_bytes(content, policy=default)["Subject"]) == "[SPAM] \ufffdBuy B\u00fcy"
    )


@pytest.mark.parametrize("event", ["rcpt", "message"])
@pytest_twisted.ensureDeferred
async def test_what_a_filter_refuses_goes_nowhere(serve: Serve, event: str) -> None:
    """At RCPT, and at the end, when it has seen the whole; the next message is none the worse."""
    behind = Behind()

    def refuse(*arguments: Any) -> Any:
        return (550, "5.7.1", "Spam") if arguments[-1].number == 1 else None

    port = serve(gateway(serve(behind), filter=callbacks(**{event: refuse})))
    first, second = await conversation(port, send(TEXT, TEXT))
    assert first == (550, b"5.7.1 Spam")
    assert second[0] == 250
    # Where the filter has the whole message first, nothing of it had gone on.
    assert behind.begun == 1


@pytest_twisted.ensureDeferred
async def test_a_filter_that_refuses_what_streams_leaves_nothing_there(serve: Serve) -> None:
    """A field may refuse the message after its beginning has gone on: half of it is none."""
    behind = Behind()

    def chunk(octets: bytes, envelope: Envelope) -> Any:
        return (554, "5.7.1", "Virus") if b"EICAR" in octets else None

    port = serve(gateway(serve(behind), filter=callbacks(chunk=chunk)))
    text = TEXT + b"x" * 70_000 + b"\r\nEICAR\r\n"
    first, second = await conversation(port, send(text, TEXT))
    assert (first, second[0]) == ((554, b"5.7.1 Virus"), 250)
    assert len(behind.got) == 1


@pytest.mark.parametrize("event", ["data", "message"])
@pytest_twisted.ensureDeferred
async def test_who_is_added_gets_it_too(serve: Serve, event: str) -> None:
    """An archive, for one."""
    behind = Behind()

    def add(envelope: Envelope) -> None:
        changes(envelope).add_recipient("archive@example.org")

    port = serve(gateway(serve(behind), filter=callbacks(**{event: add})))
    await conversation(port, send(TEXT))
    assert [to for to, _ in behind.got] == [["b@example.org", "archive@example.org"]]


@pytest.mark.parametrize("event", ["data", "message"])
@pytest_twisted.ensureDeferred
async def test_who_is_added_and_refused_is_not_left_out(serve: Serve, event: str) -> None:
    """The client comes again, and nobody has the message: it is not lost for the archive."""
    behind = Behind()

    def add(envelope: Envelope) -> None:
        if envelope.number == 1:
            changes(envelope).add_recipient("no-one@example.org")

    port = serve(gateway(serve(behind), filter=callbacks(**{event: add})))
    first, second = await conversation(port, send(TEXT, TEXT))
    assert first[0] == 451
    assert first[1].startswith(b"4.3.0 The message cannot be passed on")
    assert second[0] == 250
    assert len(behind.got) == 1


@pytest.mark.parametrize("event", ["header", "message"])
@pytest_twisted.ensureDeferred
async def test_spam_goes_into_quarantine(serve: Serve, event: str) -> None:
    """And to none of those for whom it was; the client hears that it was taken."""
    behind = Behind()

    def judge(*arguments: Any) -> None:
        envelope = arguments[-1]
        if envelope.number == 1:
            changes(envelope).redirect("quarantine@example.org")

    port = serve(gateway(serve(behind), filter=callbacks(**{event: judge})))
    said = await conversation(port, send(TEXT, TEXT))
    assert [code for code, _ in said] == [250, 250]
    assert [to for to, _ in behind.got] == [["quarantine@example.org"], ["b@example.org"]]


@pytest.mark.parametrize("wrong", ["sender", "recipient"])
@pytest.mark.parametrize("event", ["data", "message"])
@pytest_twisted.ensureDeferred
async def test_a_quarantine_that_is_refused_is_no_way_out(
    serve: Serve, event: str, wrong: str
) -> None:
    """Spam neither gets lost there nor goes to those for whom it was: the client comes again."""
    behind = Behind()

    def judge(envelope: Envelope) -> None:
        behind.strict = wrong == "sender"
        name = "quarantine" if wrong == "sender" else "no-one"
        changes(envelope).redirect(f"{name}@example.org")

    port = serve(gateway(serve(behind), filter=callbacks(**{event: judge})))
    [(code, text)] = await conversation(port, send(TEXT))
    assert (code, text[:6]) == (451, b"4.3.0 ")
    assert behind.got == []


@pytest.mark.parametrize("event", ["data", "message"])
@pytest_twisted.ensureDeferred
async def test_a_filter_may_keep_a_message_for_itself(serve: Serve, event: str) -> None:
    """Redirected to nobody it goes nowhere: the filter has it."""
    behind = Behind()

    def keep(envelope: Envelope) -> None:
        if envelope.number == 1:
            changes(envelope).redirect()

    port = serve(gateway(serve(behind), filter=callbacks(**{event: keep})))
    first, second = await conversation(port, send(TEXT + b"x" * 600_000, TEXT))
    assert (first, second[0]) == ((250, b"2.0.0 Taken"), 250)
    assert len(behind.got) == 1


@pytest_twisted.ensureDeferred
async def test_a_change_that_comes_too_late_is_told(serve: Serve) -> None:
    """It is an incident and the client comes again: no change is dropped without a word."""
    behind = Behind()
    late: list[str] = []

    def chunk(octets: bytes, envelope: Envelope) -> None:
        if envelope.size_octets > len(octets):
            try:
                changes(envelope).add_field("X-Late", "yes")
            except RuntimeError as error:
                late.append(str(error))

    port = serve(gateway(serve(behind), filter=callbacks(chunk=chunk)))
    await conversation(port, send(TEXT + b"x" * 600_000))
    assert "have message(envelope) in the filter" in late[0]


def test_nothing_can_be_changed_where_no_relay_is() -> None:
    """Whoever tries hears so."""
    with pytest.raises(LookupError, match="no relay passes this message on"):
        changes(Envelope.__new__(Envelope))


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-A", "one\r\nBcc: two"), ("X A", "one"), ("X-A:", "x"), ("", "x"), ("X-A", "\0")],
)
@pytest_twisted.ensureDeferred
async def test_no_field_brings_another_one(serve: Serve, name: str, value: str) -> None:
    """What a stranger wrote and a filter puts into a field cannot be two."""
    behind = Behind()
    raised: list[BaseException] = []

    def data(envelope: Envelope) -> None:
        for change in (changes(envelope).add_field, changes(envelope).replace_field):
            try:
                change(name, value)
            except ValueError as error:
                raised.append(error)

    port = serve(gateway(serve(behind), filter=callbacks(data=data)))
    await conversation(port, send(TEXT))
    assert len(raised) == 2
    assert without_trace(behind.got[0][1]) == TEXT


@pytest_twisted.ensureDeferred
async def test_a_filter_is_made_for_each_client(serve: Serve) -> None:
    """A class is, as a handler is, and is told when its client goes."""
    behind = Behind()
    made: list[Any] = []
    gone: list[Any] = []

    class Filter:
        def __init__(self) -> None:
            made.append(self)

        async def message(self, envelope: Envelope) -> None:
            message = await envelope.content.parsed()
            changes(envelope).add_field("X-Was", str(message["Subject"]))

        def disconnected(self, reason: Any, connection: Any) -> None:
            gone.append(self)

    port = serve(gateway(serve(behind), filter=Filter))
    made.clear()  # the start has looked at one
    for _ in range(2):
        await conversation(port, send(TEXT))
    assert len(made) == 2
    assert b"\r\nX-Was: Buy\r\n" in behind.got[1][1]
    assert gone[0] is made[0]


@pytest_twisted.ensureDeferred
async def test_a_filter_may_block(serve: Serve) -> None:
    """In threads: a library that knows nothing of reactors scans there."""
    behind = Behind()

    @threaded
    class Blocks:
        def message(self, envelope: Envelope) -> None:
            assert current_thread() is not main_thread()
            changes(envelope).add_field("X-Octets", str(len(envelope.content.bytes())))

    port = serve(gateway(serve(behind), filter=Blocks))
    said = await conversation(port, send(TEXT))
    assert said[0][0] == 250
    assert b"\r\nX-Octets: %d\r\n" % len(TEXT) in behind.got[0][1]


@pytest_twisted.ensureDeferred
async def test_a_filter_that_is_a_service_starts_and_stops(serve: Serve) -> None:
    """With the server, as a policy does."""
    behind = Behind()
    done: list[str] = []

    class Counts(Service):
        def startService(self) -> None:
            done.append("started")
            super().startService()

        def stopService(self) -> None:
            done.append("stopped")
            super().stopService()

        def message(self, envelope: Envelope) -> None:
            done.append("message")

    relay = gateway(serve(behind), filter=Counts())
    service = SmtpService("tcp:0:interface=127.0.0.1", SmtpServerFactory(relay))
    service.startService()
    await conversation(service.ports[0].getHost().port, send(TEXT))
    await service.stopService()
    assert done == ["started", "message", "stopped"]


def test_a_filter_that_is_none_is_told_at_once() -> None:
    """Before a server starts: a misspelt event would let everything through."""

    class Misspelt:
        def on_message(self, envelope: Envelope) -> None:
            """Be never called."""

    with pytest.raises(TypeError, match="message"):
        gateway(25, filter=Misspelt)
