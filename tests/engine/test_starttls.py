"""STARTTLS: nothing that was said in the clear counts (RFC 3207)."""

from __future__ import annotations

import pytest

from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.engine._table import State, Wants
from smtpcb.smtp._errors import LocalProtocolError
from smtpcb.testing import play
from smtpcb.testing._play import TLS

from .scripts import HELO, SECURE, Does, Later, Noting, Server, returns

CLEAR = Settings(allow_insecure_auth=True)


def test_after_starttls_the_session_is_new() -> None:
    """No name, no login, no STARTTLS (RFC 3207 §4.2, P8)."""
    played = play(
        HELO
        + "C: AUTH PLAIN AGEAYg==\nS: 235\nC: STARTTLS\nS: 220 2.0.0\nC: MAIL FROM:<>\nS: 503\n"
        + HELO
        + "C: STARTTLS\nS: 503 5.5.1 TLS is already\nC: AUTH PLAIN AGEAYg==\nS: 235",
        Does(authenticate=returns(True)),
        settings=CLEAR,
    )
    assert played.dialogue.connection.tls is TLS
    play(HELO + "C: STARTTLS\nS: 502", tls=False)


def test_what_was_known_is_forgotten_before_the_handler_looks() -> None:
    """It sees the connection as it is now: no name, no login, TLS."""
    seen = []

    class Looks:
        discards_content = True

        def authenticate(self, credentials: object, connection: Connection) -> bool:
            return True

        def secured(self, tls: TlsInformation, connection: Connection) -> None:
            seen.append((tls, connection.tls, connection.hello, connection.identity))
            assert not connection.extended

    server = Server(Looks(), CLEAR)
    server.send(b"EHLO me\r\nAUTH PLAIN AGEAYg==\r\nSTARTTLS\r\n")
    assert server.driver.secure(TLS) == b""
    assert seen == [(TLS, TLS, None, None)]


def test_a_handler_may_find_the_handshake_too_weak() -> None:
    """554 to everything but QUIT (RFC 3207 §4.1), and chunks are still read (P36)."""
    strict = Does(secured=returns(False))
    played = play(
        HELO
        + "C: STARTTLS\nS: 220\nC: EHLO me\nS: 554 5.7.0\nC: NOOP\nS: 554\n"
        + "C: BDAT 6 LAST\nC: QUIT\nS: 554\nC: QUIT\nS: 221",
        strict,
    )
    assert played.dialogue.finished is Reason.QUIT
    play("S: 554 5.7.0\nC: NOOP", strict, connection=SECURE)
    closes = Does(secured=returns(421))
    play("S: 421\nC: NOOP", closes, connection=SECURE)


def test_a_port_with_tls_greets_inside_of_it() -> None:
    """Connected comes first, then secured, then the greeting."""
    played = play("S: 220\nC: NOOP\nS: 250", connection=SECURE)
    assert played.events == ["secured", "connected"] or played.events[:2] == [
        "connected",
        "secured",
    ]
    handler = Later("connected", "secured")
    server = Server(handler, connection=SECURE)
    assert server.greeting == b""
    handler.last.give((220, "hello"))
    assert server.said == b""
    handler.last.give(None)
    assert handler.heard == ["connected", "secured"]
    assert server.said == b"220 hello\r\n"


def test_a_fault_while_the_handshake_is_looked_at_is_no_yes() -> None:
    """451 to everything until the client quits; before the greeting it closes."""
    broken = Does(secured=lambda tls, connection: 1 / 0)
    server = Server(broken)
    server.send(b"HELO me\r\nSTARTTLS\r\n")
    server.driver.secure(TLS)
    assert server.send(b"HELO me\r\nQUIT\r\n") == ["451", "221"]
    server = Server(broken, connection=Connection("x", tls=TLS))
    assert server.greeting.startswith(b"451 4.3.0")
    assert server.driver.finished


def test_nothing_is_sent_during_a_handshake() -> None:
    """It would be taken for part of it."""
    server = Server()
    server.send(b"HELO me\r\nSTARTTLS\r\n")
    dialogue = server.dialogue
    assert dialogue.wants is Wants.HANDSHAKE
    with pytest.raises(LocalProtocolError):
        dialogue.line(b"NOOP")
    assert server.driver.shut_down() == b""
    assert dialogue.state is State.HANDSHAKE
    assert server.driver.time_out() == b""
    assert server.driver.finished


def test_data_behind_starttls_in_the_clear_is_an_attack() -> None:
    """None of it is read; the connection ends (RFC 3207 §4.2, P7)."""
    server = Server()
    said = server.send(b"HELO me\r\nSTARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")
    assert said == ["250", "554"]
    assert b"554 5.5.1 Data behind STARTTLS" in server.said
    assert server.driver.finished
    assert server.dialogue.finished is Reason.INJECTED


def test_a_handshake_comes_before_everything_else() -> None:
    """What is received belongs to it."""
    server = Server()
    server.send(b"HELO me\r\nSTARTTLS\r\n")
    assert server.said.endswith(b"220 2.0.0 Ready to start TLS\r\n")
    assert server.driver.handshaking
    with pytest.raises(LocalProtocolError, match="handshake"):
        server.send(b"NOOP\r\n")
    assert server.driver.secure(TLS) == b""
    assert server.send(b"NOOP\r\n") == ["250"]


def test_a_client_that_leaves_while_its_handshake_is_looked_at() -> None:
    """The answer is dropped, and the connection is over."""
    handler = Later("secured")
    server = Server(handler, observer=Noting())
    server.send(b"HELO me\r\nSTARTTLS\r\n")
    server.driver.secure(TLS)
    server.driver.disconnect()
    assert handler.last.cancelled
    assert server.dialogue.state is State.OVER


def test_a_handshake_that_succeeds_too_late_begins_nothing() -> None:
    """Its time was up; nobody is listened to any more."""
    server = Server()
    server.send(b"HELO me\r\nSTARTTLS\r\n")
    server.driver.time_out()
    assert server.driver.secure(TLS) == b""
    assert server.dialogue.state is State.OVER
    assert server.send(b"HELO me\r\n") == []


CERTIFIED = Settings(require_client_certificate=True)


def test_where_a_certificate_is_required_nothing_is_taken_in_the_clear() -> None:
    """Or nobody would have to show one."""
    play(HELO + "C: MAIL FROM:<>\nS: 530 5.7.0 Must issue a STARTTLS", settings=CERTIFIED)


def test_a_client_without_a_certificate() -> None:
    """554 to everything but QUIT (RFC 3207 §4.1); the handler is not asked."""
    server = Server(Does(secured=lambda tls, connection: 1 / 0), CERTIFIED)
    server.send(b"EHLO me\r\nSTARTTLS\r\n")
    server.driver.secure(TLS)
    assert server.send(b"EHLO me\r\nMAIL FROM:<>\r\nQUIT\r\n") == ["554", "554", "221"]


def test_a_client_with_a_certificate() -> None:
    """It is served."""
    shown = TlsInformation("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, client_certificate=b"DER")
    server = Server(Does(), CERTIFIED)
    server.send(b"EHLO me\r\nSTARTTLS\r\n")
    server.driver.secure(shown)
    assert server.send(b"HELO me\r\nMAIL FROM:<>\r\n") == ["250", "250"]


@pytest.mark.parametrize("certificate", [None, b"DER"])
def test_on_a_port_with_tls_it_is_said_in_place_of_the_greeting(certificate: bytes | None) -> None:
    """554, and the connection is closed (RFC 5321 §3.1)."""
    tls = TlsInformation("TLSv1.3", "x", 256, client_certificate=certificate)
    server = Server(Does(), CERTIFIED, connection=Connection("x", tls=tls))
    if certificate is None:
        assert server.greeting == b"554 5.7.0 A client certificate is required\r\n"
        assert server.driver.finished
    else:
        assert server.greeting.startswith(b"220")
