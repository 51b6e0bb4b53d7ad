"""To the servers of a message's domain: for those who may, and one domain at a time."""

from __future__ import annotations

import smtplib
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
import pytest_twisted

from smtpcb import Envelope, Settings
from smtpcb.client import Server
from smtpcb.client._place import Candidate
from smtpcb.engine import Cause, ClientFailure, ClientSettings, Stage
from smtpcb.handlers.relay import MxRelay, changes
from smtpcb.smtp import Reply
from smtpcb.smtp.sasl import Credentials

from .relaying import conversation

Serve = Callable[..., int]
TEXT = b"Subject: x\r\n\r\nHi\r\n"


class Behind:
    """The server of one domain."""

    def __init__(self) -> None:
        self.got: list[list[str]] = []
        self.resets = 0

    def rcpt(self, recipient: Any, envelope: Envelope) -> Any:
        return (550, "5.1.1", "Unknown") if recipient.local_part == "no-one" else None

    def message(self, envelope: Envelope) -> None:
        self.got.append([str(one) for one in envelope.recipients])

    def aborted(self, reason: Any, envelope: Envelope) -> None:
        self.resets += 1


class Doorman:
    """Knows a password."""

    def authenticate(self, credentials: Credentials) -> bool:
        return credentials.password == "right"


class NullMx:
    """A domain that takes no mail (RFC 7505)."""

    name = "mx:none.example"

    async def candidates(self, *_: Any) -> AsyncGenerator[list[Candidate], None]:
        reply = Reply(556, "5.1.10", "The domain takes no mail")
        raise ClientFailure(Stage.GREETING, Cause.REFUSED, "", reply)
        yield []


@pytest.fixture
def world(serve: Serve) -> dict[str, Behind]:
    """Two domains and their servers."""
    found = {"one.example": Behind(), "two.example": Behind()}
    PORTS.clear()
    PORTS.update({domain: serve(behind) for domain, behind in found.items()})
    return found


PORTS: dict[str, int] = {}


def place(domain: str) -> Any:
    if domain == "none.example":
        return NullMx()
    return Server("127.0.0.1", PORTS.get(domain, 1))


def relay(**options: Any) -> MxRelay:
    settings = ClientSettings(starttls="off")
    return MxRelay(settings, place=place, **options)


def send(*recipients: str) -> Callable[[smtplib.SMTP], Any]:
    def talk(client: smtplib.SMTP) -> list[int]:
        said = [client.mail("a@example.org")[0]]
        said += [client.docmd(f"RCPT TO:<{one}>")[0] for one in recipients]
        if 250 in said[1:]:
            said.append(client.data(TEXT)[0])
        return said

    return talk


@pytest_twisted.ensureDeferred
async def test_a_message_goes_to_the_servers_of_its_domain(
    serve: Serve, world: dict[str, Behind]
) -> None:
    """Those of another one are for the next time: the client comes again with them."""
    port = serve(relay(relay_from=["127.0.0.1"]))
    to = ("a@one.example", "b@two.example", "c@ONE.example", "no-one@one.example")
    assert await conversation(port, send(*to)) == [250, 250, 451, 250, 550, 250]
    assert await conversation(port, send("b@two.example")) == [250, 250, 250]
    assert world["one.example"].got == [["a@one.example", "c@one.example"]]
    assert world["two.example"].got == [["b@two.example"]]


@pytest_twisted.ensureDeferred
async def test_a_domain_whose_recipient_was_refused_stands_in_no_way(
    serve: Serve, world: dict[str, Behind]
) -> None:
    """Nobody of it gets the message, so it may go to another one."""
    port = serve(relay(relay_from=["127.0.0.1"]))
    said = await conversation(port, send("no-one@one.example", "b@two.example"))
    assert said == [250, 550, 250, 250]
    assert world["two.example"].got == [["b@two.example"]]


@pytest_twisted.ensureDeferred
async def test_a_domain_that_takes_no_mail_refuses_for_good(
    serve: Serve, world: dict[str, Behind]
) -> None:
    """A null MX is final (RFC 7505); a domain that cannot be reached is asked again later."""
    port = serve(relay(relay_from=["127.0.0.1"]))
    assert await conversation(port, send("a@none.example")) == [250, 556]
    assert await conversation(port, send("a@gone.example")) == [250, 451]
    assert await conversation(port, send("postmaster")) == [250, 550]


@pytest_twisted.ensureDeferred
async def test_it_is_no_open_relay(serve: Serve, world: dict[str, Behind]) -> None:
    """Who has not logged in, and is of no network that was named, sends nothing anywhere."""
    port = serve(
        relay(),
        Settings(allow_insecure_auth=True),
        authenticator=Doorman(),
    )
    assert await conversation(port, send("a@one.example", "postmaster")) == [250, 550, 550]
    assert world["one.example"].got == []

    def logged_in(client: smtplib.SMTP) -> Any:
        client.login("anne", "right")
        return send("a@one.example")(client)

    assert await conversation(port, logged_in) == [250, 250, 250]
    assert relay().needs_login
    assert not relay(relay_from=["unix"]).needs_login


@pytest_twisted.ensureDeferred
async def test_a_filter_redirects_to_another_domain(serve: Serve, world: dict[str, Behind]) -> None:
    """Into a quarantine that is elsewhere."""

    class Filter:
        def message(self, envelope: Envelope) -> None:
            changes(envelope).redirect("spam@two.example")

    port = serve(relay(relay_from=["127.0.0.1"], filter=Filter))
    assert await conversation(port, send("a@one.example")) == [250, 250, 250]
    assert (world["one.example"].got, world["one.example"].resets) == ([], 1)
    assert world["two.example"].got == [["spam@two.example"]]
