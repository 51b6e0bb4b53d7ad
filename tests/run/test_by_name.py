"""What runs is what the operator has named, and nothing that somebody else could have said."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import smtpcb

PACKAGE = Path(smtpcb.__file__).parent
# What makes a program of a text, or an object of octets.
FORBIDDEN = frozenset(
    ["eval", "exec", "compile", "__import__", "namedAny", "namedModule", "system", "popen"]
)
MODULES = frozenset({"pickle", "marshal", "shelve", "dill", "code", "runpy", "pty"})
# Who imports by a name that is a value, and whose name that is.
BY_NAME = {
    "__init__.py": "a name of our own, when it is asked for first",
    "run/_hashes.py": "a library of ours to choose, only when a password was hashed by it",
    "run/build/_python.py": "the handler that the operator names",
    "run/command/__init__.py": "a subcommand, from a table of our own",
    "run/workers/_worker.py": "the reactor, as the process that started us has it",
}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Return each call in the package: the file, the name that is called, and the call."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func
                name = getattr(called, "id", None) or getattr(called, "attr", "")
                yield str(path.relative_to(PACKAGE)), name, node


def test_no_text_is_run() -> None:
    """No eval, no shell, nothing unpickled: what comes over the network stays data (P61)."""
    seen = 0
    for file, name, call in calls():
        seen += 1
        # A regular expression is compiled too.
        whose = getattr(getattr(call.func, "value", None), "id", "")
        assert name not in FORBIDDEN or whose == "re", file
        assert not any(word.arg == "shell" for word in call.keywords), file
    assert seen > 1000
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.partition(".")[0] for name in names} & MODULES, path


def test_only_the_handler_is_imported_by_name() -> None:
    """It is the one thing of whose name somebody else decides, and that is the operator (P61)."""
    assert {file for file, name, _ in calls() if name == "import_module"} == set(BY_NAME)
