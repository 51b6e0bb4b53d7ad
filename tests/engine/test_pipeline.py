"""Several recipients decided at once: replies in the order of the commands (RFC 2920 §3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine._pipeline import MOST_OVERLAPPING
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.engine._table import Wants
from smtpcb.smtp._command import Verb
from smtpcb.smtp._errors import LocalProtocolError
from smtpcb.smtp._reply import Reply

from .scripts import Later, Noting, Server, limited


def concurrent(settings: Settings | None = None, **changes: Any) -> tuple[Later, Server]:
    """Return a server behind MAIL that may ask about several recipients at once."""
    handler = Later("rcpt", concurrent_recipients=True, **changes)
    server = Server(handler, settings, observer=Noting())
    server.send(b"HELO me\r\nMAIL FROM:<>\r\n")
    server.said = b""
    return handler, server


def test_replies_and_recipients_keep_the_order_of_the_commands() -> None:
    """Whichever answer comes first (RFC 2920 §3.2, P35)."""
    handler, server = concurrent()
    server.send(b"RCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nRCPT TO:wrong\r\n")
    server.send(b"RCPT TO:<" + b"x" * 13000 + b"\r\nRCPT TO:<d@x>\r\n")
    first, second, third, fourth = handler.answers
    third.give(True)
    second.give(False)
    assert server.said == b""
    first.give(None)
    assert server.codes == ["250", "550", "250", "501", "500"]
    fourth.give(450)
    assert server.codes[5:] == ["450"]
    assert server.dialogue.envelope is not None
    assert [str(path) for path in server.dialogue.envelope.forward_paths] == ["a@x", "c@x"]


def test_without_leave_one_is_asked_about_after_the_other() -> None:
    """Calls never overlap unless the handler says so."""
    handler = Later("rcpt")
    server = Server(handler)
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\n")
    assert server.dialogue.wants is Wants.ANSWER
    assert len(handler.answers) == 1
    handler.last.give()
    assert len(handler.answers) == 2
    handler.last.give()
    assert server.codes == ["250"] * 4


def test_another_command_waits_for_the_recipients() -> None:
    """It is held, and nothing behind it is read (P35)."""
    handler, server = concurrent()
    server.send(b"RCPT TO:<a@b>\r\nDATA\r\nRCPT TO:<c@d>\r\n")
    dialogue: Any = server.dialogue
    assert dialogue.wants is Wants.ANSWER
    with pytest.raises(LocalProtocolError, match="a line, where the answer"):
        dialogue.line(b"RCPT TO:<a@b>")
    with pytest.raises(LocalProtocolError, match="mail data, where the answer"):
        dialogue.content(b"x")
    handler.last.give()
    assert server.codes == ["250", "354"]
    assert len(handler.answers) == 1
    assert server.dialogue.wants is Wants.CONTENT


def test_a_command_that_waited_is_read_after_a_no_too() -> None:
    """Whatever became of the recipient."""
    handler, server = concurrent()
    server.send(b"RCPT TO:<a@b>\r\nDATA\r\nNOOP\r\n")
    handler.last.give(False)
    assert server.codes == ["550", "503", "250"]


def test_what_is_known_at_once_waits_for_what_is_not() -> None:
    """A yes, a no or a mistake behind an open question has its turn."""
    names = iter([None, "later", True, False, None])
    handler = Later("never")

    def rcpt(recipient: object, envelope: object) -> object:
        answer = next(names)
        return handler.never(recipient) if answer == "later" else answer

    server = Server(Later(rcpt=rcpt, concurrent_recipients=True), observer=(seen := Noting()))
    server.send(b"HELO me\r\nMAIL FROM:<>\r\n" + b"RCPT TO:<a@b>\r\n" * 5 + b"RCPT x\r\n")
    assert server.codes == ["250"] * 3
    handler.last.give((251, "Will forward"))
    assert server.codes[3:] == ["251", "250", "550", "250", "501"]
    # Who observes sees each answer as it is given.
    decided = [reply.code for name, reply in seen.decisions if name == "rcpt"]
    assert sorted(decided) == [250, 250, 250, 251, 550]


def test_recipients_that_are_asked_about_count() -> None:
    """The limit holds although nobody has answered yet (P26)."""
    handler, server = concurrent(limited(recipients=2))
    server.send(b"RCPT TO:<a@b>\r\n" * 4)
    assert server.dialogue.wants is Wants.ANSWER
    assert len(handler.answers) == 2
    for answer in list(handler.answers):
        answer.give(True)
    assert server.codes == ["250", "250", "452", "452"]


def test_not_everything_is_asked_at_once() -> None:
    """A client that does not wait costs so much memory and no more (P23)."""
    handler, server = concurrent(limited(recipients=None, errors=None, free_errors=None))
    server.send(b"RCPT TO:<a@b>\r\n" + b"RCPT TO:wrong\r\n" * 500)
    waiting: Any = server.dialogue.open
    assert len(waiting.entries) == MOST_OVERLAPPING
    assert server.dialogue.wants is Wants.ANSWER
    handler.last.give()
    assert server.codes == ["250"] + ["501"] * 500


@pytest.mark.parametrize("line", [b"x" * 20_000, b"RCPT\nTO:<a@b>"])
def test_a_line_that_is_not_kept_has_its_turn_too(line: bytes) -> None:
    """Too long or with a lone LF in it, behind the one recipient that is being decided on."""
    handler, server = concurrent()
    assert server.send(b"RCPT TO:<a@b>\r\n" + line + b"\r\nNOOP\r\n") == []
    handler.last.give()
    assert server.codes == ["250", "500", "250"]


def test_one_that_closes_takes_the_others_along() -> None:
    """Late answers are dropped, never sent as another command's (P41)."""
    handler, server = concurrent()
    server.send(b"RCPT TO:<a@b>\r\n" * 2 + b"DATA\r\n")
    first, second = handler.answers
    first.give(Reply(421))
    assert second.cancelled
    second.give(True)
    assert server.said == Reply(421).fitted(Reply(550)).wire
    assert server.observer.ends == [Reason.REFUSED]
    assert "rcpt answered too late on x: dropped" in server.log


def test_a_mistake_that_ends_the_session_ends_it_in_its_turn() -> None:
    """What was asked before is answered before."""
    handler, server = concurrent(limited(errors=2))
    server.send(b"RCPT TO:<a@b>\r\nRCPT x\r\nRCPT y\r\nRCPT z\r\n")
    handler.last.give()
    assert server.codes == ["250", "501", "421"]
    assert server.dialogue.finished is Reason.LIMIT


def test_a_shutdown_waits_for_recipients_and_their_transaction() -> None:
    """Then it is 421 (§3.8)."""
    handler, server = concurrent()
    server.send(b"RCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\n")
    assert server.driver.shut_down() == b""
    for answer in list(handler.answers):
        answer.give()
    assert server.codes == ["250", "250"]
    assert server.send(b"RSET\r\n") == ["250", "421"]


def test_an_answer_is_given_once() -> None:
    """A second one is a bug of who leads the dialogue."""
    _, server = concurrent()
    server.send(b"RCPT TO:<a@b>\r\n")
    question: Any = server.dialogue.open
    server.dialogue.answer(question, Reply(250))
    with pytest.raises(LocalProtocolError, match="has been answered"):
        server.dialogue.answer(question, Reply(250))


# Who watches commands may hold them.


def test_a_watched_command_waits_until_its_watcher_has_looked() -> None:
    """An answer that takes time holds the reply, and what the command brings about."""
    handler = Later("command", command_mask=Verb.MAIL)
    server = Server(handler)
    assert server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n") == ["250"]
    assert server.dialogue.envelope is None
    handler.last.give()
    assert server.codes == ["250"] * 3


def test_a_watcher_that_fails_or_answers_changes_nothing() -> None:
    """It is an incident in the log, and the command goes on."""
    for answer in (550, ValueError()):
        handler = Later("command", command_mask=Verb.NOOP)
        server = Server(handler)
        server.send(b"NOOP\r\n")
        if isinstance(answer, int):
            handler.last.give(answer)
        else:
            handler.last.fail(answer)
        assert server.codes == ["250"]
        assert "command of Later failed" in server.log[0]


def test_watched_recipients_are_decided_together_all_the_same() -> None:
    """Each waits for its own watcher only; the replies keep their order."""
    handler = Later("rcpt", "command", command_mask=Verb.RCPT, concurrent_recipients=True)
    server = Server(handler)
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    assert handler.heard == ["command"]
    handler.last.give()
    assert handler.heard == ["command", "rcpt", "command"]
    first = handler.answers[1]
    handler.last.give()
    assert handler.heard == ["command", "rcpt", "command", "rcpt"]
    handler.last.give()
    assert server.codes == ["250", "250"]
    first.give()
    assert server.codes == ["250"] * 4 + ["354"]


def test_a_watcher_that_answers_at_once_beside_one_that_does_not() -> None:
    """A fault of the watcher of a recipient that overlaps leaves both as they are."""
    handler = Later("rcpt", command=lambda command, connection: 1 / 0, command_mask=Verb.RCPT,
                    concurrent_recipients=True)  # fmt: skip
    server = Server(handler)
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\n")
    assert len(handler.answers) == 2
    handler.answers[1].give()
    handler.answers[0].give()
    assert server.codes == ["250"] * 4


def test_a_watcher_may_be_waited_for_beside_a_recipient_that_is_decided_first() -> None:
    """Whichever comes to its end first."""
    handler = Later("rcpt", "command", command_mask=Verb.RCPT, concurrent_recipients=True)
    server = Server(handler)
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n")
    handler.answers[0].give()
    server.send(b"RCPT TO:<c@d>\r\n")
    _, rcpt, command = handler.answers
    rcpt.give()
    assert server.codes == ["250"] * 3
    command.give()
    handler.last.give()
    assert server.codes == ["250"] * 4


def test_a_watched_command_of_a_client_that_has_gone_is_not_acted_on() -> None:
    """Nobody waits for it."""
    handler = Later("command", command_mask=Verb.MAIL)
    server = Server(handler)
    server.send(b"HELO me\r\nMAIL FROM:<>\r\n")
    server.driver.disconnect()
    assert handler.last.cancelled
    handler.last.give()
    assert server.dialogue.envelope is None
