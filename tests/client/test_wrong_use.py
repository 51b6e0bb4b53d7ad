"""What a caller gets wrong is told at once, and says what is right."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString

from smtpcb import Settings, SmtpServerFactory, SmtpService
from smtpcb.client import ConnectionPool, ContentError, NoSession, Server, SubmissionSession, send
from smtpcb.engine import ClientSettings, Outcome
from smtpcb.smtp import Credentials

NOBODY_THERE = Server("127.0.0.1", 1)
TEXT = b"From: anne@example.org\nSubject: Hello\n\nHello!\n"


class Inbox:
    """Anne may log in."""

    def authenticate(self, credentials: Credentials, connection: Any) -> bool:
        return (credentials.username, credentials.password) == ("anne", "tim")

    def rcpt(self, recipient: Any, envelope: Any) -> Any:
        return (550, "5.1.1", "No such mailbox") if recipient.local_part == "nobody" else None

    def message(self, envelope: Any) -> Any:
        return None if envelope.connection.identity == "anne" else (550, "Who are you?")


@pytest_twisted.async_yield_fixture
async def port() -> Any:
    """Serve it in the clear."""
    factory = SmtpServerFactory(Inbox(), Settings(allow_insecure_auth=True))
    service = SmtpService(serverFromString(reactor, "tcp:0:interface=127.0.0.1"), factory)
    service.startService()
    yield service.ports[0].getHost().port
    await service.stopService()


def anne(mechanism: str) -> Credentials:
    return Credentials(mechanism, "anne", "tim")


CLEAR = ClientSettings(starttls="off", login="required", allow_insecure_auth=True)


def test_a_login_that_nobody_would_ask_for() -> None:
    """To say who logs in, and in the settings that nobody does, is a contradiction."""
    off = ClientSettings(starttls="off")
    with pytest.raises(ValueError, match="login='required'"):
        SubmissionSession(NOBODY_THERE, settings=off, give=anne)
    with pytest.raises(ValueError, match="login='required'"):
        ConnectionPool([NOBODY_THERE], off, give=anne, reactor=reactor)


@pytest_twisted.ensureDeferred
async def test_send_with_a_name_and_settings_without_a_login() -> None:
    """The settings stand in place of what the name would say; nothing is sent as nobody."""
    with pytest.raises(ValueError, match="login='required'"):
        await send(
            TEXT,
            host="127.0.0.1",
            port=1,
            sender="anne@example.org",
            to=["bob@example.org"],
            username="anne",
            password="tim",
            settings=ClientSettings(starttls="off"),
        )


def test_settings_that_are_left_out() -> None:
    """TLS is required then, and a login if it is said who logs in."""
    for give, login in (({}, "off"), ({"give": anne}, "required")):
        session = SubmissionSession(NOBODY_THERE, reactor=reactor, **give)  # type: ignore[arg-type]
        assert (session._settings.starttls, session._settings.login) == ("required", login)


@pytest.mark.parametrize(
    "said",
    [("a.example.org", "b.example.org"), ("a.example.org", 25, 26), (25,), (None,), (b"a",)],
)
def test_what_is_no_server(said: tuple[Any, ...]) -> None:
    """It would be found out only when something is to be sent."""
    with pytest.raises(TypeError, match=r"say Server\('mail.example.org', 587\)"):
        SubmissionSession(*said)


@pytest_twisted.ensureDeferred
async def test_a_host_and_a_port_are_a_server(port: int) -> None:
    """As `Server` has them, and more servers behind it."""
    for said in (("127.0.0.1", port), ("127.0.0.1", 1, Server("127.0.0.1", port))):
        session = SubmissionSession(*said, settings=CLEAR, give=anne)
        session.add_message("a@example.org", b"").add_recipient("b@example.org")
        assert (await session.run()).is_delivered


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("wrong", [("anne", "tim"), "tim"])
async def test_what_says_not_who_logs_in(port: int, wrong: object) -> None:
    """Its type is told, and nothing is sent; what it is may be a secret."""
    session = SubmissionSession(Server("127.0.0.1", port), settings=CLEAR, give=lambda _: wrong)
    session.add_message("anne@example.org", TEXT).add_recipient("bob@example.org")
    with pytest.raises(NoSession, match="not Credentials or None") as told:
        await session.run()
    assert "tim" not in str(told.value)


@pytest_twisted.ensureDeferred
async def test_the_port_of_another_kind(port: int) -> None:
    """A server that says its greeting first is no server of implicit TLS, and is called so."""
    session = SubmissionSession(Server("127.0.0.1", port, implicit_tls=True))
    session.add_message("anne@example.org", TEXT).add_recipient("bob@example.org")
    with pytest.raises(NoSession, match="tls: the server does not begin with TLS"):
        await session.run()


@pytest_twisted.ensureDeferred
async def test_who_was_not_reached_leads_to_the_message(port: int) -> None:
    """Of many messages it is known which one somebody has not got, and why, in a line."""
    session = SubmissionSession(Server("127.0.0.1", port), settings=CLEAR, give=anne)
    first = session.add_message("anne@example.org", TEXT, data=1)
    first.add_recipient("bob@example.org")
    second = session.add_message("anne@example.org", TEXT, data=2)
    recipient = second.add_recipient("nobody@example.org")
    assert (session.remaining, recipient.why) == ([first, second], "")
    result = await session.run()
    (missed,) = result.not_delivered
    assert (missed.message.data, missed.why) == (2, "550 5.1.1 No such mailbox")
    assert (missed.outcome, session.remaining) == (Outcome.REFUSED, [])
    assert repr(missed) == "<MessageRecipient nobody@example.org: refused for good>"


@pytest_twisted.ensureDeferred
async def test_a_password_needs_somebody_whose_it_is(port: int) -> None:
    """It would be sent as nobody, and look as if somebody had logged in."""
    where = {"host": "127.0.0.1", "port": port, "tls": "off"}
    pool = ConnectionPool([Server("127.0.0.1", port)], CLEAR, give=anne, reactor=reactor)
    for options in where, {"pool": pool}:
        with pytest.raises(ValueError, match="without a username"):
            await send(TEXT, sender="a@example.org", to=["b@example.org"], password="x", **options)


@pytest_twisted.ensureDeferred
async def test_recipients_are_text(port: int) -> None:
    """Octets are a list of numbers to Python, of which none is a mailbox."""
    with pytest.raises(TypeError, match=r"to=\['bob@example.org'\]"):
        await send(TEXT, host="127.0.0.1", port=port, sender="", to=b"b@example.org")  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_a_message_to_nobody_is_not_left_out_without_a_word(port: int) -> None:
    """Of several messages one without recipients would not be sent, and all be delivered."""
    session = SubmissionSession(Server("127.0.0.1", port), settings=CLEAR, give=anne)
    session.add_message("anne@example.org", TEXT).add_recipient("bob@example.org")
    forgotten = session.add_message("anne@example.org", TEXT)
    with pytest.raises(ValueError, match="message 2 goes to nobody"):
        await session.run()
    assert not forgotten.is_delivered
    forgotten.add_recipient("bob@example.org")
    assert (await session.run()).is_delivered


@pytest.mark.parametrize(
    "where", ["ssl:mail.example.org:465", "tls:a:465", "smtps://a.example.org"]
)
def test_tls_that_would_not_be_checked(where: str) -> None:
    """An endpoint that has TLS of its own takes any certificate, whatever is said beside it."""
    with pytest.raises(ValueError, match="implicit_tls=True"):
        Server(where, trust=[])


@pytest_twisted.ensureDeferred
async def test_what_has_been_read_already(port: int) -> None:
    """A file at its end, or a generator, would be an empty message, and be delivered."""
    session = SubmissionSession(Server("127.0.0.1", port), settings=CLEAR, give=anne)
    file = BytesIO(TEXT)
    file.read()
    with pytest.raises(ContentError, match=r"file.seek\(0\)"):
        session.add_message("anne@example.org", file)
    lines = (line for line in TEXT.splitlines(keepends=True))
    for _ in range(2):
        session.add_message("anne@example.org", lines).add_recipient("bob@example.org")
    result = await session.run()
    assert [one.is_delivered for one in result.messages] == [True, False]
    assert "has been read to its end" in next(result.not_delivered).why
