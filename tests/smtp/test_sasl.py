"""SASL mechanisms as exchanges, both sides; how they look in a dialogue is in test_auth.py."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import Any

import pytest
import scramp
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import CONTROL
from smtpcb.smtp.sasl import (
    BY_SECRET,
    CRAM_MD5,
    EXTERNAL,
    LOGIN,
    MALFORMED,
    MECHANISMS,
    NOT_BASE64,
    OAUTHBEARER,
    PLAIN,
    SCRAM_SHA_256,
    SCRAM_SHA_256_PLUS,
    XOAUTH2,
    AskSession,
    Authenticated,
    Challenge,
    ClientExchange,
    Credentials,
    Decide,
    LoginRefused,
    Mechanism,
    ScramSecret,
    ServerExchange,
    Session,
    StoredSecret,
    WrongProof,
    challenge_line,
    decode,
    encode,
    read_auth,
    write_auth,
)
from smtpcb.smtp.sasl._saslprep import saslprep
from smtpcb.smtp.sasl._scram import is_proof
from smtpcb.smtp.sasl._scram_secret import sign


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


def converse(
    mechanism: Mechanism,
    credentials: Credentials,
    stored: Any = None,
    session: Session = Session(),  # noqa: B008 - frozen
    theirs: Session | None = None,
) -> Decide | WrongProof:
    """Let both sides of a mechanism talk to each other until the login is complete."""
    client = mechanism.client(credentials)
    said = next(client)
    if isinstance(said, AskSession):
        said = client.send(theirs or session)
    assert not isinstance(said, AskSession)
    server = mechanism.server(said)
    request, decided = next(server), None
    while True:
        try:
            if isinstance(request, Challenge):
                request = server.send(client.send(request.octets))
            elif isinstance(request, AskSession):
                request = server.send(session)
            elif isinstance(request, StoredSecret):
                assert request.username == credentials.username
                request = server.send(stored)
            elif isinstance(request, WrongProof):
                return request
            else:
                decided = request
                request = server.send(None)
        except StopIteration:
            assert decided is not None
            return decided


USERS = st.text(max_size=20).filter(lambda text: not CONTROL.search(text))
PASSWORDS = st.text(max_size=20).map(lambda text: text.replace("\0", ""))


@settings(deadline=None)
@given(st.sampled_from(sorted(MECHANISMS.keys() - {"EXTERNAL"})), USERS.filter(bool), PASSWORDS)
def test_client_and_server_understand_each_other(name: str, user: str, password: str) -> None:
    """Whatever name and password are."""
    token = "t0ken" if "OAUTH" in name else None
    if token is not None:
        password = ""
    credentials = Credentials(name, user, password, token=token)
    bound = Session(bind=lambda kind: b"bound")
    decided = converse(MECHANISMS[name], credentials, password or None, bound)
    if name in BY_SECRET and password:
        credentials = replace(credentials, password="", proven=True)
    elif name in BY_SECRET:
        assert isinstance(decided, WrongProof)
        return
    assert decided == Decide(credentials)


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


# SCRAM-SHA-256, and the mechanisms that need no shape of their own.

KEYS = ScramSecret.of("pencil", salt=b"salt" * 4, iterations=4096)


def final(exchange: ServerExchange, *, change: tuple[bytes, bytes] = (b"", b"")) -> object:
    """Hold an exchange up to what it says to a client's proof, which is changed on the way."""
    client = SCRAM_SHA_256.client(Credentials("SCRAM-SHA-256", "anne", "pencil"))
    next(client)
    first = client.send(Session())
    request = next(exchange)
    assert request == Challenge(b"")
    request = exchange.send(first)
    while isinstance(request, AskSession):
        request = exchange.send(Session())
    assert isinstance(request, StoredSecret)
    request = exchange.send(KEYS)
    assert isinstance(request, Challenge)
    response = client.send(request.octets)
    assert isinstance(response, bytes)
    return exchange.send(response.replace(*change))


def test_scram_of_rfc_7677() -> None:
    """The example of its section 3, octet by octet."""
    salt = decode(b"W22ZaJ0SNY7soEsUEjb6gQ==")
    client_nonce, server_nonce = b"rOprNGfwEbeRWgbNEkqO", b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    keys = ScramSecret.of("pencil", salt=salt, iterations=4096)
    bare = b"n=user,r=" + client_nonce
    asked = b"r=%b%b,s=%b,i=4096" % (client_nonce, server_nonce, encode(salt))
    unproven = b"c=biws,r=" + client_nonce + server_nonce
    text = b",".join((bare, asked, unproven))
    proof = decode(b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    assert is_proof(proof, keys, text)
    assert encode(sign(keys.server_key, text)) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert not is_proof(b"short", keys, text)


@pytest.mark.parametrize("password", ["pencil", "gr\u00fcn", "\u2168", "I\u00adX"])
@pytest.mark.parametrize("username", ["anne", "a=b,c", "j\u00f6rg"])
def test_another_client_understands_our_server(username: str, password: str) -> None:
    """One that others have written; and its server understands our client."""
    theirs = scramp.ScramClient(["SCRAM-SHA-256"], username, password)
    exchange = SCRAM_SHA_256.server(theirs.get_client_first().encode())
    assert isinstance(next(exchange), AskSession)
    request = exchange.send(Session())
    assert request == StoredSecret("SCRAM-SHA-256", username)
    request = exchange.send(password)
    assert isinstance(request, Challenge)
    theirs.set_server_first(request.octets.decode())
    request = exchange.send(theirs.get_client_final().encode())
    assert isinstance(request, Decide)
    assert request.credentials == Credentials("SCRAM-SHA-256", username, "", proven=True)
    request = exchange.send(None)
    assert isinstance(request, Challenge)
    theirs.set_server_final(request.octets.decode())

    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    info = mechanism.make_auth_info(password)
    server = mechanism.make_server(lambda name: info if name == username else None)
    client = SCRAM_SHA_256.client(Credentials("SCRAM-SHA-256", username, password))
    next(client)
    server.set_client_first(client.send(Session()).decode())
    server.set_client_final(client.send(server.get_server_first().encode()).decode())
    assert client.send(server.get_server_final().encode()) == b""


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n,,n=anne",
        b"n,n=anne,r=x",
        b"n,,n=,r=x",
        b"n,,n=an=2dne,r=x",
        b"n,,n=a=,r=x",
        b"n,,n=a\0b,r=x",
        b"n,,n=a\nb,r=x",
        b"n,,n=\xff,r=x",
        b"n,,n=anne,r=",
        b"n,,n=anne,r=a\x7f",
        b"n,,m=x,n=anne,r=x",
        b"x,,n=anne,r=x",
        b"n,a=,n=anne,r=x",
        b"n,b=x,n=anne,r=x",
        b"p=tls-exporter,,n=anne,r=x",
        b"\xff",
    ],
)
def test_what_is_no_first_message_of_scram_is_refused(first: bytes) -> None:
    """Nothing is guessed; an extension that must be understood is not (RFC 5802 §7)."""
    with pytest.raises(PeerProtocolError) as caught:
        next(SCRAM_SHA_256.server(first))
    assert caught.value.reply.code == 501
    with pytest.raises(PeerProtocolError):
        next(SCRAM_SHA_256_PLUS.server(first.replace(b"p=tls-exporter", b"n")))


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ((b"c=biws", b"c=eSws"), WrongProof),
        ((b",r=", b",r=x"), WrongProof),
        ((b",p=", b",p=AAAA"), WrongProof),
        ((b",p=", b",x=unknown,p="), WrongProof),
        ((b",p=", b",m=unknown"), MALFORMED),
        ((b"c=", b"d="), MALFORMED),
        ((b"c=biws", b"c=biw"), NOT_BASE64),
    ],
)
def test_what_is_no_proof_of_scram_is_no_login(change: tuple[bytes, bytes], outcome: Any) -> None:
    """Whatever of it was changed on the way (RFC 5802 §3)."""
    if outcome is WrongProof:
        assert isinstance(final(SCRAM_SHA_256.server(None), change=change), WrongProof)
        return
    with pytest.raises(PeerProtocolError) as caught:
        final(SCRAM_SHA_256.server(None), change=change)
    assert caught.value.reply == outcome
    assert isinstance(final(SCRAM_SHA_256.server(None)), Decide)


def test_behind_its_last_word_a_client_says_nothing() -> None:
    """RFC 4954 §4: an empty line."""
    exchange = SCRAM_SHA_256.server(None)
    assert isinstance(final(exchange), Decide)
    assert isinstance(exchange.send(None), Challenge)
    with pytest.raises(PeerProtocolError):
        exchange.send(b"x")


@pytest.mark.parametrize("kind", ["tls-exporter", "tls-server-end-point"])
def test_both_ends_of_a_channel_prove_that_they_are(kind: str) -> None:
    """Whoever stands between two of them has two channels (RFC 5802 §6)."""
    credentials = Credentials("SCRAM-SHA-256-PLUS", "anne", "pencil")
    ours = Session(bind={kind: b"one"}.get)
    decided = converse(SCRAM_SHA_256_PLUS, credentials, "pencil", ours)
    assert decided == Decide(replace(credentials, password="", proven=True))
    theirs = Session(bind={kind: b"other"}.get)
    other = converse(SCRAM_SHA_256_PLUS, credentials, "pencil", ours, theirs)
    assert isinstance(other, WrongProof)
    nothing = converse(SCRAM_SHA_256_PLUS, credentials, "pencil", Session(), theirs)
    assert isinstance(nothing, WrongProof)


def test_there_is_no_binding_to_what_is_unknown() -> None:
    """A type that nobody has here is a no; a client without TLS does not begin."""
    exchange = SCRAM_SHA_256_PLUS.server(b"p=tls-unique,,n=anne,r=x")
    next(exchange)
    assert isinstance(exchange.send(Session(bind=lambda kind: b"x")), WrongProof)
    client = SCRAM_SHA_256_PLUS.client(Credentials("SCRAM-SHA-256-PLUS", "anne", "pencil"))
    next(client)
    with pytest.raises(LocalProtocolError):
        client.send(Session())


@pytest.mark.parametrize(
    "asked",
    [
        b"r=other,s=c2FsdA==,i=4096",
        b"r=NONCE,s=c2FsdA==,i=4096",
        b"r=NONCEx,s=c2FsdA==,i=1",
        b"r=NONCEx,s=c2FsdA==,i=10000000",
        b"r=NONCEx,s=,i=4096",
        b"e=other-error",
    ],
)
def test_a_client_of_scram_is_not_led_astray(asked: bytes) -> None:
    """By a server that makes it work without end, or has not read what it said."""
    client = SCRAM_SHA_256.client(Credentials("SCRAM-SHA-256", "anne", "pencil", "boss"))
    next(client)
    first = client.send(Session())
    assert isinstance(first, bytes)
    assert first.startswith(b"n,a=boss,n=anne,r=")
    nonce = first.rpartition(b"r=")[2]
    with pytest.raises(PeerProtocolError):
        client.send(asked.replace(b"NONCE", nonce))


def test_a_client_of_scram_believes_no_other_server() -> None:
    """One that does not know the password cannot say that it let it in."""
    client = SCRAM_SHA_256.client(Credentials("SCRAM-SHA-256", "anne", "pencil"))
    next(client)
    first = client.send(Session())
    assert isinstance(first, bytes)
    client.send(b"r=%bx,s=c2FsdA==,i=4096" % first.rpartition(b"r=")[2])
    with pytest.raises(PeerProtocolError) as caught:
        client.send(b"v=AAAA")
    assert caught.value.reply.code == 535


def test_what_scram_stores_is_written_and_read() -> None:
    """As GNU SASL writes it, so that its tools can make it."""
    assert ScramSecret.read(KEYS.write()) == KEYS
    assert KEYS.write().startswith("{SCRAM-SHA-256}4096,c2FsdHNhbHRzYWx0c2FsdA==,")
    assert KEYS.fits("pencil")
    assert not KEYS.fits("pen")
    assert repr(KEYS) == "ScramSecret(salt=b'saltsaltsaltsalt', iterations=4096)"
    assert ScramSecret.of("pencil", iterations=1).salt != ScramSecret.of("pencil").salt
    imagined = ScramSecret.imaginary("anne", b"key")
    assert imagined.salt == ScramSecret.imaginary("anne", b"key").salt
    assert not imagined.fits("pencil")


@pytest.mark.parametrize(
    "text",
    [
        "pencil",
        "{SCRAM-SHA-256}4096,c2FsdA==,AAAA",
        "{SCRAM-SHA-256}4096,c2FsdA==,AAAA,AAAA",
        "{SCRAM-SHA-256}4096,!,AAAA,AAAA",
        "{SCRAM-SHA-256}0,c2FsdA==,AAAA,AAAA",
        "{SCRAM-SHA-256}99999999," + KEYS.write().partition(",")[2],
        "{SCRAM-SHA-256}4096,c2FsdA==,\u00e4,AAAA",
    ],
)
def test_what_is_nothing_that_scram_stores_is_told(text: str) -> None:
    """Without quoting it."""
    with pytest.raises(ValueError, match=r"^(?!.*AAAA)") as caught:
        ScramSecret.read(text)
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("pencil", "pencil"),
        ("I\u00adX", "IX"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0627\u0031", "\u0627\u0031"),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
        ("\u0627a\u0628", "\u0627a\u0628"),
        ("a\x07", "a\x07"),
        ("", ""),
    ],
)
def test_a_password_has_one_form(text: str, prepared: str) -> None:
    """RFC 4013 §3; one that has none is what it is."""
    assert saslprep(text) == prepared


def test_cram_md5_of_rfc_2195() -> None:
    """The example of its section 2; the digest may be in capital letters."""
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    client = CRAM_MD5.client(Credentials("CRAM-MD5", "tim", "tanstaaftanstaaf"))
    assert next(client) is None
    assert client.send(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    exchange = CRAM_MD5.server(None)
    next(exchange)
    asked = exchange.send(Session("mx.example.org"))
    assert isinstance(asked, Challenge)
    assert asked.octets.endswith(b"@mx.example.org>")
    digest = hmac.digest(b"pw", asked.octets, "md5").hex().upper().encode()
    assert exchange.send(b"anne b " + digest) == StoredSecret("CRAM-MD5", "anne b")
    assert exchange.send(b"pw") == Decide(Credentials("CRAM-MD5", "anne b", "", proven=True))


@pytest.mark.parametrize("response", [b"", b"anne", b" 00", b"a\nb 00", b"\xff 00"])
def test_what_is_no_response_of_cram_md5_is_refused(response: bytes) -> None:
    """And the client speaks second (RFC 4954 §4)."""
    exchange = CRAM_MD5.server(None)
    next(exchange)
    exchange.send(Session())
    with pytest.raises(PeerProtocolError):
        exchange.send(response)
    with pytest.raises(PeerProtocolError) as caught:
        next(CRAM_MD5.server(response))
    assert (caught.value.reply.code, caught.value.reply.status) == (501, "5.7.0")


@pytest.mark.parametrize(
    ("mechanism", "response"),
    [
        (OAUTHBEARER, b""),
        (OAUTHBEARER, b"n,a=anne,\x01auth=Bearer t\x01"),
        (OAUTHBEARER, b"n,a=anne,\x01host=x\x01\x01"),
        (OAUTHBEARER, b"n,a=anne,\x01auth=Basic t\x01\x01"),
        (OAUTHBEARER, b"n,a=anne,\x01auth=Bearer t t\x01\x01"),
        (OAUTHBEARER, b"n,a=an\nne,\x01auth=Bearer t\x01\x01"),
        (OAUTHBEARER, b"p=tls-exporter,a=anne,\x01auth=Bearer t\x01\x01"),
        (XOAUTH2, b""),
        (XOAUTH2, b"user=anne\x01\x01"),
        (XOAUTH2, b"user=\x01auth=Bearer t\x01\x01"),
        (XOAUTH2, b"auth=Bearer t\x01\x01"),
        (XOAUTH2, b"user=anne\x01auth=Bearer t\x01"),
        (XOAUTH2, b"user=\xff\x01auth=Bearer t\x01\x01"),
    ],
)
def test_what_hands_over_no_token_is_refused(mechanism: Mechanism, response: bytes) -> None:
    """501: it is none of a client of that mechanism."""
    with pytest.raises(PeerProtocolError) as caught:
        next(mechanism.server(response))
    assert caught.value.reply.code == 501


def test_a_token_is_handed_over_as_it_is() -> None:
    """RFC 7628 §4.1; what else is said, host and port, is nobody's business here."""
    response = (
        b"n,a=us=2Cer=3D@example.com,\x01host=server.example.com\x01port=587\x01"
        b"auth=bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
    )
    assert asked(OAUTHBEARER.server(None), response) == Credentials(
        "OAUTHBEARER", "us,er=@example.com", "", token="vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
    )
    assert asked(OAUTHBEARER.server(b"n,,\x01auth=Bearer t\x01\x01")).username == ""
    assert "t0ken" not in repr(Credentials("XOAUTH2", "anne", "", token="t0ken"))


@pytest.mark.parametrize(
    ("mechanism", "answer"),
    [(OAUTHBEARER, b"\x01"), (XOAUTH2, b"")],
    ids=["OAUTHBEARER", "XOAUTH2"],
)
def test_a_client_answers_why_its_token_was_refused(mechanism: Mechanism, answer: bytes) -> None:
    """With the dummy that its RFC names, so that the server can say its no."""
    client = mechanism.client(Credentials(mechanism.name, "anne", "", token="guess"))
    exchange = mechanism.server(next(client))
    assert isinstance(next(exchange), Decide)
    request = exchange.throw(LoginRefused(Reply(535)))
    assert isinstance(request, Challenge)
    assert client.send(request.octets) == answer
    unnamed = OAUTHBEARER.client(Credentials("OAUTHBEARER", "", "", token="t"))
    assert next(unnamed) == b"n,,\x01auth=Bearer t\x01\x01"


def test_a_certificate_is_wanted_for_external() -> None:
    """Where there is none, there is nobody."""
    exchange = EXTERNAL.server(b"")
    next(exchange)
    with pytest.raises(PeerProtocolError):
        exchange.send(Session())


@pytest.mark.parametrize("name", ["", "plain", "A B", "X" * 21, "\u00c4", "X.Y"])
def test_a_mechanism_has_a_name_that_ehlo_can_say(name: str) -> None:
    """RFC 4422 §3.1."""
    with pytest.raises(ValueError, match="A-Z, 0-9"):
        Mechanism(name, toy_server, toy_client, plaintext=False)
