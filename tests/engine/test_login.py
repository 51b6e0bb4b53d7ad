"""AUTH in a dialogue (RFC 4954), and what may be shown of it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._handler import Handler
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.smtp import sasl
from smtpcb.smtp._command import Verb
from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._secret import observed
from smtpcb.smtp.sasl import (
    Authenticated,
    Challenge,
    Credentials,
    Decide,
    Mechanism,
    ServerExchange,
)
from smtpcb.testing import Played, play
from smtpcb.testing._play import TLS

from .scripts import HELO, RCPT, SECURE, Does, Later, Noting, Server, limited, returns


class Doorman:
    """Lets anne in."""

    discards_content = True

    def authenticate(self, credentials: Credentials, connection: Connection) -> object:
        """Compare name and password."""
        return (credentials.username, credentials.password) == ("anne", "secret")


def auth(script: str, **changes: object) -> Played:
    """Play inside TLS, behind HELO."""
    given = {"handler": Doorman(), "connection": SECURE} | changes
    return play(HELO + script, **given)


GOOD = base64.b64encode(b"\0anne\0secret").decode()
BAD = base64.b64encode(b"\0anne\0guess").decode()
ANNE = base64.b64encode(b"anne").decode()
PASSWORD = base64.b64encode(b"secret").decode()


@pytest.mark.parametrize(
    "script",
    [
        f"C: AUTH PLAIN {GOOD}\nS: 235 2.7.0",
        f"C: auth plain {GOOD}\nS: 235",
        f"C: AUTH PLAIN\nS: 334 \nC: {GOOD}\nS: 235",
        f"C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: {ANNE}\nS: 334\nC: {PASSWORD}\nS: 235",
        f"C: AUTH LOGIN {ANNE}\nS: 334 UGFzc3dvcmQ6\nC: {PASSWORD}\nS: 235",
    ],
)
def test_a_client_logs_in(script: str) -> None:
    """With and without an initial response, in any case (RFC 4954 §4)."""
    assert auth(script).dialogue.connection.identity == "anne"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (f"C: AUTH PLAIN {BAD}\nS: 535 5.7.8", "the password is wrong"),
        ("C: AUTH PLAIN =\nS: 501 5.5.2 Malformed", "an empty initial response is no response"),
        ("C: AUTH PLAIN\nS: 334 \nC: *\nS: 501 5.7.0", "it was cancelled"),
        ("C: AUTH LOGIN\nS: 334\nC: *\nS: 501 5.7.0", "an asterisk is no name"),
        ("C: AUTH PLAIN\nS: 334 \nC: *\\x20\\x09\nS: 501 5.7.0", "blanks behind it mean nothing"),
        ("C: AUTH PLAIN *\nS: 501 5.5.2 Not base64", "nothing can be cancelled yet"),
        ("C: AUTH PLAIN !!!\nS: 501 5.5.2 Not base64", "it is not base64"),
        ("C: AUTH PLAIN\nS: 334 \nC: MAIL FROM:<>\nS: 501 5.5.2", "a command is no response"),
        ("C: AUTH\nS: 501 5.5.4", "there is no mechanism"),
        ("C: AUTH CRAM-MD5\nS: 504 5.5.4", "the mechanism is unknown"),
        (f"C: AUTH PLAINX {GOOD}\nS: 504 5.5.4", "a mechanism is a whole word"),
        (f"C: auth\\x09plain\\x09{GOOD}\nS: 500 5.5.2", "a tab is no blank"),
        (f"C:  AUTH PLAIN {GOOD}\nS: 500 5.5.2", "nothing stands before a verb"),
    ],
)
def test_a_login_fails(script: str, why: str) -> None:
    """There is one reply, and the next command is one again (P12)."""
    played = auth(f"{script}\nC: NOOP\nS: 250 2.0.0 OK")
    assert played.dialogue.connection.identity is None, why


def test_no_password_is_taken_in_the_clear() -> None:
    """538, and never a 334 that would ask for it (P11)."""
    auth(f"C: AUTH PLAIN\nS: 538 5.7.11\nC: AUTH LOGIN {ANNE}\nS: 538", connection=None)
    auth(
        f"C: AUTH PLAIN {GOOD}\nS: 235",
        connection=None,
        settings=Settings(allow_insecure_auth=True),
    )


def test_auth_has_its_place() -> None:
    """Not before EHLO, not in a transaction, not twice; and only with an authenticator (P12)."""
    play("C: AUTH PLAIN\nS: 503 5.5.1 Send EHLO", Doorman(), connection=SECURE)
    play(RCPT + "C: AUTH PLAIN\nS: 503", Doorman(), connection=SECURE)
    auth(f"C: AUTH PLAIN {GOOD}\nS: 235\nC: AUTH PLAIN {GOOD}\nS: 503 5.5.1 Already")
    auth("C: AUTH PLAIN\nS: 502 5.5.1", handler=Does())


def test_what_was_asked_for_in_advance_is_no_command() -> None:
    """Lines behind AUTH without initial response are responses (P35)."""
    auth("C: AUTH LOGIN\nC: NOOP\nC: NOOP\nC: NOOP\nS: 334\nS: 334\nS: 501\nS: 250")


def test_a_response_may_have_12288_octets() -> None:
    """A longer one gets one 500 5.5.6 and is thrown away as a line (RFC 4954 §4, P13)."""
    fits = base64.b64encode(b"\0anne\0" + b"p" * 9202).decode()
    assert len(fits) == 12280
    auth(f"C: AUTH PLAIN\nS: 334 \nC: {fits}\nS: 535\nC: NOOP\nS: 250")
    for octets in (12287, 12288, 13000):
        auth(f"C: AUTH PLAIN\nS: 334 \nC: {'A' * octets}\nS: 500 5.5.6\nC: NOOP\nS: 250")
        auth(f"C: AUTH PLAIN {'A' * octets}\nS: 500 5.5.6\nC: NOOP\nS: 250")
    # Where a command line may be longer, a response may not.
    long = limited(command_octets=20_000)
    auth(f"C: AUTH PLAIN {'A' * 12280}\nS: 500 5.5.6", settings=long)
    auth(f"C: AUTH PLAIN\nS: 334 \nC: {'A' * 12288}\nS: 500 5.5.6", settings=long)


def test_five_wrong_passwords_end_the_connection() -> None:
    """421, and each answer is held back a while (P15)."""
    wrong = f"C: AUTH PLAIN {BAD}\n"
    played = auth(f"{wrong}S: 535\n" * 4 + f"{wrong}S: 421 4.7.0 Too many failed")
    assert played.dialogue.finished is Reason.LIMIT
    dialogue = Server(Doorman(), Settings(allow_insecure_auth=True)).dialogue
    dialogue.line(b"HELO me")
    dialogue.take_output()
    dialogue.line(f"AUTH PLAIN {BAD}".encode())
    assert dialogue.take_output() == b""
    dialogue.absolve()
    assert dialogue.take_output().startswith(b"535")


@pytest.mark.parametrize(
    ("answer", "code", "identity"),
    [
        (True, 235, "anne"),
        (Authenticated(7), 235, 7),
        (Reply(235, "Hello, anne", status="2.7.0"), 235, "anne"),
        (False, 535, None),
        (Reply(454, "Later", status="4.7.0"), 454, None),
        (550, 550, None),
        (None, 451, None),
        (250, 451, None),
        ("yes", 451, None),
    ],
)
def test_only_a_yes_lets_somebody_in(answer: object, code: int, identity: object) -> None:
    """A forgotten ``return`` opens no door; nor does a reply that is no 235."""

    played = auth(f"C: AUTH PLAIN {GOOD}\nS: {code}", handler=Does(authenticate=returns(answer)))
    assert played.dialogue.connection.identity == identity


def test_somebody_who_knows_nobody_lets_nobody_in() -> None:
    """AUTH was offered by mistake: there is nobody to ask."""
    auth(f"C: AUTH PLAIN {GOOD}\nS: 535", handler=Handler({}, Abilities(authentication=True)))


def test_an_authenticator_that_fails_logs_no_password() -> None:
    """Its exception may quote it: its kind and place are logged, not its text (P14)."""

    def fails(credentials: Credentials, connection: Connection) -> None:
        raise KeyError(credentials.password)

    server = Server(Does(authenticate=fails), connection=Connection("x", tls=TLS))
    assert server.send(f"HELO me\r\nAUTH PLAIN {GOOD}\r\n".encode()) == ["250", "451"]
    assert "KeyError at" in server.log[0]
    assert "secret" not in server.log[0]


def test_a_login_may_take_its_time() -> None:
    """The client waits, and what it has pipelined behind it too."""
    handler = Later("authenticate")
    server = Server(handler, connection=Connection("x", tls=TLS))
    assert server.send(f"HELO me\r\nAUTH PLAIN {GOOD}\r\nNOOP\r\n".encode()) == ["250"]
    handler.last.give(Authenticated("Anne"))
    assert server.codes == ["250", "235", "250"]
    assert server.dialogue.connection.identity == "Anne"


# A mechanism that has a last word, as SCRAM does.


def last_word(initial: bytes | None) -> ServerExchange:
    """Ask for the verdict, and then have the client see a proof."""
    yield Decide(Credentials("X-PROOF", "anne", "secret"))
    response = yield Challenge(b"proof")
    if response != b"seen":
        raise PeerProtocolError(sasl.MALFORMED)


def _no_client(credentials: Credentials) -> sasl.ClientExchange:
    yield None


def of_the_users(exchange: Callable[[bytes | None], ServerExchange]) -> Settings:
    """Offer a mechanism of the user's."""
    mechanism = Mechanism("X-PROOF", exchange, _no_client, plaintext=False)
    return Settings(mechanisms=(mechanism, "PLAIN"))


PROOF = f"C: AUTH X-PROOF\nS: 334 {base64.b64encode(b'proof').decode()}\n"
SEEN = base64.b64encode(b"seen").decode()


def test_a_mechanism_may_speak_after_the_verdict() -> None:
    """The client is logged in when the exchange is at its end, and hears the handler's yes."""
    for answer, who in ((Authenticated(7), 7), ((235, "Hello"), "anne"), (True, "anne")):
        said = "235 2.7.0 Hello" if isinstance(answer, tuple) else "235 2.7.0"
        played = play(
            f"{HELO}{PROOF}C: {SEEN}\nS: {said}\nC: AUTH PLAIN\nS: 503 5.5.1 Already",
            Does(authenticate=returns(answer)),
            settings=of_the_users(last_word),
        )
        assert played.dialogue.connection.identity == who


@pytest.mark.parametrize(
    ("response", "code"),
    [("*", 501), ("!", 501), ("d3Jvbmc=", 501), ("A" * 13000, 500), ("x" * 12287, 500)],
)
def test_whoever_does_not_accept_the_last_word_is_not_logged_in(response: str, code: int) -> None:
    """Whatever the verdict was; who vouched is told that it is over when another one comes."""
    released: list[str] = []
    vouched = iter("abcd")

    class Vouches:
        discards_content = True

        def authenticate(self, credentials: Credentials, connection: Connection) -> Authenticated:
            name = next(vouched)
            return Authenticated(name, lambda: released.append(name))

    server = Server(Vouches(), replace(of_the_users(last_word), require_auth=True))
    server.send(b"HELO me\r\nAUTH X-PROOF\r\n")
    assert server.dialogue.connection.identity is None
    assert server.send(response.encode() + b"\r\nMAIL FROM:<>\r\n") == [str(code), "530"]
    assert server.dialogue.connection.identity is None
    assert released == []
    server.send(f"AUTH X-PROOF\r\n{SEEN}\r\n".encode())
    assert server.dialogue.connection.identity == "b"
    assert released == ["a"]
    server.send(b"QUIT\r\n")
    server.driver.disconnect()
    assert released == ["a", "b"]


def test_a_no_is_no_whatever_the_mechanism_would_say() -> None:
    """It is not asked any more."""
    play(
        f"{HELO}C: AUTH X-PROOF\nS: 535\nC: NOOP\nS: 250",
        Does(authenticate=returns(False)),
        settings=of_the_users(last_word),
    )


def _silent(initial: bytes | None) -> ServerExchange:
    yield from ()


def _twice(initial: bytes | None) -> ServerExchange:
    yield Decide(Credentials("X-PROOF", "anne", "secret"))
    yield Decide(Credentials("X-PROOF", "tim", "secret"))


def _asks_for_nothing(initial: bytes | None) -> ServerExchange:
    yield "MAIL FROM:<>"


def _fails(initial: bytes | None) -> ServerExchange:
    raise KeyError("secret")
    yield


def _never_stops(initial: bytes | None) -> ServerExchange:
    decide = Decide(Credentials("X-PROOF", "anne", "secret"))
    with suppress(sasl.LoginRefused):
        yield decide
    with suppress(GeneratorExit):
        yield decide
    yield decide


def _no_generator(initial: bytes | None) -> ServerExchange:
    raise ValueError("secret")


@pytest.mark.parametrize(
    ("exchange", "complaint"),
    [
        (_silent, "it ends without a verdict"),
        (_twice, "it wants Decide after the verdict"),
        (_asks_for_nothing, "it wants str, which is no request"),
        (_fails, "KeyError at"),
        (_no_generator, "ValueError at"),
        (_never_stops, "RuntimeError at"),
    ],
)
def test_a_mechanism_that_is_wrong_logs_nobody_in(
    exchange: Callable[[bytes | None], ServerExchange], complaint: str
) -> None:
    """A user's own that fails is an incident of its own: the session goes on, the log names it."""
    server = Server(Does(authenticate=returns(True)), of_the_users(exchange))
    assert server.send(b"HELO me\r\nAUTH X-PROOF\r\nNOOP\r\n") == ["250", "451", "250"]
    assert server.dialogue.connection.identity is None
    assert any(complaint in line for line in server.log)
    assert all("authenticate of the mechanism X-PROOF" in line for line in server.log)
    assert "secret" not in "".join(server.log)


def _never_gives_up(initial: bytes | None) -> ServerExchange:
    while True:
        try:
            yield Decide(Credentials("X-PROOF", "anne", "secret"))
        except BaseException:
            raise ValueError("secret") from None


@pytest.mark.parametrize("exchange", [_never_stops, _never_gives_up])
def test_a_no_is_said_whatever_the_mechanism_makes_of_it(
    exchange: Callable[[bytes | None], ServerExchange],
) -> None:
    """It is thrown into it, and what comes out is its own affair."""
    server = Server(Does(authenticate=returns(False)), of_the_users(exchange))
    server.send(b"HELO me\r\nAUTH X-PROOF\r\n")
    server.dialogue.absolve()
    assert server.codes[-1] == "535"
    assert "secret" not in "".join(server.log)


def _interrupted(initial: bytes | None) -> ServerExchange:
    raise KeyboardInterrupt
    yield


def _interrupted_at_once(initial: bytes | None) -> ServerExchange:
    raise KeyboardInterrupt


def _interrupted_by_a_no(initial: bytes | None) -> ServerExchange:
    try:
        yield Decide(Credentials("X-PROOF", "anne", "secret"))
    finally:
        raise KeyboardInterrupt


def _interrupted_at_its_end(initial: bytes | None) -> ServerExchange:
    with suppress(sasl.LoginRefused):
        yield Decide(Credentials("X-PROOF", "anne", "secret"))
    try:
        yield Decide(Credentials("X-PROOF", "anne", "secret"))
    finally:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "exchange",
    [_interrupted, _interrupted_at_once, _interrupted_by_a_no, _interrupted_at_its_end],
)
def test_ctrl_c_goes_through_a_mechanism(
    exchange: Callable[[bytes | None], ServerExchange],
) -> None:
    """It is the operator's."""
    server = Server(Does(authenticate=returns(False)), of_the_users(exchange))
    server.send(b"HELO me\r\n")
    with pytest.raises(KeyboardInterrupt):
        server.send(b"AUTH X-PROOF\r\n")


MARKER = b"Tr0ub4dor&3/swordfish"
SECRETS = [
    MARKER,
    *(base64.b64encode(b"\0anne\0" + b"x" * shift + MARKER)[8:-8] for shift in range(3)),
    base64.b64encode(MARKER)[:-4],
]
LINE = base64.b64encode(b"\0anne\0" + MARKER)
SPELLED = [
    [b"AUTH PLAIN " + LINE],
    [b"auth plain " + LINE],
    [b"AUTH  PLAIN " + LINE],
    [b"AUTH PLAIN  " + LINE],
    [b"auth\tplain\t" + LINE],
    [b" AUTH PLAIN " + LINE],
    [b"\tAUTH PLAIN " + LINE],
    [b"AUTH " + LINE],
    [b"AUTH " + LINE + b" PLAIN"],
    [b"AUTHPLAIN " + LINE],
    [b"AUTH PLAIN " + LINE + b" " + LINE],
    [b"AUTH PLAIN " + MARKER],
    [b"AUTH PLAIN\t" + LINE + b" x"],
    [b"AUTH CRAM-MD5 " + LINE],
    [b"AUTH PLAIN", LINE],
    [b"AUTH PLAIN", MARKER],
    [b"AUTH PLAIN", b" " + LINE],
    [b"AUTH LOGIN", b"YW5uZQ==", base64.b64encode(MARKER)],
    [b"AUTH LOGIN", b"*", base64.b64encode(MARKER)],
    [b"AUTH LOGIN YW5uZQ==", base64.b64encode(MARKER)],
    [b"AUTH CRAM-MD5", LINE],
    [b"AUTH", LINE],
    [b"EHLO me\nAUTH PLAIN " + LINE],
    [b"EHLO me\rauth login\rYW5uZQ==\r" + base64.b64encode(MARKER)],
    [b"AUTH PLAIN " + b"A" * 13000 + LINE],
    [b"AUTH PLAIN", b"A" * 13000 + LINE],
]


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("lines", SPELLED)
def test_no_octet_of_a_secret_is_shown(lines: list[bytes], secure: bool) -> None:
    """Spelled oddly, refused, out of step or too long: neither observers nor files see it (P14)."""
    for look in (True, False):
        commands: list[object] = []
        handler = Does(
            command=lambda command, connection, commands=commands: commands.append(command),
            authenticate=returns(False),
            command_mask=Verb(0),
        )
        observer = Noting()
        connection = Connection("x", tls=TLS if secure else None)
        server = Server(handler, connection=connection, observer=observer)
        seen = b""
        for line in [b"EHLO me", *lines, LINE, base64.b64encode(MARKER)]:
            if look:
                seen += server.dialogue.shown(line)
            server.send(line + b"\r\n")
        seen += repr([commands, observer.decisions, observer.notes, server.log]).encode()
        seen += server.said
        assert b"EHLO" in seen
        for secret in SECRETS:
            assert secret not in seen


def test_an_asterisk_is_shown() -> None:
    """It cancels; that is worth knowing, and no secret."""
    dialogue = auth("C: AUTH LOGIN\nS: 334").dialogue
    assert dialogue.shown(b"*") == b"*"
    assert dialogue.shown(b"abcd") == b"<4 octets hidden>"


@pytest.mark.parametrize("piece", [b"\t", b" ", b"\xff", b"\0 ", b"\tAUT", b"AUTH\t"])
def test_looking_for_secrets_takes_each_octet_once(piece: bytes) -> None:
    """A line of blanks must not cost its length squared (P25): this one would take minutes."""
    line = (piece * 400_000)[:400_000]
    dialogue = Server().dialogue
    dialogue.shown(line)
    observed(line)


@pytest.mark.parametrize(
    "line",
    [
        b'"AUTH PLAIN AGFubmUAb3BlbiBzZXNhbWU=',
        b"a1 AUTH PLAIN AGFubmUAb3BlbiBzZXNhbWU=",
        b"C: AUTH LOGIN AGFubmUAb3BlbiBzZXNhbWU=",
    ],
)
def test_a_login_written_in_a_strange_way_is_not_shown(line: bytes) -> None:
    """IMAP's habits, quotations and pasted logs hold real passwords (P14)."""
    dialogue = Server().dialogue
    assert dialogue.shown(line) == f"<{len(line)} octets hidden>".encode()
    assert "AGF" not in repr(observed(line))
    assert dialogue.shown(b"AGFubmUAb3BlbiBzZXNhbWU=") == b"<24 octets hidden>"
