"""What a relay cannot do, or should not: see what each function says."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from twisted.logger import Logger

from smtpcb.client._addresses import is_loopback
from smtpcb.handlers.relay import MxRelay, Relay
from smtpcb.run.options import Configuration, ConfigurationError

_log = Logger(namespace="smtpcb")

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


def warn_of_open_relay(handler: object, configuration: Configuration) -> None:
    """
    Tell of a relay to a server of this machine, to which then all the world is this machine.

    Such a server usually lets this machine send anywhere.
    """
    if not isinstance(handler, Relay) or handler.goes_to is None or handler.filter is not None:
        return
    host, port = handler.goes_to
    told = handler.introduction is not None or configuration["policy"]
    if told or port is None or not is_loopback(host):
        return
    if all(_is_private(one) for door in configuration.doors for _, one in door.ports):
        return
    _log.warn(
        "{where} {handler}: {host} takes every client for this machine, which it may let send"
        " anywhere: say pass-on=xclient behind it, or --policy local-domains:DOMAIN",
        where=configuration.where("handler"),
        handler=configuration["handler"],
        host=handler.server.name,
    )


def _is_private(description: str) -> bool:
    """Whether a server that listens there is for this machine alone."""
    if not description.startswith(("tcp:", "tcp6:")):
        return description.startswith("unix:")
    found = _INTERFACE.search(description)
    return found is not None and is_loopback(found[1].replace("\\", ""))


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
    return host == interface or (is_loopback(interface) and is_loopback(host))


def _is_here(host: str) -> bool:
    """Whether a host is this machine, as far as that is known without asking anybody."""
    return is_loopback(host) or host.lower() in (socket.gethostname().lower(), "")
