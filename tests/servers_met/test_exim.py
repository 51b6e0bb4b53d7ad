"""Exim, which delivers into folders and refuses by name at every stage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_twisted

from smtpcb.client import NoSession, Server
from smtpcb.engine import Cause, ClientSettings, Outcome, Stage
from tests.relays.servers import open_folder
from tests.running import wait_until
from tests.servers_met.exim import EximServer, exim
from tests.servers_met.sending import CLEAR, DOTS, nobody_then_bob, send, text
from tests.servers_met.trusted import Trusted, give, give_wrong, secure

IN_DATA = ClientSettings(
    hostname="client.example.org", starttls="off", without=frozenset({"CHUNKING"})
)
STEPS = ClientSettings(
    hostname="client.example.org", starttls="off", without=frozenset({"CHUNKING", "PIPELINING"})
)


@pytest.fixture(scope="module")
def server(trusted: Trusted) -> Iterator[EximServer]:
    """One for all."""
    with open_folder() as own, exim(own, trusted) as one:
        yield one


def arrived(server: EximServer, name: str, subject: str) -> bytes:
    """Wait until somebody has that message, once; return it."""

    def found() -> list[bytes]:
        mark = f"Subject: {subject}\n".encode()
        return [one for one in server.inbox(name) if mark in one]

    wait_until(found)
    [message] = found()
    return message


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("settings", [CLEAR, IN_DATA, STEPS], ids=["chunks", "data", "steps"])
async def test_what_it_does_with_each_recipient(
    server: EximServer, settings: ClientSettings, request: pytest.FixtureRequest
) -> None:
    """Taken, refused for now and for good; who was taken gets it, whole and once."""
    subject = request.node.name
    sent = await send(
        Server("127.0.0.1", server.port),
        text(subject),
        to=[f"{name}@example.org" for name in ("bob", "unknown", "later", "carl")],
        settings=settings,
    )
    assert sent.result.failure is None
    assert sent.told == [
        {
            "bob": (Outcome.DELIVERED, Stage.FINAL, 250, None),
            "unknown": (Outcome.REFUSED, Stage.RCPT, 550, None),
            "later": (Outcome.DEFERRED, Stage.RCPT, 450, None),
            "carl": (Outcome.DELIVERED, Stage.FINAL, 250, None),
        }
    ]
    for name in ("bob", "carl"):
        assert arrived(server, name, subject).endswith(b"\n\n" + DOTS.replace(b"\r\n", b"\n"))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("settings", [CLEAR, STEPS], ids=["chunks", "steps"])
@pytest.mark.parametrize(
    ("sender", "outcome", "stage"),
    [
        ("mail5-", Outcome.REFUSED, Stage.MAIL),
        ("mail4-", Outcome.DEFERRED, Stage.MAIL),
        ("data5-", Outcome.REFUSED, Stage.DATA),
        ("data4-", Outcome.DEFERRED, Stage.DATA),
        ("dot5-", Outcome.REFUSED, Stage.FINAL),
        ("dot4-", Outcome.DEFERRED, Stage.FINAL),
    ],
)
async def test_each_stage_refused(
    server: EximServer,
    settings: ClientSettings,
    sender: str,
    outcome: Outcome,
    stage: Stage,
    request: pytest.FixtureRequest,
) -> None:
    """Both messages of a session are told so: the second one is tried as well."""
    if stage is Stage.DATA and settings is CLEAR:
        settings = IN_DATA  # with chunks nobody says DATA, and Exim refuses nothing there
    subject = request.node.name
    sent = await send(
        Server("127.0.0.1", server.port),
        text(subject),
        text(subject),
        sender=f"{sender}x@example.org",
        settings=settings,
    )
    code = 5 if outcome is Outcome.REFUSED else 4
    for told in sent.told:
        assert (*told["bob"][:2], int(str(told["bob"][2])[0])) == (outcome, stage, code)
    assert sent.result.failure is None
    assert not [one for one in server.inbox("bob") if f"Subject: {subject}\n".encode() in one]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("settings", [CLEAR, STEPS], ids=["chunks", "steps"])
@pytest.mark.parametrize(
    ("sender", "recipient", "stage"),
    [
        ("drop-x", "bob", Stage.MAIL),
        ("anne", "closing", Stage.RCPT),
        ("gone-x", "bob", Stage.FINAL),
    ],
)
async def test_a_refusal_that_closes(
    server: EximServer, settings: ClientSettings, sender: str, recipient: str, stage: Stage
) -> None:
    """
    Exim says 550 and closes: the first message is refused for good.

    The link that dropped is no refusal of the second one.  Where that went out whole, behind its
    envelope and before any reply, it is not known what became of it.
    """
    sent = await send(
        Server("127.0.0.1", server.port),
        text(),
        text(),
        sender=f"{sender}@example.org",
        to=[f"{recipient}@example.org"],
        settings=settings,
    )
    first, second = (told[recipient] for told in sent.told)
    assert first[:3] == (Outcome.REFUSED, stage, 550)
    ahead = settings is CLEAR
    assert second[0] in (Outcome.NOT_TRIED, Outcome.UNKNOWN if ahead else Outcome.DEFERRED)
    assert sent.result.failure is not None
    assert sent.result.failure.cause is Cause.LOST


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("settings", [CLEAR, IN_DATA, STEPS], ids=["chunks", "data", "steps"])
async def test_a_message_that_nobody_takes(
    server: EximServer, settings: ClientSettings, request: pytest.FixtureRequest
) -> None:
    """
    Whatever was sent behind the recipients, the next message is taken, and is the next one.

    Where all or nobody is to have one, nobody has.
    """
    mark = request.node.name
    sent = await nobody_then_bob(
        Server("127.0.0.1", server.port), mark, settings, require_all_recipients=False
    )
    assert sent.result.failure is None
    assert [[one[0] for one in told.values()] for told in sent.told] == [
        [Outcome.REFUSED, Outcome.DEFERRED],
        [Outcome.DELIVERED],
        [Outcome.DELIVERED, Outcome.REFUSED],
        [Outcome.DELIVERED],
    ]
    sent = await nobody_then_bob(
        Server("127.0.0.1", server.port), mark, settings, require_all_recipients=True
    )
    assert sent.result.failure is None
    assert [told["bob"][0] for told in sent.told[1:]] == [
        *(Outcome.DELIVERED, Outcome.NOT_TRIED, Outcome.DELIVERED)
    ]
    subject = f"Subject: {mark}\n".encode()
    wait_until(lambda: sum(subject in one for one in server.inbox("bob")) == 5)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("implicit", [False, True])
async def test_a_login_inside_tls(
    server: EximServer,
    trusted: Trusted,
    mechanism: str,
    implicit: bool,
    request: pytest.FixtureRequest,
) -> None:
    """By GnuTLS; a wrong password, and a certificate that is not trusted, are told."""
    port = server.smtps if implicit else server.port
    there = trusted.server(port, implicit_tls=implicit)
    subject = request.node.name
    await send(there, text(subject), settings=secure(mechanism), options={"give": give})
    assert b" with esmtpsa" in arrived(server, "bob", subject).replace(b"\n\t", b" ")
    with pytest.raises(NoSession, match=r"auth: .*535") as told:
        await send(there, settings=secure(mechanism), options={"give": give_wrong})
    assert told.value.failures[0][1].cause is Cause.REFUSED
    with pytest.raises(NoSession, match=r"tls: .* not trusted"):
        await send(trusted.stranger(port, implicit_tls=implicit), settings=secure())


@pytest_twisted.ensureDeferred
async def test_a_message_that_is_too_long(server: EximServer) -> None:
    """Where its length is known it is not begun; one that is just short enough is taken."""
    there = Server("127.0.0.1", server.port)
    sent = await send(there, text(body=b"line\r\n" * 200_000))
    assert sent.told == [{"bob": (Outcome.NOT_TRIED, Stage.MAIL)}]
    large = text("large", b"line\r\n" * 170_000)
    assert (await send(there, large)).result.is_delivered
    assert arrived(server, "bob", "large").count(b"line\n") == 170_000
