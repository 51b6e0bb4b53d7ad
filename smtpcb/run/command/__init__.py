"""The ``smtpcb`` command: what is not serving; a module for each word behind it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

# Imported only when it is called: module, and what the list says of it.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "password": ("smtpcb.run.command._password", "Add or change a line of a file of passwords."),
    "send": ("smtpcb.run.command.send", "Send a message to a server."),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Do what the command line says.

    :param arguments: behind the name of the program; by default those of this process.
    :return: the exit status: 0, or 1 for a mistake, which one line on stderr names.
    """
    said = list(sys.argv[1:] if arguments is None else arguments)
    word = said.pop(0) if said else "--help"
    if word in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if word not in COMMANDS:
        names = ", ".join(COMMANDS)
        print(f"smtpcb: there is no command {word!r:.40}; there are {names}", file=sys.stderr)
        return 1
    module: Any = import_module(COMMANDS[word][0])
    try:
        return int(module.main(said))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _usage() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "Usage: smtpcb COMMAND ...; smtpcb COMMAND --help explains one.",
            "",
            *rows,
            "",
            "The server is `twistd smtpcb`.",
        ]
    )
