"""What a user of libESMTP relies on: extensions, AUTH, TLS, header fields; and the traps."""

from __future__ import annotations

import base64
import email
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from smtpcb import Connection, Limits, Settings
from smtpcb.client import ContentError, HeaderRules, NoSession, Server, SubmissionSession
from smtpcb.engine import (
    AskedMechanism,
    Cause,
    ClientSettings,
    Offers,
    Outcome,
    Stage,
)
from smtpcb.run.command import main
from smtpcb.smtp import (
    AddressError,
    BodyType,
    Credentials,
    DeliverBy,
    ForwardPath,
    MailParameters,
    Notify,
    OriginalRecipient,
    RcptParameters,
    Reply,
    Ret,
    WhenLate,
)
from smtpcb.smtp.sasl import MECHANISMS, Mechanism
from smtpcb.tls import ServerTls, load_pem
from tests.certificates import Issued, make_authority, make_identity, write_pem
from tests.seeds.client_side import (
    ANNE,
    BOB,
    CARL,
    HEADER,
    PASSWORD,
    PLAIN,
    TEXT,
    Office,
    Servers,
    Wire,
    session,
    submit,
    wire_of,
)
from tests.seeds.items import check_items

OMITTED = {
    "l52": "XUSR is sendmail's own word for mail from its user, and XEXCH50 carries Exchange's"
    " private properties: neither has a description that a client could keep to, no server needs"
    " them, and Exchange's EXDATA is not even in libESMTP; an Extension can ask either of them",
}


def test_each_item_has_a_test_or_a_reason() -> None:
    """Nothing is forgotten."""
    check_items("l", globals(), first=45, items=74, traps=11, omitted=OMITTED)


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Servers that end with the test."""
    started = Servers()
    yield started
    pytest_twisted.blockon(ensureDeferred(started.stop()))


def mail(wire: Wire) -> str:
    """Return what MAIL said behind the address."""
    [line] = wire.said("MAIL")
    return line.partition("> ")[2]


# Extensions.


async def in_pieces(octets: bytes) -> AsyncIterator[bytes]:
    yield octets


@pytest_twisted.ensureDeferred
async def test_l45_the_size_is_said(servers: Servers) -> None:
    """
    As it is known, to the octet; what can be read once has the size that the caller gives.

    Where it is not known, or not offered, nothing is said.
    """
    office = Office()
    port = servers.start(office)
    wire = await wire_of(port)
    assert f"SIZE={len(TEXT)}" in mail(wire).split()
    estimate = MailParameters(size=5000)
    assert "SIZE=5000" in mail(await wire_of(port, in_pieces(TEXT), parameters=estimate))
    # What is counted is not estimated.
    assert f"SIZE={len(TEXT)}" in mail(await wire_of(port, parameters=estimate))
    assert "SIZE" not in mail(await wire_of(port, in_pieces(TEXT)))
    without = servers.start(office, Settings(without={"SIZE"}))
    assert "SIZE" not in mail(await wire_of(without, parameters=estimate))
    assert office.contents == [TEXT] * 5


BINARY = HEADER + b"Subject: x\r\n\r\na\0b\nc\rd\r\r\n.\r\nno line end"


@pytest_twisted.ensureDeferred
async def test_l46_the_body_is_declared_and_needs_its_extension(servers: Servers) -> None:
    """
    By what the message is, or by what the caller says, who cannot say less than it is.

    Octets that are no lines need BINARYMIME and CHUNKING, and arrive as they are.
    """
    office = Office("BINARYMIME")
    port = servers.start(office)
    eight = TEXT + "ä\r\n".encode()
    assert "BODY=7BIT" in mail(await wire_of(port))
    assert "BODY=8BITMIME" in mail(await wire_of(port, eight))
    eight_bit = MailParameters(body=BodyType.EIGHT_BIT_MIME)
    assert "BODY=8BITMIME" in mail(await wire_of(port, parameters=eight_bit))
    binary = MailParameters(body=BodyType.BINARY_MIME)
    assert "BODY=BINARYMIME" in mail(await wire_of(port, BINARY, parameters=binary))
    assert office.contents[-1] == BINARY
    seven_bit = MailParameters(body=BodyType.SEVEN_BIT)
    with pytest.raises(ContentError, match="was to be 7BIT, and is 8BITMIME"):
        await submit(port, eight, parameters=seven_bit)
    # What can be read once is believed, and not sent to its end if it was not so.
    assert "BODY=7BIT" in mail(await wire_of(port, in_pieces(TEXT), parameters=seven_bit))
    message = await submit(port, in_pieces(eight), parameters=seven_bit)
    assert message.transaction.failure is not None
    assert message.transaction.failure.cause is Cause.SOURCE
    assert len(office.contents) == 5
    for lacking in ("8BITMIME", "BINARYMIME", "CHUNKING"):
        poor = servers.start(office, Settings(without={lacking}))
        for parameters in (eight_bit, binary):
            if lacking == "8BITMIME" or parameters is binary:
                message = (
                    await submit(poor, BINARY, parameters=parameters, rules=None)
                    if (parameters is binary)
                    else await submit(poor, parameters=parameters)
                )
                failure = message.transaction.failure
                assert failure is not None
                assert failure.cause is Cause.LACKING
                assert "not offered" in str(failure)
    assert len(office.contents) == 5


@pytest_twisted.ensureDeferred
async def test_l47_chunks_are_used_where_they_are_offered(servers: Servers) -> None:
    """
    Several are under way, and the last one says LAST.

    One that is refused stops those behind it, and RSET comes before the next message.
    """
    office = Office()
    port = servers.start(office)
    chunks_of = ClientSettings(hostname="c.example.org", starttls="off", chunk_octets=50_000)
    large = TEXT + b"line\r\n" * 50_000
    wire = await wire_of(port, large, settings=chunks_of)
    chunks = wire.said("BDAT")
    assert len(chunks) > 3
    assert [line.endswith(" LAST") for line in chunks] == [False] * (len(chunks) - 1) + [True]
    assert sum(int(line.split()[1]) for line in chunks) == len(large)
    assert "DATA" not in wire.verbs
    assert wire.content_octets == large  # no dot is doubled
    # What fills a chunk to the octet has an empty one behind it.
    whole = ClientSettings(hostname="c.example.org", starttls="off", chunk_octets=len(TEXT))
    wire = await wire_of(port, TEXT, settings=whole)
    assert wire.said("BDAT") == [f"BDAT {len(TEXT)}", "BDAT 0 LAST"]
    assert office.contents == [large, TEXT]
    wire = await wire_of(servers.start(office, Settings(without={"CHUNKING"})))
    assert wire.said("BDAT") == []
    assert wire.content_octets == TEXT.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    refusing = servers.fake(ehlo="250-here\n250-PIPELINING\n250 CHUNKING", bdat="552 too long")
    wire = Wire()
    two = session(refusing.port, chunks_of, observer=wire)
    for _ in range(2):
        two.add_message(ANNE, large).add_recipient(BOB)
    await two.run()
    assert [one.recipients[0].outcome for one in two.messages] == [Outcome.REFUSED] * 2
    assert [one.recipients[0].stage for one in two.messages] == [Stage.CONTENT] * 2
    assert wire.verbs == "EHLO MAIL RCPT BDAT RSET MAIL RCPT BDAT QUIT"


NOTES = RcptParameters(
    notify=frozenset({Notify.SUCCESS, Notify.DELAY}),
    orcpt=OriginalRecipient("rfc822", "bob+x=y@example.org"),
)


@pytest_twisted.ensureDeferred
async def test_l48_reports_are_asked_for_where_they_are_offered(servers: Servers) -> None:
    """
    RET, ENVID, NOTIFY and ORCPT arrive as they were meant, whatever characters are in them.

    Where DSN is not offered nothing is sent, unless the caller can do without.
    """
    office = Office("DSN")
    port = servers.start(office)
    parameters = MailParameters(ret=Ret.HDRS, envid="a+b=c d")
    to = ((BOB, NOTES), (CARL, RcptParameters(notify=frozenset({Notify.NEVER}))), "dan@x.org")
    await submit(port, to=to, parameters=parameters)
    [envelope] = office.envelopes
    assert (envelope.parameters.ret, envelope.parameters.envid) == (Ret.HDRS, "a+b=c d")
    assert [one.parameters.notify for one in envelope.recipients] == [
        *(NOTES.notify, {"NEVER"}, None)
    ]
    assert envelope.recipients[0].parameters.orcpt == NOTES.orcpt
    plain = servers.start(Office())
    message = await submit(plain, to=to)
    assert message.transaction.failure is not None
    assert str(message.transaction.failure) == "mail: NOTIFY needs DSN, which is not offered"
    assert [one.outcome for one in message.recipients] == [Outcome.NOT_TRIED] * 3
    message = await submit(plain, to=to, parameters=parameters, may_lack={"DSN"})
    assert message.is_delivered
    assert set(message.transaction.left_out) >= {"RET", "ENVID", "NOTIFY", "ORCPT"}


@pytest_twisted.ensureDeferred
async def test_l49_a_time_to_be_delivered_by(servers: Servers) -> None:
    """With its mode and trace; one that a server cannot keep is not asked of it (RFC 2852)."""
    office = Office("DELIVERBY")
    port = servers.start(office, Settings(limits=Limits(deliver_by_seconds=60)))
    wanted = [
        DeliverBy(600, WhenLate.RETURN),
        DeliverBy(999_999_999, WhenLate.NOTIFY, trace=True),
        DeliverBy(-30, WhenLate.NOTIFY),
        DeliverBy(30, WhenLate.NOTIFY),
    ]
    for by in wanted:
        await submit(port, parameters=MailParameters(by=by))
    assert [one.parameters.by for one in office.envelopes] == wanted
    soon = MailParameters(by=DeliverBy(59, WhenLate.RETURN))
    failure = (await submit(port, parameters=soon)).transaction.failure
    assert failure is not None
    assert (failure.cause, failure.temporary) == (Cause.LIMIT, False)
    for seconds in (0, -1):
        with pytest.raises(ValueError, match="late already"):
            DeliverBy(seconds, WhenLate.RETURN)
    with pytest.raises(ValueError, match="nine digits"):
        DeliverBy(1_000_000_000, WhenLate.NOTIFY)
    message = await submit(servers.start(Office()), parameters=MailParameters(by=wanted[0]))
    assert message.transaction.failure is not None
    assert message.transaction.failure.cause is Cause.LACKING


@pytest_twisted.ensureDeferred
async def test_a_time_to_be_held_until_is_within_the_servers_limits(servers: Servers) -> None:
    """FUTURERELEASE says for how long and until when (RFC 4865 §3): no server is asked for more."""
    office = Office("FUTURERELEASE")
    port = servers.start(office, Settings(limits=Limits(hold_seconds=3600)))
    now = datetime.now(UTC).replace(microsecond=0)
    soon = now + timedelta(minutes=30)
    await submit(port, parameters=MailParameters(holduntil=soon))
    await submit(port, parameters=MailParameters(holdfor=3600))
    assert [one.parameters.holduntil for one in office.envelopes] == [soon, None]
    for parameters in (
        MailParameters(holduntil=now + timedelta(hours=2)),
        MailParameters(holdfor=3601),
    ):
        failure = (await submit(port, parameters=parameters)).transaction.failure
        assert failure is not None
        assert (failure.cause, failure.temporary) == (Cause.LIMIT, False)
        assert "holds messages" in str(failure)
    odd = servers.fake(ehlo="250-here\n250 FUTURERELEASE 60 whenever")
    assert (await submit(odd.port, parameters=MailParameters(holduntil=soon))).is_delivered


@pytest_twisted.ensureDeferred
async def test_l50_enhanced_status_codes_are_told_apart(servers: Servers) -> None:
    """Class, subject and detail stand beside the code where they are offered; else it is text."""
    port = servers.start(Office())
    message = await submit(port, to=(BOB, "no-one@example.org", "later@example.org"))
    replies = [one.reply for one in message.recipients]
    assert [reply and (reply.code, reply.status) for reply in replies] == [
        *((250, "2.0.0"), (550, "5.1.1"), (450, "4.2.1"))
    ]
    assert replies[1] is not None
    assert replies[1].lines == ("No such mailbox",)
    for code, text in ((250, "250 2.1.0 ok"), (550, "550 4.1.1 odd"), (550, "550 1.2.3.4 is bad")):
        for offer in ("250-here\n250 ENHANCEDSTATUSCODES", "250 here"):
            fake = servers.fake(ehlo=offer, rcpt=text)
            [one] = (await submit(fake.port)).recipients
            assert one.rcpt_reply is not None
            read = "ENHANCED" in offer and code == 250
            assert one.rcpt_reply.status == ("2.1.0" if read else None)
            assert one.rcpt_reply.text == text


class Queues(Office):
    """Starts one queue, has nothing in another, and is too busy for all others."""

    def etrn(self, domain: str, connection: Connection) -> Any:
        return {"example.org": (250, "2.0.0", "Started"), "@example.org": (251, "Nothing")}.get(
            domain, (458, "4.2.0", "Not now")
        )


@pytest_twisted.ensureDeferred
async def test_l51_a_queue_is_started(servers: Servers) -> None:
    """
    ETRN in a session without any message, or before the first one; each has its reply (RFC 1985).

    Where it is not offered it is not said, and a domain brings no second command.
    """
    office = Queues()
    wire = Wire()
    one = session(servers.start(office, CLEAR), login(), give=give, observer=wire)
    nodes = [one.add_etrn("example.org", data=1), one.add_etrn("example.org", subdomains=True)]
    nodes.append(one.add_etrn("x.org"))
    await one.run()
    assert [node.reply and node.reply.code for node in nodes] == [250, 251, 458]
    assert [node.is_accepted for node in nodes] == [True, True, False]
    assert nodes[0].data == 1
    assert wire.said("ETRN") == ["ETRN example.org", "ETRN @example.org", "ETRN x.org"]
    assert wire.verbs.endswith("ETRN ETRN ETRN QUIT")
    one.add_message(ANNE, TEXT).add_recipient(BOB)
    await one.run()
    assert office.contents == [TEXT]
    assert re.search("AUTH .*ETRN ETRN ETRN MAIL ", wire.verbs)
    none = session(servers.start(Office()), observer=(wire := Wire()))
    node = none.add_etrn("example.org")
    await none.run()
    assert node.failure is not None
    assert node.failure.cause is Cause.LACKING
    assert wire.verbs == "EHLO QUIT"
    for wrong in ("x.org\r\nQUIT", "", "#x.org", "x y"):
        with pytest.raises(ValueError, match="ETRN is for a domain"):
            none.add_etrn(wrong)


@pytest_twisted.ensureDeferred
async def test_l53_what_a_server_says_of_itself(servers: Servers) -> None:
    """
    Keywords in any case, unknown ones are passed over, and AUTH= of old servers is understood.

    The server's SIZE is known, and a message that is longer is not begun.
    """
    offers = Offers(
        Reply(
            250,
            (
                "mail.example.org hello",
                "pipelining",
                "Size 1000",
                "X-NEW thing",
                "AUTH=LOGIN PLAIN",
                "AUTH CRAM-MD5 PLAIN",
                "!?",
                "x",
            ),
            status=None,
        )
    )
    assert (offers.hostname, offers.pipelining, offers.size_octets) == (
        *("mail.example.org", True, 1000),
    )
    assert offers.mechanisms == ("LOGIN", "PLAIN", "CRAM-MD5")
    assert offers["X-NEW"] == "thing"
    old = servers.fake(
        ehlo="250-here\n250-X-NEW thing\n250-sIzE 100\n250 AUTH=LOGIN PLAIN", auth="235 ok"
    )
    settings = ClientSettings(
        starttls="off", login="required", allow_insecure_auth=True, mechanisms=("PLAIN",)
    )
    message = await submit(old.port, settings=settings, options={"give": give})
    failure = message.transaction.failure
    assert failure is not None
    assert str(failure).endswith(" octets, and the server takes 100 at most")
    assert [line.split()[0] for line in old.lines] == ["EHLO", "AUTH", "QUIT"]


@pytest_twisted.ensureDeferred
async def test_limits_are_kept(servers: Servers) -> None:
    """More recipients than a server takes go in several transactions (RFC 9422)."""
    office = Office()
    port = servers.start(office, Settings(limits=Limits(recipients=2)))
    to = [f"bob{number}@example.org" for number in range(5)]
    message = await submit(port, to=to)
    assert message.is_delivered
    assert office.recipients == [to[:2], to[2:4], to[4:]]


# AUTH.


def give(mechanism: str) -> Credentials:
    """Log in as Anne."""
    token = PASSWORD if "OAUTH" in mechanism else None
    return Credentials(mechanism, "anne", PASSWORD, token=token)


def login(*mechanisms: str, **more: Any) -> ClientSettings:
    """Return how somebody logs in, in the clear."""
    more = {"login": "required", "allow_insecure_auth": True, "starttls": "off", **more}
    return ClientSettings(mechanisms=mechanisms or None, **more)


CLEAR = Settings(allow_insecure_auth=True)


@pytest_twisted.ensureDeferred
async def test_l54_who_logs_in_is_apart_from_the_session(servers: Servers) -> None:
    """One function serves many sessions; without it, or with None, nobody logs in."""
    office = Office()
    port = servers.start(office, CLEAR)
    for _ in range(2):
        await submit(port, settings=login(), options={"give": give})
    assert [one.connection.identity for one in office.envelopes] == ["anne"] * 2
    for nobody in ({}, {"give": lambda mechanism: None}):
        await submit(port, settings=login(login="optional"), options=nobody)
    assert [one.connection.identity for one in office.envelopes[2:]] == [None] * 2
    with pytest.raises(NoSession, match="auth: no credentials were given"):
        await submit(port, settings=login())


@pytest_twisted.ensureDeferred
async def test_l55_no_password_is_said_in_the_clear(servers: Servers) -> None:
    """
    Unless that was allowed; nobody is asked for one.

    A login that is required then fails the session, and one that is optional is done without.
    """
    office = Office()
    port = servers.start(office, CLEAR)
    asked: list[str] = []

    def ask(mechanism: str) -> Credentials:
        asked.append(mechanism)
        return give(mechanism)

    with pytest.raises(NoSession, match="of which none may be used outside TLS") as told:
        await submit(port, settings=login(allow_insecure_auth=False), options={"give": ask})
    assert told.value.failures[0][1].cause is Cause.TLS
    optional = login(allow_insecure_auth=False, login="optional")
    assert (await submit(port, settings=optional, options={"give": ask})).is_delivered
    assert (asked, office.credentials) == ([], [])


@pytest_twisted.ensureDeferred
async def test_l56_the_first_acceptable_mechanism_wins(servers: Servers) -> None:
    """In the server's order, or in the caller's; your own can be among them."""
    office = Office()
    port = servers.start(
        office, Settings(mechanisms=("LOGIN", "CRAM-MD5", "PLAIN"), allow_insecure_auth=True)
    )

    async def used(settings: ClientSettings) -> str:
        wire = await wire_of(port, settings=settings, options={"give": give})
        return wire.said("AUTH")[0].split()[1]

    assert await used(login()) == "LOGIN"
    assert await used(login("SCRAM-SHA-256", "PLAIN", "LOGIN")) == "PLAIN"
    assert await used(login("CRAM-MD5")) == "CRAM-MD5"
    own = Mechanism(
        "X-OWN", MECHANISMS["PLAIN"].server, MECHANISMS["PLAIN"].client, plaintext=False
    )
    port = servers.start(office, Settings(mechanisms=(own, "PLAIN")))
    # Of one that the transcript does not know, all is hidden.
    assert (
        await used(ClientSettings(mechanisms=(own,), login="required", starttls="off"))
    ).startswith("<")
    assert {one.connection.identity for one in office.envelopes} == {"anne"}


@pytest_twisted.ensureDeferred
async def test_l57_who_gives_a_password_knows_what_becomes_of_it(servers: Servers) -> None:
    """
    The mechanism says whether it goes in the clear; the answer may come later.

    None means that mechanism is not used, and who fails ends the session without a word of it.
    """
    office = Office()
    port = servers.start(office, CLEAR)
    seen: list[tuple[str, bool]] = []

    async def careful(mechanism: AskedMechanism) -> Credentials | None:
        seen.append((str(mechanism), mechanism.in_the_clear))
        await deferLater(reactor, 0)
        return give(mechanism) if mechanism == "CRAM-MD5" else None

    settings = login("LOGIN", "CRAM-MD5", "PLAIN")
    await submit(port, settings=settings, options={"give": careful})
    assert seen == [("LOGIN", True), ("CRAM-MD5", True)]
    assert office.envelopes[0].connection.identity == "anne"
    secure = AskedMechanism("PLAIN", True, secure=True)
    assert not secure.in_the_clear
    assert not AskedMechanism("EXTERNAL", False, secure=False).in_the_clear

    def broken(mechanism: str) -> Credentials:
        raise LookupError(PASSWORD)

    with pytest.raises(NoSession, match="no credentials: LookupError") as told:
        await submit(port, settings=settings, options={"give": broken})
    assert PASSWORD not in str(told.value)


@pytest_twisted.ensureDeferred
async def test_l58_the_first_response_comes_with_auth(servers: Servers) -> None:
    """Where the mechanism begins with one; an empty one is =, and CRAM-MD5 has none."""
    office = Office()
    port = servers.start(office, CLEAR)
    lines: list[bytes] = []

    class Seen(Wire):
        def client(self, octets: bytes) -> None:
            lines.append(octets)

    for mechanism in ("PLAIN", "CRAM-MD5", "LOGIN"):
        await submit(port, settings=login(mechanism), options={"give": give, "observer": Seen()})
    said = [line for line in lines if line.startswith(b"AUTH")]
    # What is recorded has no secret in it.
    assert PASSWORD.encode() not in b"".join(lines)
    assert base64.b64encode(f"\0anne\0{PASSWORD}".encode()) not in b"".join(lines)
    assert said[0].startswith(b"AUTH PLAIN ")
    assert said[1:] == [b"AUTH CRAM-MD5\r\n", b"AUTH LOGIN\r\n"]
    assert [one.mechanism for one in office.credentials] == ["PLAIN", "CRAM-MD5", "LOGIN"]
    empty = Mechanism(
        "X-EMPTY", MECHANISMS["EXTERNAL"].server, MECHANISMS["EXTERNAL"].client, plaintext=False
    )
    fake = servers.fake(ehlo="250-here\n250 AUTH X-EMPTY", auth="235 ok")
    settings = ClientSettings(mechanisms=(empty,), login="required", starttls="off")
    await submit(
        fake.port,
        settings=settings,
        options={"give": lambda mechanism: Credentials(mechanism, "", "")},
    )
    assert "AUTH X-EMPTY =" in fake.lines


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("refusal", ["535 no", "454 later", "534 weak", "538 encrypt"])
async def test_l59_a_login_that_is_refused(servers: Servers, refusal: str) -> None:
    """It fails, or the next mechanism is tried, or it goes on without: as it was chosen."""
    ehlo = "250-here\n250 AUTH PLAIN XOAUTH2"
    options = {"give": give}
    fake = servers.fake(ehlo=ehlo, auth=refusal)
    with pytest.raises(NoSession, match=refusal) as told:
        await submit(fake.port, settings=login(), options=options)
    [(_, failure)] = told.value.failures
    assert (failure.stage, failure.cause) == (Stage.AUTH, Cause.REFUSED)
    assert failure.temporary is refusal.startswith("4")
    assert [line.split()[0] for line in fake.lines] == ["EHLO", "AUTH", "QUIT"]
    fake = servers.fake(ehlo=ehlo, auth=[refusal, "235 ok"])
    assert (
        await submit(fake.port, settings=login(next_mechanism=True), options=options)
    ).is_delivered
    assert [line.split()[1] for line in fake.lines[1:3]] == ["PLAIN", "XOAUTH2"]
    fake = servers.fake(ehlo=ehlo, auth=refusal)
    assert (await submit(fake.port, settings=login(login="optional"), options=options)).is_delivered


# TLS.


class Authority:
    """Who issues what a test needs, and how a client trusts it."""

    def __init__(self) -> None:
        self.issued = make_authority()
        self.server = make_identity(["mail.example.org"], self.issued)
        self.trust = [self.issued.certificate]

    def tls(self, issued: Issued | None = None, **options: Any) -> ServerTls:
        """Return the server's side."""
        return ServerTls(lambda: [(issued or self.server).identity], **options)

    def to(self, port: int, **how: Any) -> Server:
        """Return a server whose certificate is checked."""
        how = {"hostname": "mail.example.org", "trust": self.trust, **how}
        return Server("127.0.0.1", port, **how)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """One for all, since keys take their time."""
    return Authority()


SECURE = ClientSettings(hostname="client.example.org")


async def through(server: Server, settings: ClientSettings = SECURE, **options: Any) -> Wire:
    """Send one message; return what was said."""
    wire = Wire()
    one = SubmissionSession(server, settings=settings, observer=wire, **options)
    one.add_message(ANNE, TEXT).add_recipient(BOB)
    result = await one.run()
    assert result.is_delivered
    return wire


@pytest_twisted.ensureDeferred
async def test_l60_the_certificate_of_the_client_logs_in(
    servers: Servers, authority: Authority, tmp_path: Path
) -> None:
    """By EXTERNAL, as the server reads the certificate, or as whom the caller says."""
    trusted = write_pem(tmp_path / "ca.pem", authority.issued.certificate)
    office = Office()
    port = servers.start(office, tls=authority.tls(client_authorities=trusted))
    anne = make_identity(["anne@example.org"], authority.issued, client=True)
    settings = ClientSettings(login="required", mechanisms=("EXTERNAL",))

    def external(name: str) -> dict[str, Any]:
        return {"give": lambda mechanism: Credentials(mechanism, "", "", authorization_id=name)}

    server = authority.to(port, certificate=anne.identity)
    wire = await through(server, settings, **external(""))
    assert wire.said("AUTH") == ["AUTH EXTERNAL <1 octets hidden>"]
    await through(server, settings, **external("boss"))
    assert [one.mechanism for one in office.credentials] == ["EXTERNAL"] * 2
    assert [one.authorization_id for one in office.credentials] == ["", "boss"]
    assert all(one.proven for one in office.credentials)
    # Who has none cannot.
    with pytest.raises(NoSession, match="auth: "):
        await through(authority.to(port), settings, **external(""))


@pytest_twisted.ensureDeferred
async def test_l61_starttls_is_off_opportunistic_or_required(
    servers: Servers, authority: Authority
) -> None:
    """
    It comes before AUTH, EHLO is said again behind it, and what was offered before is forgotten.

    Required is the default.  Offered and then refused ends the session in each case.
    """
    office = Office()
    port = servers.start(office, tls=authority.tls())
    for mode, verbs in (
        ("off", "EHLO MAIL RCPT BDAT QUIT"),
        ("opportunistic", "EHLO STARTTLS EHLO AUTH MAIL RCPT BDAT QUIT"),
        ("required", "EHLO STARTTLS EHLO AUTH MAIL RCPT BDAT QUIT"),
    ):
        settings: Any = ClientSettings(starttls=mode, login="optional", mechanisms=("PLAIN",))  # type: ignore[arg-type]
        wire = await through(authority.to(port), settings, give=give)
        assert wire.verbs == verbs
        assert (office.envelopes[-1].connection.tls is None) is (mode == "off")
        # PLAIN was not offered in the clear, and the login was optional.
    clear = servers.start(office)
    await through(authority.to(clear), ClientSettings(starttls="opportunistic"))
    with pytest.raises(NoSession, match="STARTTLS is not offered"):
        await through(authority.to(clear))
    for mode in ("opportunistic", "required"):
        fake = servers.fake(ehlo="250-here\n250 STARTTLS", starttls="454 not now")
        with pytest.raises(NoSession, match=r"tls: .*454 not now"):
            await through(authority.to(fake.port), ClientSettings(starttls=mode))  # type: ignore[arg-type]
        assert [line.split()[0] for line in fake.lines] == ["EHLO", "STARTTLS", "QUIT"]


@implementer(IOpenSSLClientConnectionCreator)
class OwnContext:
    """TLS that checks nothing."""

    def __init__(self) -> None:
        self.context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.used = 0

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        self.used += 1
        return SSL.Connection(self.context, None)


@pytest_twisted.ensureDeferred
async def test_l62_a_context_of_ones_own(servers: Servers, authority: Authority) -> None:
    """Or one that is made: TLS 1.2 or later, and the authorities of the caller or the platform."""
    port = servers.start(Office(), tls=authority.tls())
    own = OwnContext()
    await through(Server("127.0.0.1", port, creator=own))
    assert own.used == 1
    await through(authority.to(port))
    with pytest.raises(NoSession, match="not trusted"):
        await through(authority.to(port, trust=None))  # the platform knows nothing of it

    class Broken(OwnContext):
        def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
            raise LookupError("no key")

    with pytest.raises(NoSession, match="tls: there can be none: no key"):
        await through(Server("127.0.0.1", port, creator=Broken()))
    unnamed = Server(f"tcp:127.0.0.1:{port}")
    with pytest.raises(NoSession, match=r"tls: .*nobody has said which hostname"):
        await through(unnamed)


@pytest_twisted.ensureDeferred
async def test_l63_l64_the_clients_certificate_comes_from_files(
    servers: Servers, authority: Authority, tmp_path: Path
) -> None:
    """A key may be opened by a passphrase; of one that others may read the user is told."""
    trusted = write_pem(tmp_path / "ca.pem", authority.issued.certificate)
    office = Office()
    port = servers.start(office, tls=authority.tls(client_authorities=trusted))
    anne = make_identity(["anne@example.org"], authority.issued, client=True)
    path = write_pem(tmp_path / "anne.pem", anne.certificate)
    key = write_pem(tmp_path / "anne.key", anne.private_key, passphrase=b"opens it")
    await through(authority.to(port, certificate=load_pem(path, key, b"opens it")))
    tls = office.envelopes[0].connection.tls
    assert tls is not None
    assert tls.client_names == ("anne@example.org",)
    both = write_pem(tmp_path / "both.pem", anne.certificate, anne.private_key, mode=0o644)
    words = ("--ca", trusted, "--tls-hostname", "mail.example.org", "--certificate", both)
    told = await command(port, *words)
    assert (told.returncode, told.stderr) == (
        *(0, f"smtpcb: {both}: others may read this private key\n"),
    )
    both.chmod(stat.S_IRUSR)
    told = await command(port, *words)
    assert (told.returncode, told.stderr) == (0, "")


async def command(
    port: int, *words: object, body: bool = True, given: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run ``smtpcb send`` beside the reactor."""
    program = "from smtpcb.run.command import main; raise SystemExit(main())"
    line = [sys.executable, "-c", program, "send", "--server", f"127.0.0.1:{port}"]
    line += ["--from", ANNE, "--to", BOB, *(("--body", "Hello") if body else ())]
    done: Any = await deferToThread(
        subprocess.run,
        [*line, *map(str, words)],
        input=given,
        capture_output=True,
        timeout=60,
        start_new_session=True,
    )
    done.stderr = done.stderr.decode()
    assert "Traceback" not in done.stderr
    return done  # type: ignore[no-any-return]


@pytest_twisted.ensureDeferred
async def test_l65_the_certificate_is_checked(servers: Servers, authority: Authority) -> None:
    """
    Its chain, that it is there, and its name: a * is one whole label, the common name counts not.

    What fails is told, and nothing was sent.
    """
    office = Office()

    def issued(names: list[str], **how: Any) -> Authority:
        other = Authority.__new__(Authority)
        other.issued, other.trust = authority.issued, authority.trust
        other.server = make_identity(names, authority.issued, **how)
        return other

    good = [(["*.example.org"], {}), (["other.example", "MAIL.example.org"], {})]
    bad = [
        (["*.org"], {}),
        (["mail.example.net"], {}),
        (["x.mail.example.org"], {"common_name": "mail.example.org"}),
        ([], {"common_name": "mail.example.org"}),
        (["*.example.org"], {"days": -0.5}),
    ]
    for names, how in good:
        other = issued(names, **how)
        await through(other.to(servers.start(office, tls=other.tls())))
    assert len(office.envelopes) == len(good)
    for names, how in bad:
        other = issued(names, **how)
        with pytest.raises(NoSession, match="tls: ") as told:
            await through(other.to(servers.start(office, tls=other.tls())))
        assert told.value.failures[0][1].stage is Stage.TLS
    for wrong in ("a.mail.example.org", "example.org"):
        other = issued(["*.example.org"])
        with pytest.raises(NoSession, match="tls: "):
            await through(other.to(servers.start(office, tls=other.tls()), hostname=wrong))
    strange = make_identity(["mail.example.org"], make_authority("Another"))
    port = servers.start(office, tls=authority.tls(strange))
    with pytest.raises(NoSession, match="not trusted"):
        await through(authority.to(port))
    assert len(office.envelopes) == len(good)


# Header fields.


async def arrived(servers: Servers, rules: HeaderRules, given: bytes = b"", **how: Any) -> Any:
    """Send a message of these fields; return how it has arrived, and its fields in order."""
    office = Office()
    message = await submit(servers.start(office), given + b"\r\nbody\r\n", rules=rules, **how)
    assert message.is_delivered
    [octets] = office.contents
    header, _, body = octets.partition(b"\r\n\r\n")
    assert body == b"body\r\n"
    return header.decode().split("\r\n"), email.message_from_bytes(octets, policy=SMTP)


REST = HEADER.decode().split("\r\n")[:-1]


@pytest_twisted.ensureDeferred
async def test_l66_l73_what_belongs_to_the_content_is_not_touched(servers: Servers) -> None:
    """MIME, trace and resent fields go as they are, and cannot be set or prohibited."""
    own = (
        b"Received: from a by b; Sat, 28 Nov 2026 09:00:00 +0000\r\nMIME-Version:  1.0\r\n"
        b"Content-Type: text/plain;\r\n\tcharset=us-ascii\r\nResent-From: x@y.z\r\n"
        b"Resent-Date: Sat, 28 Nov 2026 09:00:00 +0000\r\nResent-From: second@y.z\r\n"
    )
    lines, _ = await arrived(servers, HeaderRules(), own + HEADER)
    assert lines == [*own.decode().split("\r\n")[:-1], *REST]
    for name in ("MIME-Version", "Content-Type", "Resent-To", "received"):
        rules = HeaderRules()
        with pytest.raises(ValueError, match="stays as it is"):
            rules.set(name, "x@y.z")
        with pytest.raises(ValueError, match="stays as it is"):
            rules.prohibit(name)


@pytest_twisted.ensureDeferred
async def test_l67_what_is_missing_is_supplied(servers: Servers) -> None:
    """Date, From and Message-ID, behind the fields of the message; a report names its author."""
    lines, read = await arrived(servers, HeaderRules(), b"Subject: x\r\n")
    assert [line.partition(":")[0] for line in lines] == ["Subject", "Date", "From", "Message-ID"]
    assert read["From"] == ANNE
    date = read["Date"].datetime
    assert date.tzinfo is not None
    assert abs(datetime.now(UTC) - date) < timedelta(minutes=5)
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.org>", read["Message-ID"])
    with pytest.raises(ContentError, match="no From field"):
        await submit(1, b"Subject: x\r\n\r\n", sender="")
    lines, _ = await arrived(servers, HeaderRules(), HEADER, sender="")
    assert lines == REST


@pytest_twisted.ensureDeferred
async def test_l68_what_only_others_may_write_is_taken_out(servers: Servers) -> None:
    """Return-Path, Original-Recipient and Resent-Reply-To are not sent, nor can they be set."""
    own = (
        b"Return-Path: <x@y.z>\r\nOriginal-Recipient: rfc822;x@y.z\r\n"
        b"Resent-Reply-To: x@y.z\r\nSubject: x\r\n"
    )
    lines, _ = await arrived(servers, HeaderRules(), own + HEADER)
    assert lines == ["Subject: x", *REST]
    for name in ("Return-Path", "original-recipient", "Resent-Reply-To"):
        with pytest.raises(ValueError, match="is not sent"):
            HeaderRules().set(name, "x@y.z")


@pytest_twisted.ensureDeferred
async def test_l69_fields_are_set_by_name(servers: Servers) -> None:
    """
    A date, addresses with the names of people, a text.

    Whatever is in a name is quoted or encoded, and several calls make a list in their order.
    """
    rules = HeaderRules()
    rules.set("Date", datetime(2026, 11, 28, 9, tzinfo=UTC))
    rules.set("From", ('Anne, the "first" <anne@example.com>', ANNE))
    rules.set("To", ("Bob (Robert)", BOB))
    rules.set("To", [("Größe", CARL), "dan@example.org"])
    rules.set("Cc", "Eve <eve@example.org>, frank@example.org")
    rules.set("Reply-To", ForwardPath("office", "example.org"))
    rules.set("Sender", ANNE)
    rules.set("Disposition-Notification-To", ANNE)
    rules.set("Message-ID", "<one@example.org>")
    rules.set("X-Colour", "blue")
    _, read = await arrived(servers, rules)
    assert read["Date"].datetime == datetime(2026, 11, 28, 9, tzinfo=UTC)
    [author] = read["From"].addresses
    assert (author.display_name, author.addr_spec) == (
        *('Anne, the "first" <anne@example.com>', ANNE),
    )
    assert [(one.display_name, one.addr_spec) for one in read["To"].addresses] == [
        *(("Bob (Robert)", BOB), ("Größe", CARL), ("", "dan@example.org"))
    ]
    assert [one.addr_spec for one in read["Cc"].addresses] == [
        *("eve@example.org", "frank@example.org")
    ]
    for name, value in (
        *(("Reply-To", "office@example.org"), ("Sender", ANNE), ("X-Colour", "blue")),
        *(("Disposition-Notification-To", ANNE), ("Message-ID", "<one@example.org>")),
    ):
        assert read.get_all(name) == [value]


@pytest_twisted.ensureDeferred
async def test_l70_to_is_made_of_the_recipients_on_request(servers: Servers) -> None:
    """And never else: whoever gets a message does not read who else does."""
    rules = HeaderRules()
    rules.set_to_from_recipients()
    to = (BOB, '"b o b"@example.org', CARL)
    _, read = await arrived(servers, rules, HEADER, to=to)
    assert [one.addr_spec for one in read["To"].addresses] == list(to)
    _, read = await arrived(servers, HeaderRules(), HEADER, to=to)
    assert read["To"] is None


@pytest_twisted.ensureDeferred
async def test_l71_who_wins(servers: Servers) -> None:
    """The message does, unless it is overridden: then in its place; prohibited is taken out."""
    own = b"Subject: theirs\r\nX-Mailer: x\r\nReply-To: theirs@y.z\r\nTo: last@y.z\r\n"
    rules = HeaderRules()
    rules.set("Subject", "ours")
    rules.set("Reply-To", "ours@y.z", override=True)
    rules.prohibit("X-Mailer")
    lines, _ = await arrived(servers, rules, own + HEADER)
    assert lines == ["Subject: theirs", "Reply-To: ours@y.z", "To: last@y.z", *REST]
    for name in ("Date", "From", "Received", "Content-Type"):
        with pytest.raises(ValueError, match=r"cannot be|stays"):
            HeaderRules().prohibit(name)


@pytest_twisted.ensureDeferred
async def test_l72_of_known_fields_the_first_one_stays(servers: Servers) -> None:
    """Others may be there as often as they like; one that is no list is set once."""
    own = b"Subject: 1\r\nX: 1\r\nSubject: 2\r\nX: 2\r\nTo: a@b.c\r\nTo: d@e.f\r\n"
    lines, _ = await arrived(servers, HeaderRules(), own + HEADER + HEADER)
    assert lines == ["Subject: 1", "X: 1", "X: 2", "To: a@b.c", *REST]
    rules = HeaderRules()
    rules.set("Subject", "1")
    with pytest.raises(ValueError, match="set already"):
        rules.set("Subject", "2")


@pytest_twisted.ensureDeferred
async def test_l74_the_command_has_what_a_sender_needs(servers: Servers, tmp_path: Path) -> None:
    """
    Host, sender, recipients, subject, reports, receipts, the dialogue, TLS, no login, a file in LF.

    Standard input is ``-``.
    """
    office = Office("DSN")
    port = servers.start(office)
    path = tmp_path / "message"
    path.write_bytes(b"Subject: theirs\nTo: x@y.z\n\n.dots\n")
    told = await command(
        *(port, "--cc", CARL, "--bcc", "dan@example.org", "--subject", "ours"),
        *("--notify", "success,delay", "--receipt", "--monitor", "--tls", "off", path),
        body=False,
    )
    assert told.returncode == 0
    assert "C: MAIL FROM:<anne@example.org>" in told.stderr
    [envelope] = office.envelopes
    assert [str(one) for one in envelope.recipients] == [BOB, CARL, "dan@example.org"]
    assert [one.parameters.notify for one in envelope.recipients] == [{"SUCCESS", "DELAY"}] * 3
    read = email.message_from_bytes(office.contents[0], policy=SMTP)
    assert (read["Subject"], read["Disposition-Notification-To"]) == ("ours", ANNE)
    assert b"dan@" not in office.contents[0]
    assert office.contents[0].endswith(b"\r\n\r\n.dots\r\n")
    told = await command(port, "-", "--notify", "never", body=False, given=path.read_bytes())
    assert told.returncode == 0
    # What a server cannot promise is not left out in silence.
    plain = servers.start(Office())
    told = await command(plain, "--notify", "failure")
    assert (told.returncode, told.stderr) == (
        *(69, "smtpcb: bob@example.org: not tried: mail: NOTIFY needs DSN, which is not offered\n"),
    )


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--notify", "never,delay"), "success, failure and delay, or never alone"),
        (("--receipt", "--from", "", "--header", f"From: {ANNE}"), "--receipt: nobody has sent it"),
    ],
)
def test_l74_what_means_nothing_is_told(
    words: tuple[str, ...], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is sent."""
    try:
        status: object = main(["send", "--from", ANNE, "--to", BOB, "--body", "x", *words])
    except SystemExit as ended:
        status = ended.code
    assert status == 64
    assert fault in capsys.readouterr().err


# Traps.


@pytest_twisted.ensureDeferred
async def test_lx1_what_is_injected_before_tls_is_not_believed(
    servers: Servers, authority: Authority
) -> None:
    """Octets behind the 220 to STARTTLS may be anybody's: the session ends, nothing was sent."""
    for injected in ("\n250-here\n250 AUTH PLAIN", "\n2", "\n"):
        fake = servers.fake(ehlo="250-here\n250 STARTTLS", starttls=f"220 go{injected}")
        with pytest.raises(NoSession) as told:
            await through(authority.to(fake.port))
        [(_, failure)] = told.value.failures
        assert (failure.stage, failure.cause) == (Stage.TLS, Cause.PROTOCOL)
        assert [line.split()[0] for line in fake.lines] == ["EHLO", "STARTTLS"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("replies", "settings", "cause"),
    [
        ({"greeting": None}, PLAIN, Cause.LOST),
        ({"ehlo": None}, PLAIN, Cause.LOST),
        ({"ehlo": "250-here\n250 STARTTLS", "starttls": "454 no"}, SECURE, Cause.REFUSED),
        ({}, ClientSettings(starttls="off", require=frozenset({"DSN"})), Cause.LACKING),
        ({}, SECURE, Cause.TLS),
    ],
)
async def test_lx2_what_came_to_nothing_is_no_success(
    servers: Servers, replies: dict[str, Any], settings: ClientSettings, cause: Cause
) -> None:
    """Dropped, refused, or lacking what is required: it is an error that says so."""
    with pytest.raises(NoSession) as told:
        await submit(servers.fake(**replies).port, settings=settings)
    assert told.value.failures[0][1].cause is cause


@pytest_twisted.ensureDeferred
async def test_lx2_a_link_that_drops_later_is_in_the_result(servers: Servers) -> None:
    """The messages behind are not tried, and the session says why."""
    one = session(servers.fake(rcpt=["250 ok", None]).port)
    for _ in range(3):
        one.add_message(ANNE, TEXT).add_recipient(BOB)
    result = await one.run()
    assert not result.is_delivered
    assert result.failure is not None
    assert result.failure.cause is Cause.LOST
    assert [message.recipients[0].outcome for message in one.messages] == [
        *(Outcome.DELIVERED, Outcome.DEFERRED, Outcome.NOT_TRIED)
    ]


@pytest_twisted.ensureDeferred
async def test_lx3_what_is_required_is_so_whoever_logs_in(
    servers: Servers, authority: Authority, tmp_path: Path
) -> None:
    """
    With a login too, and by what the last EHLO said; opportunistic TLS never falls back.

    A file of authorities that cannot be used is an error, not clear text.
    """
    dsn = frozenset({"DSN"})
    office = Office()
    required = login(require=dsn)
    with pytest.raises(NoSession, match="does not offer DSN"):
        await submit(servers.start(office, CLEAR), settings=required, options={"give": give})
    assert office.credentials == []
    # Said in the clear, and not inside.
    port = servers.start(office, tls=authority.tls())
    with pytest.raises(NoSession, match="does not offer STARTTLS"):
        await through(authority.to(port), ClientSettings(require=frozenset({"STARTTLS"})))
    for mode in ("opportunistic", "required"):
        with pytest.raises(NoSession, match=r"tls: .* not trusted"):
            await through(authority.to(port, trust=None), ClientSettings(starttls=mode))  # type: ignore[arg-type]
    (tmp_path / "ca.pem").write_text("nothing")
    told = await command(port, "--tls", "opportunistic", "--ca", tmp_path / "ca.pem")
    assert told.returncode == 66
    assert "no certificate" in told.stderr
    assert office.envelopes == []


EVIL = ["\r\nRSET", "\rRSET", "\nRSET", "\0", "\x85", "\u2028", "> SIZE=1", " x"]


@pytest.mark.parametrize("evil", EVIL)
def test_lx4_no_value_brings_another_command_or_field(evil: str) -> None:
    """It is refused when it is said, before there is a connection."""
    one = session(1)
    for wrong in (f"bob{evil}@example.org", f"bob@example.org{evil}"):
        with pytest.raises(AddressError):
            one.add_message(wrong, TEXT)
        with pytest.raises(AddressError):
            one.add_message(ANNE, TEXT).add_recipient(wrong)
        with pytest.raises(ValueError, match=r"address|control"):
            HeaderRules().set("To", wrong)
    with pytest.raises(ValueError, match="hostname"):
        ClientSettings(hostname=f"example.org{evil}")
    if evil[0] not in "> ":
        for name, value in (("Subject", f"x{evil}"), ("To", ("Bob" + evil, BOB))):
            with pytest.raises(ValueError, match="control"):
                HeaderRules().set(name, value)
    with pytest.raises(ValueError, match="no name"):
        HeaderRules().set(f"X{evil}", "x")


@pytest_twisted.ensureDeferred
async def test_lx5_nothing_is_cut(servers: Servers) -> None:
    """What is too long is refused, and what is not arrives whole."""
    office = Office()
    long = "x" * 185 + "@" + "y" * 60 + ".org"
    notes = RcptParameters(orcpt=OriginalRecipient("rfc822", "z" * 480))
    office.extensions |= {"DSN"}
    await submit(
        servers.start(office),
        to=((long, notes),),
        sender=long,
        settings=ClientSettings(hostname=".".join(["h" * 60] * 4), starttls="off"),
    )
    [envelope] = office.envelopes
    assert str(envelope.reverse_path) == long
    assert [str(one) for one in envelope.recipients] == [long]
    assert envelope.recipients[0].parameters.orcpt == notes.orcpt
    for wrong in ("x" * 300 + "@example.org", "x@" + "y." * 130 + "org"):
        with pytest.raises(AddressError):
            session(1).add_message(wrong, TEXT)
    with pytest.raises(ValueError, match="hostname"):
        ClientSettings(hostname="h." * 200 + "org")


@pytest_twisted.ensureDeferred
async def test_lx6_a_time_to_be_delivered_by_is_written_as_it_is_meant(servers: Servers) -> None:
    """N notifies, R returns, and a semicolon stands before them (RFC 2852 §4)."""
    port = servers.start(Office("DELIVERBY"))
    for by, said in (
        (DeliverBy(90, WhenLate.NOTIFY), "BY=90;N"),
        (DeliverBy(90, WhenLate.RETURN, trace=True), "BY=90;RT"),
    ):
        wire = await wire_of(port, parameters=MailParameters(by=by))
        assert said in mail(wire).split()


@pytest_twisted.ensureDeferred
async def test_lx7_the_dialogue_is_seen_to_its_end(servers: Servers) -> None:
    """Behind a chunk as well."""
    wire = Wire()
    one = session(servers.start(Office()), observer=wire)
    for _ in range(2):
        one.add_message(ANNE, TEXT).add_recipient(BOB)
    await one.run()
    assert wire.verbs == "EHLO MAIL RCPT BDAT MAIL RCPT BDAT QUIT"
    assert wire.came.count(b"250 2.0.0") >= 2
    assert wire.came.endswith(b"\r\n")
    assert wire.came.split(b"\r\n")[-2].startswith(b"221")
    assert wire.replies == [(stage, 250) for stage in (Stage.MAIL, Stage.RCPT, Stage.FINAL)] * 2


@pytest_twisted.ensureDeferred
async def test_lx8_a_reply_may_be_a_code_alone_and_421_is_the_end(servers: Servers) -> None:
    """Behind 421 no other MAIL is said: what was not tried is so, for now."""
    bare = servers.fake(mail="250", rcpt="250", data="354", final="250")
    message = await submit(bare.port)
    assert message.is_delivered
    assert message.recipients[0].reply is not None
    for verb, lines in (
        ("mail", ["EHLO", "MAIL"]),
        ("rcpt", ["EHLO", "MAIL", "RCPT"]),
        ("final", ["EHLO", "MAIL", "RCPT", "DATA"]),
    ):
        fake = servers.fake(**{verb: "421 shutting down"})
        one = session(fake.port)
        for _ in range(2):
            one.add_message(ANNE, TEXT).add_recipient(BOB)
        result = await one.run()
        assert [line.split()[0] for line in fake.lines] == lines
        assert result.failure is not None
        assert [message.recipients[0].outcome for message in one.messages] == [
            *(Outcome.DEFERRED, Outcome.NOT_TRIED)
        ]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("without", [(), ("CHUNKING",)])
async def test_lx9_a_lone_dot_ends_nothing(servers: Servers, without: tuple[str, ...]) -> None:
    """However its line ends in the source; a lone CR is refused."""
    office = Office()
    port = servers.start(office, Settings(without=frozenset(without)))
    for ending in (b"\n", b"\r\n"):
        for end in (b"\n", b"\r\n"):
            evil = HEADER + b"\r\nx" + ending + b"." + end + b"MAIL FROM:<evil@x.y>\r\n"
            await submit(port, evil)
    whole = HEADER + b"\r\nx\r\n.\r\nMAIL FROM:<evil@x.y>\r\n"
    assert office.contents == [whole] * 4
    for evil in (b"x\r.\r\ny\r\n", b"x\n.\r\r\n", b"x\r\n.\ry\r\n"):
        with pytest.raises(ContentError, match="CR without LF"):
            await submit(port, HEADER + b"\r\n" + evil)
    assert len(office.envelopes) == 4


@pytest_twisted.ensureDeferred
async def test_lx10_what_is_set_is_what_is_sent(servers: Servers) -> None:
    """
    Lists in their order, names quoted, hidden recipients nowhere, no value is no success.

    Who prohibits a Message-ID gets none, and an override needs its value.
    """
    rules = HeaderRules()
    for address in (BOB, CARL, "dan@example.org"):
        rules.set("To", (f"{address[:3]}, x", address))
    rules.prohibit("Message-ID")
    lines, read = await arrived(
        servers, rules, b"Bcc: hidden@x.y\r\nSubject: x\r\n", to=(BOB, "hidden@x.y")
    )
    assert [one.addr_spec for one in read["To"].addresses] == [BOB, CARL, "dan@example.org"]
    assert [one.display_name for one in read["To"].addresses] == ["bob, x", "car, x", "dan, x"]
    assert "hidden" not in "".join(lines)
    assert read["Message-ID"] is None
    with pytest.raises(ValueError, match="is not sent"):
        rules.set("Bcc", "hidden@x.y")
    nothing: Any = None
    for name in ("Subject", "To", "Reply-To", "Disposition-Notification-To", "X-Tag", "Date"):
        for override in (False, True):
            with pytest.raises((TypeError, ValueError)):
                HeaderRules().set(name, nothing, override=override)
    with pytest.raises(ValueError, match="time zone"):
        HeaderRules().set("Date", datetime(2026, 11, 28))


@pytest_twisted.ensureDeferred
async def test_lx11_a_message_stays_the_same_and_a_name_is_that_of_the_caller(
    servers: Servers, authority: Authority
) -> None:
    """
    Each attempt has the same Message-ID and Date.

    The certificate must have the name that the caller said, whatever the server calls itself; what
    it calls a mechanism is looked up among those that we know, and nowhere else.
    """
    office = Office()
    office.codes = {"bob": (450, "Later")}
    one = session(servers.start(office))
    message = one.add_message(ANNE, b"Subject: x\r\n\r\n")
    for to in (BOB, CARL):
        message.add_recipient(to)
    await one.run()
    office.codes = {}
    await one.run()
    first, second = office.contents
    assert first == second
    assert b"Message-ID: <" in first
    port = servers.start(office, Settings(hostname="mail.example.org"), tls=authority.tls())
    with pytest.raises(NoSession, match="tls: "):
        await through(authority.to(port, hostname="other.example.org"))
    fake = servers.fake(ehlo="250-here\n250 AUTH ../../EVIL X PLAIN", auth="235 ok")
    await submit(fake.port, settings=login(), options={"give": give})
    assert [line.split()[1] for line in fake.lines if line.startswith("AUTH")] == ["PLAIN"]
    assert Server("::1", 25).name.startswith(("::1", "[::1]"))
