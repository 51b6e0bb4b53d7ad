"""AUTH: which mechanism, whose secret, and when not at all (RFC 4954)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from smtpcb.engine import (
    Cause,
    ClientDialogue,
    ClientObserver,
    ClientSettings,
    ClientWants,
    Stage,
)
from smtpcb.engine._client._login import usable
from smtpcb.smtp import Command, Credentials, LocalProtocolError, Verb
from smtpcb.smtp.sasl import AskSession, ClientExchange, Mechanism
from smtpcb.testing._play import TLS

from .talk import GREETING, QUIT, Owner, talk, to

REQUIRED = ClientSettings(hostname="me.example.org", login="required")
OPTIONAL = replace(REQUIRED, login="optional")
NEXT = replace(REQUIRED, next_mechanism=True)
BOUND = replace(TLS, bind=lambda kind: b"data" if kind == "tls-exporter" else None)
CERTIFIED = replace(TLS, client_certificate=b"DER")

OFFER = GREETING + "S: 250-mail.example.org\nS: 250-AUTH PLAIN LOGIN CRAM-MD5\nS: 250 SIZE\n"
AUTH_PLAIN = "C: AUTH PLAIN AGFubmUAc2VjcmV0\n"
YES = "S: 235 welcome\n"
NO = "S: 535 wrong\n"


def anne(mechanism: str) -> Credentials:
    """Give Anne's secrets, whatever is asked for."""
    token = "tk" if "OAUTH" in mechanism else None
    return Credentials(mechanism, "anne", "secret", token=token)


def login(script: str, settings: ClientSettings = REQUIRED, **how: Any) -> Owner:
    """Hold a dialogue inside TLS."""
    how.setdefault("tls", TLS)
    how.setdefault("credentials", anne)
    return talk(script, *how.pop("work", ()), settings=settings, **how)


def b64(text: str | bytes) -> str:
    """Return text in base64."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def test_the_servers_order_decides_or_the_callers() -> None:
    """PLAIN stands first in the offer; the caller may see it otherwise (L56)."""
    owner = login(OFFER + AUTH_PLAIN + YES + QUIT)
    assert owner.dialogue.failure is None
    assert owner.dialogue.mechanism == "PLAIN"
    login(
        OFFER + "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YW5uZQ==\nS: 334 UGFzc3dvcmQ6\n"
        "C: c2VjcmV0\n" + YES + QUIT,
        replace(REQUIRED, mechanisms=("SCRAM-SHA-256", "login", "PLAIN")),
    )
    digest = hmac.digest(b"secret", b"<1@x>", "md5").hex()
    login(
        OFFER
        + (f"C: AUTH CRAM-MD5\nS: 334 {b64('<1@x>')}\nC: {b64(f'anne {digest}')}\n" + YES + QUIT),
        replace(REQUIRED, mechanisms=("CRAM-MD5",)),
    )


def test_no_password_is_said_outside_tls() -> None:
    """Unless somebody has switched that on (L55, P54)."""
    failure = login(OFFER + QUIT, replace(REQUIRED, starttls="off"), tls=None).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.AUTH, Cause.TLS)
    assert "PLAIN, LOGIN, CRAM-MD5" in str(failure)
    login(OFFER + QUIT, replace(OPTIONAL, starttls="off"), tls=None)
    login(
        OFFER + AUTH_PLAIN + YES + QUIT,
        replace(REQUIRED, starttls="off", allow_insecure_auth=True),
        tls=None,
    )


@pytest.mark.parametrize(
    ("offered", "tls", "wanted"),
    [
        ("SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN", TLS, ["SCRAM-SHA-256", "PLAIN"]),
        ("SCRAM-SHA-256-PLUS PLAIN", BOUND, ["SCRAM-SHA-256-PLUS", "PLAIN"]),
        ("SCRAM-SHA-256-PLUS", replace(TLS, bind=lambda kind: None), []),
        ("EXTERNAL PLAIN", TLS, ["PLAIN"]),
        ("external X-OWN plain", CERTIFIED, ["EXTERNAL", "PLAIN"]),
        ("EXTERNAL SCRAM-SHA-256-PLUS PLAIN", None, []),
    ],
)
def test_only_what_fits_the_connection_is_tried(offered: str, tls: Any, wanted: list[str]) -> None:
    """A binding needs something to bind to, EXTERNAL a certificate, a password TLS."""
    settings = replace(REQUIRED, starttls="off")
    owner = Owner([], settings, tls=tls)
    owner.dialogue.receive(b"220 m\r\n")
    owner.go_on()
    owner.dialogue.receive(f"250-m\r\n250 AUTH {offered}\r\n".encode())
    assert [row.name for row in usable(owner.dialogue)] == wanted


@pytest.mark.parametrize("reply", ["S: 250 mail\n", "S: 250-mail\nS: 250 AUTH KERBEROS_V4\n"])
def test_a_required_login_that_cannot_be_ends_it(reply: str) -> None:
    """Nothing is offered, or nothing that we know; an optional one is done without."""
    failure = login(GREETING + reply + QUIT).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause, failure.temporary) == (Stage.AUTH, Cause.LACKING, False)
    assert login(GREETING + reply + QUIT, OPTIONAL).dialogue.failure is None


def test_who_has_no_secret_is_asked_for_another_one() -> None:
    """None is no credentials for that mechanism; nothing is said of it to the server (L57)."""
    asked: list[str] = []

    def only_login(mechanism: str) -> Credentials | None:
        asked.append(mechanism)
        return anne(mechanism) if mechanism == "LOGIN" else None

    login(
        OFFER + "C: AUTH LOGIN\nS: 334\nC: YW5uZQ==\nS: 334 eA==\nC: c2VjcmV0\n" + YES + QUIT,
        credentials=only_login,
    )
    assert asked == ["PLAIN", "LOGIN"] * 2
    failure = login(OFFER + QUIT, credentials=lambda mechanism: None).dialogue.failure
    assert failure is not None
    assert str(failure) == "auth: no credentials were given"
    assert (failure.cause, failure.temporary) == (Cause.LOGIN, False)


def test_a_secret_may_come_later() -> None:
    """Meanwhile the session stands still, and may be quit or lost."""
    for end in ("quit", "lost"):
        owner = Owner([], REQUIRED, tls=TLS)
        dialogue = owner.dialogue
        dialogue.receive(b"220 m\r\n")
        dialogue.take_output()
        dialogue.receive(b"250-m\r\n250 AUTH PLAIN\r\n")
        assert (dialogue.wants, dialogue.stage) == (ClientWants.CREDENTIALS, Stage.AUTH)
        assert dialogue.take_output() == b""
        getattr(dialogue, end)()
        assert dialogue.take_output() == (b"QUIT\r\n" if end == "quit" else b"")
        assert (dialogue.failure is None) is (end == "quit")


@pytest.mark.parametrize(("code", "temporary"), [(454, True), (535, False), (534, False)])
def test_a_refused_login_ends_it_unless_the_caller_wants_otherwise(
    code: int, temporary: bool
) -> None:
    """Failing is the default; the next mechanism, or none, is a choice (L59)."""
    refused = OFFER + AUTH_PLAIN + f"S: {code} no\n"
    failure = login(refused + QUIT).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.AUTH, Cause.REFUSED)
    assert failure.temporary is temporary
    assert login(refused + QUIT, OPTIONAL).dialogue.failure is None
    owner = login(
        refused + "C: AUTH LOGIN\nS: 334\nC: YW5uZQ==\nS: 334\nC: c2VjcmV0\n" + YES + QUIT, NEXT
    )
    assert owner.dialogue.failure is None


def test_a_mechanism_that_is_not_known_after_all_is_no_refusal() -> None:
    """504 says nothing of the secret: the next one is tried in any case."""
    login(
        OFFER
        + AUTH_PLAIN
        + "S: 504 no\nC: AUTH LOGIN\nS: 334\nC: YW5uZQ==\nS: 334\nC: c2VjcmV0\n"
        + YES
        + QUIT
    )


def test_421_to_a_login_is_the_end() -> None:
    """Also where the next mechanism might be tried."""
    failure = login(OFFER + AUTH_PLAIN + "S: 421 too many\n", NEXT).dialogue.failure
    assert failure is not None
    assert failure.stage is Stage.AUTH


@pytest.mark.parametrize("code", [250, 354, 220])
def test_another_code_than_those_of_auth_ends_it(code: int) -> None:
    """Only 2yz is a yes: who says 354 is out of step."""
    owner = login(OFFER + AUTH_PLAIN + f"S: {code} hm\n" + (QUIT if code < 300 else ""))
    assert (owner.dialogue.failure is None) is (code < 300)


# Challenges.


@pytest.mark.parametrize(
    "challenge", ["334 not base64!", "334 a", "334 YQ", "334-YQ==\nS: 334 !", "334 YQ== YQ=="]
)
def test_a_challenge_that_is_none_is_given_up(challenge: str) -> None:
    """By a lone star, and the login has failed (RFC 4954 §4)."""
    script = OFFER + "C: AUTH LOGIN\nS: " + challenge + "\nC: *\n"
    settings = replace(REQUIRED, mechanisms=("LOGIN",))
    failure = login(script + "S: 501 cancelled\n" + QUIT, settings).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.AUTH, Cause.LOGIN)
    assert str(failure) == "auth: LOGIN failed: PeerProtocolError"
    assert failure.__cause__ is not None
    for odd in ("235 welcome", "334 YQ=="):
        failure = login(script + f"S: {odd}\n", settings).dialogue.failure
        assert failure is not None
        assert failure.cause is Cause.PROTOCOL


def test_one_challenge_too_many_is_given_up() -> None:
    """PLAIN has said all that it had to say."""
    failure = login(OFFER + AUTH_PLAIN + "S: 334\nC: *\nS: 501 ok\n" + QUIT).dialogue.failure
    assert failure is not None
    assert failure.cause is Cause.LOGIN


def test_a_long_initial_response_waits_to_be_asked_for() -> None:
    """AUTH is a command of 512 octets like others (RFC 4954 §4)."""
    for length, together in ((366, True), (367, False)):
        password = "x" * length

        def long(mechanism: str, password: str = password) -> Credentials:
            return Credentials(mechanism, "anne", password)

        response = b64("\0anne\0" + password)
        script = f"C: AUTH PLAIN {response}\n"
        assert (len(script) - len("C: ") + 1 <= 512) is together
        if not together:
            script = f"C: AUTH PLAIN\nS: 334\nC: {response}\n"
        login(OFFER + script + YES + QUIT, credentials=long)


def test_a_response_longer_than_a_line_may_be_is_given_up() -> None:
    """No server reads it (RFC 4954 §4: 12288 octets)."""

    def endless(mechanism: str) -> Credentials:
        return Credentials(mechanism, "anne", "x" * 10_000)

    script = OFFER + "C: AUTH PLAIN\nS: 334\nC: *\nS: 501 ok\n" + QUIT
    failure = login(script, credentials=endless, cut=False).dialogue.failure
    assert failure is not None
    assert failure.cause is Cause.LOGIN


def test_a_long_challenge_is_read_and_a_long_reply_elsewhere_is_not() -> None:
    """A challenge may have 12288 octets (RFC 4954 §4)."""
    heard: list[bytes] = []

    def client(credentials: Credentials) -> ClientExchange:
        session: Any = yield AskSession()
        heard.append(session.hostname.encode())
        heard.append((yield None))
        yield b"done"

    own = Mechanism("X-LONG", lambda initial: iter(()), client, plaintext=False)  # type: ignore[arg-type,return-value]
    offer = GREETING + "S: 250-mail.example.org\nS: 250 AUTH X-LONG\n"
    settings = replace(REQUIRED, mechanisms=(own,))
    script = offer + "C: AUTH X-LONG\nS: 334 " + b64(b"x" * 3000) + "\nC: ZG9uZQ==\n" + YES
    login(script + QUIT, settings, cut=False)
    assert heard == [b"mail.example.org", b"x" * 3000]
    # Behind the login a line is as long as others again.
    failure = login(
        script + "C: NOOP\nS: 250 " + "x" * 3000 + "\n",
        settings,
        work=[Command(Verb.NOOP)],
        cut=False,
    ).dialogue.failure
    assert failure is not None
    assert str(failure) == "command: a line of a reply is too long"


def test_oauth_answers_what_is_said_of_a_refused_token() -> None:
    """And then hears the no (RFC 7628 §3.2.3)."""
    offer = GREETING + "S: 250-mail\nS: 250 AUTH OAUTHBEARER\n"
    first = b64("n,a=anne,\x01auth=Bearer tk\x01\x01")
    login(offer + f"C: AUTH OAUTHBEARER {first}\n" + YES + QUIT)
    script = f"C: AUTH OAUTHBEARER {first}\nS: 334 e30=\nC: AQ==\n" + NO + QUIT
    failure = login(offer + script).dialogue.failure
    assert failure is not None
    assert failure.reply is not None
    assert failure.reply.code == 535


@pytest.mark.parametrize("at", ["first", "second"])
def test_a_server_that_proves_nothing_is_not_believed(at: str) -> None:
    """SCRAM knows whether the server knows the password: a yes before that is somebody else's."""
    owner = Owner(
        [to()], replace(REQUIRED, mechanisms=("SCRAM-SHA-256",)), tls=TLS, credentials=anne
    )
    dialogue = owner.dialogue
    dialogue.receive(b"220 m\r\n")
    owner.go_on()
    dialogue.receive(b"250-m\r\n250 AUTH SCRAM-SHA-256\r\n")
    first = base64.b64decode(owner.go_on().split()[2])
    if at == "second":
        nonce = first.rpartition(b"r=")[2]
        asked = b"r=" + nonce + b"more,s=c2FsdA==,i=4096"
        dialogue.receive(b"334 " + base64.b64encode(asked) + b"\r\n")
        assert base64.b64decode(owner.go_on()).startswith(b"c=biws,r=")
    dialogue.receive(b"235 welcome\r\n")
    failure = dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause, failure.temporary) == (Stage.AUTH, Cause.PROTOCOL, True)
    assert dialogue.wants is ClientWants.NOTHING
    assert owner.go_on() == b""


# Mechanisms of somebody's own.


def nothing(credentials: Credentials) -> ClientExchange:
    """Say nothing at all."""
    return
    yield


def fails(credentials: Credentials) -> ClientExchange:
    """Fail before anything is said."""
    raise RuntimeError("secret")
    yield


def silent(credentials: Credentials) -> ClientExchange:
    """Have no response to a challenge."""
    yield None
    yield None


def clings(credentials: Credentials) -> ClientExchange:
    """Fail behind the first challenge, and when it is closed."""
    try:
        yield None
        raise KeyError("secret")
    finally:
        raise RuntimeError("secret")


def breaks(credentials: Credentials) -> ClientExchange:
    """Be no exchange at all."""
    raise RuntimeError("secret")


@pytest.mark.parametrize(
    ("client", "script", "why"),
    [
        (breaks, "", "RuntimeError"),
        (nothing, "", "LocalProtocolError"),
        (fails, "", "RuntimeError"),
        (silent, "C: AUTH X-OWN\nS: 334\nC: *\nS: 501 ok\n", "LocalProtocolError"),
        (clings, "C: AUTH X-OWN\nS: 334\nC: *\nS: 501 ok\n", "RuntimeError"),
    ],
)
def test_a_mechanism_that_fails_has_failed_to_log_in(
    client: Callable[[Credentials], ClientExchange], script: str, why: str
) -> None:
    """Nothing else is the worse for it; what it said may quote a secret, and is not repeated."""
    own = Mechanism("X-OWN", lambda initial: iter(()), client, plaintext=False)  # type: ignore[arg-type,return-value]
    offer = GREETING + "S: 250-mail\nS: 250 AUTH X-OWN\n"
    failure = login(offer + script + QUIT, replace(REQUIRED, mechanisms=(own,))).dialogue.failure
    assert failure is not None
    assert str(failure) == f"auth: X-OWN failed: {why}"


def test_a_mechanism_that_clings_is_let_go() -> None:
    """Whatever it raises when it is closed."""
    own = Mechanism("X-OWN", lambda initial: iter(()), clings, plaintext=False)  # type: ignore[arg-type,return-value]
    offer = GREETING + "S: 250-mail\nS: 250 AUTH X-OWN\nC: AUTH X-OWN\n"
    settings = replace(REQUIRED, mechanisms=(own,))
    failure = login(offer + NO + QUIT, settings).dialogue.failure
    assert failure is not None
    assert failure.cause is Cause.REFUSED


@pytest.mark.parametrize(
    "bad",
    [
        Credentials("PLAIN", "an\r\nne", "x"),
        Credentials("PLAIN", "anne", "x\0y"),
        Credentials("PLAIN", "anne", "x\r\ny"),
        Credentials("PLAIN", "anne", "x", authorization_id="a\x7f"),
        Credentials("OAUTHBEARER", "anne", "", token="a\r\nb"),
        Credentials("OAUTHBEARER", "anne", "", token="é"),
    ],
)
def test_credentials_that_cannot_be_said_are_refused(bad: Credentials) -> None:
    """Before an octet of them is sent; others may be given (P52)."""
    owner = Owner([], REQUIRED, tls=TLS)
    dialogue = owner.dialogue
    dialogue.receive(b"220 m\r\n")
    dialogue.take_output()
    dialogue.receive(b"250-m\r\n250 AUTH PLAIN\r\n")
    with pytest.raises(ValueError, match=r"control|password|token"):
        dialogue.give(bad)
    assert dialogue.take_output() == b""
    assert dialogue.wants is ClientWants.CREDENTIALS
    dialogue.give(anne("PLAIN"))
    assert dialogue.take_output() == b"AUTH PLAIN AGFubmUAc2VjcmV0\r\n"


class Notes(ClientObserver):
    """Keeps what it sees."""

    def __init__(self) -> None:
        self.seen = b""
        self.notes: list[str] = []

    def client(self, octets: bytes) -> None:
        self.seen += octets

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_no_secret_is_shown() -> None:
    """Neither with AUTH nor behind it."""
    notes = Notes()
    login(OFFER + AUTH_PLAIN + YES + QUIT, observer=notes, cut=False)
    assert b"AUTH PLAIN <16 octets hidden>\r\n" in notes.seen
    assert notes.notes == ["logged in by PLAIN"]
    notes = Notes()
    login(
        OFFER + "C: AUTH LOGIN\nS: 334\nC: YW5uZQ==\nS: 334 !\nC: *\nS: 501 ok\n" + QUIT,
        replace(OPTIONAL, mechanisms=("LOGIN",)),
        observer=notes,
        cut=False,
    )
    assert b"AUTH LOGIN\r\n<8 octets hidden>\r\n*\r\nQUIT\r\n" in notes.seen
    assert notes.notes == ["going on without a login: auth: LOGIN failed: PeerProtocolError"]


@pytest.mark.parametrize("settings", [REQUIRED, OPTIONAL])
def test_that_nobody_knows_who_logs_in_is_not_that_nobody_does(settings: ClientSettings) -> None:
    """The session ends, also where it would go on without a login; QUIT is said."""
    dialogue = ClientDialogue(settings, tls=TLS)
    dialogue.receive(b"220 here\r\n")
    dialogue.take_output()
    dialogue.receive(b"250-here\r\n250 AUTH PLAIN\r\n")
    dialogue.fail_credentials("the vault is shut")
    assert dialogue.take_output() == b"QUIT\r\n"
    dialogue.receive(b"221 bye\r\n")
    failure = dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause, str(failure)) == (
        *(Stage.AUTH, Cause.LOGIN),
        "auth: the vault is shut",
    )
    with pytest.raises(LocalProtocolError):
        dialogue.fail_credentials()
