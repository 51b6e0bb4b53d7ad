"""What EHLO offers, and when."""

from __future__ import annotations

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._extensions import (
    EXTENSIONS,
    HANDLER_EXTENSIONS,
    Situation,
    offer,
)
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import MAXIMUM_LINE_OCTETS
from smtpcb.testing import play
from smtpcb.testing._play import TLS

ALL = Abilities(
    tls=True, authentication=True, extensions=frozenset({"DSN"}), expand=True, turn=True
)


def keywords(**changes: object) -> set[str]:
    """Return what is offered in a situation."""
    given: dict[str, object] = {"secure": False, "authenticated": False, "abilities": Abilities()}
    given |= {"settings": Settings()} | changes
    situation = Situation(**given)  # type: ignore[arg-type]
    offered = offer(situation)
    lines = offered.reply.lines[1:]
    assert {line.partition(" ")[0] for line in lines} <= offered.keywords
    return set(lines)


ALWAYS = {
    "PIPELINING",
    "SIZE 33554432",
    "8BITMIME",
    "SMTPUTF8",
    "ENHANCEDSTATUSCODES",
    "CHUNKING",
    "VRFY",
    "HELP",
}


def test_only_what_can_be_honoured_is_offered() -> None:
    """A handler that can do nothing more gets what the engine does by itself."""
    assert keywords() == ALWAYS
    assert keywords(abilities=ALL) == ALWAYS | {"STARTTLS", "DSN", "ETRN", "EXPN"}


def test_passwords_are_asked_for_inside_tls_only() -> None:
    """Unless the operator says otherwise (P11); and STARTTLS is not offered twice (P8)."""
    inside = keywords(abilities=ALL, secure=True)
    assert "AUTH PLAIN LOGIN" in inside
    assert "STARTTLS" not in inside
    assert "AUTH PLAIN LOGIN" in keywords(
        abilities=ALL, settings=Settings(allow_insecure_auth=True)
    )
    assert not any(word.startswith("AUTH") for word in keywords(abilities=ALL))


def test_auth_is_not_offered_to_whoever_has_logged_in() -> None:
    """RFC 4954 §4: but AUTH= goes on being understood."""
    situation = Situation(Settings(), ALL, secure=True, authenticated=True)
    assert not any(line.startswith("AUTH") for line in offer(situation).reply.lines)
    assert "AUTH" in offer(situation).mail


def test_a_size_of_nought_is_no_limit() -> None:
    """RFC 1870 §4."""
    assert "SIZE 0" in keywords(settings=Settings(limits=Limits(message_octets=None)))
    assert "SIZE 1000" in keywords(settings=Settings(limits=Limits(message_octets=1000)))


def test_no_line_passes_512_octets() -> None:
    """RFC 5321 §4.5.3.1.5, with the longest name (P18)."""
    name = ".".join(["x" * 50] * 5)
    reply = offer(Situation(Settings(hostname=name), ALL, False, False)).reply
    assert max(map(len, reply.wire.splitlines(keepends=True))) <= MAXIMUM_LINE_OCTETS


def test_what_is_left_to_handlers_is_a_row_like_any_other() -> None:
    """Nothing can be declared that EHLO would not say."""
    assert {row.keyword for row in EXTENSIONS} >= HANDLER_EXTENSIONS


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, b"250-localhost\r\n"),
        ((250, "pleased to meet you"), b"250-localhost pleased to meet you\r\n"),
        ((250, ("one", "two")), b"250-localhost one two\r\n"),
        ((250, "x" * 500), b"250-localhost " + b"x" * 496 + b"\r\n"),
    ],
)
def test_a_handler_may_word_the_welcome(answer: object, said: bytes) -> None:
    """The name stays first, the offer stays whole, and it stays within its line (§4.1.1.1)."""

    class Polite:
        def hello(self, introduction: object) -> object:
            return answer

    played = play("C: EHLO me\n" + "S: 250\n" * 9, Polite(), abilities=Abilities())
    assert played.said.startswith(said)
    assert played.said.endswith(b"250 HELP\r\n")
    assert played.dialogue.connection.extended


def test_helo_offers_nothing() -> None:
    """It is for clients that know no extensions (§4.1.1.1)."""
    played = play(
        "C: HELO me\nS: 250 localhost", abilities=ALL, connection=Connection("x", tls=TLS)
    )
    assert played.dialogue.connection.hello == "me"
    assert not played.dialogue.connection.extended
