"""send: one message, in one line."""

from __future__ import annotations

from collections.abc import Iterable
from email.message import Message as EmailMessage
from email.utils import getaddresses
from functools import partial
from typing import Any

from smtpcb.client._anywhere import awaited_anywhere
from smtpcb.client._connect import SUBMISSION_PORT, Server
from smtpcb.client._credentials import nobody
from smtpcb.client._pool import ConnectionPool
from smtpcb.client._session import SessionResult, SubmissionSession
from smtpcb.engine import ClientObserver, ClientSettings
from smtpcb.smtp import SMTPError
from smtpcb.smtp.sasl import Credentials


class NotDelivered(SMTPError):  # noqa: N818 - it is what became of a message
    """
    A message has not reached every recipient; whom it has, the result says.

    :ivar result: what became of it, recipient by recipient.
    """

    def __init__(self, result: SessionResult) -> None:
        super().__init__(
            "; ".join(
                f"{one.forward_path}: {one.outcome.value}" + (f" ({one.why})" if one.why else "")
                for one in result.not_delivered
            )
        )
        self.result = result


@awaited_anywhere
async def send(
    message: object,
    *,
    host: str | None = None,
    port: int | None = None,
    sender: str | None = None,
    to: Iterable[str] | None = None,
    username: str | None = None,
    password: str = "",
    tls: str = "starttls",
    settings: ClientSettings | None = None,
    observer: ClientObserver | None = None,
    pool: ConnectionPool | None = None,
    reactor: Any = None,
    **server: Any,
) -> SessionResult:
    """
    Send one message, and wait until the server has taken responsibility for it.

    :param message: what is sent: see `Outgoing`.
    :param host: the server's name.
    :param port: by default 587, and 465 with ``tls="implicit"``.
    :param sender: the reverse-path; by default the address in Sender or From.
    :param to: the recipients; by default those in To, Cc and Bcc, of which Bcc is not sent.
    :param username: who logs in, with the password; by default nobody does.
    :param tls: ``"starttls"`` (it is required), ``"implicit"``, or ``"off"``.
    :param settings: how the dialogue is led, in place of what ``tls`` and ``username`` say.
    :param observer: sees everything; see `SubmissionSession`.
    :param pool: lends a connection, in place of ``host`` and all that is said of it.
    :param server: more of a `Server`: ``trust``, ``certificate``, ``hostname``, ``decide``.
    :raises NotDelivered: not every recipient was reached.
    :raises NoSession: no server takes messages.
    :raises ContentError: it cannot be sent.
    :raises ValueError: it is not known from whom it is, to whom, or where to.
    """
    if password and username is None:
        raise ValueError("a password without a username: nobody would log in")
    if isinstance(to, (bytes, bytearray)):
        raise TypeError("recipients are text: to=['bob@example.org']")
    recipients = [to] if isinstance(to, str) else list(to) if to is not None else _to(message)
    if not recipients:
        raise ValueError("nobody is to get it: say to=[...], or give an EmailMessage with a To")
    if pool is None:
        if host is None:
            raise ValueError("it is not known where to: say host='...', or pool=...")
        session = _session(host, port, username, password, tls, settings, observer, reactor, server)
    elif (host, port, username, tls, server) != (None, None, None, "starttls", {}):
        raise ValueError("a pool knows where to, with which TLS and who logs in")
    else:
        session = SubmissionSession(settings=settings, observer=observer, pool=pool)
    added = session.add_message(_sender(message) if sender is None else sender, message)
    for one in dict.fromkeys(recipients):
        added.add_recipient(one)
    try:
        result = await session.run()
    finally:
        await added.outgoing.aclose()
    if not result.is_delivered:
        raise NotDelivered(result)
    return result


def _session(
    host: str,
    port: int | None,
    username: str | None,
    password: str,
    tls: str,
    settings: ClientSettings | None,
    observer: ClientObserver | None,
    reactor: Any,
    server: dict[str, Any],
) -> SubmissionSession:
    if tls not in ("starttls", "implicit", "off"):
        raise ValueError(f"tls is 'starttls', 'implicit' or 'off', not {tls!r:.40}")
    if settings is None:
        settings = ClientSettings(
            starttls="required" if tls == "starttls" else "off",
            login="off" if username is None else "required",
        )
    implicit = tls == "implicit"
    where = port or (465 if implicit else SUBMISSION_PORT)
    return SubmissionSession(
        Server(host, where, implicit_tls=implicit, **server),
        settings=settings,
        give=nobody if username is None else partial(_login, username, password),
        observer=observer,
        reactor=reactor,
    )


def _login(username: str, password: str, mechanism: str) -> Credentials:
    return Credentials(mechanism, username, password)


def _sender(message: object) -> str:
    if isinstance(message, EmailMessage):
        named = message.get_all("Sender") or message.get_all("From") or []
        found = [address for _, address in getaddresses(map(str, named)) if address]
        if len(found) == 1:
            return found[0]
    raise ValueError("it is not known from whom it is: say sender='...'")


def _to(message: object) -> list[str]:
    if not isinstance(message, EmailMessage):
        return []
    fields = [str(one) for name in ("To", "Cc", "Bcc") for one in message.get_all(name) or []]
    return [address for _, address in getaddresses(fields) if address]
