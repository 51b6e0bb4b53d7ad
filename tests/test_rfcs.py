"""What the RFC index says is tested, is; and what it says of the extensions is complete."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from smtpcb.engine._extensions import EXTENSIONS

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"


def load_table() -> Any:
    """Import what reads the table."""
    spec = importlib.util.spec_from_file_location("rfcs", DOCS / "rfcs.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["rfcs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


table = load_table()
RFCS = list(table.rfcs())
SECTIONS = [(rfc, section) for rfc in RFCS for section in rfc.sections]


@lru_cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse((TESTS / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


@pytest.mark.parametrize(
    ("rfc", "section"), SECTIONS, ids=[f"{rfc.number} {part.at}" for rfc, part in SECTIONS]
)
def test_every_test_that_is_named_exists(rfc: Any, section: Any) -> None:
    """And where there is none, it says why."""
    assert section.status in table.STATUSES
    assert section.tests or section.note
    if section.status in ("done", "yours"):
        assert section.tests
    for name in section.tests:
        file, _, test = name.partition("::")
        assert (TESTS / file).is_file(), name
        assert not test or test in names_in(file), name


def test_each_rfc_stands_once() -> None:
    """Whoever looks one up finds all of it in one place."""
    numbers = [rfc.number for rfc in RFCS]
    assert len(set(numbers)) == len(numbers)


# Postfix's own.
WITHOUT_RFC = {"XCLIENT", "XFORWARD"}


@pytest.mark.parametrize(
    "keyword", [row.keyword for row in EXTENSIONS if row.keyword not in WITHOUT_RFC]
)
def test_every_keyword_is_in_the_index(keyword: str) -> None:
    """With its name in the title of its RFC, or in a section of RFC 5321."""
    titles = " ".join(rfc.title for rfc in RFCS)
    basic = " ".join(part.what for rfc, part in SECTIONS if rfc.number == 5321)
    assert re.search(rf"(?<![\w-]){re.escape(keyword)}\b", f"{titles} {basic}"), keyword


@pytest.mark.parametrize("keyword", [row.keyword for row in EXTENSIONS])
def test_every_keyword_is_described(keyword: str) -> None:
    """On the page that says when it is offered."""
    assert f"``{keyword}``" in (DOCS / "extending.rst").read_text()
