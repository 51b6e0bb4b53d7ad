"""A plain handler behind the engine, without Twisted: logs, content and what is kept of a line."""

from __future__ import annotations

import logging
import time

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._plain import Driver, PlainPlatform, StandardLog
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings

from .scripts import TO_DATA, Does, Server, limited, raises


def test_a_driver_needs_a_handler_settings_and_a_connection() -> None:
    """Nothing else: octets go in, octets come out."""
    got: list[Envelope] = []
    driver = Driver(Does(message=got.append), Settings(), Connection("x"))
    assert driver.start() == b"220 localhost ESMTP\r\n"
    driver.receive(b"EHLO me\r\n")
    assert driver.receive(b"STARTTLS\r\n").startswith(b"502")
    assert driver.receive(TO_DATA + b"Subject: hi\r\n\r\nbody\r\n.\r\n").endswith(
        b"250 2.0.0 Message accepted\r\n"
    )
    assert got[0].content.mime()["Subject"] == "hi"
    assert driver.receive(b"QUIT\r\n").startswith(b"221")
    assert driver.finished
    driver.disconnect()
    assert got[0].content.bytes() == b"Subject: hi\r\n\r\nbody\r\n"


def test_what_goes_wrong_is_in_the_log_of_python(caplog: pytest.LogCaptureFixture) -> None:
    """Under ``smtpcb``: incidents as errors, the slow and the full as warnings."""
    caplog.set_level(logging.INFO)
    driver = Driver(Does(verify=raises(ValueError())), Settings(), Connection("x"))
    driver.start()
    number = driver.receive(b"VRFY x\r\n").split(b"incident ")[1][:8].decode()
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("smtpcb", "ERROR")
    assert f"incident {number} on x" in record.getMessage()
    log = StandardLog("elsewhere")
    log.info("{what} has come", what="100 %")
    log.warn("{what} is full", what="it")
    assert [(one.name, one.levelname, one.getMessage()) for one in caplog.records[1:]] == [
        ("elsewhere", "INFO", "100 % has come"),
        ("elsewhere", "WARNING", "it is full"),
    ]


def test_content_past_a_limit_is_no_matter_of_memory() -> None:
    """Each platform says how much of a message is kept there."""
    platform = PlainPlatform(memory_octets=10)
    content = platform.make_content()
    content.write(b"x" * 100)
    assert content.bytes() == b"x" * 100
    assert content._memory == b""
    before = time.monotonic()
    assert before <= platform.seconds() <= time.monotonic()


def test_no_more_of_a_header_is_parsed_than_settings_say() -> None:
    """`mime` and `header` stop at the same place."""
    names: list[str] = []
    got: list[Envelope] = []

    class Reads:
        def header(self, name: str, value: str, envelope: Envelope) -> None:
            names.append(name)

        def message(self, envelope: Envelope) -> None:
            got.append(envelope)

    driver = Driver(Reads(), limited(header_octets=20), Connection("x"))
    driver.start()
    driver.receive(TO_DATA + b"A: b\r\nC: d\r\n" + b"E: f\r\n" * 20 + b"\r\nbody\r\n.\r\n")
    assert got[0].content.mime().keys() == names
    assert len(names) < 22


def test_a_client_that_leaves_in_mid_line_leaves_nothing() -> None:
    """What is no whole line is no command."""
    reasons: list[Reason] = []
    server = Server(Does(disconnected=lambda reason, connection: reasons.append(reason)))
    server.send(b"QUIT")
    server.driver.disconnect()
    assert reasons == [Reason.DISCONNECTED]
    assert server.codes == []
