"""Through which door a client of the fuzz command comes: what is spoken, offered and allowed."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from smtpcb import Limits, Settings
from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._extensions import EXTENSIONS, HANDLER_EXTENSIONS
from smtpcb.engine._lmtp import ReplyToEach
from smtpcb.engine._observer import Observer
from smtpcb.engine._reason import Reason
from smtpcb.handling import around
from smtpcb.policies.greylist import Greylist
from smtpcb.policies.local_domains import LocalDomains
from smtpcb.policies.rate import RateLimit
from smtpcb.smtp._reply import Reply

SMALL = Limits(
    message_octets=3000,
    recipients=3,
    errors=5,
    free_errors=2,
    idle_commands=8,
    messages=2,
    auth_failures=2,
    header_octets=300,
    decision_seconds=20,
    message_seconds=40,
    session_seconds=600,
    grace_seconds=30,
)
TRUSTED = ("192.0.2.0/24",)


def bound(kind: str) -> bytes | None:
    """Return the channel binding of TLS that is only said to be there."""
    return b"the channel" if kind == "tls-exporter" else None


SECURE = TlsInformation(
    "TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, bind=bound, client_names=("anne@example.org",)
)


def settings_for(random: Random) -> Settings:
    """Return how a dialogue is led: any way that it may be."""
    limits = SMALL if random.random() < 0.4 else Limits()
    if random.random() < 0.2:
        limits = replace(
            limits,
            octets_in=random.choice((None, 200, 2000)),
            octets_out=random.choice((None, 300, 2000)),
            handler_seconds=random.choice((None, 0.5, 5.0)),
            commands_per_verb=random.choice(
                ({}, {"RCPT": 2}, {"NOOP": 1, "BDAT": 1}, {"DATA": 0}, {"AUTH": 1, "EHLO": 1})
            ),
        )
    lmtp = random.random() < 0.35
    relied_on = {"PIPELINING", "ENHANCEDSTATUSCODES"} if lmtp else set()
    keywords = sorted({row.keyword for row in EXTENSIONS} - relied_on)
    without = random.sample(keywords, random.choice((0, 0, 0, 1, 3, len(keywords))))
    return Settings(
        lmtp=lmtp,
        limits=limits,
        bare_newline=random.choice(("refuse", "normalize")),
        lenient_addresses=random.random() < 0.5,
        allow_insecure_auth=random.random() < 0.7,
        xclient_from=TRUSTED if random.random() < 0.3 else (),
        xforward_from=TRUSTED if random.random() < 0.3 else (),
        without=frozenset(without),
    )


def honoured(random: Random) -> frozenset[str]:
    """Return the extensions that a handler can honour."""
    return frozenset(random.choice(((), (), ("DSN",), sorted(HANDLER_EXTENSIONS))))


def tls_for(random: Random) -> TlsInformation | None:
    """Return what is said to have come before the greeting, if anything."""
    return random.choice((None, None, SECURE, replace(SECURE, client_certificate=b"der")))


def behind_policies(random: Random, handler: object, clock: Any) -> object:
    """Return a handler, behind some policies or none."""
    if random.random() < 0.75:
        return handler
    policies = (
        LocalDomains(["example.org", ".example"], relay_logins=random.random() < 0.5),
        RateLimit(clock, messages=1, recipients=2, seconds=100),
        Greylist(clock, delay_seconds=0.5, retry_seconds=1000),
    )
    return around(handler, *random.sample(policies, random.randrange(1, 4)))


class Counting(Observer):
    """
    Counts in LMTP what is said of a message: as much as recipients were accepted (RFC 2033 §4.2).

    :param ordered: recipients are decided on in their order.
    :ivar complaints: where it was another number, or other ones.
    :ivar said: what must be whole on the wire.
    """

    sees_octets = False

    @property
    def more(self) -> int:
        """How many replies there are that would be none in SMTP."""
        return self._refused + sum(max(0, said.count(b"\r\n") - 1) for said in self.said)

    def __init__(self, settings: Settings, *, ordered: bool) -> None:
        self._settings = settings
        self._ordered = ordered
        self.complaints: list[str] = []
        self.said: list[bytes] = []
        self._accepted: list[object] = []
        self._refused = 0

    def begin(self, connection: Connection) -> Observer:
        """Look at one more connection."""
        self._accepted.clear()
        return self

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        """Note who was accepted, and what is said to each."""
        if method == "mail":
            self._accepted.clear()
        elif method == "rcpt" and reply.positive:
            self._accepted.append(subject)
        elif method == "message":
            if not isinstance(reply, ReplyToEach):
                self.complaints.append(f"one reply for all: {reply}")
            self._count(reply)

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        """A message that is refused on its way, or cut by a 421, may have as many."""
        if not isinstance(reply, ReplyToEach):
            self._refused += len(self._accepted)
        self._count(reply)

    def _count(self, reply: Reply | None) -> None:
        if isinstance(reply, ReplyToEach):
            told = [id(recipient) for recipient, _ in reply.each]
            accepted = [*map(id, self._accepted)]
            if not self._ordered:
                told.sort()
                accepted.sort()
            if told != accepted:
                self.complaints.append(f"{len(told)} replies, {len(accepted)} recipients")
            self.said.append(self._settings.said(reply).wire)
            self._accepted.clear()
