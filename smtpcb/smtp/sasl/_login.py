"""LOGIN: name and password one after the other; never became an RFC, and is spoken everywhere."""

from __future__ import annotations

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp.sasl._credentials import Credentials
from smtpcb.smtp.sasl._exchange import (
    MALFORMED,
    Challenge,
    ClientExchange,
    Decide,
    Mechanism,
    ServerExchange,
    read_identity,
    read_password,
    write_password,
)


def _server(initial: bytes | None) -> ServerExchange:
    # Clients wait for just these two prompts.
    username = (yield Challenge(b"Username:")) if initial is None else initial
    # A name that is none is refused behind the password, which may be under way already and must
    # not be taken for a command.
    password = yield Challenge(b"Password:")
    if not username:
        raise PeerProtocolError(MALFORMED)
    yield Decide(Credentials("LOGIN", read_identity(username), read_password(password)))


def _client(credentials: Credentials) -> ClientExchange:
    # Whatever the prompts say: they are in any language, and always in this order.
    yield None
    yield credentials.username.encode()
    yield write_password(credentials.password)


LOGIN = Mechanism("LOGIN", _server, _client, plaintext=True)
"""Name and password, each asked for; never standardised, and what old clients speak."""
