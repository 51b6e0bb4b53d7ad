"""What a server says when it starts, or cannot."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

_log = Logger(namespace="smtpcb")


class StartError(Exception):
    """The server cannot start; the text is one line, and has been said."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    What is said of a port.

    :ivar implicit: whether TLS comes first there.
    :ivar lmtp: whether LMTP is spoken there.
    :ivar invitation: what stands before the command that sends a first message; empty: a message
        needs more than such a command sends.
    """

    implicit: bool = False
    lmtp: bool = False
    invitation: str = ""


@dataclass(frozen=True, slots=True)
class Announcement:
    """
    What is said once mail is taken.

    :ivar places: what there is to say of each port, in their order.
    :ivar starttls: whether those without implicit TLS offer STARTTLS.
    :ivar report: what else there is to say.
    """

    places: Sequence[Place]
    starttls: bool
    report: Sequence[str]

    def make(self, addresses: Sequence[object], by: str = "") -> None:
        """
        Say where mail is taken, how to send a first message, and what else there is to say.

        :param addresses: of the ports, in their order.
        :param by: who takes it, if that is not this process.
        """
        said, invitation = [], ""
        for place, address in zip(self.places, addresses, strict=False):
            if isinstance(address, (IPv4Address, IPv6Address)):
                host = f"[{address.host}]" if ":" in address.host else address.host
                where = f"{host}:{address.port}"
                if place.invitation and not place.implicit and not invitation:
                    invitation = _first_message(place.invitation, address.host, address.port)
            elif isinstance(address, UNIXAddress):
                where = f"unix:{os.fsdecode(address.name or b'')}"
            else:
                where = str(address)
            tls = "implicit TLS" if place.implicit else "STARTTLS" if self.starttls else "no TLS"
            said.append(f"{where} ({'LMTP, ' if place.lmtp else ''}{tls})")
        lines = [f"mail is taken on {', '.join(said)}{by}"]
        if invitation:
            lines.append(invitation)
        for line in [*lines, *self.report]:
            _log.info("{line}", line=line)


def cannot_listen(error: Exception, *, log: bool = True) -> NoReturn:
    """Give up, since a port could not be bound; this is the error of its endpoint."""
    if isinstance(error, OSError) and (error.filename2 or error.filename):
        # The lock beside a UNIX socket is what Twisted makes first.
        path = os.fsdecode(error.filename2 or error.filename).removesuffix(".lock")
        give_up(f"cannot listen on {path}: {error.strerror}", log=log)
    if not isinstance(error, CannotListenError):
        give_up(f"cannot listen: {one_line(error)}", log=log)
    cause = getattr(error.socketError, "strerror", None) or error.socketError
    if isinstance(error.port, int):
        where = f"{error.interface or '*'}:{error.port}"
    else:
        where = os.fsdecode(error.port) if isinstance(error.port, bytes) else str(error.port)
    give_up(f"cannot listen on {where}: {cause}{_advice(error)}", log=log)


def _advice(error: CannotListenError) -> str:
    """Return what to do about it, if that is known."""
    match getattr(error.socketError, "errno", None):
        case errno.EADDRINUSE if not isinstance(error.port, int):
            return " (stop what listens there, or remove it if nothing does)"
        case errno.EADDRINUSE:
            return " (stop what listens there, or name another port with --listen)"
        case errno.EADDRNOTAVAIL:
            return " (interface= names an address of this machine)"
        case errno.EACCES | errno.EPERM if isinstance(error.port, int) and error.port < 1024:
            return " (ports below 1024 want root, or CAP_NET_BIND_SERVICE)"
    return ""


def give_up(why: str, *, log: bool = True) -> NoReturn:
    """
    Say one line on standard error, and raise `StartError`.

    :param log: say it in the log as well, which is another place.
    """
    # twistd has redirected sys.stderr into its log by now.
    print(f"smtpcb: {why}", file=sys.__stderr__, flush=True)
    if log:
        _log.error("{why}", why=why)
    # Not SystemExit: twistd would leave its pid file behind, and the parent of a daemon would
    # wait for ever.  It must end as an uncaught exception does, but without the traceback.
    others = sys.excepthook
    sys.excepthook = lambda kind, error, trace: (
        None if kind is StartError else others(kind, error, trace)
    )
    raise StartError(why)


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _first_message(invitation: str, host: str, port: int) -> str:
    """Return a line with a command that sends one."""
    host = _reached_by(host)
    return (
        f'{invitation}: python3 -c "import smtplib; '
        f"smtplib.SMTP('{host}', {port}).sendmail('me@example.org', 'you@example.org', "
        "'Subject: hello\\n\\nIt works.')\""
    )


def _reached_by(host: str) -> str:
    """Return an address that a client on this machine can use for one we listen on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound
