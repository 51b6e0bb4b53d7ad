"""Switches on the command line, which can be switched off there too: ``--require-auth=false``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice


def spelled_out(
    arguments: Sequence[str], known: Collection[str], switches: Collection[str]
) -> list[str]:
    """
    Return the arguments with ``--require-auth=true`` in place of ``--require-auth``.

    Twisted's parser, as Python's, knows options that take a value and options that take none, and
    so every option takes one.

    :param known: the options of the parser, without dashes; ``=`` behind those that take a value.
    :param switches: those that may go without their value.
    """
    made = []
    rest = iter(arguments)
    for argument in rest:
        made.append(argument)
        if argument == "--":
            break
        option = _meant(argument, known)
        if option is None or not option.endswith("=") or "=" in argument:
            continue
        if option[:-1] in switches:
            made[-1] = f"--{option}true"
        else:  # what follows is its value, whatever that looks like
            made.extend(islice(rest, 1))
    return [*made, *rest]


def _meant(argument: str, known: Collection[str]) -> str | None:
    """Return the option of the parser that an argument is, or begins as no other does."""
    if argument == "-c":
        return "config="
    if not argument.startswith("--"):
        return None
    name = argument[2:].partition("=")[0]
    for whole in (name, f"{name}="):
        if whole in known:
            return whole
    beginning = [one for one in known if one.startswith(name)]
    return beginning[0] if len(beginning) == 1 else None
