"""What senders ask for with parameters, where the next server offers it and where not."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted

from smtpcb import Envelope, Settings
from smtpcb.client import CertificateChecks
from smtpcb.engine import ClientSettings
from smtpcb.smtp import Limits
from smtpcb.tls import ServerTls

from ..certificates import Issued, make_authority, make_identity
from .relaying import conversation, gateway

TEXT = b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nHi\r\n"
Serve = Callable[..., int]
TLS = ClientSettings(starttls="opportunistic")


@pytest.fixture(scope="module")
def issued() -> Issued:
    """A certificate of this machine's."""
    return make_identity(["127.0.0.1"], make_authority())


class Keeps:
    """What stands behind the gateway, and notes what was asked for."""

    extensions = frozenset({"DSN", "MT-PRIORITY", "REQUIRETLS"})

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.rcpts: list[Any] = []

    def rcpt(self, recipient: Any, envelope: Envelope) -> None:
        self.rcpts.append(recipient.parameters)

    def message(self, envelope: Envelope) -> None:
        self.mails.append(envelope.parameters)


class Plain(Keeps):
    """One that offers none of it."""

    extensions = frozenset()  # type: ignore[assignment]


def sent(*mail: str, rcpt: str = "", text: bytes = TEXT, to: str = "b@example.org") -> Any:
    """Return what sends one message; it returns the replies."""

    def send(client: smtplib.SMTP) -> list[tuple[int, bytes]]:
        client.command_encoding = "utf-8"
        said = [client.docmd(" ".join(("MAIL FROM:<a@example.org>", *mail)))]
        if said[-1][0] == 250:
            said.append(client.docmd(f"RCPT TO:<{to}> {rcpt}".strip()))
        if said[-1][0] == 250:
            said.append(client.data(text))
        return said

    return send


@pytest_twisted.ensureDeferred
async def test_reports_are_asked_for_there(serve: Serve) -> None:
    """RET, ENVID, NOTIFY and ORCPT go on as they came (RFC 3461), and the priority (RFC 6710)."""
    behind = Keeps()
    port = serve(gateway(serve(behind)))
    mail = ("RET=HDRS", "ENVID=QQ+2B314159", "MT-PRIORITY=3", "BODY=8BITMIME", "SIZE=100")
    rcpt = "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Bx@example.org"
    said = await conversation(port, sent(*mail, rcpt=rcpt))
    assert [code for code, _ in said] == [250, 250, 250]
    [parameters], [of_rcpt] = behind.mails, behind.rcpts
    assert parameters.write() == " SIZE=100 BODY=8BITMIME RET=HDRS ENVID=QQ+2B314159 MT-PRIORITY=3"
    assert of_rcpt.notify == {"SUCCESS", "DELAY"}
    assert of_rcpt.orcpt.address == "Bob+x@example.org"


@pytest_twisted.ensureDeferred
async def test_where_reports_cannot_be_asked_for_the_message_goes_on(serve: Serve) -> None:
    """Without DSN and MT-PRIORITY there: a message is not lost for want of a report."""
    behind = Plain()
    port = serve(gateway(serve(behind)))
    said = await conversation(
        port, sent("RET=FULL", "MT-PRIORITY=3", rcpt="NOTIFY=FAILURE ORCPT=rfc822;b@example.org")
    )
    assert [code for code, _ in said] == [250, 250, 250]
    assert (len(behind.mails[0]), len(behind.rcpts[0])) == (0, 0)


@pytest.mark.parametrize(
    ("without", "mail", "to", "reply"),
    [
        ({"8BITMIME"}, "BODY=8BITMIME", "b@example.org", (554, b"5.6.3 ")),
        ({"SMTPUTF8"}, "SMTPUTF8", "\u7528@example.org", (553, b"5.6.7 ")),
        ({"SMTPUTF8"}, "SMTPUTF8", "b@example.org", (553, b"5.6.7 ")),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_a_message_needs_and_is_not_there_refuses_it(
    serve: Serve, without: set[str], mail: str, to: str, reply: tuple[int, bytes]
) -> None:
    """At once, with the code that says so; the next message of the client is none the worse."""
    behind = Plain()
    port = serve(gateway(serve(behind, Settings(without=frozenset(without)))))

    def send(client: smtplib.SMTP) -> Any:
        first = sent(mail, to=to)(client)
        return first, sent()(client)

    [(code, text)], after = await conversation(port, send)
    assert (code, text[:6]) == reply
    assert after[-1][0] == 250
    assert len(behind.mails) == 1


@pytest_twisted.ensureDeferred
async def test_a_message_that_is_too_big_there_is_refused_for_good(serve: Serve) -> None:
    """Before it is sent, if its size was said (RFC 1870); to come again would be of no use."""
    behind = Plain()
    small = Settings(limits=Limits(message_octets=1000))
    port = serve(gateway(serve(behind, small)))
    [(code, text)] = await conversation(port, sent("SIZE=2000"))
    assert (code, text[:6]) == (552, b"5.3.4 ")
    said = await conversation(port, sent(text=b"x" * 70 + b"\r\n" + b"y" * 70 * 20 + b"\r\n"))
    assert said[-1][0] == 552
    assert behind.mails == []


@pytest_twisted.ensureDeferred
async def test_more_recipients_than_are_taken_there_come_again(serve: Serve) -> None:
    """The client hears which one was one too many, and sends it again (RFC 5321)."""
    behind = Plain()
    port = serve(gateway(serve(behind, Settings(limits=Limits(recipients=1)))))

    def send(client: smtplib.SMTP) -> Any:
        return client.sendmail("a@example.org", ["b@example.org", "c@example.org"], TEXT)

    refused = await conversation(port, send)
    assert list(refused) == ["c@example.org"]
    assert refused["c@example.org"][0] == 452


@pytest_twisted.ensureDeferred
async def test_bare_line_ends_in_chunks_go_no_further(serve: Serve) -> None:
    """A LF alone would be a line end to one server and none to another: refused for good."""
    behind = Plain()
    port = serve(gateway(serve(behind)))

    def send(client: smtplib.SMTP) -> Any:
        client.mail("a@example.org")
        client.rcpt("b@example.org")
        client.send(b"BDAT 28 LAST\r\nSubject: x\r\n\r\none\ntwo\r\n.\r\n\r\n")
        return client.getreply()

    code, text = await conversation(port, send)
    assert (code, text[:7]) == (550, b"5.6.11 ")
    assert behind.mails == []


def tls_of(issued: Issued) -> dict[str, Any]:
    return {"tls": ServerTls(lambda: [issued.identity])}


def checks_of(issued: Issued, *, forgiving: bool = False) -> CertificateChecks:
    assert issued.issuer is not None
    decide = (lambda fault: False) if forgiving else None
    return CertificateChecks("127.0.0.1", trust=[issued.issuer.certificate], decide=decide)


def inside_tls(*mail: str) -> Any:
    def send(client: smtplib.SMTP) -> Any:
        client.starttls()
        client.ehlo("client.example.org")
        return sent(*mail)(client)

    return send


@pytest_twisted.ensureDeferred
async def test_a_message_for_tls_alone_goes_on_inside_it(serve: Serve, issued: Issued) -> None:
    """REQUIRETLS is said there again, where the certificate was the right one (RFC 8689)."""
    behind = Keeps()
    upstream = serve(behind, **tls_of(issued))
    port = serve(gateway(upstream, settings=TLS, creator=checks_of(issued)), **tls_of(issued))
    said = await conversation(port, inside_tls("REQUIRETLS"))
    assert [code for code, _ in said] == [250, 250, 250]
    assert [one.requiretls for one in behind.mails] == [True]


@pytest.mark.parametrize("lacking", ["tls", "offer", "certificate"])
@pytest_twisted.ensureDeferred
async def test_a_message_for_tls_alone_goes_nowhere_else(
    serve: Serve, issued: Issued, lacking: str
) -> None:
    """No TLS there, a server that does not promise it, or whose name nobody knows: 550 5.7.30."""
    behind = Plain() if lacking == "offer" else Keeps()
    upstream = serve(behind, **({} if lacking == "tls" else tls_of(issued)))
    checks = checks_of(issued, forgiving=lacking == "certificate")
    port = serve(gateway(upstream, settings=TLS, creator=checks), **tls_of(issued))
    [(code, text)] = await conversation(port, inside_tls("REQUIRETLS"))
    assert (code, text[:7]) == (550, b"5.7.30 ")
    assert (await conversation(port, inside_tls()))[-1][0] == 250
    assert len(behind.mails) == 1
