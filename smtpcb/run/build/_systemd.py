"""Sockets that systemd has opened: ``systemd:domain=INET:name=smtp``."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger

from smtpcb.run._start import one_line
from smtpcb.run.options import ConfigurationError

_log = Logger(namespace="smtpcb")

_NAME = re.compile(r":name=([^:]*)")


def of_systemd(description: str, where: str, reactor: Any, *, checking: bool = False) -> Any:
    """
    Return the endpoint of a socket that was handed to this process.

    :param where: how it was said.
    :param checking: nothing will be bound: where there is no socket at all, as outside of systemd,
        that is a warning.
    :raises ConfigurationError: it was not handed over, or is described amiss.
    """
    names = _handed_over()
    named = _NAME.search(description)
    if named is not None and names.count(named[1]) > 1:
        fault = f"systemd hands over {names.count(named[1])} sockets of that name"
        raise ConfigurationError(f"{where}: {fault}; each wants a .socket unit of its own")
    try:
        return serverFromString(reactor, description)
    except (KeyError, IndexError):
        fault = "systemd hands over no such socket"
        fault += f"; there are {', '.join(names)}" if names else ", and none that has a name"
    except Exception as error:  # of its parser
        fault = f"no endpoint: {one_line(error)}"
        raise ConfigurationError(
            f"{where}: {fault}; did you mean systemd:domain=INET:name=NAME?"
        ) from None
    if names or not checking:
        raise ConfigurationError(f"{where}: {fault}")
    _log.warn("{where}: {fault}; it is not tried", where=where, fault=fault)
    # In its place stands what is never opened.
    return serverFromString(reactor, "tcp:0:interface=127.0.0.1")


def warn_of_unused(descriptions: Collection[str]) -> None:
    """
    Say so if a socket is handed over that nobody takes connections from: clients would wait there.

    :param descriptions: of the endpoints that are listened on.
    """
    named = {found[1] for one in descriptions if (found := _of_systemd_by_name(one))}
    unused = [name for name in _handed_over() if name not in named]
    # By its number a socket may be any of them.
    if unused and not any(one.startswith("systemd:") and ":index=" in one for one in descriptions):
        _log.warn(
            "systemd hands over {names}, which no endpoint names: clients would wait there",
            names=", ".join(unused),
        )


def _of_systemd_by_name(description: str) -> re.Match[str] | None:
    return _NAME.search(description) if description.startswith("systemd:") else None


def _handed_over() -> list[str]:
    # Twisted takes the number of sockets out of the environment, and leaves their names there.
    return [name for name in os.environ.get("LISTEN_FDNAMES", "").split(":") if name]
