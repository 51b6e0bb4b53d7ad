"""Servers for whoever writes a handler: aiosmtpd, and the smtp-server of nodemailer."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from smtpcb.client import NoSession, Server
from smtpcb.engine import Cause, ClientSettings, Outcome, Stage
from tests.clients.conftest import missing, program
from tests.servers_met.sending import CLEAR, DOTS, free_port, listens, send, started, text
from tests.servers_met.trusted import PASSWORD, USER, Trusted, give, give_wrong, secure

NODE = Path(__file__).parents[1] / "clients" / "node"
LMTP = ClientSettings(hostname="client.example.org", starttls="off", lmtp=True)


@dataclass
class Keeper:
    """
    One of them.

    :ivar port: in the clear, with STARTTLS; the others: with implicit TLS, and for LMTP.
    """

    name: str
    folder: Path
    port: int
    smtps: int
    lmtp: int

    def kept(self, mark: bytes) -> list[tuple[list[str], bytes]]:
        """Return for whom it has a message in which that is, and the message."""
        found = [one for one in self.folder.iterdir() if mark in one.read_bytes()]
        return [(one.name.split()[1:], one.read_bytes()) for one in found]


def command_of(name: str) -> list[str]:
    """Return what starts it, if it is there."""
    if name == "aiosmtpd":
        if importlib.util.find_spec("aiosmtpd") is None:
            missing("aiosmtpd is not installed")
        return [sys.executable, str(Path(__file__).with_name("aiosmtpd_server.py"))]
    if not (NODE / "node_modules" / "smtp-server").exists():
        missing(f"smtp-server is not installed: npm ci in {NODE}")
    return [program("node"), str(NODE / "server.js")]


@pytest.fixture(scope="module", params=["aiosmtpd", "nodemailer"])
def keeper(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, trusted: Trusted
) -> Iterator[Keeper]:
    """Each of them."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "kept").mkdir()
    one = Keeper(request.param, folder / "kept", free_port(), free_port(), free_port())
    ports = (one.port, one.smtps, one.lmtp)
    command = [*command_of(one.name), str(one.folder), *map(str, ports)]
    command += [str(trusted.certificate), str(trusted.key), USER, PASSWORD]
    with started(command, folder / "log", lambda: all(map(listens, ports))):
        yield one


def to(*names: str) -> list[str]:
    """Return addresses."""
    return [f"{name}@example.org" for name in names]


@pytest_twisted.ensureDeferred
async def test_what_it_does_with_each_recipient(keeper: Keeper) -> None:
    """Taken, refused for now and for good; it has the message for those who were taken."""
    there = Server("127.0.0.1", keeper.port)
    mark = f"who-{keeper.name}"
    sent = await send(there, text(mark), to=to("bob", "unknown", "later", "carl"))
    assert sent.result.failure is None
    # Neither offers ENHANCEDSTATUSCODES: what looks like one is text.
    assert sent.told == [
        {
            "bob": (Outcome.DELIVERED, Stage.FINAL, 250, None),
            "unknown": (Outcome.REFUSED, Stage.RCPT, 550, None),
            "later": (Outcome.DEFERRED, Stage.RCPT, 450, None),
            "carl": (Outcome.DELIVERED, Stage.FINAL, 250, None),
        }
    ]
    assert keeper.kept(mark.encode()) == [(["bob", "carl"], text(mark))]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("sender", "outcome", "stage", "code"),
    [
        ("mail5", Outcome.REFUSED, Stage.MAIL, 550),
        ("mail4", Outcome.DEFERRED, Stage.MAIL, 450),
        ("dot5", Outcome.REFUSED, Stage.FINAL, 554),
        ("dot4", Outcome.DEFERRED, Stage.FINAL, 451),
    ],
)
async def test_each_stage_refused(
    keeper: Keeper, sender: str, outcome: Outcome, stage: Stage, code: int
) -> None:
    """In both messages of a session; it has none of them."""
    mark = f"stage-{keeper.name}-{sender}"
    sent = await send(
        Server("127.0.0.1", keeper.port),
        *(text(mark),) * 2,
        sender=f"{sender}@example.org",
        to=to("bob", "carl"),
    )
    assert sent.told == [dict.fromkeys(("bob", "carl"), (outcome, stage, code, None))] * 2
    assert keeper.kept(mark.encode()) == []


@pytest_twisted.ensureDeferred
async def test_lmtp(keeper: Keeper) -> None:
    """Each recipient has a reply of its own, and it has the message for those who were taken."""
    mark = f"lmtp-{keeper.name}"
    sent = await send(
        Server("127.0.0.1", keeper.lmtp),
        text(mark),
        to=to("bob", "dot5", "unknown", "dot4", "carl"),
        settings=LMTP,
    )
    assert [told[:3] for told in sent.told[0].values()] == [
        (Outcome.DELIVERED, Stage.FINAL, 250),
        (Outcome.REFUSED, Stage.FINAL, 554),
        (Outcome.REFUSED, Stage.RCPT, 550),
        (Outcome.DEFERRED, Stage.FINAL, 451),
        (Outcome.DELIVERED, Stage.FINAL, 250),
    ]
    assert keeper.kept(mark.encode()) == [(["bob", "carl"], text(mark))]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("implicit", [False, True])
async def test_a_login_inside_tls(
    keeper: Keeper, trusted: Trusted, mechanism: str, implicit: bool
) -> None:
    """A wrong password is told, and so is a certificate that is not trusted."""
    port = keeper.smtps if implicit else keeper.port
    there = trusted.server(port, implicit_tls=implicit)
    options: dict[str, Any] = {"give": give}
    sent = await send(there, settings=secure(mechanism), options=options)
    assert sent.result.is_delivered
    with pytest.raises(NoSession, match=r"auth: .*535") as told:
        await send(there, settings=secure(mechanism), options={"give": give_wrong})
    assert told.value.failures[0][1].cause is Cause.REFUSED
    with pytest.raises(NoSession, match=r"tls: .* not trusted"):
        await send(trusted.stranger(port, implicit_tls=implicit), settings=secure())


async def pieces(octets: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(octets), 50_000):
        yield octets[at : at + 50_000]


@pytest_twisted.ensureDeferred
async def test_a_message_that_is_too_long(keeper: Keeper) -> None:
    """It is not begun where its length is known, and refused behind its end where it is not."""
    there = Server("127.0.0.1", keeper.port)
    long = text(body=b"line\r\n" * 40_000)
    assert (await send(there, long)).told == [{"bob": (Outcome.NOT_TRIED, Stage.MAIL)}]
    sent = await send(there, pieces(long), text("behind"))  # type: ignore[arg-type]
    first, second = sent.told
    assert first["bob"][0] is Outcome.REFUSED
    assert first["bob"][2] == 552
    assert second["bob"][0] is Outcome.DELIVERED
    mark = f"large-{keeper.name}"
    large = text(mark, DOTS + b"line\r\n" * 30_000)
    assert (await send(there, large)).result.is_delivered
    assert keeper.kept(mark.encode()) == [(["bob"], large)]


@pytest_twisted.ensureDeferred
async def test_an_address_in_utf8(keeper: Keeper) -> None:
    """By SMTPUTF8, which both offer."""
    mark = f"utf8-{keeper.name}"
    sent = await send(
        Server("127.0.0.1", keeper.port), text(mark, "Grüße\r\n".encode()), to=to("bób"),
        sender="ánne@example.org", settings=CLEAR,
    )  # fmt: skip
    assert sent.result.is_delivered
    assert [names for names, _ in keeper.kept(mark.encode())] == [["bób"]]
