"""Mechanisms in a dialogue: which is offered when, and what becomes of secrets and tokens."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._guarded import Guarded
from smtpcb.engine._observer import Observer
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.smtp._command import Verb
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import (
    MECHANISMS,
    AskSession,
    Authenticated,
    Challenge,
    Credentials,
    Decide,
    Mechanism,
    ScramSecret,
    ServerExchange,
    Session,
)
from smtpcb.testing._play import TLS

from .scripts import Does, Later, Noting, Server, raises, returns

PASSWORD = "Tr0ub4dor&3/swordfish"
BOUND = replace(TLS, bind=lambda kind: b"bound" if kind == "tls-exporter" else None)
CERTIFIED = replace(TLS, client_certificate=b"der", client_names=("anne@example.org",))
ALL = frozenset(MECHANISMS)


class Keeper:
    """Knows anne's password, and one token."""

    discards_content = True
    mechanisms = ALL

    def __init__(self) -> None:
        self.seen: list[Credentials] = []

    def stored_secret(self, username: str, mechanism: str, connection: Connection) -> str | None:
        return PASSWORD if username == "anne" else None

    def authenticate(self, credentials: Credentials, connection: Connection) -> bool:
        self.seen.append(credentials)
        return (
            credentials.proven or credentials.token == "t0ken" or credentials.password == PASSWORD
        )


def server(handler: object = None, tls: TlsInformation | None = TLS, **given: Any) -> Server:
    """Return one that has been told EHLO."""
    settings = Settings(**given.pop("settings", {}))
    one = Server(handler or Keeper(), settings, connection=Connection("x", tls=tls), **given)
    one.send(b"EHLO me\r\n")
    return one


def offered(one: Server) -> list[str]:
    """Return what EHLO says of AUTH."""
    [line] = [line for line in one.said.decode().split("\r\n") if line[4:].startswith("AUTH")] or [
        "250 AUTH"
    ]
    return line[4:].split()[1:]


@pytest.mark.parametrize(
    ("handler", "tls", "settings", "mechanisms"),
    [
        (Does(authenticate=returns(True)), TLS, {}, "PLAIN LOGIN"),
        (Does(authenticate=returns(True)), BOUND, {}, "PLAIN LOGIN"),
        (Does(authenticate=returns(True)), None, {}, ""),
        (Does(authenticate=returns(True)), None, {"allow_insecure_auth": True}, "PLAIN LOGIN"),
        (Does(authenticate=returns(True)), TLS, {"mechanisms": ("LOGIN",)}, "LOGIN"),
        (Does(authenticate=returns(True)), TLS, {"mechanisms": ("login", "plain")}, "LOGIN PLAIN"),
        (Does(authenticate=returns(True)), TLS, {"mechanisms": ()}, ""),
        (
            Does(authenticate=returns(True), stored_secret=returns(None)),
            BOUND,
            {},
            "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN CRAM-MD5",
        ),
        (
            Does(authenticate=returns(True), stored_secret=returns(None)),
            TLS,
            {},
            "SCRAM-SHA-256 PLAIN LOGIN CRAM-MD5",
        ),
        (Does(authenticate=returns(True), stored_secret=returns(None)), None, {}, ""),
        (
            Does(authenticate=returns(True), stored_secret=returns(None)),
            None,
            {"allow_insecure_auth": True},
            "SCRAM-SHA-256 PLAIN LOGIN CRAM-MD5",
        ),
        (Does(authenticate=returns(True), mechanisms={"XOAUTH2"}), TLS, {}, "XOAUTH2"),
        (Does(authenticate=returns(True), mechanisms={"EXTERNAL"}), CERTIFIED, {}, "EXTERNAL"),
        (Does(authenticate=returns(True), mechanisms={"EXTERNAL"}), TLS, {}, ""),
        (Does(), TLS, {}, ""),
    ],
)
def test_a_mechanism_is_offered_if_it_can_be_honoured(
    handler: object, tls: TlsInformation | None, settings: dict[str, Any], mechanisms: str
) -> None:
    """By whoever decides, on this connection, and if it was not switched off (P11)."""
    assert offered(server(handler, tls, settings=settings)) == mechanisms.split()


@pytest.mark.parametrize("name", sorted(MECHANISMS))
def test_what_is_not_offered_cannot_be_used(name: str) -> None:
    """In the clear 538, and never a 334; what nobody can decide on is 504 (P11, P12)."""
    clear = server(tls=None)
    external = name == "EXTERNAL"
    assert clear.send(f"AUTH {name}\r\n".encode()) == ["504" if external else "538"]
    assert server(Does(authenticate=returns(True), mechanisms=())).send(
        f"AUTH {name}\r\n".encode()
    ) == ["504"]
    off = server(settings={"mechanisms": tuple(ALL - {name})}, tls=EVERY)
    assert off.send(f"AUTH {name}\r\n".encode()) == ["504"]


def client_of(name: str, **given: Any) -> Any:
    """Return the client's side of a mechanism."""
    secret = {"token": "t0ken"} if "OAUTH" in name else {}
    credentials = Credentials(name, "anne", PASSWORD, **secret)
    return MECHANISMS[name].client(replace(credentials, **given))


def log_in(one: Server, name: str, tls: TlsInformation = BOUND, **given: Any) -> list[bytes]:
    """Have a client log in; return all that it has sent."""
    client = client_of(name, **given)
    first = next(client)
    if isinstance(first, AskSession):
        first = client.send(Session(bind=tls.bind or (lambda kind: None)))
    line = f"AUTH {name}".encode()
    if first is not None:
        line += b" " + (base64.b64encode(first) or b"=")
    sent = [line]
    while True:
        before = len(one.said)
        one.send(line + b"\r\n")
        one.dialogue.absolve()
        said = one.said[before:] + one.dialogue.take_output()
        if not said.startswith(b"334 "):
            one.said += b"" if said in one.said else said
            return sent
        line = base64.b64encode(client.send(base64.b64decode(said[4:])))
        sent.append(line)


EVERY = replace(BOUND, client_certificate=b"der", client_names=("anne",))


@pytest.mark.parametrize("name", sorted(MECHANISMS))
def test_a_client_logs_in_by_each(name: str) -> None:
    """With what it has: a password, a token, a certificate."""
    keeper = Keeper()
    one = server(keeper, EVERY)
    log_in(one, name)
    assert one.codes[-1] == "235"
    assert one.dialogue.connection.identity == "anne"
    [credentials] = keeper.seen
    assert (credentials.mechanism, credentials.username) == (name, "anne")
    kinds = {"PLAIN": 0, "LOGIN": 0, "XOAUTH2": 1, "OAUTHBEARER": 1}
    assert credentials.proven is (name not in kinds)
    assert (credentials.token is not None) is (kinds.get(name) == 1)
    assert one.send(b"NOOP\r\nMAIL FROM:<>\r\n") == ["250", "250"]


@pytest.mark.parametrize("name", sorted(ALL - {"EXTERNAL"}))
@pytest.mark.parametrize("who", [{"password": "guess", "token": "guess"}, {"username": "tim"}])
def test_a_wrong_proof_is_one_failed_login(name: str, who: dict[str, str]) -> None:
    """Also of somebody unknown: the same steps, the same words, and it counts (P12, P15)."""
    one = server(tls=EVERY)
    who = {key: value for key, value in who.items() if key != "token" or "OAUTH" in name}
    if "username" in who:
        who["token" if "OAUTH" in name else "password"] = "guess"
    steps = len(log_in(one, name, **who))
    assert one.said.endswith(b"535 5.7.8 Authentication credentials invalid\r\n")
    assert one.dialogue.connection.budget.auth_failures == 1
    assert one.dialogue.connection.identity is None
    again = server(tls=EVERY)
    assert steps == len(log_in(again, name, password="guess", token="guess"))
    for _ in range(4):
        log_in(one, name, **who)
    assert one.codes[-1] == "421"
    assert one.dialogue.finished is Reason.LIMIT


def test_a_user_who_is_unknown_has_a_salt_that_stays() -> None:
    """A client that asks twice cannot tell by it, nor by the number of iterations."""

    def challenge(name: str) -> bytes:
        one = server()
        first = base64.b64encode(f"n,,n={name},r=abc".encode())
        one.send(b"AUTH SCRAM-SHA-256 " + first + b"\r\n")
        return base64.b64decode(one.said.rpartition(b"334 ")[2]).partition(b",")[2]

    for name in ("anne", "tim"):
        assert challenge(name) == challenge(name)
    assert challenge("anne") != challenge("tim")
    assert len(challenge("anne")) == len(challenge("tim"))
    assert challenge("anne").partition(b",i=")[2] == challenge("tim").partition(b",i=")[2]


def test_keys_are_stored_in_place_of_a_password() -> None:
    """What SCRAM stores cannot be used to log in elsewhere; CRAM-MD5 cannot do with it."""
    keys = ScramSecret.of(PASSWORD, iterations=4096)
    handler = Does(authenticate=returns(True), stored_secret=returns(keys))
    one = server(handler)
    log_in(one, "SCRAM-SHA-256", TLS)
    assert one.codes[-1] == "235"
    one = server(handler)
    log_in(one, "CRAM-MD5")
    assert one.codes[-1] == "451"
    assert "wants the password itself" not in one.log[0]  # what it raised may quote it
    assert "TypeError at" in one.log[0]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, 535),
        (False, 535),
        (b"Tr0ub4dor&3/swordfish", 235),
        (Reply(454, "Later", status="4.7.0"), 454),
        ((454, "Later"), 454),
        (550, 550),
        (250, 451),
        (True, 451),
        ("", 451),
        (b"", 451),
        (object(), 451),
    ],
)
def test_what_is_stored_may_be_anything_or_a_refusal(answer: object, code: int) -> None:
    """``None`` is nobody; a no of one's own is that; an empty secret is a fault and no door."""
    for name in ("CRAM-MD5", "SCRAM-SHA-256"):
        one = server(Does(authenticate=returns(True), stored_secret=returns(answer)))
        log_in(one, name, TLS)
        assert one.codes[-1] == str(code)
        failed = code in (535, 550)
        assert one.dialogue.connection.budget.auth_failures == failed


def test_what_fails_for_a_stored_secret_is_told_without_its_words() -> None:
    """451 with an incident, or the refusal; the log has where it was (P14)."""
    fails = Does(authenticate=returns(True), stored_secret=raises(KeyError(PASSWORD)))
    one = server(fails)
    log_in(one, "CRAM-MD5")
    assert one.codes[-1] == "451"
    assert "stored_secret of Does failed" in one.log[0]
    assert "KeyError at" in one.log[0]
    assert PASSWORD not in "".join(one.log)
    refuses = Does(authenticate=returns(True), stored_secret=raises(Refusal(454)))
    one = server(refuses)
    log_in(one, "CRAM-MD5")
    assert one.codes[-1] == "454"
    assert one.log == []


def test_what_is_stored_may_take_its_time() -> None:
    """The client waits; what is wrong with its response is said when it is known."""
    for response, code in (
        (b"n,,n=anne,r=abc", "334"),
        (b"y,,n=anne,r=abc", "334"),
    ):
        handler = Later("stored_secret", authenticate=returns(True))
        one = server(handler)
        assert one.send(b"AUTH SCRAM-SHA-256 " + base64.b64encode(response) + b"\r\n") == []
        handler.last.give(PASSWORD)
        assert one.codes[-1] == code
    handler = Later("stored_secret", authenticate=returns(True))
    one = server(handler)
    one.send(b"AUTH CRAM-MD5\r\n" + base64.b64encode(b"anne 0") + b"\r\n")
    handler.last.give(object())
    assert one.codes[-1] == "451"


def late(initial: bytes | None) -> ServerExchange:
    """Find fault with what came before, when the verdict is there."""
    yield Decide(Credentials("X-LATE", "anne", ""))
    raise ValueError("secret")


def test_what_fails_behind_the_verdict_is_no_login() -> None:
    """Whoever had been vouched for is nobody."""
    mechanism = Mechanism("X-LATE", late, MECHANISMS["PLAIN"].client, plaintext=False)
    handler = Later("authenticate")
    one = server(handler, settings={"mechanisms": (mechanism,)})
    one.send(b"AUTH X-LATE\r\n")
    handler.last.give(Authenticated(7))
    assert one.codes[-1] == "451"
    assert one.dialogue.connection.identity is None


@pytest.mark.parametrize(
    ("name", "status", "dummy"),
    [
        ("OAUTHBEARER", b'{"status":"invalid_token"}', b"AQ=="),
        ("XOAUTH2", b'{"status":"401","schemes":"bearer","scope":"mail"}', b""),
        ("OAUTHBEARER", b'{"status":"invalid_token"}', b"*"),
        ("XOAUTH2", b'{"status":"401","schemes":"bearer","scope":"mail"}', b"!" * 20_000),
    ],
)
def test_a_token_that_is_refused_is_explained(name: str, status: bytes, dummy: bytes) -> None:
    """334 with JSON, the client says anything, and then only it hears 535 (RFC 7628 §3.2.3)."""
    one = server()
    response = base64.b64encode(next(client_of(name, token="guess")))
    assert one.send(f"AUTH {name} ".encode() + response + b"\r\n") == ["334"]
    assert base64.b64decode(one.said.rpartition(b"334 ")[2]) == status
    assert one.dialogue.connection.budget.auth_failures == 1
    one.send(dummy + b"\r\nNOOP\r\n")
    long = len(dummy) > 1000
    assert one.codes[-2:] == ["500" if long else "535", "250"]
    assert one.dialogue.connection.budget.auth_failures == 1


def test_a_token_that_cannot_be_checked_now_may_be_good() -> None:
    """454 at once: it is not said to be invalid."""
    refuses = Does(authenticate=returns(Reply(454)), mechanisms=ALL & {"XOAUTH2"})
    one = server(refuses)
    response = base64.b64encode(next(client_of("XOAUTH2")))
    assert one.send(b"AUTH XOAUTH2 " + response + b"\r\n") == ["454"]
    assert one.dialogue.connection.budget.auth_failures == 0


def test_what_a_client_wants_to_act_as_is_asked_with_its_proof() -> None:
    """Whether anne may act as tim, only who decides can say (RFC 4422 §3.4.1)."""
    for name in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "EXTERNAL"):
        keeper = Keeper()
        log_in(server(keeper, EVERY), name, authorization_id="tim")
        assert [one.authorization_id for one in keeper.seen] == ["tim"]


def test_a_certificate_is_whose_it_says() -> None:
    """The client cannot name another: what it sends is only whom it would act as."""
    keeper = Keeper()
    one = server(keeper, CERTIFIED)
    assert one.send(b"AUTH EXTERNAL =\r\n") == ["235"]
    assert [(who.username, who.authorization_id) for who in keeper.seen] == [
        ("anne@example.org", "")
    ]
    one = server(keeper, CERTIFIED)
    assert one.send(b"AUTH EXTERNAL\r\n\r\n") == ["334", "235"]


def test_whoever_says_that_we_cannot_bind_has_been_lied_to() -> None:
    """We have offered -PLUS, so somebody on the way has taken it out (RFC 5802 §6)."""
    first = base64.b64encode(b"y,,n=anne,r=abc")
    one = server(tls=BOUND)
    one.send(b"AUTH SCRAM-SHA-256 " + first + b"\r\n")
    assert one.codes[-1] == "535"
    honest = server(tls=BOUND, settings={"mechanisms": ("SCRAM-SHA-256",)})
    assert honest.send(b"AUTH SCRAM-SHA-256 " + first + b"\r\n") == ["334"]


def test_who_observes_hears_of_a_wrong_proof() -> None:
    """As of any other login that fails; with the name, and nothing of the proof."""
    observer = Noting()
    one = server(observer=observer)
    log_in(one, "CRAM-MD5", password="guess")
    decided = [what for what in observer.decisions if "authenticate" in repr(what)]
    assert "535" in repr(decided)


def test_somebody_may_have_to_wait_before_they_try() -> None:
    """Nobody is asked until then; if they may not, nobody is asked at all."""
    keeper = Keeper()
    handler = Later("held")
    for outcome, codes in ((None, ["235"]), (Reply(454), ["454"])):
        one = server(keeper)
        held: Any = handler.held(None)
        one.driver.admit_login = returns(held)
        plain = base64.b64encode(b"\0anne\0" + PASSWORD.encode())
        assert one.send(b"AUTH PLAIN " + plain + b"\r\nNOOP\r\n") == []
        keeper.seen.clear()
        handler.last.give(outcome)
        assert one.codes[-2:] == [*codes, "250"]
        assert len(keeper.seen) == (codes == ["235"])
    one = server(keeper)
    one.driver.admit_login = returns(Reply(454, status="4.7.0"))
    assert one.send(b"AUTH PLAIN\r\n") == ["454"]
    held = handler.held(None)
    one.driver.admit_login = returns(held)
    one.send(b"AUTH EXTERNAL\r\nAUTH CRAM-MD5 YQ==\r\n")
    handler.last.give(None)
    assert one.codes[-1] == "501"


class Fails(Observer):
    """An observer that quotes what it sees."""

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        if method in ("authenticate", "stored_secret"):
            raise ValueError(PASSWORD)


@pytest.mark.parametrize("name", sorted(MECHANISMS))
@pytest.mark.parametrize("right", [True, False])
def test_no_octet_of_a_secret_is_in_what_is_shown(name: str, right: bool) -> None:
    """Not in raw, not in base64 wherever it begins; in no repr, note or log line (P14)."""
    token = PASSWORD
    secrets = [
        PASSWORD.encode(),
        *(base64.b64encode(b"x" * shift + PASSWORD.encode())[4:-4] for shift in range(3)),
    ]
    observer = Noting()
    seen: list[object] = []
    wrong = PASSWORD + "x"
    if right:

        def answer(credentials: object, connection: object) -> bool:
            seen.append(repr(credentials))
            return True
    else:
        answer = returns(False)
    handler = Does(
        command=lambda command, connection: seen.append(command),
        command_mask=Verb(0),
        authenticate=answer,
        stored_secret=returns(PASSWORD if right else wrong),
        mechanisms=ALL,
    )
    one = server(handler, EVERY, observer=observer)
    lines = log_in(one, name, token=token)
    again = server(handler, EVERY, observer=observer)
    for line in lines:
        seen.append(again.dialogue.shown(line))
        again.send(line + b"\r\n")
        seen.append(repr([again.dialogue.login, again.dialogue.open]))
    failing = server(handler, EVERY, observer=Guarded(Fails(), one.platform, "x"))
    log_in(failing, name, token=token)
    text = repr([seen, observer.decisions, observer.notes, one.log, again.log, failing.log])
    text += one.said.decode() + again.said.decode()
    for line in lines[1:]:
        if len(line) > 12 and name not in ("EXTERNAL",):
            secrets.append(line)
    for secret in secrets:
        assert secret.decode() not in text


@pytest.mark.parametrize(
    ("given", "kind", "complaint"),
    [
        ("PLAIN", TypeError, "some names, such as"),
        (7, TypeError, "some names, such as"),
        ([7], TypeError, "a name or a Mechanism"),
        (["PLAIN", "plain"], ValueError, "names PLAIN twice"),
        (["XOAUTH"], ValueError, "names 'XOAUTH', and there are SCRAM"),
    ],
)
def test_mechanisms_of_settings_are_names_or_your_own(
    given: Any, kind: type[Exception], complaint: str
) -> None:
    """And each is named once."""
    with pytest.raises(kind, match=complaint):
        Settings(mechanisms=given)
    with pytest.raises(ValueError, match="require_auth wants it"):
        Settings(mechanisms=(), require_auth=True)


def echo(initial: bytes | None) -> ServerExchange:
    """Know who somebody is by what the session says."""
    session = yield AskSession()
    response = yield Challenge(repr(session).encode())
    yield Decide(Credentials("X-ECHO", response.decode(), ""))


def test_a_mechanism_of_your_own_is_offered_where_you_put_it() -> None:
    """Before ours, and in place of one of ours by the same name."""
    own = Mechanism("X-ECHO", echo, MECHANISMS["PLAIN"].client, plaintext=False)
    one = server(settings={"mechanisms": (own, "PLAIN")}, tls=None)
    assert offered(one) == ["X-ECHO"]
    assert one.send(b"AUTH X-ECHO\r\nYW5uZQ==\r\n") == ["334", "535"]
    assert b"hidden" not in one.said
    mine = replace(own, name="PLAIN")
    one = server(settings={"mechanisms": (mine,)})
    assert one.send(b"AUTH PLAIN\r\n") == ["334"]
    assert b"certificate_name=None" in base64.b64decode(one.said.rpartition(b"334 ")[2])


@pytest.mark.parametrize(
    ("names", "subject", "name"),
    [
        (("mx.example.org", "anne@example.org"), "CN=anne", "anne@example.org"),
        (("mx.example.org",), "CN=anne", "mx.example.org"),
        ((), "CN=anne,O=Example", "CN=anne,O=Example"),
        ((), None, None),
        ((), "", None),
    ],
)
def test_whose_a_certificate_is(names: tuple[str, ...], subject: str | None, name: str) -> None:
    """Its mail address, else its host name, else its subject; and where it has none, nobody's."""
    tls = replace(TLS, client_certificate=b"der", client_names=names, client_subject=subject)
    assert tls.client_name == name
    keeper = Keeper()
    one = server(keeper, tls)
    assert one.send(b"AUTH EXTERNAL =\r\n") == ["501" if name is None else "235"]
    assert replace(tls, client_certificate=None).client_name is None
