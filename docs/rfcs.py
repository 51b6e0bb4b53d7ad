"""What smtpcb does about each RFC: `rfcs.toml` as rows of a table."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "rfcs.toml"
STATUSES = ("done", "yours", "partly", "left out")


@dataclass(frozen=True)
class Section:
    """
    What is done about a section, or several.

    :ivar at: which.
    :ivar status: one of `STATUSES`.
    :ivar tests: files below tests/, each with a test behind ``::`` or alone.
    :ivar note: why not, or what is a handler's to do.
    """

    at: str
    what: str
    status: str
    tests: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Rfc:
    """One RFC."""

    number: int
    title: str
    sections: tuple[Section, ...] = field(default=())


def rfcs() -> Iterator[Rfc]:
    """Read the table."""
    for row in tomllib.loads(TABLE.read_text())["rfc"]:
        sections = tuple(_section(section) for section in row["sections"])
        yield Rfc(row["number"], row["title"], sections)


def _section(row: dict[str, Any]) -> Section:
    return Section(**{**row, "tests": tuple(row.get("tests", ()))})


def rows(rfc: Rfc) -> Iterator[list[str]]:
    """Write the sections of one RFC as cells of reStructuredText."""
    for section in rfc.sections:
        tests = ", ".join(f"``{test.rpartition('::')[2]}``" for test in section.tests)
        about = " ".join(filter(None, (section.what + ".", section.note)))
        yield [section.at, about, section.status, tests]
