"""What a relay cannot do: pass messages on to its own server, or take those of nobody."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from smtpcb.handlers.relay import MxRelay, Relay
from smtpcb.run.options import Configuration, ConfigurationError

_TCP = re.compile(r"tcp6?:(?:port=)?([0-9]{1,5})(?::|\Z)")
_INTERFACE = re.compile(r":interface=((?:\\.|[^:\\])*)")
_UNIX = re.compile(r"unix:(?:address=)?((?:\\.|[^:\\])*)")


def refuse_circles(handler: object, configuration: Configuration) -> None:
    """
    Refuse a relay to a port that its own server listens on: no message would ever leave.

    :raises ConfigurationError: it is one.
    """
    if not isinstance(handler, Relay) or handler.goes_to is None:
        return
    host, port = handler.goes_to
    for door in configuration.doors:
        for name, description in door.ports:
            if _is_there(description, host, port):
                raise ConfigurationError(
                    f"{configuration.where('handler')} {configuration['handler']}: that is"
                    f" {door.where(name)} {description}, where this server takes mail: messages"
                    " would go in circles; name the server behind it"
                )


def refuse_nobody(handler: object, configuration: Configuration, *, logins: bool) -> None:
    """
    Refuse a relay to anywhere that nobody could use.

    :param logins: whether somebody can log in.
    :raises ConfigurationError: it is one.
    """
    if isinstance(handler, MxRelay) and handler.needs_login and not logins:
        raise ConfigurationError(
            f"{configuration.where('handler')} {configuration['handler']}: it passes on mail to"
            " anywhere, for those who may: say --auth METHOD, or relay-from=NETWORK behind mx"
        )


def _is_there(description: str, host: str, port: int | None) -> bool:
    """Whether a server that listens there is where a relay goes."""
    if port is None:
        path = _UNIX.match(description)
        return path is not None and Path(path[1].replace("\\", "")).absolute() == Path(host)
    number = _TCP.match(description)
    if number is None or int(number[1]) != port:
        return False
    found = _INTERFACE.search(description)
    interface = "" if found is None else found[1].replace("\\", "")
    if interface in ("", "0.0.0.0", "::"):  # noqa: S104 - only read
        return _is_here(host)
    return host == interface or (_is_loopback(interface) and _is_loopback(host))


def _is_here(host: str) -> bool:
    """Whether a host is this machine, as far as that is known without asking anybody."""
    return _is_loopback(host) or host.lower() in (socket.gethostname().lower(), "")


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False
