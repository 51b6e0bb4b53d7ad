"""Where mail is taken: what ``--listen`` and ``--smtps`` name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from smtpcb.run._options import Configuration, ConfigurationError
from smtpcb.run._start import one_line
from smtpcb.run.build._share import Share
from smtpcb.server import _transport as transport

_PORT = re.compile(r"tcp6?:(?:port=)?([0-9]{1,5})(?::|\Z)")
_INTERFACE = re.compile(r":interface=((?:\\.|[^:\\])*)")


def endpoints_for(
    configuration: Configuration, reactor: Any, share: Share | None
) -> list[IStreamServerEndpoint]:
    """
    Return what a server listens on, in the order of ``--listen`` and ``--smtps``.

    :param share: of the worker that it is, if it is one.
    :raises ConfigurationError: one of them is none.
    """
    if share is not None:
        return _adopted(configuration, reactor, share)
    # Under TLS what we write is not what goes to the socket: nothing could be sent at once.
    direct = transport.DirectReactor(reactor) if _at_once(configuration) else reactor
    return endpoints_of(configuration, direct, reactor)


def endpoints_of(
    configuration: Configuration, clear: Any, implicit: Any
) -> list[IStreamServerEndpoint]:
    """
    Return the endpoints that ``--listen`` and ``--smtps`` name.

    :param clear: the reactor for those without implicit TLS.
    :param implicit: the reactor for the others.
    :raises ConfigurationError: one of them is none.
    """
    made = []
    for name in ("listen", "smtps"):
        for description in configuration[name]:
            kind = description.partition(":")[0]
            full = description
            if configuration["workers"] is not None and kind not in ("tcp", "tcp6"):
                raise ConfigurationError(
                    f"--{name} {description}: --workers can serve tcp: and tcp6: only"
                )
            if kind in ("tcp", "tcp6"):
                number = _PORT.match(description)
                if number is None or int(number[1]) > 65535:
                    raise ConfigurationError(
                        f"--{name} {description}: no endpoint: a port number is wanted, as in "
                        f"{kind}:10025"
                    )
                if "backlog=" not in description:
                    full += ":backlog=511"  # Twisted's 50 is little for a burst of mail
            try:
                made.append(serverFromString(clear if name == "listen" else implicit, full))
            except Exception as error:  # a parser of a plug-in may raise anything
                raise ConfigurationError(
                    f"--{name} {description}: no endpoint: {one_line(error)}"
                ) from None
    return made


def is_of_this_machine(descriptions: Sequence[str]) -> bool:
    """Whether nobody but who is on this machine can reach any of these endpoints."""
    return all(_is_of_this_machine(description) for description in descriptions)


def _is_of_this_machine(description: str) -> bool:
    kind = description.partition(":")[0]
    if kind == "unix":
        return True
    found = _INTERFACE.search(description)
    if kind not in ("tcp", "tcp6") or found is None:
        return False
    try:
        return ip_address(re.sub(r"\\(.)", r"\1", found[1])).is_loopback
    except ValueError:
        return False


def _at_once(configuration: Configuration) -> bool:
    return transport.is_supported() and not configuration["no_direct_writes"]


def _adopted(
    configuration: Configuration, reactor: Any, share: Share
) -> list[IStreamServerEndpoint]:
    """Return endpoints for the sockets that a worker shares."""
    clear = sharing = reactor
    if transport.is_supported():
        clear = transport.SharingReactor(reactor, direct=_at_once(configuration))
        sharing = transport.SharingReactor(reactor, direct=False)
    number = len(configuration["listen"])
    return [
        AdoptedStreamServerEndpoint(clear if at < number else sharing, descriptor, family)
        for at, (descriptor, family) in enumerate(share.sockets)
    ]
