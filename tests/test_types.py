"""
Type checkers have nothing to say against what the documentation shows.

All of docs/examples, and the Python blocks of README.md and docs/ that declare types, are checked
as a user would: strictly, and with smtpcb installed.  What a page shows without types is not.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from .clients.conftest import missing
from .test_docs import BLOCKS, DOCS, ROOT

PYRIGHT = ROOT / ".ci/node/node_modules/.bin/pyright"

# By what they are called where they are checked.
Complaints = Mapping[str, list[str]]


def declares_types(text: str) -> bool:
    """Tell whether any function in it says what it takes or returns."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if node.returns or any(argument.annotation for argument in arguments):
                return True
    return False


EXAMPLES = {path.name: path.read_text() for path in sorted((DOCS / "examples").glob("*.py"))}
SHOWN = {
    f"{block.page.replace('.', '_').replace('-', '_')}_{block.line}.py": block.text
    for block in BLOCKS
    if block.language == "python" and declares_types(block.text)
}
# inbox_and_web.py is made of functions of Twisted that have no types: strict is nothing for it.
NAMES = [*(name for name, text in EXAMPLES.items() if declares_types(text)), *SHOWN]


# What both must complain of, or they see nothing of smtpcb.
WRONG = """\
from smtpcb import Reply


def reply() -> int:
    return Reply(550)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where all of it lies, away from the checkout and its settings."""
    folder = tmp_path_factory.mktemp("types")
    for name, text in {**EXAMPLES, **SHOWN, "wrong.py": WRONG}.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def mypy(folder: Path) -> Complaints:
    """Return what mypy says with --strict."""
    if importlib.util.find_spec("mypy") is None:
        missing("mypy is not installed: sh .ci/setup dev brings it")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    cache = ROOT / ".mypy_cache/examples"
    ended = subprocess.run(
        [*command, f"--cache-dir={cache}", "--hide-error-context", *sorted(os.listdir(folder))],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    found = defaultdict(list)
    for line in ended.stdout.splitlines():
        match = re.match(r"([^:]+):[0-9]+: error: ", line)
        if match is not None:
            found[match[1]].append(line)
    return found


@pytest.fixture(scope="module")
def pyright(folder: Path) -> Complaints:
    """Return what pyright says in its strict mode."""
    program = PYRIGHT if PYRIGHT.exists() else shutil.which("pyright")
    if program is None:
        missing("pyright is not there: npm ci in .ci/node brings it")
    assert program is not None
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    ended = subprocess.run(
        [program, "--outputjson", "--pythonpath", sys.executable],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    found = defaultdict(list)
    for one in json.loads(ended.stdout)["generalDiagnostics"]:
        if one["severity"] == "error":
            line = one["range"]["start"]["line"] + 1
            found[Path(one["file"]).name].append(f"{line}: {one['message']}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_mypy_agrees(mypy: Complaints, name: str) -> None:
    """`mypy --strict` passes on what users copy."""
    assert not mypy.get(name), "\n".join(mypy[name])


@pytest.mark.parametrize("name", NAMES)
def test_pyright_agrees(pyright: Complaints, name: str) -> None:
    """And so does pyright, which is what editors ask."""
    assert not pyright.get(name), "\n".join(pyright[name])


def test_they_know_our_types(mypy: Complaints, pyright: Complaints) -> None:
    """Neither would be silent because it finds no smtpcb, or no types in it."""
    [said] = mypy["wrong.py"]
    assert '"Reply", expected "int"' in said
    [said] = pyright["wrong.py"]
    assert '"Reply" is not assignable to return type "int"' in said


@pytest.mark.parametrize(
    "text",
    ["def f(a: int): ...", "async def f() -> None: ...", "class A:\n def f(self, *, a: int): ..."],
)
def test_what_declares_types(text: str) -> None:
    """An argument or what is returned is enough."""
    assert declares_types(text)


def test_what_declares_none() -> None:
    """A variable is not."""
    assert not declares_types("a: int = 1\ndef f(b): ...")
