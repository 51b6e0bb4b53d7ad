"""What is to be said of the dates in certificates, before clients say it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from cryptography.x509 import Certificate
from twisted.logger import Logger

from smtpcb.tls._identity import Identity

EXPIRY_WARNING = timedelta(days=14)

_log = Logger(namespace="smtpcb.tls")


def warn_of_dates(identities: Sequence[Identity]) -> None:
    """Log what has expired, expires within two weeks, or is not valid yet, a line each."""
    now = datetime.now(UTC)
    for identity in identities:
        for fault in _faults(identity, now):
            _log.warn("{source}: {fault}", source=identity.source, fault=fault)


def _faults(identity: Identity, now: datetime) -> Iterator[str]:
    own, *issuers = identity.chain
    yield from _of_one("the certificate", own, now)
    for issuer in issuers:
        name = issuer.subject.rfc4514_string().encode("unicode_escape").decode("ascii")
        yield from _of_one(f"the certificate of its issuer {name}", issuer, now)


def _of_one(what: str, certificate: Certificate, now: datetime) -> Iterator[str]:
    begins, expires = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        yield f"{what} is not valid before {begins:%Y-%m-%d %H:%M} UTC"
    if expires < now + EXPIRY_WARNING:
        yield f"{what} {'expires' if now < expires else 'expired'} on {expires.date()}"
