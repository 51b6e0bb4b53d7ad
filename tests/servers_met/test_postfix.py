"""Postfix, which takes messages for Dovecot, and from who has logged in for anybody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
import pytest_twisted

from smtpcb.client import NoSession, Server
from smtpcb.engine import Cause, ClientSettings, Outcome, Stage
from smtpcb.smtp import MailParameters, Ret
from tests.relays.postfix import Postfix
from tests.relays.servers import open_folder
from tests.running import wait_until
from tests.servers_met.dovecot import Dovecot
from tests.servers_met.sending import CLEAR, free_port, nobody_then_bob, send, text
from tests.servers_met.trusted import Trusted, give, give_wrong, secure

IN_DATA = ClientSettings(
    hostname="client.example.org", starttls="off", without=frozenset({"CHUNKING"})
)
STEPS = ClientSettings(
    hostname="client.example.org",
    starttls="off",
    without=frozenset({"CHUNKING", "PIPELINING", "ENHANCEDSTATUSCODES"}),
)
MOST_OCTETS = 1_000_000

_MAIN = """
virtual_mailbox_domains = example.org
virtual_mailbox_maps = inline:{{
    {{ bob@example.org = x }} {{ carl@example.org = x }} {{ later@example.org = x }}
    {{ closing@example.org = x }} }}
virtual_transport = lmtp:unix:{delivery.lmtp}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{
    {{ later@example.org = 450 4.2.1 Later }}
    {{ closing@example.org = 421 4.3.2 Closing }} }}
smtpd_data_restrictions = check_sender_access inline:{{
    {{ data@example.org = 554 5.7.1 No content of yours }} }}
smtpd_end_of_data_restrictions = check_sender_access inline:{{
    {{ busy@example.org = 451 4.3.0 Busy }} }}
header_checks = regexp:{folder}/headers
message_size_limit = {most}
smtpd_tls_security_level = may
smtpd_tls_chain_files = {trusted.chain}
smtpd_tls_session_cache_database =
smtpd_sasl_type = dovecot
smtpd_sasl_path = {delivery.auth}
smtpd_sasl_security_options = noanonymous
"""
_MASTER = """\
127.0.0.1:{submission} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt {login}
127.0.0.1:{smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes {login}
"""
_LOGIN = (
    "-o smtpd_sasl_auth_enable=yes -o smtpd_client_restrictions=permit_sasl_authenticated,reject"
)


@dataclass
class Office:
    """Postfix and its ports: for everybody, and for who logs in."""

    postfix: Postfix
    submission: int
    smtps: int
    trusted: Trusted
    delivery: Dovecot

    @property
    def server(self) -> Server:
        """Without TLS."""
        return Server("127.0.0.1", self.postfix.inlet)

    def expect(self, name: str, subject: str) -> None:
        """Wait until somebody has that message, once."""
        mark = f"\nSubject: {subject}\n".encode()
        wait_until(lambda: any(mark in one for one in self.delivery.inbox(name)))
        assert sum(mark in one for one in self.delivery.inbox(name)) == 1


@pytest.fixture(scope="module")
def office(delivery: Dovecot, trusted: Trusted) -> Iterator[Office]:
    """One for all."""
    with open_folder() as own:
        (own / "headers").write_text("/^Subject: spam/ REJECT Not for me\n")
        submission, smtps = free_port(), free_port()
        postfix = Postfix(
            own,
            9,
            main=_MAIN.format(folder=own, delivery=delivery, trusted=trusted, most=MOST_OCTETS),
            master=_MASTER.format(submission=submission, smtps=smtps, login=_LOGIN),
        )
        try:
            yield Office(postfix, submission, smtps, trusted, delivery)
        finally:
            postfix.stop()


_numbers = count()


def number() -> str:
    """Return another subject."""
    return f"number {next(_numbers)}"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("settings", [CLEAR, IN_DATA, STEPS])
async def test_what_it_does_with_each_recipient(office: Office, settings: ClientSettings) -> None:
    """Taken, refused for now and for good; who was taken gets it, and nobody else."""
    subject = number()
    names = ("bob", "unknown", "later", "carl")
    sent = await send(
        office.server,
        text(subject),
        to=[*(f"{name}@example.org" for name in names), "dan@elsewhere.invalid"],
        settings=settings,
    )
    assert sent.result.failure is None
    coded = "ENHANCEDSTATUSCODES" not in settings.without
    wanted: dict[str, Any] = {
        "bob": (Outcome.DELIVERED, Stage.FINAL, 250, "2.0.0"),
        "unknown": (Outcome.REFUSED, Stage.RCPT, 550, "5.1.1"),
        "later": (Outcome.DEFERRED, Stage.RCPT, 450, "4.2.1"),
        "carl": (Outcome.DELIVERED, Stage.FINAL, 250, "2.0.0"),
        "dan": (Outcome.DELIVERED, Stage.FINAL, 250, "2.0.0"),  # it relays for this machine
    }
    if not coded:
        wanted = {name: (*row[:3], None) for name, row in wanted.items()}
    assert sent.told == [wanted]
    for name in ("bob", "carl"):
        office.expect(name, subject)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("settings", [CLEAR, IN_DATA, STEPS])
@pytest.mark.parametrize(
    ("sender", "subject", "outcome", "code"),
    [
        ("data@example.org", "Hello", Outcome.REFUSED, 554),
        ("busy@example.org", "Hello", Outcome.DEFERRED, 451),
        ("anne@example.org", "spam", Outcome.REFUSED, 550),
    ],
)
async def test_a_message_that_is_refused(
    office: Office, settings: ClientSettings, sender: str, subject: str, outcome: Outcome, code: int
) -> None:
    """At DATA or BDAT, or behind the content; the next message of the session is taken."""
    good = number()
    sent = await send(office.server, text(subject), text(good), sender=sender, settings=settings)
    first, second = ((told["bob"][0], told["bob"][2]) for told in sent.told)
    assert first == (outcome, code)
    if subject == "spam":
        assert second == (Outcome.DELIVERED, 250)
        office.expect("bob", good)
    else:
        assert second == first
    assert sent.result.failure is None


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("settings", [CLEAR, STEPS])
async def test_421_closes_the_session(office: Office, settings: ClientSettings) -> None:
    """What was behind it was not tried, and is to be tried again."""
    sent = await send(office.server, text(), text(), to=["closing@example.org"], settings=settings)
    assert [told["closing"][:3] for told in sent.told] == [
        (Outcome.DEFERRED, Stage.RCPT, 421),
        (Outcome.NOT_TRIED, Stage.RCPT, 421),
    ]
    assert sent.result.failure is not None
    assert sent.result.failure.cause is Cause.REFUSED


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("settings", [CLEAR, IN_DATA, STEPS], ids=["chunks", "data", "steps"])
async def test_a_message_that_nobody_takes(office: Office, settings: ClientSettings) -> None:
    """
    Whatever was sent behind the recipients, the next message is taken, and is the next one.

    Where all or nobody is to have one, nobody has.
    """
    mark = number()
    sent = await nobody_then_bob(office.server, mark, settings, require_all_recipients=False)
    assert sent.result.failure is None
    assert [[one[0] for one in told.values()] for told in sent.told] == [
        [Outcome.REFUSED, Outcome.DEFERRED],
        [Outcome.DELIVERED],
        [Outcome.DELIVERED, Outcome.REFUSED],
        [Outcome.DELIVERED],
    ]
    sent = await nobody_then_bob(office.server, mark, settings, require_all_recipients=True)
    assert sent.result.failure is None
    assert [told["bob"][0] for told in sent.told[1:]] == [
        *(Outcome.DELIVERED, Outcome.NOT_TRIED, Outcome.DELIVERED)
    ]
    subject = f"\nSubject: {mark}\n".encode()
    wait_until(lambda: sum(subject in one for one in office.delivery.inbox("bob")) == 5)


async def pieces(octets: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(octets), 50_000):
        yield octets[at : at + 50_000]


@pytest_twisted.ensureDeferred
async def test_a_message_that_is_too_long(office: Office) -> None:
    """Where its length is known, it is not begun; else Postfix stops it, in chunks or behind."""
    long = text(body=b"line\r\n" * 300_000)
    [told] = (await send(office.server, long)).told
    assert told == {"bob": (Outcome.NOT_TRIED, Stage.MAIL)}
    for settings in (CLEAR, IN_DATA):
        sent = await send(office.server, pieces(long), text("x"), settings=settings)  # type: ignore[arg-type]
        first, second = sent.told
        assert first["bob"][0] is Outcome.REFUSED
        assert first["bob"][2:] == (552, "5.3.4")
        assert second["bob"][0] is Outcome.DELIVERED
    almost = text(number(), b"line\r\n" * 160_000)
    assert (await send(office.server, almost)).result.is_delivered


@pytest_twisted.ensureDeferred
async def test_what_it_offers_is_used(office: Office) -> None:
    """8BITMIME, SMTPUTF8 and DSN, in one message."""
    subject = number()
    sent = await send(
        office.server,
        text(subject, "Grüße\r\n".encode()),
        parameters=MailParameters(ret=Ret.HDRS, envid="QQ+1=2"),
        to=["bob@example.org", "bób@example.org"],
    )
    assert sent.told[0]["bób"][:3] == (Outcome.REFUSED, Stage.RCPT, 550)
    # Dovecot takes no SMTPUTF8: Postfix, which has taken it, says so to the sender.
    assert sent.told[0]["bob"][:3] == (Outcome.DELIVERED, Stage.FINAL, 250)


# TLS and logins.


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"])
@pytest.mark.parametrize("implicit", [False, True])
async def test_a_login_inside_tls(office: Office, mechanism: str, implicit: bool) -> None:
    """By each mechanism of Dovecot's; a wrong password is told, and nothing is sent."""
    subject = number()
    port = office.smtps if implicit else office.submission
    server = office.trusted.server(port, implicit_tls=implicit)
    settings = secure(mechanism)
    sent = await send(server, text(subject), settings=settings, options={"give": give})
    assert sent.told == [{"bob": (Outcome.DELIVERED, Stage.FINAL, 250, "2.0.0")}]
    office.expect("bob", subject)


@pytest_twisted.ensureDeferred
async def test_a_login_that_fails(office: Office) -> None:
    """The reply says so, and nothing is sent."""
    server = office.trusted.server(office.submission)
    with pytest.raises(NoSession, match=r"auth: PLAIN: 535 5\.7\.8") as told:
        await send(server, settings=secure("PLAIN"), options={"give": give_wrong})
    assert told.value.failures[0][1].cause is Cause.REFUSED


@pytest_twisted.ensureDeferred
async def test_who_does_not_log_in_is_refused(office: Office) -> None:
    """At the recipient, as Postfix does it; the certificate was checked before."""
    server = office.trusted.server(office.submission)
    sent = await send(server, settings=secure(login=False))
    assert sent.told == [{"bob": (Outcome.REFUSED, Stage.RCPT, 554, "5.7.1")}]
    for implicit in (False, True):
        port = office.smtps if implicit else office.submission
        with pytest.raises(NoSession, match=r"tls: .* not trusted"):
            await send(office.trusted.stranger(port, implicit_tls=implicit), settings=secure())
    settings = ClientSettings(starttls="off", login="required")
    with pytest.raises(NoSession, match="does not offer AUTH"):
        await send(Server("127.0.0.1", office.submission), settings=settings)
