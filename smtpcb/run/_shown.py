"""What ``--print-config`` shows: what was said, and what is in force where nothing was."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any

from smtpcb.engine._settings import Settings
from smtpcb.run._state import state_of
from smtpcb.run.build import handler_of, settings_of, transcripts_of, wishes_of
from smtpcb.run.options import BY_NAME, Configuration, written
from smtpcb.run.options._listener import PORTS

# The fields of `Settings` that are options of the same name; one that names ports is another thing.
_OPTIONS = [
    field.name
    for field in fields(Settings)
    if field.name.replace("_", "-") in BY_NAME and field.name not in PORTS
]


def shown(configuration: Configuration) -> str:
    """
    Return the configuration as a TOML file that ``--config`` reads.

    The handler is made, since some settings are as it would like them; nothing is changed on disk.

    :raises ConfigurationError: something is wrong; one line says what.
    """
    from twisted.internet import reactor

    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        wishes = wishes_of(handler_of(configuration, state_of(configuration, reactor, None)))
    finally:
        sys.dont_write_bytecode = writes_bytecode
    in_force = {door.listener: _of_dialogues(door, wishes) for door in configuration.doors}
    everywhere = in_force.setdefault("", {})
    recorded = transcripts_of(configuration, wanted=wishes.transcripts)
    if recorded is not None and "transcripts" not in configuration.given:
        everywhere["transcripts"] = recorded.folder
    return written(configuration, in_force)


def _of_dialogues(door: Configuration, wishes: Any) -> dict[str, Any]:
    settings = settings_of(door, wishes)
    used = {key: getattr(settings, key) for key in _OPTIONS if key not in door.given}
    # None, an empty text and an empty set mean the same: nothing.
    return {key: value for key, value in used.items() if (value or None) != (door[key] or None)}
