"""What a handler, an operator or another connection does to one, on Twisted."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface import provider

from smtpcb.engine import Connection, Reason
from smtpcb.handling import callbacks
from smtpcb.interfaces import ISmtpHandlerFactory
from smtpcb.smtp import Reply

from .client import HELLO, MAIL, MESSAGE, RCPT, TEXT, Client

GO_AWAY = Reply(421, "Go away", status="4.7.0")


class Handler:
    """Remembers its connection, and what it hears."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.heard: list[object] = []
        self.answer: Any = None

    def rcpt(self, recipient: Any, envelope: Any) -> Any:
        return self.answer

    def message(self, envelope: Any) -> None:
        self.heard.append("message")

    def disconnected(self, reason: Reason, connection: Connection) -> None:
        self.heard.append(reason)


def client_of(made: list[Handler]) -> Client:
    def make(connection: Connection) -> Handler:
        made.append(Handler(connection))
        return made[-1]

    client = Client(provider(ISmtpHandlerFactory)(make))
    client.replies()
    return client


@pytest.fixture
def made() -> list[Handler]:
    return []


def test_a_connection_is_closed_from_outside(made: list[Handler]) -> None:
    """The client is told why, and the handler that it was us."""
    client = client_of(made)
    client.send(HELLO + MAIL)
    made[-1].connection.close(GO_AWAY)
    assert client.replies() == []
    client.clock.advance(0)
    assert client.replies() == ["421 4.7.0 Go away"]
    client.leave()
    assert made[-1].heard == [Reason.CLOSED]


def test_a_decision_that_is_open_is_not_waited_for(made: list[Handler]) -> None:
    """It is cancelled."""
    client = client_of(made)
    cancelled: list[object] = []
    made[-1].answer = Deferred(cancelled.append)
    client.send(HELLO + MAIL + RCPT)
    made[-1].connection.close(GO_AWAY)
    client.clock.advance(0)
    assert client.replies() == ["421 4.7.0 Go away"]
    assert len(cancelled) == 1
    client.leave()


def test_an_aborted_connection_is_gone_at_once(made: list[Handler]) -> None:
    """Nothing is said, and nothing is waited for."""
    client = client_of(made)
    client.send(HELLO + MAIL)
    made[-1].connection.abort()
    client.clock.advance(0)
    assert client.replies() == []
    assert client.transport.aborted
    client.leave()
    assert made[-1].heard == [Reason.CLOSED]


def test_a_connection_that_is_gone_meanwhile_is_no_fault(made: list[Handler]) -> None:
    """It is what was wanted."""
    client = client_of(made)
    connection = made[-1].connection
    connection.close(GO_AWAY)
    client.leave()
    client.clock.advance(0)
    connection.abort()
    client.clock.advance(0)
    assert client.replies() == []


def test_another_handler_takes_over(made: list[Handler]) -> None:
    """Of any kind that a server takes; what it says of itself counts as of the next command."""
    client = client_of(made)
    connection = made[-1].connection
    assert connection.handler is made[-1]
    connection.handler = callbacks(
        message=lambda envelope: (550, "Not today"), expand=lambda text, connection: (250, text)
    )
    assert client.send(HELLO)[0].endswith("VRFY|EXPN|HELP")
    assert client.codes(MESSAGE) == [250, 250, 354, 550]
    connection.handler = Handler
    assert client.codes(MESSAGE) == [250, 250, 354, 250]
    new: Any = connection.handler
    client.leave()
    assert made[-1].heard == []
    assert new.heard == ["message", Reason.DISCONNECTED]


def test_a_connection_knows_our_name_and_its_octets(made: list[Handler]) -> None:
    """All that came and went, in the clear or inside TLS."""
    client = client_of(made)
    connection = made[-1].connection
    assert connection.hostname == client.factory.settings.hostname
    said = connection.octets_out
    client.protocol.dataReceived(HELLO)
    assert connection.octets_in == len(HELLO)
    assert connection.octets_out == said + len(client.transport.value())
    client.send(MAIL + RCPT + b"DATA\r\n", TEXT, b".\r\n")
    assert connection.octets_in == len(HELLO + MESSAGE)
    client.leave()
