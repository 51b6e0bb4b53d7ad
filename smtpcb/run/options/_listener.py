"""
What a listener's table may say: ``[listener.submission]`` in a file of settings.

All that concerns one port, or how dialogues are led that begin there.  What is one thing for the
whole server stands outside: who decides, what is kept and where, keys, and limits over all
connections.
"""

from __future__ import annotations

from dataclasses import fields

from smtpcb.engine._settings import Settings
from smtpcb.run.options._option import Option
from smtpcb.run.options._table import OPTIONS
from smtpcb.run.options._values import endpoint

#: The table of tables.
TABLE = "listener"

#: Those that name ports, by their keys.
PORTS = tuple(option.key for option in OPTIONS if option.kind is endpoint)

# Beside `Settings` a door is told these.
_OF_THE_PORT = frozenset({*PORTS, "proxy_from"})
# Limits that count over several connections, or that are needed where there is none.
_OF_THE_SERVER = frozenset(
    {
        "connections",
        "connections_per_address",
        "connections_per_network",
        "auth_failures_per_address",
        "auth_failure_seconds",
        "min_free",
        "grace_seconds",
        "header_octets",
    }
)
_OF_A_DIALOGUE = frozenset(field.name for field in fields(Settings))


def is_of_a_listener(option: Option) -> bool:
    """Whether a listener may have a setting of its own for this option."""
    if option.limit:
        return option.key not in _OF_THE_SERVER
    return option.key in _OF_THE_PORT or option.key in _OF_A_DIALOGUE
