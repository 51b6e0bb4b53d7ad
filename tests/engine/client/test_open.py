"""A message whose recipients are named one by one, as a gateway hears of them."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine import (
    Cause,
    ClientDialogue,
    ClientFailure,
    ClientSettings,
    ClientWants,
    Destination,
    Outcome,
    Stage,
    Transaction,
)
from smtpcb.smtp import LocalProtocolError, MailParameters, Notify, RcptParameters

from .talk import ANNE, BOB, CARL, PLAIN, to


def opened(*offers: str, settings: ClientSettings = PLAIN) -> ClientDialogue:
    """Return a session whose server offers that."""
    dialogue = ClientDialogue(settings)
    dialogue.receive(b"220 m\r\n")
    dialogue.take_output()
    dialogue.receive(
        "".join(f"250-{line}\r\n" for line in ("m", *offers)).encode() + b"250 HELP\r\n"
    )
    return dialogue


def begun(*offers: str, **more: Any) -> tuple[ClientDialogue, Transaction]:
    """Return a session in which MAIL was accepted."""
    dialogue, message = opened(*offers), Transaction(ANNE, [], **more)
    dialogue.open(message)
    assert dialogue.take_output().startswith(b"MAIL FROM:<anne@example.org>")
    assert dialogue.wants is ClientWants.RECIPIENTS
    dialogue.receive(b"250 ok\r\n")
    assert message.mail_reply is not None
    return dialogue, message


@pytest.mark.parametrize("offer", ["PIPELINING", "SIZE"])
def test_each_recipient_is_answered_before_the_next_is_named(offer: str) -> None:
    """Its reply is at hand as soon as it has come, a yes as well as a no."""
    dialogue, message = begun(offer)
    bob, carl = Destination(BOB), Destination(CARL)
    dialogue.add(bob)
    assert dialogue.take_output() == b"RCPT TO:<bob@example.org>\r\n"
    assert bob.rcpt_reply is None
    assert dialogue.stage is Stage.RCPT
    dialogue.receive(b"250 will do\r\n")
    assert bob.rcpt_reply is not None
    assert (bob.rcpt_reply.text, bob.outcome) == ("250 will do", Outcome.NOT_TRIED)
    dialogue.add(carl)
    assert dialogue.take_output() == b"RCPT TO:<carl@example.net>\r\n"
    dialogue.receive(b"550 nobody\r\n")
    assert carl.outcome is Outcome.REFUSED
    assert dialogue.wants is ClientWants.RECIPIENTS
    assert dialogue.take_output() == b""
    dialogue.proceed()
    assert dialogue.take_output() == b"DATA\r\n"
    dialogue.receive(b"354 go\r\n")
    dialogue.content(b"hi\r\n")
    dialogue.end_content()
    assert dialogue.take_output() == b"hi\r\n.\r\n"
    dialogue.receive(b"250 taken\r\n")
    assert bob.outcome is Outcome.DELIVERED
    assert message.destinations == [bob, carl]
    assert dialogue.wants is ClientWants.WORK


@pytest.mark.parametrize(
    ("offer", "writes"),
    [
        (
            "PIPELINING",
            [b"MAIL FROM:<>\r\n", b"RCPT TO:<bob@example.org>\r\nRCPT TO:<carl@example.net>\r\n"],
        ),
        ("SIZE", [b"MAIL FROM:<>\r\n", b""]),
    ],
)
def test_recipients_may_be_named_before_replies_have_come(offer: str, writes: list[bytes]) -> None:
    """They are written as the server allows it, and no sooner; the replies fall into place."""
    dialogue, message = opened(offer), Transaction("", [])
    dialogue.open(message)
    assert dialogue.take_output() == writes[0]
    dialogue.add(Destination(BOB))
    dialogue.add(Destination(CARL))
    dialogue.proceed()
    assert dialogue.wants is ClientWants.REPLY
    written = dialogue.take_output()
    assert written == writes[1]
    for reply in (b"250 ok\r\n", b"450 later\r\n", b"250 ok\r\n"):
        dialogue.receive(reply)
        written += dialogue.take_output()
    assert written == (b"RCPT TO:<bob@example.org>\r\nRCPT TO:<carl@example.net>\r\nDATA\r\n")
    assert [one.outcome for one in message.destinations] == [Outcome.DEFERRED, Outcome.NOT_TRIED]


def test_chunks_follow_without_a_word() -> None:
    """With CHUNKING the content is wanted at once."""
    dialogue, _ = begun("CHUNKING", "PIPELINING")
    dialogue.add(Destination(BOB))
    dialogue.take_output()
    dialogue.receive(b"250 ok\r\n")
    dialogue.proceed()
    assert dialogue.wants is ClientWants.CONTENT
    dialogue.end_content()
    assert dialogue.take_output() == b"BDAT 0 LAST\r\n"


@pytest.mark.parametrize("offer", ["PIPELINING", "SIZE"])
def test_refused_mail_ends_it_at_once(offer: str) -> None:
    """Nobody need be named any more, and whoever was is refused by the same reply."""
    dialogue, message = opened(offer), Transaction(ANNE, [BOB])
    dialogue.open(message)
    dialogue.take_output()
    dialogue.receive(b"550 no\r\n")
    if offer == "PIPELINING":
        assert dialogue.wants is ClientWants.REPLY
        dialogue.receive(b"503 no\r\n")
    assert dialogue.wants is ClientWants.WORK
    assert message.destinations[0].outcome is Outcome.REFUSED
    assert message.destinations[0].stage is Stage.MAIL
    with pytest.raises(LocalProtocolError):
        dialogue.add(Destination(CARL))


@pytest.mark.parametrize("accepted", [True, False])
def test_a_message_that_was_opened_may_be_dropped(accepted: bool) -> None:
    """The session goes on, behind RSET."""
    dialogue, message = begun("PIPELINING")
    dialogue.add(Destination(BOB))
    dialogue.take_output()
    dialogue.receive(b"250 ok\r\n" if accepted else b"550 no\r\n")
    dialogue.drop()
    assert dialogue.take_output() == b""
    assert dialogue.wants is ClientWants.WORK
    (bob,) = message.destinations
    assert bob.outcome is (Outcome.NOT_TRIED if accepted else Outcome.REFUSED)
    if accepted:
        assert message.failure is not None
        assert message.failure.cause is Cause.CANCELLED
    dialogue.send(to())
    assert dialogue.take_output().startswith(b"RSET\r\nMAIL FROM:")


def test_without_anybody_there_is_no_content() -> None:
    """It has come to nothing, and the next message may follow."""
    dialogue, _ = begun("PIPELINING")
    dialogue.proceed()
    assert dialogue.wants is ClientWants.WORK
    assert dialogue.take_output() == b""
    assert dialogue.unfinished


def test_what_the_server_lacks_refuses_that_recipient_only() -> None:
    """Nothing of it is sent, and the others are none the worse."""
    dialogue, message = begun("PIPELINING", "LIMITS RCPTMAX=1", may_lack={"RRVS"})
    dsn = Destination(CARL, RcptParameters(notify=frozenset({Notify.NEVER})))
    for one, why in (
        (dsn, "NOTIFY needs DSN"),
        (Destination("bób@example.org"), "SMTPUTF8 needs SMTPUTF8"),
    ):
        with pytest.raises(ClientFailure, match=why):
            dialogue.add(one)
        assert one.failure is not None
        assert one.outcome is Outcome.NOT_TRIED
    assert dialogue.take_output() == b""
    dialogue.add(Destination(BOB))
    with pytest.raises(ClientFailure, match="more recipients") as caught:
        dialogue.add(Destination(CARL))
    assert caught.value.temporary
    assert len(message.destinations) == 1


def test_utf8_has_to_be_said_with_mail() -> None:
    """Behind it, it is too late (RFC 6531 §3.4)."""
    dialogue, _ = begun("SMTPUTF8")
    with pytest.raises(ClientFailure, match="MAIL was said without SMTPUTF8"):
        dialogue.add(Destination("bób@example.org"))
    dialogue, _ = begun("SMTPUTF8", parameters=MailParameters(smtputf8=True))
    dialogue.add(Destination("bób@example.org"))
    assert dialogue.take_output() == "RCPT TO:<bób@example.org>\r\n".encode()


@pytest.mark.parametrize("what", [b"421 closing\r\n", b"250 hello\r\n", b""])
def test_a_server_that_leaves_meanwhile_is_told(what: bytes) -> None:
    """Nobody has it, and that is certain."""
    dialogue, message = begun("PIPELINING")
    dialogue.add(Destination(BOB))
    dialogue.take_output()
    dialogue.receive(b"250 ok\r\n")
    dialogue.receive(what) if what else dialogue.lost()
    assert message.destinations[0].outcome is Outcome.DEFERRED
    assert message.failure is dialogue.failure
    assert dialogue.failure is not None
    assert dialogue.failure.stage is Stage.RCPT


def test_all_or_nobody_may_be_named_later_too() -> None:
    """One refusal keeps it back."""
    dialogue, message = begun("PIPELINING", require_all_recipients=True)
    dialogue.add(Destination(BOB))
    dialogue.add(Destination(CARL))
    dialogue.take_output()
    dialogue.receive(b"250 ok\r\n550 no\r\n")
    dialogue.proceed()
    assert dialogue.wants is ClientWants.WORK
    assert message.destinations[0].outcome is Outcome.NOT_TRIED
    assert message.failure is not None
