"""ClientPolicy: what judges a client, when it connects, says hello, or names a recipient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.interfaces import Verdict
from smtpcb.policies._clients import JUDGES_NOBODY, Trusted, of_everybody
from smtpcb.policies._domains import postmaster_of
from smtpcb.smtp._command import Introduction
from smtpcb.smtp._networks import Networks


class ClientPolicy:
    """
    A policy that does not ask what the mail is, but who brings it.

    Asked at RCPT, the default of most, it lets whoever it refuses still reach the postmaster (RFC
    5321 §4.5.1) and log in; at the connection it saves work, and nobody reaches anybody.

    :param at: the event at which it is asked: ``connected``, ``hello`` or ``rcpt``.
    :param exempt: networks that are not judged.
    :param logins: whether those who have logged in are not judged either.
    """

    concurrent_recipients = True

    def __init__(self, at: str, exempt: Iterable[str] = (), *, logins: bool = True) -> None:
        methods: dict[str, Any] = {
            "connected": self._at_the_connection,
            "hello": self._at_hello,
            "rcpt": self._at_rcpt,
        }
        if at not in methods:
            raise ValueError(f"at is connected, hello or rcpt, not {at!r}")
        self.__dict__[at] = methods[at]
        self._exempt = Trusted(exempt, logins=logins)

    @property
    def warnings(self) -> list[str]:
        """See `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        return of_everybody("exempt=", self._exempt.networks, JUDGES_NOBODY)

    def _judge(self, connection: Connection) -> Verdict:
        """Return what the client hears; None: nothing is wrong with it."""
        raise NotImplementedError

    def _at_the_connection(self, connection: Connection) -> Verdict:
        return None if connection in self._exempt else self._judge(connection)

    def _at_hello(self, introduction: Introduction, connection: Connection) -> Verdict:
        return None if connection in self._exempt else self._judge(connection)

    def _at_rcpt(self, recipient: Recipient, envelope: Envelope) -> Verdict:
        connection = envelope.connection
        if postmaster_of(recipient.local_part) or connection in self._exempt:
            return None
        return self._judge(connection)


class NetworkPolicy(ClientPolicy):
    """
    A policy that asks only in which network a client is.

    :param networks: see `Networks`.
    :raises ValueError: one of them is none; the text is one line.
    """

    def __init__(self, networks: Iterable[str], *, at: str = "connected") -> None:
        super().__init__(at)
        self._networks = Networks(networks)


AT = {"connect": "connected", "hello": "hello", "rcpt": "rcpt"}
"""The events, by their names on the command line."""
