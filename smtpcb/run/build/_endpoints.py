"""Where mail is taken: what ``--listen`` and ``--smtps`` name."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from smtpcb.run._meant import did_you_mean, nearest
from smtpcb.run._sockets import for_ipv6_alone
from smtpcb.run._start import one_line
from smtpcb.run.build._share import Share
from smtpcb.run.build._systemd import of_systemd, warn_of_unused
from smtpcb.run.options import Configuration, ConfigurationError
from smtpcb.server._direct import SharingReactor, is_supported
from smtpcb.server._families import ports_of_both_families
from smtpcb.server._service import NEVER_THERE, SMTP_PORT
from smtpcb.server._unix import tidy

_PORT = re.compile(r"tcp6?:(?:port=)?([0-9]{1,5})(?::|\Z)")
# As most other servers have it.
_ADDRESS = re.compile(r"(?P<host>[0-9.]*|\*|\[[0-9a-fA-F:.]+\]|localhost):(?P<port>[0-9]{1,5})")
_SOCKET = re.compile(r"unix:(?:address=)?((?:\\.|[^:\\])*)")
_MODE = re.compile(r":mode=([^:]*)")
_OCTAL = re.compile(r"[0-7]{1,5}")
_INTERFACE = re.compile(r":interface=((?:\\.|[^:\\])*)")


def endpoints_for(
    configuration: Configuration,
    reactor: Any,
    share: Share | None,
    *,
    direct: bool,
    checking: bool = False,
) -> list[IStreamServerEndpoint]:
    """
    Return what a server listens on: of each door in its order, as `Configuration.ports` has it.

    :param share: of the worker that it is, if it is one.
    :param direct: connections write at once, where Twisted's own endpoints cannot be made to.
    :param checking: nothing will be bound, and sockets of systemd's need not be there.
    :raises ConfigurationError: one of them is none.
    """
    if share is not None:
        return _adopted(configuration, reactor, share, direct=direct)
    return endpoints_of(configuration, reactor, direct=direct, checking=checking)


def endpoints_of(
    configuration: Configuration, reactor: Any, *, direct: bool = False, checking: bool = False
) -> list[IStreamServerEndpoint]:
    """
    Return the endpoints that ``--listen`` and its kin name.

    :param reactor: what they listen with.
    :param direct: as for `endpoints_for`, and so is `checking`.
    :raises ConfigurationError: one of them is none.
    """
    made = []
    everywhere = [one for door in configuration.doors for _, one in door.ports]
    both = ports_of_both_families(everywhere)
    for door in configuration.doors:
        for name, description in door.ports:
            where = f"{door.where(name)} {description}"
            fault = _fault(name, description, workers=configuration["workers"] is not None)
            if fault:
                raise ConfigurationError(f"{where}: {fault}")
            if description.startswith("systemd:"):
                made.append(of_systemd(description, where, reactor, checking=checking))
                continue
            full = description
            if description.startswith(("tcp:", "tcp6:")) and "backlog=" not in description:
                full += ":backlog=511"  # Twisted's 50 is little for a burst of mail
            # Under TLS what we write is not what goes to the socket: nothing could be sent at once.
            opening = for_ipv6_alone(full, both, reactor, direct=direct and name != "smtps")
            try:
                made.append(tidy(serverFromString(opening, full)))
            except Exception as error:  # a parser of a plug-in may raise anything
                meant = did_you_mean(_meant(description))
                raise ConfigurationError(
                    f"{where}: no endpoint: {one_line(error)}{meant}"
                ) from None
    warn_of_unused(everywhere)
    return made


def _fault(name: str, description: str, *, workers: bool) -> str:
    """Return what is wrong with an endpoint, where Twisted would not say it, or not so well."""
    kind, _, rest = description.partition(":")
    if kind in ("tcp", "tcp6"):
        number = _PORT.match(description)
        if number is None or int(number[1]) > 65535:
            return f"no endpoint: a port number is wanted, as in {kind}:10025"
        if name == "lmtp" and int(number[1]) == SMTP_PORT:
            return NEVER_THERE
    elif workers:
        return "--workers can serve tcp: and tcp6: only"
    elif kind == "unix" and not rest.partition(":")[0].strip():
        return "no endpoint: a path is wanted, as in unix:/run/smtpcb"
    elif kind == "unix" and (mode := _MODE.search(rest)) and not _OCTAL.fullmatch(mode[1]):
        return f"no endpoint: mode= is octal, such as mode=660, not {mode[1]!r}"
    return ""


def _meant(description: str) -> str | None:
    """Return the endpoint of somebody who has said a port, ``HOST:PORT``, or a kind amiss."""
    if description.isdecimal():
        return f"tcp:{description}"
    address = _ADDRESS.fullmatch(description)
    if address is not None and address["host"] in ("", "*", "0.0.0.0"):  # noqa: S104 - only read
        return f"tcp:{address['port']}"
    if address is not None:
        host = address["host"].strip("[]").replace(":", r"\:")
        return f"tcp:{address['port']}:interface={host}"
    if description.startswith("/"):
        return f"unix:{description}"
    kind, colon, rest = description.partition(":")
    if kind in ("lmtp", "smtp", "inet") and rest:  # Postfix has them before an address
        return _meant(rest) or rest
    meant = nearest(kind, ("tcp", "tcp6", "unix", "systemd"))
    return None if meant in (None, kind) else f"{meant}{colon}{rest}"


def look_at_places(configuration: Configuration) -> None:
    """
    Find out whether addresses to listen on are of this machine, and folders of sockets are there.

    :raises ConfigurationError: one is not.
    """
    for door in configuration.doors:
        for name, description in door.ports:
            socket_at = _SOCKET.match(description)
            folder = Path(_unescaped(socket_at[1])).parent if socket_at else Path()
            if not folder.is_dir():
                where = f"{door.where(name)} {description}"
                raise ConfigurationError(f"{where}: cannot listen there: no folder {folder}")
            host = _interface(description)
            if host is None:
                continue
            try:
                with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as opened:
                    opened.bind((host, 0))  # any port: the one that is meant may be in use
            except OSError as error:
                raise ConfigurationError(
                    f"{door.where(name)} {description}: cannot listen on {host}: "
                    f"{error.strerror} (interface= names an address of this machine)"
                ) from None


def is_of_this_machine(descriptions: Sequence[str]) -> bool:
    """Whether nobody but who is on this machine can reach any of these endpoints."""
    return all(_is_of_this_machine(description) for description in descriptions)


def _is_of_this_machine(description: str) -> bool:
    if description.startswith("unix:"):
        return True
    host = _interface(description)
    try:
        return host is not None and ip_address(host).is_loopback
    except ValueError:
        return False


def _interface(description: str) -> str | None:
    """Return the address that a port is opened on, if it is said."""
    found = _INTERFACE.search(description)
    if found is None or description.partition(":")[0] not in ("tcp", "tcp6"):
        return None
    return _unescaped(found[1])


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _adopted(
    configuration: Configuration, reactor: Any, share: Share, *, direct: bool
) -> list[IStreamServerEndpoint]:
    """Return endpoints for the sockets that a worker shares."""
    clear = sharing = reactor
    if is_supported():
        clear = SharingReactor(reactor, direct=direct)
        sharing = SharingReactor(reactor, direct=False)
    names = [name for door in configuration.doors for name, _ in door.ports]
    return [
        AdoptedStreamServerEndpoint(sharing if name == "smtps" else clear, descriptor, family)
        for name, (descriptor, family) in zip(names, share.sockets, strict=True)
    ]
