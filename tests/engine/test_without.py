"""Everything that EHLO offers can be switched off, and then it is not there."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine import Settings
from smtpcb.engine._extensions import EXTENSIONS
from smtpcb.smtp import Extension, Limits, Parameter, Reply
from smtpcb.testing import play
from smtpcb.testing._play import TLS

from .scripts import SECURE, Does, Later, Server, codes, returns


class Able:
    """Can do whatever a handler can."""

    discards_content = True
    extensions = frozenset(row.keyword for row in EXTENSIONS if row.handler_must_honour)

    authenticate = returns(True)

    def verify(self, text: str, connection: object) -> tuple[int, str]:
        return 250, "<anne@example.org>"

    def expand(self, text: str, connection: object) -> tuple[int, str]:
        return 250, "<bob@example.org>"

    def etrn(self, domain: str, connection: object) -> None: ...


# A connection of these tests comes from a UNIX socket.
TRUSTING: dict[str, Any] = {"xclient_from": ("unix",), "xforward_from": ("unix",)}


def without(*keywords: str, **more: Any) -> Settings:
    return Settings(without=frozenset(keywords), **more)


def offered(settings: Settings, *, secure: bool) -> set[str]:
    """Return the keywords that EHLO says."""
    server = Server(Able(), settings, connection=SECURE if secure else None)
    server.send(b"EHLO me\r\n")
    return {line[4:].split()[0].decode() for line in server.said.splitlines()[1:]}


@pytest.mark.parametrize("keyword", [row.keyword for row in EXTENSIONS])
def test_a_keyword_that_is_off_is_not_offered(keyword: str) -> None:
    """And nothing else goes with it, but for what builds on it."""
    secure = keyword != "STARTTLS"
    gone = {"8BITMIME": {"SMTPUTF8", "BINARYMIME"}, "CHUNKING": {"BINARYMIME"}}.get(keyword, set())
    usual = offered(Settings(**TRUSTING), secure=secure)
    assert keyword in usual
    assert offered(without(keyword.lower(), **TRUSTING), secure=secure) == usual - gone - {keyword}


MAIL = {
    "SIZE": ("SIZE", "SIZE=10"),
    "BODY": ("8BITMIME", "BODY=8BITMIME"),
    "BINARY": ("CHUNKING", "BODY=BINARYMIME"),
    "SMTPUTF8": ("SMTPUTF8", "SMTPUTF8"),
    "UTF8 WITHOUT 8BIT": ("8BITMIME", "SMTPUTF8"),
    "AUTH": ("AUTH", "AUTH=<>"),
    "RET": ("DSN", "RET=FULL"),
    "ENVID": ("DSN", "ENVID=x"),
    "BY": ("DELIVERBY", "BY=10;R"),
    "HOLDFOR": ("FUTURERELEASE", "HOLDFOR=10"),
    "HOLDUNTIL": ("FUTURERELEASE", "HOLDUNTIL=2026-01-01T00:00:00Z"),
    "PRIORITY": ("MT-PRIORITY", "MT-PRIORITY=3"),
    "REQUIRETLS": ("REQUIRETLS", "REQUIRETLS"),
}
RCPT = {
    "NOTIFY": ("DSN", "NOTIFY=NEVER"),
    "ORCPT": ("DSN", "ORCPT=rfc822;a@b"),
    "RRVS": ("RRVS", "RRVS=2026-01-01T00:00:00Z"),
}


@pytest.mark.parametrize(("keyword", "parameter"), MAIL.values(), ids=MAIL.keys())
def test_its_parameters_of_mail_are_unknown(keyword: str, parameter: str) -> None:
    """555 (RFC 5321 §4.1.1.11); where a text is wanted BODY says so."""
    line = f"MAIL FROM:<> {parameter}\r\n".encode()
    server = Server(Able(), connection=SECURE)
    assert server.send(b"EHLO me\r\n" + line) == ["250", "250"]
    server = Server(Able(), without(keyword), connection=SECURE)
    expected = "501" if parameter == "BODY=BINARYMIME" else "555"
    assert server.send(b"EHLO me\r\n" + line) == ["250", expected]


@pytest.mark.parametrize(("keyword", "parameter"), RCPT.values(), ids=RCPT.keys())
def test_its_parameters_of_rcpt_are_unknown(keyword: str, parameter: str) -> None:
    """As those of MAIL."""
    line = f"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b> {parameter}\r\n".encode()
    assert Server(Able()).send(line)[-1] == "250"
    assert Server(Able(), without(keyword)).send(line)[-1] == "555"


@pytest.mark.parametrize(
    ("keyword", "command", "usual", "off"),
    [
        ("STARTTLS", b"STARTTLS", "220", "502"),
        ("AUTH", b"AUTH PLAIN AGEAYg==", "235", "502"),
        ("ETRN", b"ETRN example.org", "250", "502"),
        # RFC 5321 §7.3: nothing that could be taken for a yes or a no.
        ("VRFY", b"VRFY anne", "250", "252"),
        ("EXPN", b"EXPN list", "250", "252"),
        ("VRFY", b"VRFY", "501", "501"),
        ("EXPN", b"EXPN ", "501", "501"),
        ("HELP", b"HELP", "214", "214"),
        ("SMTPUTF8", b"VRFY anne SMTPUTF8", "250", "555"),
        ("PIPELINING", b"NOOP", "250", "250"),
    ],
)
def test_its_command_is_not_there(keyword: str, command: bytes, usual: str, off: str) -> None:
    """HELP stays, since a server has it; so does everything without the keyword's help."""
    for settings, code in (
        (Settings(allow_insecure_auth=True), usual),
        (without(keyword, allow_insecure_auth=True), off),
    ):
        server = Server(Able(), settings)
        assert server.send(b"EHLO me\r\n" + command + b"\r\n") == ["250", code]


def test_nobody_is_asked_who_a_name_is() -> None:
    """Whoever switches VRFY off wants nobody to find out names by it."""
    handler = Later("verify", "expand")
    server = Server(handler, without("VRFY", "EXPN"))
    server.send(b"EHLO me\r\nVRFY anne\r\nEXPN staff\r\n")
    assert handler.heard == []


def test_a_chunk_without_chunking_is_read_to_its_end() -> None:
    """A client that sends BDAT all the same sends octets behind it: none of them is a command."""
    play(
        """
        C: EHLO client.example.org
        S: 250-...
        S: 250 HELP
        C: BDAT 6
        C: QUIT
        S: 503 5.5.1 Send MAIL first
        C: MAIL FROM:<>
        C: RCPT TO:<bob@example.org>
        C: BDAT 6 LAST
        C: QUIT
        S: 250
        S: 250
        S: 502 5.5.1 Command not implemented
        C: BDAT x
        S: 502 5.5.1 Command not implemented
        """,
        Able,
        settings=without("CHUNKING"),
    )


def test_a_transaction_survives_a_chunk_that_may_not_come() -> None:
    """The client goes on by DATA."""
    server = Server(Able(), without("CHUNKING"))
    server.send(b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nBDAT 6 LAST\r\nRSET\r\n")
    assert server.send(b"DATA\r\n.\r\n") == ["354", "250"]


def test_help_does_not_speak_of_what_is_off() -> None:
    """It names the commands that are there."""
    server = Server(settings=without("CHUNKING", "VRFY"))
    server.send(b"EHLO me\r\nHELP\r\n")
    assert b"Commands: EHLO HELO MAIL RCPT DATA RSET NOOP QUIT HELP\r\n" in server.said


def test_replies_have_no_status() -> None:
    """Ours and the handler's, whatever they are: who was told of none cannot read them."""
    handler = Does(
        rcpt=returns((550, "5.1.1", "No such user")),
        mail=returns(Reply(250, ("One", "two"), status="2.1.0")),
        message=returns(None),
        verify=returns((250, "2.1.5 anne")),
    )
    play(
        """
        S: 220 localhost ESMTP
        C: EHLO client.example.org
        S: 250-...
        S: 250 HELP
        C: NOOP
        S: 250 OK
        C: MAIL FROM:<>
        S: 250-One
        S: 250 two
        C: RCPT TO:<bob@example.org>
        S: 550 No such user
        C: VRFY anne
        S: 250 anne
        C: XNOTHING
        S: 500 Command not recognised
        C: BDAT x
        S: 503 No valid recipient yet
        """,
        handler,
        settings=without("ENHANCEDSTATUSCODES"),
    )


def test_the_last_reply_has_none_either() -> None:
    """Also where a limit ends the session, or the server stops."""
    server = Server(settings=without("ENHANCEDSTATUSCODES"))
    server.send(b"EHLO me\r\n")
    server.dialogue.shut_down()
    assert server.dialogue.take_output() == b"421 Service shutting down\r\n"


def test_the_limit_of_a_message_holds_without_size() -> None:
    """Only that nobody is told of it."""
    settings = without("SIZE", limits=Limits(message_octets=10))
    server = Server(Able(), settings)
    server.send(b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n")
    assert server.send(b"x" * 20 + b"\r\n.\r\n") == ["552"]
    assert b"SIZE" not in server.said


def test_an_address_beyond_ascii_needs_smtputf8() -> None:
    """Where it is off nobody can say that."""
    server = Server(Able(), without("SMTPUTF8"))
    server.send(b"EHLO me\r\n")
    assert server.send("MAIL FROM:<ä@example.org>\r\n".encode()) == ["550"]


def test_ones_own_extension_can_be_switched_off_too() -> None:
    """With its parameters and commands."""
    own = Extension("XTAG", mail={"XTAG": Parameter(str)}, verbs={"XLIST": returns(True)})
    server = Server(settings=Settings(extensions=(own,), without=frozenset({"xtag"})))
    said = server.send(b"EHLO me\r\nXLIST\r\nMAIL FROM:<> XTAG=1\r\n")
    assert said == ["250", "500", "555"]


def test_what_is_off_stays_off_in_tls_and_behind_a_login() -> None:
    """A new situation is looked at with the same settings."""
    server = Server(Able(), without("VRFY", "AUTH"))
    server.send(b"EHLO me\r\nSTARTTLS\r\n")
    server.dialogue.secured(TLS)
    server.dialogue.line(b"EHLO me")
    said = server.dialogue.take_output()
    assert b"VRFY" not in said
    assert b"AUTH" not in said
    assert codes(said) == ["250"]


@pytest.mark.parametrize(
    ("given", "error", "complaint"),
    [
        ({"CHUNKNG"}, ValueError, r"without names CHUNKNG, which is no keyword; did you mean CHU"),
        ({"pipelining "}, ValueError, "did you mean PIPELINING"),
        ({"QQ"}, ValueError, "there are 8BITMIME, AUTH, BINARYMIME, "),
        ({"\u017fIZE"}, ValueError, "which is no keyword"),
        ({"x" * 1000}, ValueError, "which is no keyword"),
        ({"\r\nSIZE"}, ValueError, r"without names \\x0d\\x0aSIZE"),
        ("SIZE", TypeError, "without is a set of keywords"),
        (5, TypeError, "without is a set of keywords"),
        ([5], TypeError, "without is a set of keywords, which are text"),
    ],
)
def test_what_is_no_keyword_is_told(given: Any, error: type[Exception], complaint: str) -> None:
    """Nothing would be switched off by it; the one that was meant is named."""
    with pytest.raises(error, match=complaint):
        Settings(without=given)


def test_a_login_that_is_wanted_must_be_possible() -> None:
    """Otherwise nobody could ever send anything."""
    with pytest.raises(ValueError, match="require_auth needs AUTH, which without switches off"):
        Settings(require_auth=True, without=frozenset({"auth"}))


@pytest.mark.parametrize("keyword", ["PIPELINING", "EnhancedStatusCodes"])
def test_what_lmtp_clients_rely_on_cannot_be_switched_off(keyword: str) -> None:
    """RFC 2033 §5; in SMTP it can."""
    Settings(without=frozenset({keyword}))
    with pytest.raises(ValueError, match=f"lmtp needs {keyword.upper()}"):
        Settings(lmtp=True, without=frozenset({keyword}))
