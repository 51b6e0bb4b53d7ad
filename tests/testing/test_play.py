"""A written dialogue must go as it is written."""

from __future__ import annotations

import itertools

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._questions import Reason
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.testing import DialogueDiffers, play
from smtpcb.testing._play import turns
from smtpcb.transcript._replay import read

HELO = "C: HELO me\nS: 250\n"


def test_a_script_may_show_the_greeting() -> None:
    """Or begin behind it."""
    play("S: 220 localhost ESMTP\nC: NOOP\nS: 250 2.0.0 OK")
    play("C: NOOP\nS: 250 2.0.0 OK")
    play("S: 220")
    with pytest.raises(DialogueDiffers):
        play("S: 220 example.org")
    play("S: 220 example.org hi", settings=Settings(hostname="example.org", banner="hi"))


def test_what_came_of_it_can_be_looked_at() -> None:
    """Messages, aborted transactions, events, and the dialogue itself."""
    played = play(
        HELO
        + """
        # a remark, and a note of a transcript
        *: TLS
        C: MAIL FROM:<>
        S: 250
        C: RSET
        S: 250 2.0.0
        C: MAIL FROM:<anne@example.org>
        C: RCPT TO:<bob@example.org>
        C: DATA
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5
        S: 354
        C: ..\\\\ \\xff
        C:
        C: .
        S: 250
        """
    )
    assert [str(envelope.reverse_path) for envelope in played.envelopes] == ["anne@example.org"]
    assert played.envelopes[0].content.bytes() == b".\\ \xff\r\n\r\n"
    assert played.aborted == [Reason.RESET]
    assert played.events == [
        "Connected",
        "Hello",
        "Mail",
        "Aborted",
        "Mail",
        "Rcpt",
        "Data",
        "Chunk",
        "Message",
    ]
    assert played.dialogue.ended is None
    assert played.said.count(b"\r\n") == 7


@pytest.mark.parametrize(
    "wrong",
    [
        "C: NOOP\nS: 250 2.0.0 OKAY",
        "C: NOOP\nS: 25",
        "C: NOOP\nS: 250 2.0",
        "C: NOOP\nS: 500",
        "C: NOOP",
        "C: NOOP\nS: 250\nS: 250",
        "C: NOOP\\\nS: 250",
        "C: NOOP\nC: NOOP\nS: 250",
        "C: QUIT\nS: 221\nC: NOOP\nS: 250",
    ],
)
def test_a_difference_is_shown(wrong: str) -> None:
    """What was written has a minus, what was said a plus."""
    with pytest.raises(AssertionError, match=r"(?m)^[-+] S: "):
        play(wrong)


def test_a_line_may_stop_behind_any_word() -> None:
    """Code, code and status, or all of it; in a reply of several lines too."""
    play("C: HELP\nS: 214\nS: 214 2.0.0")
    play("C: HELP\nS: 214-2.0.0 Commands:\nS: 214 2.0.0 EHLO says which others there are")


def test_a_class_makes_a_handler_for_each_time() -> None:
    """So the second time begins like the first."""

    class Once:
        calls = 0

        def message(self, envelope: Envelope) -> int:
            self.calls += 1
            return 250 if self.calls == 1 else 550

    script = "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b>\nS: 250\nC: DATA\nS: 354\nC: .\nS: 250\n"
    assert isinstance(play(HELO + script, Once).handler, Once)
    with pytest.raises(DialogueDiffers, match="octet by octet"):
        play(HELO + script, Once())


def test_both_times_must_be_alike() -> None:
    """The content as well, though the client saw no difference."""

    class Differs:
        def __init__(self) -> None:
            self.count = itertools.count()

        def message(self, envelope: Envelope) -> None:
            envelope.kept = type(envelope.kept)(str(next(self.count)).encode())  # type: ignore

    script = "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b>\nS: 250\nC: DATA\nS: 354\nC: .\nS: 250\n"
    with pytest.raises(DialogueDiffers, match="another content"):
        play(HELO + script, Differs())


def test_other_events_are_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the client heard the same."""
    from smtpcb.testing._play import Played

    plain, count = Played.note, itertools.count()

    def note(self: Played, event: object) -> None:
        plain(self, event)  # type: ignore[arg-type]
        self.events.append(str(next(count)))

    monkeypatch.setattr(Played, "note", note)
    with pytest.raises(DialogueDiffers, match="other events"):
        play(HELO)


def test_a_handshake_succeeds_by_itself() -> None:
    """Behind the 220 to STARTTLS the session is new (RFC 3207 §4.2)."""
    played = play(HELO + "C: STARTTLS\nS: 220\nC: MAIL FROM:<>\nS: 503\n" + HELO)
    assert played.dialogue.connection.tls is not None
    play(HELO + "C: STARTTLS\nS: 502", abilities=Abilities())


def test_lines_of_a_transcript_can_be_played() -> None:
    """They are what scripts are made of."""
    lines = list(read("    0.001 S: 220 x\n    0.002 C: NOOP\n    0.003 S: 250 2.0.0 OK\n"))
    assert [turn.octets for turn in turns(lines)] == [b"", b"NOOP\r\n"]
    play(lines[1:])


def test_a_connection_is_copied() -> None:
    """Two dialogues share nothing."""
    connection = Connection("x", peer_address="192.0.2.1")
    played = play("C: HELO me\nS: 250", connection=connection)
    assert connection.hello is None
    assert played.dialogue.connection.peer_address == "192.0.2.1"
