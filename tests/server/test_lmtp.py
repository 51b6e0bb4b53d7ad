"""LMTP on Twisted: beside SMTP over one server, in the log, and never on port 25."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent

from smtpcb.engine import Settings
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._service import SmtpService

from .test_log import lines_for
from .test_two_services import Endpoint

LMTP = Settings(lmtp=True)
BEGIN = b"LHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
END = b"x\r\n.\r\n"


class Halves:
    """Takes what is for one of two."""

    def __init__(self) -> None:
        self.lmtp: list[bool] = []

    def connected(self, connection: Any) -> None:
        self.lmtp.append(connection.lmtp)

    def message(self, envelope: Any) -> object:
        return {"a@b": None, "c@d": (452, "4.2.2", "Full")}


def logged(handler: Any, *octets: bytes) -> list[str]:
    """Return what is logged of a session in LMTP."""
    return lines_for(b"LHLO me\r\n", *octets, handler=handler, lmtp=True)


class Somewhere(Endpoint):
    """A port that has a number."""

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 24)


@pytest_twisted.ensureDeferred
async def test_doors_of_both_kinds_have_one_handler() -> None:
    """Each speaks what its settings say; the handler knows which from the beginning."""
    handler = Halves()
    factory = SmtpServerFactory(handler, log_messages=False)
    smtp, lmtp = Endpoint(), Somewhere()
    services = [
        SmtpService(smtp, factory),
        SmtpService(lmtp, factory, replace(factory.settings, lmtp=True)),
    ]
    for service in services:
        service.startService()
    caller = smtp.connect()
    assert caller.send() == [220]
    assert caller.send(BEGIN) == [500, 503, 503, 503, 503]
    assert caller.send(BEGIN.replace(b"LHLO", b"EHLO")) == [250, 250, 250, 250, 354]
    with capturedLogs() as events:
        assert caller.send(END) == [451]
    assert any("which SMTP cannot say" in formatEvent(event) for event in events)
    caller.leave()
    caller = lmtp.connect()
    assert caller.send() == [220]
    assert caller.send(BEGIN.replace(b"LHLO", b"EHLO")) == [500, 503, 503, 503, 503]
    assert caller.send(BEGIN) == [250, 250, 250, 250, 354]
    assert caller.send(END) == [250, 452]
    caller.leave()
    assert handler.lmtp == [False, True]
    for service in services:
        await service.stopService()


def test_the_log_says_of_whom_a_message_was_taken() -> None:
    """How many they were, and each of whom it was not."""
    lines = logged(Halves, BEGIN.removeprefix(b"LHLO me\r\n") + END)
    assert lines == [
        "from <> to <a@b>, <c@d>, 3 octets: 250 2.0.0 Message accepted (1 of 2 taken) "
        "(client 192.0.2.1)",
        "recipient <c@d> not taken: 452 4.2.2 Full",
    ]


def test_the_log_says_once_what_is_the_same_for_all() -> None:
    """A line for the message, as in SMTP."""

    class Refuses:
        def message(self, envelope: Any) -> object:
            return 550, "Spam"

    lines = logged(Refuses, BEGIN.removeprefix(b"LHLO me\r\n") + END)
    assert lines == [
        "from <> to <a@b>, <c@d>, 3 octets: 550 5.7.1 Spam (0 of 2 taken) (client 192.0.2.1)"
    ]


class Port25:
    """A port that looks as if it were bound there."""

    host = "192.0.2.1"
    port = 25

    def __init__(self) -> None:
        self.stopped = False

    def getHost(self) -> Port25:
        return self

    def stopListening(self) -> None:
        self.stopped = True


def test_lmtp_is_never_spoken_on_port_25() -> None:
    """RFC 2033 §5: whoever comes there speaks SMTP, and would not understand the replies."""
    endpoint = Endpoint()
    endpoint.listen = lambda factory: succeed(port)
    port = Port25()
    service = SmtpService(endpoint, SmtpServerFactory(Halves(), LMTP, log_messages=False))
    with pytest.raises(ValueError, match="never spoken on port 25"):
        service.startService()
    assert port.stopped
    assert service.ports == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can bind port 25")
@pytest_twisted.ensureDeferred
async def test_port_25_is_free_again_when_lmtp_was_refused_there() -> None:
    """It was bound to know its number, and is closed in the reactor's next turn."""
    from twisted.internet import reactor

    factory = SmtpServerFactory(Halves(), LMTP, log_messages=False)
    for _ in range(2):
        with pytest.raises(ValueError, match="port 25"):
            SmtpService("tcp:25:interface=127.0.0.99", factory).startService()
        await deferLater(reactor, 0)
