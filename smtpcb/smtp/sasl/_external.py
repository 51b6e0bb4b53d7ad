"""EXTERNAL (RFC 4422 Appendix A): the certificate given to TLS says who the client is."""

from __future__ import annotations

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp.sasl._credentials import Credentials
from smtpcb.smtp.sasl._exchange import (
    MALFORMED,
    AskSession,
    ClientExchange,
    Decide,
    Mechanism,
    ServerExchange,
    first_response,
    read_identity,
)


def _server(initial: bytes | None) -> ServerExchange:
    acting = read_identity((yield from first_response(initial)))
    session = yield AskSession()
    if session.certificate_name is None:
        raise PeerProtocolError(MALFORMED)
    yield Decide(Credentials("EXTERNAL", session.certificate_name, "", acting, proven=True))


def _client(credentials: Credentials) -> ClientExchange:
    yield credentials.authorization_id.encode()


EXTERNAL = Mechanism("EXTERNAL", _server, _client, plaintext=False, certificate=True)
"""A certificate in place of a password; what is sent is only whom to act as."""
