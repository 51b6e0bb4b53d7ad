"""XCLIENT and XFORWARD: who may say for whom it speaks, and what that changes."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine import Connection, Envelope, Reason, Settings
from smtpcb.engine._parting import SHUTDOWN
from smtpcb.handling import around
from smtpcb.policies.local_domains import LocalDomains
from smtpcb.smtp import Authenticated, ForwardPath, Verb, XClient, XForward
from smtpcb.smtp._extension import Extension
from smtpcb.smtp._limits import Limits
from smtpcb.testing import play
from smtpcb.testing._play import TLS

from .scripts import Does, Later, Noting, Server

PROXY = "10.0.0.1"
EHLO = b"EHLO me\r\n"
MAIL = b"MAIL FROM:<a@example.org>\r\n"
MESSAGE = MAIL + b"RCPT TO:<b@example.org>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"


def trusting(*networks: str, **changes: Any) -> Settings:
    """Return settings that trust the proxy, or somebody else."""
    these = networks or ("10.0.0.0/8",)
    changes = {"xclient_from": these, "xforward_from": these, **changes}
    return Settings(**changes)


class Witness:
    """Takes everything, and notes whose it was."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.envelopes: list[Envelope] = []
        self.ends: list[Reason] = []
        self.events: list[str] = []

    def connected(self, connection: Connection) -> None:
        self.events.append("connected")
        self.connections.append(connection)

    def secured(self, tls: object, connection: Connection) -> None:
        self.events.append("secured")

    def hello(self, introduction: object, connection: Connection) -> None:
        self.events.append("hello")

    def authenticate(self, credentials: Any, connection: Connection) -> Authenticated:
        return Authenticated(credentials.username)

    def message(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)

    def disconnected(self, reason: Reason, connection: Connection) -> None:
        self.events.append("disconnected")
        self.ends.append(reason)


def server(
    settings: Settings | None = None,
    handler: object = None,
    *,
    peer: str = PROXY,
    observer: Noting | None = None,
    **known: Any,
) -> Server:
    """Lead a server that the proxy has connected to."""
    connection = Connection("x", peer, 4000, "10.0.0.2", 25, **known)
    handler = Witness() if handler is None else handler
    return Server(handler, settings or trusting(), connection=connection, observer=observer)


def keywords(one: Server) -> set[str]:
    """Return what EHLO offers."""
    before = len(one.said)
    one.send(EHLO)
    return {line[4:].decode() for line in one.said[before:].split(b"\r\n")[1:-1]}


OFFERED = {
    "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT",
    "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE",
}


@pytest.mark.parametrize("peer", ["192.0.2.1", "11.0.0.1", "2001:db8::1", "127.0.0.1", ""])
def test_to_all_others_both_are_unknown_commands(peer: str) -> None:
    """Nobody whom the settings do not name may say who he is (P34)."""
    one = server(peer=peer)
    assert one.send(b"XCLIENT ADDR=192.0.2.7\r\nXFORWARD ADDR=192.0.2.7\r\n") == ["500", "500"]
    assert not any(line.startswith("X") for line in keywords(one))
    assert one.send(b"xclient\r\nXFORWARD junk\r\n" + MAIL) == ["500", "500", "250"]
    assert one.send(b"XCLIENT ADDR=192.0.2.7\r\n") == ["500"]
    assert one.dialogue.connection.peer_address == peer
    assert one.dialogue.connection.xclient is None


def test_by_default_nobody_is_trusted() -> None:
    """Not even on loopback or a UNIX socket (P34)."""
    for peer in ("127.0.0.1", "::1", ""):
        one = server(Settings(), peer=peer)
        assert one.send(b"XCLIENT ADDR=192.0.2.7\r\nXFORWARD NAME=a\r\n") == ["500", "500"]


def test_each_has_trusted_peers_of_its_own() -> None:
    """A server that forwards need not be a proxy."""
    one = server(trusting(xclient_from=()))
    assert one.send(b"XCLIENT ADDR=192.0.2.7\r\nXFORWARD NAME=a\r\n") == ["500", "250"]
    assert keywords(one) & OFFERED == {"XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"}
    other = server(trusting(xforward_from=["192.0.2.0/24"]))
    assert other.send(b"XFORWARD NAME=a\r\n") == ["500"]
    assert other.send(b"XCLIENT NAME=a\r\n") == ["220"]


def test_both_are_offered_to_whom_is_trusted() -> None:
    """With the attributes that are known, and outside a transaction at any time (P34)."""
    assert keywords(server()) >= OFFERED
    assert keywords(server(trusting("unix"), peer="")) >= OFFERED
    # A user's own commands are there beside them.
    ping = Extension("XPING", verbs={"XPING": lambda argument, connection: (250, "pong")})
    one = server(trusting(extensions=(ping,)))
    assert one.send(b"XPING\r\nXFORWARD NAME=a\r\nXCLIENT NAME=a\r\nXPING\r\n") == [
        *("250", "250", "220", "250")
    ]


@pytest.mark.parametrize("greeted", [b"", EHLO])
def test_the_session_begins_again_at_the_greeting(greeted: bytes) -> None:
    """As the client's that was named: another connection, heard of from its start (P34)."""
    witness, noting = Witness(), Noting()
    one = server(handler=witness, observer=noting)
    one.send(greeted)
    said = (
        b"XCLIENT NAME=client.example ADDR=192.0.2.7 PORT=51234 PROTO=ESMTP HELO=laptop"
        b" DESTADDR=198.51.100.25 DESTPORT=587\r\n"
    )
    assert one.send(said) == ["220"]
    assert one.said.endswith(b"220 localhost ESMTP\r\n")
    old, new = witness.connections
    assert witness.ends == [Reason.XCLIENT]
    assert (old.peer_address, old.peer_port, old.xclient) == (PROXY, 4000, None)
    assert (new.peer_address, new.peer_port) == ("192.0.2.7", 51234)
    assert (new.host_address, new.host_port) == ("198.51.100.25", 587)
    assert new.xclient == XClient(
        PROXY, "client.example", "192.0.2.7", 51234, "ESMTP", "laptop", None, "198.51.100.25", 587
    )
    assert (new.hello, new.identity, new.proxy) == (None, None, None)
    # Nothing that was said before counts.
    assert one.send(MAIL) == ["503"]
    assert one.send(EHLO + MESSAGE) == ["250", "250", "250", "354", "250"]
    assert witness.envelopes[0].connection is new
    assert one.send(b"QUIT\r\n") == ["221"]
    assert one.driver.finished
    one.driver.disconnect()
    assert witness.ends == [Reason.XCLIENT, Reason.QUIT]


def test_what_is_not_said_stays_as_it_was() -> None:
    """And several commands, one after another, say it together."""
    witness = Witness()
    one = server(handler=witness)
    one.send(EHLO)
    assert one.send(b"XCLIENT NAME=a.example PORT=7\r\nXCLIENT ADDR=[UNAVAILABLE]\r\n") == [
        *("220", "220")
    ]
    _, first, second = witness.connections
    assert (first.peer_address, first.peer_port) == (PROXY, 7)
    assert (first.host_address, first.host_port) == ("10.0.0.2", 25)
    assert (second.peer_address, second.peer_port) == ("unknown", 7)
    assert second.xclient == XClient(PROXY, "a.example", "", 7)


@pytest.mark.parametrize("said", ["[UNAVAILABLE]", "[TEMPUNAVAIL]"])
def test_a_client_whose_address_nobody_knows_is_none_of_a_unix_socket(said: str) -> None:
    """Who may do more because it is on a UNIX socket is the proxy, not all of its clients (P34)."""
    handler = around(Witness(), LocalDomains(["example.net"], relay_from=["unix"]))
    play(
        f"""
        C: EHLO proxy
        S: 250 ...
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.org>
        C: RSET
        S: 250
        S: 250
        S: 250
        C: XCLIENT ADDR={said}
        S: 220
        C: EHLO client
        S: 250 ...
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.org>
        S: 250
        S: 550
        """,
        handler,
        settings=Settings(xclient_from=("unix",)),
        connection=Connection("one", peer_address=""),
    )


def test_from_its_first_word_on_it_is_the_client_who_speaks() -> None:
    """Proxies pass on whatever a client says: it cannot name itself another (P34)."""
    one = server()
    assert one.send(EHLO + b"XCLIENT ADDR=192.0.2.7\r\n") == ["250", "220"]
    assert not keywords(one) & OFFERED
    assert one.send(b"XCLIENT ADDR=127.0.0.1\r\nXFORWARD ADDR=127.0.0.1\r\n") == ["500", "500"]
    assert one.dialogue.connection.peer_address == "192.0.2.7"
    assert one.send(b"STARTTLS\r\n") == ["220"]
    one.said += one.driver.secure(TLS)
    assert one.send(b"XCLIENT ADDR=127.0.0.1\r\n") == ["500"]
    assert not keywords(one) & OFFERED
    refusing = server(handler=Does(hello=lambda *_: False))
    assert refusing.send(b"XCLIENT ADDR=192.0.2.7\r\nHELO me\r\nXCLIENT NAME=a\r\n") == [
        *("220", "550", "500")
    ]


@pytest.mark.parametrize(
    "begun",
    [
        MAIL,
        MAIL + b"RCPT TO:<b@example.org>\r\n",
        MAIL + b"RCPT TO:<b@example.org>\r\nBDAT 2\r\nhi",
    ],
)
def test_neither_comes_within_a_transaction(begun: bytes) -> None:
    """503, and the transaction goes on (P34)."""
    one = server()
    one.send(EHLO + begun)
    for command in (b"XCLIENT NAME=a\r\n", b"XFORWARD NAME=a\r\n"):
        assert one.send(command) == ["503"]
    assert one.dialogue.envelope is not None
    assert one.send(b"RSET\r\nXFORWARD NAME=a\r\nXCLIENT NAME=a\r\n") == ["250", "250", "220"]


@pytest.mark.parametrize(
    "argument", [b"", b" ", b" ADDR", b" ADDR=x", b" FOO=bar", b" NAME=a\xff", b" NAME=a\x00b"]
)
def test_what_cannot_be_read_changes_nothing(argument: bytes) -> None:
    """It is refused, and the proxy may say it better (P34)."""
    witness = Witness()
    one = server(handler=witness)
    for command in (b"XCLIENT", b"XFORWARD"):
        (code,) = one.send(command + argument + b"\r\n")
        assert code in ("500", "501")
    assert witness.ends == []
    assert one.dialogue.forwarded is None
    assert one.send(EHLO + b"XCLIENT ADDR=192.0.2.7\r\n") == ["250", "220"]


def test_a_proxy_says_as_whom_its_client_has_logged_in() -> None:
    """LOGIN is an identity, without AUTH, also where a login is required (P34)."""
    witness = Witness()
    one = server(trusting(require_auth=True), witness)
    assert one.send(EHLO + MAIL + b"XFORWARD NAME=a\r\n") == ["250", "530", "530"]
    assert one.send(b"XCLIENT ADDR=192.0.2.7 LOGIN=anne+40example.org\r\n") == ["220"]
    assert witness.connections[-1].identity == "anne@example.org"
    assert not any(line.startswith("AUTH") for line in keywords(one))
    assert one.send(MESSAGE) == ["250", "250", "354", "250"]
    nobody = server(trusting(require_auth=True), Witness())
    assert nobody.send(b"XCLIENT LOGIN=[UNAVAILABLE]\r\n" + EHLO + MAIL) == ["220", "250", "530"]


def test_a_login_of_the_proxy_is_not_its_clients() -> None:
    """It ends with the session that it was made in."""
    witness = Witness()
    one = server(trusting(allow_insecure_auth=True), witness)
    assert one.send(EHLO + b"AUTH PLAIN AGEAYg==\r\n") == ["250", "235"]
    assert one.send(b"XCLIENT ADDR=192.0.2.7\r\n") == ["220"]
    assert [connection.identity for connection in witness.connections] == ["a", None]


def test_tls_stays() -> None:
    """It cannot be taken back; the handler sees it again, and STARTTLS is not offered."""
    witness = Witness()
    one = server(handler=witness, tls=TLS)
    assert one.send(b"XCLIENT ADDR=192.0.2.7\r\n") == ["220"]
    assert witness.events == ["connected", "secured", "disconnected", "connected", "secured"]
    assert witness.connections[1].tls is TLS
    assert "STARTTLS" not in keywords(one)


def test_budgets_are_the_new_clients() -> None:
    """What the one before has used up is not his."""
    one = server(trusting(limits=Limits(errors=3)))
    assert one.send(b"X\r\nY\r\nXCLIENT NAME=a\r\nX\r\nY\r\n" + EHLO) == [
        *("500", "500", "220", "500", "500", "250")
    ]


def test_a_handler_that_takes_its_time_to_part_is_waited_for() -> None:
    """The greeting of the next client comes when it has heard that the one before is gone."""
    handler = Later("disconnected")
    one = server(handler=handler)
    assert one.send(b"XCLIENT ADDR=192.0.2.7\r\n" + EHLO) == []
    assert not one.driver.finished
    handler.last.give()
    assert one.codes == ["220", "250"]
    assert one.dialogue.connection.peer_address == "192.0.2.7"
    # One that never answers is given up like any other.
    assert not keywords(one) & OFFERED
    one = server(handler=handler)
    one.send(b"XCLIENT ADDR=192.0.2.7\r\n")
    one.pass_time(10_000)
    assert one.codes == ["220"]


def test_the_end_may_come_meanwhile() -> None:
    """A server that stops, or a client that leaves, gets no new session."""
    handler = Later("disconnected")
    one = server(handler=handler)
    one.send(b"XCLIENT ADDR=192.0.2.7\r\n")
    one.driver.disconnect()
    handler.last.give()
    assert handler.heard == ["disconnected"]
    one = server(handler=handler)
    one.send(b"XCLIENT ADDR=192.0.2.7\r\n")
    one.said += one.driver.shut_down()
    assert not one.driver.finished
    handler.last.give()
    assert one.codes == ["220", "421"]
    stopping = server(handler=Witness())
    stopping.dialogue.parting = SHUTDOWN
    assert stopping.send(b"XCLIENT ADDR=192.0.2.7\r\n") == ["421"]
    assert stopping.driver.finished


def test_many_of_them_use_no_more_stack_than_one() -> None:
    """A proxy may send as many as it likes (P30)."""
    one = server()
    assert set(one.send(b"XCLIENT PORT=7\r\n" * 3000)) == {"220"}


def test_what_the_proxy_says_is_shown() -> None:
    """A name is no secret; what only looks like the command of a proxy stays hidden."""
    one = server()
    for line in (b"XCLIENT ADDR=192.0.2.7 LOGIN=anne", b"XFORWARD NAME=a", b"xclient LOGIN=anne"):
        assert one.dialogue.shown(line) == line
    hidden = one.dialogue.shown(b"XCLIENT LOGIN anne secret")
    assert b"secret" not in hidden
    assert b"secret" not in one.dialogue.shown(b"XFORWARD PASSWORD=secret")


@pytest.mark.parametrize("peer", [PROXY, "192.0.2.1"])
def test_who_sees_commands_sees_what_they_are_to_this_peer(peer: str) -> None:
    """To who is not trusted they are commands that do not exist."""
    seen: list[Any] = []
    handler = Does(command=lambda command, connection: seen.append(command))
    server(handler=handler, peer=peer).send(b"XFORWARD NAME=a\r\nXCLIENT NAME=a\r\n")
    trusted = [Verb.XFORWARD, Verb.XCLIENT] if peer == PROXY else [Verb.UNKNOWN] * 2
    assert [command.verb for command in seen] == trusted
    assert [command.name for command in seen] == ["XFORWARD", "XCLIENT"]


# XFORWARD.


def test_what_is_forwarded_belongs_to_the_next_message() -> None:
    """The envelope has it from MAIL on, and the message after it has nothing of it (P34)."""
    witness = Witness()
    one = server(handler=witness)
    one.send(EHLO)
    assert one.send(
        b"XFORWARD NAME=a.example ADDR=192.0.2.7 PORT=7\r\n"
        b"XFORWARD PROTO=ESMTP HELO=a IDENT=4ABC SOURCE=REMOTE\r\n" + MESSAGE + MESSAGE
    ) == [*("250", "250"), *("250", "250", "354", "250") * 2]
    said = XForward("a.example", "192.0.2.7", 7, "ESMTP", "a", "4ABC", "REMOTE")
    assert [envelope.forwarded for envelope in witness.envelopes] == [said, None]
    assert witness.connections[0].peer_address == PROXY


@pytest.mark.parametrize("between", [b"RSET\r\n", EHLO, MAIL + b"RSET\r\n"])
def test_what_is_forwarded_is_forgotten_with_all_else(between: bytes) -> None:
    """By RSET, by EHLO, and by a transaction that is given up."""
    witness = Witness()
    one = server(handler=witness)
    one.send(EHLO + b"XFORWARD NAME=a\r\n" + between + MESSAGE)
    assert witness.envelopes[0].forwarded is None


def test_a_sender_that_is_refused_leaves_it_for_the_next() -> None:
    """No transaction has begun."""
    answers = [False, None]
    seen: list[Any] = []
    handler = Does(mail=lambda envelope: seen.append(envelope.forwarded) or answers.pop(0))
    one = server(handler=handler)
    assert one.send(EHLO + b"XFORWARD NAME=a\r\n" + MAIL + MAIL) == ["250", "250", "550", "250"]
    assert seen == [XForward("a"), XForward("a")]


def test_nothing_said_in_the_clear_is_forwarded_within_tls() -> None:
    """STARTTLS begins anew (RFC 3207 §4.2); the peer is trusted as before."""
    witness = Witness()
    one = server(handler=witness)
    one.send(EHLO + b"XFORWARD NAME=a\r\nSTARTTLS\r\n")
    one.said += one.driver.secure(TLS)
    assert keywords(one) >= OFFERED
    one.send(MESSAGE)
    assert witness.envelopes[0].forwarded is None
    assert str(witness.envelopes[0].recipients[0].forward_path) == str(
        ForwardPath("b", "example.org")
    )


def test_it_can_be_played() -> None:
    """A test of somebody's handler may be such a proxy."""
    witness = Witness()
    play(
        """
        C: HELO proxy.example.org
        S: 250 localhost
        C: XCLIENT ADDR=192.0.2.7
        S: 220 localhost ESMTP
        C: HELO client.example
        S: 250 localhost
        C: QUIT
        S: 221
        """,
        lambda: witness,
        settings=trusting("unix"),
    )
    assert witness.connections[1].peer_address == "192.0.2.7"


@pytest.mark.parametrize("name", ["xclient_from", "xforward_from"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(("10.0.0.1/8",), ValueError), ("10.0.0.0/8", TypeError), ((7,), TypeError)],
)
def test_wrong_networks_are_told(name: str, value: Any, error: type[Exception]) -> None:
    """When the settings are made, by name."""
    with pytest.raises(error, match=rf"\A{name}: "):
        Settings(**{name: value})
    assert getattr(Settings(**{name: ["::1", "unix"]}), name) == ("::1", "unix")


def test_what_is_switched_off_is_unknown_to_all() -> None:
    """``without`` goes before trust; the other command stays."""
    one = server(trusting(without=frozenset({"XCLIENT"})))
    assert one.send(b"XCLIENT NAME=a\r\nXFORWARD NAME=a\r\n") == ["500", "250"]
    assert keywords(one) & OFFERED == {"XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"}


def test_lmtp_has_proxies_too() -> None:
    """LHLO stands in the place of EHLO."""
    witness = Witness()
    one = server(trusting(lmtp=True), witness)
    assert one.send(b"LHLO me\r\nXCLIENT ADDR=192.0.2.7\r\nLHLO me\r\nXCLIENT PORT=7\r\n") == [
        *("250", "220", "250", "500")
    ]
    assert one.said.count(b"220 localhost LMTP\r\n") == 1
    assert witness.connections[1].lmtp


def test_an_extension_cannot_take_their_names() -> None:
    """What is ours is ours."""
    for row in (Extension("XCLIENT"), Extension("XMINE", verbs={"XFORWARD": print})):
        with pytest.raises(ValueError, match="already"):
            Settings(extensions=(row,))
