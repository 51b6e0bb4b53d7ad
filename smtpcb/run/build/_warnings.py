"""What a configuration says that may not be meant: proxies that are everybody, words in vain."""

from __future__ import annotations

from twisted.logger import Logger

from smtpcb.run.options import Configuration
from smtpcb.smtp._networks import networks_of

_log = Logger(namespace="smtpcb")

_MEANS = {
    "proxy_from": "anybody may say who they are",
    "xclient_from": "anybody may say who they are",
    "xforward_from": "anybody may say from whom a message is",
}


def warn_of_everybody(configuration: Configuration) -> None:
    """
    Say so, in one line for each option, where all of IPv4 or IPv6 is a proxy.

    Networks that are merely wide are those of somebody who knows them.
    """
    said: dict[str, None] = {}
    for door in configuration.doors:
        for key, means in _MEANS.items():
            if whole := networks_of(door[key]).whole:
                said[f"{door.where(key)} {' and '.join(whole)} is everybody: {means}"] = None
    for warning in said:  # once, where several doors have it from above their tables
        _log.warn("{warning}", warning=warning)


def warn_of_words_in_vain(configuration: Configuration) -> None:
    """Say what the command line or the environment says, and a listener's table says otherwise."""
    for warning in configuration.overridden:
        _log.warn("{warning}", warning=warning)
