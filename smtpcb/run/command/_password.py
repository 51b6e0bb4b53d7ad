"""
``smtpcb password FILE NAME``: add or change a line of a file that ``--auth htpasswd:`` reads.

The password is asked for, or read from standard input: on a command line everybody could read it.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from smtpcb.run._hashes import SCHEMES, HashError
from smtpcb.run._htpasswd import no_scram_for, understood, without_scram
from smtpcb.run._named_lines import PasswordFileError
from smtpcb.run._password_lines import change
from smtpcb.run.command._arguments import Arguments
from smtpcb.smtp._text import CONTROL

_BY_NAME = {scheme.name: scheme for scheme in SCHEMES}


class _MistakeError(ValueError):
    """What the user got wrong, in one line."""


def main(arguments: Sequence[str]) -> int:
    """Do it; see `smtpcb.run.command.main`."""
    parser = Arguments(
        prog="smtpcb password",
        description="Add or change a line of a file that --auth htpasswd:FILE reads.  The password "
        "is asked for, or read from the first line of standard input.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="it is made if it is not there")
    parser.add_argument("name", metavar="NAME", help="who logs in with it")
    parser.add_argument(
        "--scheme",
        choices=list(_BY_NAME),
        default="scrypt",
        help="how it is stored [default: scrypt]; with scram-sha-256 for everybody, clients need "
        "not send it",
    )
    parser.add_argument("--remove", action="store_true", help="remove the line of that name")
    said = parser.parse_args(arguments)
    try:
        name = _checked(said.name)
        scheme = _BY_NAME[said.scheme]
        if not said.remove:
            scheme.require()
        stored = None if said.remove else scheme.make(_ask())
        done = change(said.file, name, stored)
        names = understood(said.file, said.file.read_bytes())
    except (_MistakeError, HashError, PasswordFileError) as error:
        print(f"smtpcb: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"smtpcb: {said.file}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(f"{said.file}: {name} {done}")
    without = without_scram(names)
    if without and len(without) < len(names):
        note = f"{said.file}: {no_scram_for(without)} (--scheme scram-sha-256 for all)"
        print(note, file=sys.stderr)
    return 0


def _checked(name: str) -> str:
    if not name or ":" in name or name.startswith("#") or name != name.strip():
        raise _MistakeError("a name is not empty, and has no colon, outer blank or leading #")
    if CONTROL.search(name) or not name.isprintable():
        raise _MistakeError("a name has no control characters")
    return name


def _ask() -> str:
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise _MistakeError("these were two passwords")
    else:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not password:
        raise _MistakeError("a password is not empty")
    if "\0" in password:
        raise _MistakeError("a password has no NUL in it")
    return password
