"""PLAIN and LOGIN; how they look in a dialogue is in test_auth.py."""

from __future__ import annotations

import pytest

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._sasl import Credentials, Exchange, challenge_line, decode, login, plain


def run(exchange: Exchange, *responses: bytes) -> Credentials:
    """Hold an exchange to its end."""
    with pytest.raises(StopIteration) as end:  # noqa: PT012 - whichever response is the last
        for response in (None, *responses):
            exchange.send(response)  # type: ignore[arg-type]  # how a generator begins
    credentials = end.value.value
    assert isinstance(credentials, Credentials)
    return credentials


def test_the_authorization_id_is_a_part_of_its_own() -> None:
    """RFC 4616 §2: it shifts neither the name nor the password."""
    credentials = run(plain(b"boss\0anne\0secret"))
    assert credentials == Credentials("PLAIN", "anne", "secret", "boss")
    assert run(plain(None), b"\0anne\0").password == ""


def test_login_asks_for_name_and_password() -> None:
    """With the two prompts that clients wait for."""
    exchange = login(None)
    assert next(exchange) == b"Username:"
    assert exchange.send(b"anne") == b"Password:"
    assert run(login(b"anne"), b"s").username == "anne"


@pytest.mark.parametrize(
    "response",
    [b"", b"anne", b"anne\0secret", b"\0\0secret", b"a\0b\0c\0d", b"\0\xff\0s", b"\0a\0\xff"],
)
def test_what_is_no_response_is_refused(response: bytes) -> None:
    """Three parts of UTF-8 with a name; nothing is guessed (P16)."""
    with pytest.raises(PeerProtocolError):
        run(plain(response))


@pytest.mark.parametrize("response", [b"a\0b", b"\xff"])
def test_login_takes_text_only(response: bytes) -> None:
    """NUL and what is not UTF-8 get nowhere (P16)."""
    with pytest.raises(PeerProtocolError):
        run(login(None), response, b"secret")
    with pytest.raises(PeerProtocolError):
        run(login(b"anne"), response)


@pytest.mark.parametrize(
    "response",
    [
        b"a",
        b"YQ",
        b"YQ=",
        b"YQ===",
        b"Y Q==",
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
    assert decode(b"YQ==") == b"a"
    assert decode(b"") == b""


def test_a_challenge_is_base64() -> None:
    """RFC 4954 §4; an empty one has nothing behind the blank."""
    assert challenge_line(b"Username:") == b"334 VXNlcm5hbWU6\r\n"
    assert challenge_line(b"") == b"334 \r\n"


def test_a_password_is_in_no_repr() -> None:
    """It would find its way into a log (P14)."""
    assert "secret" not in repr(Credentials("PLAIN", "anne", "secret"))
