"""What Security promises: each promise by its number, on the page and in a test that holds it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "smtpcb"
PAGE = (TESTS.parent / "docs" / "security.rst").read_text()

PROMISES = range(62)

_NUMBERS = re.compile(r"\bP([0-9]{1,2})\b")


def docstrings() -> Iterator[tuple[str, str]]:
    """Return the name of each test with what it says of itself."""
    for path in sorted(TESTS.rglob("test_*.py")):
        where = str(path.relative_to(TESTS))
        for node in ast.walk(ast.parse(path.read_text())):
            is_test = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            if is_test and node.name.startswith("test_"):
                yield f"{where}::{node.name}", ast.get_docstring(node) or ""


@pytest.fixture(scope="module")
def holders() -> dict[int, list[str]]:
    """The tests that say which promise they hold."""
    found: dict[int, list[str]] = defaultdict(list)
    for name, said in docstrings():
        for number in _NUMBERS.findall(said):
            found[int(number)].append(name)
    return found


@pytest.mark.parametrize("number", PROMISES)
def test_a_promise_is_held_by_a_test(number: int, holders: dict[int, list[str]]) -> None:
    """Whoever doubts one finds what tries it by its number."""
    assert holders[number]


def test_the_page_has_them_all_and_no_others() -> None:
    """Each promise stands there once, in words."""
    found = sorted(int(number) for number in _NUMBERS.findall(PAGE.replace('"P24"', "")))
    assert [number for number in found if number != 24] == [
        number for number in PROMISES if number != 24
    ]
    assert 24 in found


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def imported() -> Iterator[tuple[Path, str]]:
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield path, node.module or ""
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


def test_twisted_mail_is_used_for_nothing() -> None:
    """Its parser, its dots and its handshake have faults that are not ours to inherit (P0)."""
    names = list(imported())
    assert len(names) > 500
    assert [found for found in names if found[1].startswith("twisted.mail")] == []


def test_no_text_becomes_code() -> None:
    """Nothing is evaluated, unpickled or given to a shell, wherever it comes from (P61)."""
    modules = ("pickle", "marshal", "shelve", "subprocess", "code", "imp", "pty")
    assert [found for found in imported() if found[1].split(".")[0] in modules] == []
    calls = [
        (path, node.func.id)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert [found for found in calls if found[1] in ("eval", "exec", "compile", "__import__")] == []
    attributes = [
        (path, f"{node.value.id}.{node.attr}")
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    assert [found for found in attributes if found[1] in ("os.system", "os.popen")] == []
