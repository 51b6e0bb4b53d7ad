"""What may be seen of a session: octets, replies, and its end."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest

from smtpcb.engine import (
    ClientDialogue,
    ClientFailure,
    ClientObserver,
    Connection,
    Destination,
    Stage,
    Transaction,
)
from smtpcb.engine._client._observer import Watched
from smtpcb.smtp import Command, MailParameters, Reply, Verb
from smtpcb.testing._play import TLS

from .talk import (
    BOB,
    CARL,
    CHUNKS,
    CONTENT,
    GROUPS,
    MAIL,
    PLAIN,
    QUIT,
    RCPT,
    RCPT_2,
    STEPS,
    talk,
    to,
)


class Sees(ClientObserver):
    """Keeps all of it."""

    def __init__(self) -> None:
        self.said = b""
        self.heard = b""
        self.events: list[Any] = []

    def client(self, octets: bytes) -> None:
        self.said += octets

    def server(self, octets: bytes) -> None:
        self.heard += octets

    def content(self, octets: bytes) -> None:
        self.events.append(octets)

    def end_of_content(self) -> None:
        self.events.append("end")

    def replied(self, stage: Stage, subject: object, reply: Reply) -> None:
        self.events.append((stage, subject, reply.code))

    def ended(self, failure: ClientFailure | None) -> None:
        self.events.append(("ended", failure))


def test_everything_is_seen_in_its_order() -> None:
    """MAIL, each RCPT, the content as on the wire, the reply to it, the end (L18-L20)."""
    sees, message = Sees(), to(BOB, CARL)
    bob, carl = message.destinations
    talk(
        GROUPS
        + MAIL
        + RCPT
        + RCPT_2
        + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 550 no\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\nC: NOOP\nS: 250 ok\n"
        + QUIT,
        message,
        Command(Verb.NOOP),
        observer=sees,
        cut=False,
    )
    assert sees.events == [
        (Stage.MAIL, message, 250),
        (Stage.RCPT, bob, 250),
        (Stage.RCPT, carl, 550),
        b"Subject: hi\r\n\r\nbody\r\n",
        b".\r\n",
        "end",
        (Stage.FINAL, message, 250),
        (Stage.COMMAND, Command(Verb.NOOP), 250),
        ("ended", None),
    ]
    assert sees.said == (
        b"EHLO me.example.org\r\nMAIL FROM:<anne@example.org>\r\nRCPT TO:<bob@example.org>\r\n"
        b"RCPT TO:<carl@example.net>\r\nDATA\r\nNOOP\r\nQUIT\r\n"
    )
    assert sees.heard.startswith(b"220 mail.example.org ESMTP\r\n250-mail.example.org\r\n")


def test_chunks_are_seen_as_well() -> None:
    """And go on being seen behind them (LX7)."""
    sees, message = Sees(), to()
    owner = talk(
        CHUNKS + MAIL + RCPT + "C: BDAT 6 LAST\nC: body\nS: 250 ok\nS: 250 ok\nS: 452 full\n"
        "C: RSET\n" + MAIL + RCPT + "C: BDAT 6 LAST\nC: body\nS: 500 no\n",
        message,
        to(),
        observer=sees,
        content=b"body\r\n",
        cut=False,
    )
    assert sees.events[1:] == [
        "end",
        (Stage.MAIL, message, 250),
        (Stage.RCPT, message.destinations[0], 250),
        (Stage.FINAL, message, 452),
        b"body\r\n",
        "end",
        ("ended", owner.dialogue.failure),
    ]
    assert b"BDAT 6 LAST\r\nRSET\r\n" in sees.said


def test_a_refused_data_and_each_reply_of_lmtp_are_seen() -> None:
    """What decided on a message, and on whom."""
    sees, message = Sees(), to()
    talk(
        STEPS + MAIL + "S: 250 ok\n" + RCPT + "S: 250 ok\nC: DATA\nS: 451 no\n" + QUIT,
        message,
        observer=sees,
        cut=False,
    )
    assert sees.events[2] == (Stage.DATA, message, 451)
    sees, message = Sees(), to(BOB, CARL)
    talk(
        GROUPS.replace("EHLO", "LHLO") + MAIL + RCPT + RCPT_2 + "C: DATA\nS: 250 ok\nS: 250 ok\n"
        "S: 250 ok\nS: 354 go\nC: body\nC: .\nS: 250 taken\nS: 550 no\n" + QUIT,
        message,
        settings=replace(PLAIN, lmtp=True),
        content=b"body\r\n",
        observer=sees,
        cut=False,
    )
    assert sees.events[-3:-1] == [
        (Stage.FINAL, message.destinations[0], 250),
        (Stage.FINAL, message.destinations[1], 550),
    ]


def test_what_nobody_looks_at_is_not_told() -> None:
    """Each method may be left out."""
    observer = ClientObserver()
    talk(
        GROUPS
        + MAIL
        + RCPT
        + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\n"
        + QUIT,
        to(),
        observer=observer,
    )
    observer.note("")
    observer.failed(ValueError())
    observer.secured(TLS)
    observer.disconnected(None)
    assert observer.connected(Connection("x")) is None


METHODS = [
    *("client", "server", "content", "end_of_content", "replied", "ended", "begun", "finished")
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("twice", [False, True])
def test_an_observer_that_fails_costs_nobody_anything(method: str, twice: bool) -> None:
    """It is told once what it has raised, and no more (P42 of the server's likewise)."""
    told: list[Exception] = []

    class Fails(Sees):
        def failed(self, error: Exception) -> None:
            told.append(error)
            if twice:
                raise error

    fails = Fails()

    def broken(*arguments: object) -> None:
        raise RuntimeError(method)

    setattr(fails, method, broken)
    message = to()
    talk(
        GROUPS
        + MAIL
        + RCPT
        + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\n"
        + QUIT,
        message,
        observer=fails,
        cut=False,
    )
    assert [str(error) for error in told] == [method]
    assert message.destinations[0].complete
    assert ("ended", None) not in fails.events


@pytest.mark.parametrize(
    "script",
    [
        STEPS + QUIT,
        "S: 554 no\n" + QUIT,
        "S: 250 no\n",
        STEPS + MAIL + "S: 250 ok\n" + RCPT + "S: 354 no\n",
        STEPS + MAIL + "S: 421 no\n",
        GROUPS + MAIL + RCPT + "C: DATA\n*: gone\n",
        GROUPS
        + MAIL
        + RCPT
        + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 250\n"
        + QUIT,
    ],
)
def test_a_session_that_is_over_is_freed_at_once(script: str) -> None:
    """Nobody has to look for it later: thousands of them would wait for that."""
    observer = Sees()
    gone = weakref.ref(observer)
    message = to()
    gc.disable()
    try:
        talk(script, *([message] if "MAIL" in script else []), observer=observer, cut=False)
        observer.events.clear()
        del observer
        assert gone() is None
    finally:
        gc.enable()


def test_subjects_are_those_of_the_caller() -> None:
    """So that whatever the caller knows of them is at hand."""
    seen: list[object] = []

    class Looks(ClientObserver):
        def replied(self, stage: Stage, subject: object, reply: Reply) -> None:
            seen.append(subject)

    one = Destination(BOB)
    message = Transaction("", [one])
    talk(
        STEPS + "C: MAIL FROM:<>\nS: 250 ok\n" + RCPT + "S: 550 no\n" + QUIT,
        message,
        observer=Looks(),
        cut=False,
    )
    assert seen == [message, one]


def test_tls_is_seen_when_it_is_there() -> None:
    """From the beginning, or behind STARTTLS; the version is told."""
    for settings, tls in ((PLAIN, TLS), (replace(PLAIN, starttls="required"), None)):
        sees = Sees()
        seen: list[Any] = []
        sees.secured = seen.append  # type: ignore[method-assign]
        dialogue = ClientDialogue(settings, tls=tls, observer=sees)
        assert seen == ([] if tls is None else [TLS])
        if tls is None:
            for reply in (b"220 here\r\n", b"250-here\r\n250 STARTTLS\r\n", b"220 go\r\n"):
                dialogue.receive(reply)
                dialogue.take_output()
            dialogue.secured(TLS)
        assert seen == [TLS]


def test_a_message_that_cannot_be_sent_ends_without_having_begun() -> None:
    """Its failure says what the server lacks; nothing of it was said."""
    sees, seen = Sees(), []
    sees.begun = lambda one: seen.append(("begun", one.data))  # type: ignore[method-assign]
    sees.finished = lambda one: seen.append(("finished", one.failure))  # type: ignore[method-assign]
    message = to(parameters=MailParameters(envid="order-17"), data="it")
    owner = talk(STEPS + QUIT, message, observer=sees, cut=False)
    assert seen == [("finished", message.failure)]
    assert owner.failures == [message.failure]


def test_whoever_has_the_connection_may_watch_it_from_its_beginning() -> None:
    """The same observer goes on with the dialogue; it may have another one for the connection."""
    own = Sees()

    class Makes(Sees):
        def connected(self, connection: Connection) -> ClientObserver:
            return own

    made = Makes()
    watched = Watched(made)
    assert watched.connected(Connection("x")) is None
    dialogue = ClientDialogue(PLAIN, observer=watched)
    assert dialogue.outbox.observer is watched
    dialogue.receive(b"220 here\r\n")
    watched.disconnected(None)
    assert (own.heard, made.heard) == (b"220 here\r\n", b"")
