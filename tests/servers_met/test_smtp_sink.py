"""Postfix's smtp-sink, which refuses, leaves or is slow at any stage that one asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_twisted

from smtpcb.client import ClientTimes, NoSession, Server
from smtpcb.engine import Cause, ClientSettings, Outcome, Stage
from tests.clients.conftest import program
from tests.servers_met.sending import CLEAR, Sent, listens, send, started, text

DELIVERED, DEFERRED, UNKNOWN = Outcome.DELIVERED, Outcome.DEFERRED, Outcome.UNKNOWN
REFUSED, NOT_TRIED = Outcome.REFUSED, Outcome.NOT_TRIED
HARD, SOFT, CLOSING, GONE, SLOW = "-f", "-r", "-Q", "-q", "-W"
TOO_LONG = "1"  # seconds, for whom waits a tenth of that
CODES = {HARD: (500, "5.3.0"), SOFT: (450, "4.3.0"), CLOSING: (421, "4.0.0")}
CAUSES = {CLOSING: Cause.REFUSED, GONE: Cause.LOST, SLOW: Cause.TIMEOUT}
WHAT = (HARD, SOFT, CLOSING, GONE, SLOW)
IMPATIENT = ClientTimes(**dict.fromkeys(ClientTimes.__dataclass_fields__, 0.1))


@contextmanager
def sink(folder: Path, *options: str) -> Iterator[Server]:
    """Run one on a UNIX socket."""
    path = folder / "socket"
    as_nobody = ("-u", "nobody") if os.getuid() == 0 else ()
    command = (program("smtp-sink"), *as_nobody, *options, f"unix:{path}", "10")
    with started(command, folder / "log", lambda: listens(path)):
        yield Server(f"unix:{path}")


async def two(server: Server, *options: str) -> Sent:
    """Send two messages, impatiently where the server is slow."""
    to = ("bob@example.org", "carl@example.org")
    times = IMPATIENT if SLOW in options else None
    return await send(server, text("1"), text("2"), to=to, times=times)


def switch(what: str, command: str) -> tuple[str, ...]:
    """Return the options that do it."""
    # Where it is slow it answers what was sent behind before: to one command at a time it does not.
    return (what, f"{command}:{TOO_LONG}", "-p") if what == SLOW else (what, command)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize(
    ("command", "stage"),
    [("MAIL", Stage.MAIL), ("RCPT", Stage.RCPT), ("DATA", Stage.DATA), (".", Stage.FINAL)],
)
async def test_each_stage_of_a_message_refused_left_or_slow(
    tmp_path: Path, what: str, command: str, stage: Stage
) -> None:
    """
    The client says whether it was for good, for now, or is not known, and at which stage.

    After a refusal the next message is tried; after a link that dropped it is not.
    """
    with sink(tmp_path, *switch(what, command)) as server:
        sent = await two(server, what)
    outcome = REFUSED if what == HARD else DEFERRED
    if command == "." and what in (GONE, SLOW):
        outcome = UNKNOWN
    first = (outcome, stage, *CODES.get(what, ()))
    second = first if what in (HARD, SOFT) else (NOT_TRIED, stage, *CODES.get(what, ()))
    assert sent.told == [dict.fromkeys(("bob", "carl"), one) for one in (first, second)]
    failure = sent.result.failure
    assert (failure and failure.cause) is CAUSES.get(what)
    assert not sent.result.is_delivered


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize(("command", "stage"), [("CONNECT", Stage.GREETING), ("EHLO", Stage.HELLO)])
async def test_a_session_that_does_not_come_about(
    tmp_path: Path, what: str, command: str, stage: Stage
) -> None:
    """Nothing was sent, and the error says why; who knows no EHLO is greeted by HELO."""
    with sink(tmp_path, *switch(what, command)) as server:
        if (what, command) == (HARD, "EHLO"):
            assert (await two(server)).result.is_delivered
            return
        with pytest.raises(NoSession) as told:
            await two(server, what)
    [(_, failure)] = told.value.failures
    assert (failure.stage, failure.cause) == (stage, CAUSES.get(what, Cause.REFUSED))
    assert (failure.reply and failure.reply.code) == CODES.get(what, (None,))[0]
    assert failure.temporary is (what != HARD)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("what", WHAT)
async def test_what_goes_wrong_at_the_end_undoes_nothing(tmp_path: Path, what: str) -> None:
    """A message that was accepted is delivered, whatever becomes of QUIT."""
    with sink(tmp_path, *switch(what, "QUIT")) as server:
        sent = await two(server, what)
    assert sent.result.is_delivered
    assert sent.result.failure is None


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("options", [(), ("-p",), ("-e",), ("-8",), ("-E",), ("-P",), ("-N", "-a")])
async def test_whatever_it_can_do(tmp_path: Path, options: tuple[str, ...]) -> None:
    """With and without pipelining, ESMTP, 8BITMIME and status codes, and as a Cisco PIX."""
    with sink(tmp_path, *options) as server:
        sent = await two(server)
    status = None if {"-e", "-E", "-P"} & set(options) else "2.0.0"
    assert sent.told == [dict.fromkeys(("bob", "carl"), (DELIVERED, Stage.FINAL, 250, status))] * 2


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("options", "outcome"),
    [((), DELIVERED), (("-f", "."), REFUSED), (("-q", "."), UNKNOWN), (("-r", "RCPT"), DEFERRED)],
)
async def test_by_lmtp(tmp_path: Path, options: tuple[str, ...], outcome: Outcome) -> None:
    """Each recipient has a reply of its own behind the message."""
    settings = ClientSettings(hostname="client.example.org", starttls="off", lmtp=True)
    with sink(tmp_path, "-L", *options) as server:
        to = ("bob@example.org", "carl@example.org")
        sent = await send(server, to=to, settings=settings)
    assert [told[0] for told in sent.told[0].values()] == [outcome] * 2


@pytest_twisted.ensureDeferred
async def test_a_server_that_interrupts_the_message(tmp_path: Path) -> None:
    """It speaks before its turn and reads no more: not delivered, for now, and it is told."""
    with sink(tmp_path, "-A", "0") as server:
        sent = await send(server, text(body=b"line\r\n" * 1_000_000), settings=CLEAR)
    assert sent.told == [{"bob": (DEFERRED, Stage.CONTENT, 550, None)}]
    assert sent.result.failure is not None
    assert sent.result.failure.cause is Cause.PROTOCOL
