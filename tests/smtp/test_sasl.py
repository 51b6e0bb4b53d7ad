"""SASL mechanisms as exchanges, both sides; how they look in a dialogue is in test_auth.py."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import CONTROL
from smtpcb.smtp.sasl import (
    LOGIN,
    MECHANISMS,
    PLAIN,
    Authenticated,
    Challenge,
    ClientExchange,
    Credentials,
    Decide,
    Mechanism,
    ServerExchange,
    StoredSecret,
    challenge_line,
    decode,
    encode,
    read_auth,
    write_auth,
)


def asked(exchange: ServerExchange, *responses: bytes) -> Credentials:
    """Hold an exchange up to the question for the verdict, and complete it."""
    request = next(exchange)
    for response in responses:
        assert isinstance(request, Challenge)
        request = exchange.send(response)
    assert isinstance(request, Decide)
    with pytest.raises(StopIteration):
        exchange.send(None)
    return request.credentials


def test_the_authorization_id_is_a_part_of_its_own() -> None:
    """RFC 4616 §2: it shifts neither the name nor the password."""
    credentials = asked(PLAIN.server(b"boss\0anne\0secret"))
    assert credentials == Credentials("PLAIN", "anne", "secret", "boss")
    assert asked(PLAIN.server(None), b"\0anne\0").password == ""


def test_login_asks_for_name_and_password() -> None:
    """With the two prompts that clients wait for."""
    exchange = LOGIN.server(None)
    assert next(exchange) == Challenge(b"Username:")
    assert exchange.send(b"anne") == Challenge(b"Password:")
    assert asked(LOGIN.server(b"anne"), b"s") == Credentials("LOGIN", "anne", "s")
    assert asked(LOGIN.server(None), b"anne", b"s").username == "anne"


@pytest.mark.parametrize(
    "response",
    [b"", b"anne", b"anne\0secret", b"\0\0secret", b"a\0b\0c\0d", b"\0\xff\0s", b"\xff\0a\0s"],
)
def test_what_is_no_response_is_refused(response: bytes) -> None:
    """Three parts with a name of UTF-8; nothing is guessed (P16)."""
    with pytest.raises(PeerProtocolError) as caught:
        asked(PLAIN.server(response))
    assert caught.value.reply.code == 501


NAMES = [
    b"a\r\nb",
    b"a\nb",
    b"\ra",
    b"a\tb",
    b"\x1b[2J",
    b"a\x7f",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xff",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_control_character_in_a_name_is_refused(name: bytes) -> None:
    """Names get into logs, replies and the names of files (P16)."""
    for exchange, responses in (
        (PLAIN.server(b"\0" + name + b"\0s"), ()),
        (PLAIN.server(name + b"\0anne\0s"), ()),
        (LOGIN.server(name), (b"s",)),
    ):
        with pytest.raises(PeerProtocolError) as caught:
            asked(exchange, *responses)
        assert caught.value.reply.code == 501


def test_login_needs_a_name_and_no_nul() -> None:
    """Both are refused behind the password, so that it is never taken for a command."""
    for name, password in ((b"", b"s"), (b"a\0b", b"s"), (b"anne", b"s\0")):
        exchange = LOGIN.server(None)
        next(exchange)
        assert exchange.send(name) == Challenge(b"Password:")
        with pytest.raises(PeerProtocolError):
            exchange.send(password)


@pytest.mark.parametrize("password", [b"gr\xfcn", b"\xff\xfe", b"a\tb"])
def test_a_password_goes_on_whatever_its_octets_are(password: bytes) -> None:
    """Whether it is right, only who knows it can say; a wrong one is 535, not a syntax error."""
    for credentials in (
        asked(PLAIN.server(b"\0anne\0" + password)),
        asked(LOGIN.server(b"anne"), password),
    ):
        assert credentials.password.encode("utf-8", "surrogateescape") == password


@pytest.mark.parametrize(
    "response",
    [
        b"a",
        b"YQ",
        b"YQ=",
        b"YQ===",
        b"Y Q==",
        b" YQ==",
        b"YQ==x",
        b"!",
        b"=",
        b"YWJj=",
        b"YWJj====",
        b"YR==",
        b"\xff",
    ],
)
def test_base64_is_read_strictly(response: bytes) -> None:
    """RFC 4954 §4: no character is skipped, no padding is made up (P12)."""
    with pytest.raises(PeerProtocolError):
        decode(response)


def test_a_blank_behind_base64_harms_nobody() -> None:
    """Blanks at the end of a line are tolerated anywhere (RFC 5321 §4.1.1)."""
    assert decode(b"YQ==") == decode(b"YQ== ") == decode(b"YQ==\t ") == b"a"
    assert decode(b"") == decode(b" ") == b""


@given(st.binary(max_size=60))
def test_what_is_encoded_is_decoded_to_the_same(octets: bytes) -> None:
    """Both sides agree."""
    assert decode(encode(octets)) == octets
    assert read_auth(write_auth("PLAIN", octets).encode()).initial_response() == octets


def test_a_challenge_is_base64() -> None:
    """RFC 4954 §4; an empty one has nothing behind the blank."""
    assert challenge_line(b"Username:") == b"334 VXNlcm5hbWU6\r\n"
    assert challenge_line(b"") == b"334 \r\n"


@pytest.mark.parametrize(
    ("argument", "mechanism", "initial"),
    [
        (b"plain", "PLAIN", None),
        (b"  PLAIN ", "PLAIN", None),
        (b" \tPLAIN  AGEAYg== ", "PLAIN", b"\0a\0b"),
        (b"LOGIN =", "LOGIN", b""),
        (b"X-Y_1", "X-Y_1", None),
    ],
)
def test_blanks_around_the_parts_of_auth_harm_nobody(
    argument: bytes, mechanism: str, initial: bytes | None
) -> None:
    """Real clients send them."""
    command = read_auth(argument)
    assert (command.mechanism, command.initial_response()) == (mechanism, initial)


@pytest.mark.parametrize("argument", [b"", b"  ", "PLA\u0131N".encode(), b"\0", b"PLAIN\0"])
def test_auth_names_a_mechanism(argument: bytes) -> None:
    """In ASCII: nothing is folded into the name of one."""
    with pytest.raises(PeerProtocolError) as caught:
        read_auth(argument)
    assert caught.value.reply.code == 501


def test_whether_there_is_a_mechanism_comes_before_its_response() -> None:
    """So that 504 can be said first."""
    command = read_auth(b"NTLM not base64")
    assert command.mechanism == "NTLM"
    with pytest.raises(PeerProtocolError):
        command.initial_response()
    assert write_auth("LOGIN", None) == "LOGIN"


def test_a_password_is_in_no_repr() -> None:
    """It would find its way into a log (P14)."""
    assert "secret" not in repr(Credentials("PLAIN", "anne", "secret"))
    assert Authenticated("anne").release is None


def converse(mechanism: Mechanism, credentials: Credentials, stored: Any = None) -> Decide:
    """Let both sides of a mechanism talk to each other until the login is complete."""
    client = mechanism.client(credentials)
    server = mechanism.server(next(client))
    request, decided = next(server), None
    while True:
        try:
            if isinstance(request, Challenge):
                request = server.send(client.send(request.octets))
            elif isinstance(request, StoredSecret):
                assert request.username == credentials.username
                request = server.send(stored)
            else:
                decided = request
                request = server.send(None)
        except StopIteration:
            assert decided is not None
            return decided


USERS = st.text(max_size=20).filter(lambda text: not CONTROL.search(text))
PASSWORDS = st.text(max_size=20).map(lambda text: text.replace("\0", ""))


@given(st.sampled_from(sorted(MECHANISMS)), USERS.filter(bool), PASSWORDS)
def test_client_and_server_understand_each_other(name: str, user: str, password: str) -> None:
    """Whatever name and password are."""
    credentials = Credentials(name, user, password)
    assert converse(MECHANISMS[name], credentials).credentials == credentials


def test_a_client_may_act_as_somebody_else() -> None:
    """With PLAIN, which can say so (RFC 4616 §2)."""
    credentials = Credentials("PLAIN", "anne", "gr\udcfcn", "boss")
    assert converse(PLAIN, credentials).credentials == credentials


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials("PLAIN", "a\0b", "s"),
        Credentials("PLAIN", "a", "s\0"),
        Credentials("PLAIN", "a", "s", "\0"),
    ],
)
def test_a_client_refuses_what_the_mechanism_cannot_say(credentials: Credentials) -> None:
    """Before an octet of it is sent (P52)."""
    with pytest.raises(LocalProtocolError):
        next(PLAIN.client(credentials))


# A mechanism that needs all that the shape offers: the server looks up a stored secret, checks the
# proof itself, asks for the verdict, and proves after it that it knew the secret too.


def proof(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, hashlib.sha256)


def toy_server(initial: bytes | None) -> ServerExchange:
    username = (yield Challenge(b"")) if initial is None else initial
    key = yield StoredSecret("TOY", username.decode())
    answer = yield Challenge(b"nonce")
    if key is None or not hmac.compare_digest(answer, proof(key, b"nonce")):
        raise PeerProtocolError(Reply(535))
    yield Decide(Credentials("TOY", username.decode(), "", proven=True))
    yield Challenge(proof(key, b"server"))


def toy_client(credentials: Credentials) -> ClientExchange:
    key = credentials.password.encode()
    nonce = yield credentials.username.encode()
    theirs = yield proof(key, nonce)
    if theirs != proof(key, b"server"):
        raise PeerProtocolError(Reply(535))
    yield b""


TOY = Mechanism("TOY", toy_server, toy_client, plaintext=False)


def test_an_exchange_may_ask_for_a_stored_secret_and_speak_after_the_verdict() -> None:
    """The password itself is never sent; and the client learns that the server knew it."""
    decided = converse(TOY, Credentials("TOY", "anne", "secret"), b"secret")
    assert decided.credentials == Credentials("TOY", "anne", "", proven=True)


@pytest.mark.parametrize("stored", [None, b"another"])
def test_a_proof_that_is_wrong_is_no_login(stored: bytes | None) -> None:
    """The mechanism says so itself: nobody is asked for a verdict."""
    with pytest.raises(PeerProtocolError) as caught:
        converse(TOY, Credentials("TOY", "anne", "secret"), stored)
    assert caught.value.reply.code == 535


def test_after_a_no_an_exchange_is_closed() -> None:
    """And says nothing more, whatever it had in mind."""
    exchange = toy_server(b"anne")
    next(exchange)
    exchange.send(b"secret")
    assert isinstance(exchange.send(proof(b"secret", b"nonce")), Decide)
    exchange.close()
    with pytest.raises(StopIteration):
        next(exchange)
