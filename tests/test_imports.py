"""Imports go one way, and the engine needs nothing but Python."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import smtpcb

PACKAGE = Path(smtpcb.__file__).parent

ANY = {"twisted", "zope", "OpenSSL", "cryptography", "service_identity", "idna"}
# _typeshed is the standard library too, but exists for type checkers only.
TYPING = {*sys.stdlib_module_names, "_typeshed"}
# What describes Twisted's values without running anything; all else needs `if TYPE_CHECKING:`.
TWISTED_TYPES = {
    "zope.interface",
    "twisted.internet.defer",
    "twisted.internet.interfaces",
    "twisted.logger",
    "twisted.python.failure",
}


@dataclass(frozen=True)
class Row:
    """
    What one part of the package may import, beside itself and the standard library.

    :ivar ours: other parts of smtpcb.
    :ivar others: other packages, or some of their modules.
    """

    ours: frozenset[str]
    others: frozenset[str]


def row(ours: str = "", others: set[str] | None = None) -> Row:
    """Write a row of the table."""
    return Row(frozenset(ours.split()), frozenset(others or ()))


# A row may import the rows above it.  The longest name that fits a module is its row, and a
# module without one fails: whoever adds it decides here where it belongs.
TABLE = {
    "": row(
        "smtp engine interfaces transcript handling tls server"
    ),  # for type checkers: see the test below
    "smtp": row(),
    "smtp._scan": row("smtp", {"stringzilla"}),  # an extra; without it another make is used
    "engine": row("smtp"),
    "_folders": row(),
    "_files": row(),
    "_amounts": row(),
    "_words": row("_amounts"),
    "_reread": row("_files"),
    "_ending": row(),
    "_steady": row(),
    "_hangup": row(),
    "_ids": row(),
    "_threads": row("", {"twisted.python.threadpool"}),
    "interfaces": row("smtp engine", TWISTED_TYPES),
    "transcript": row("smtp engine _ending _steady", TWISTED_TYPES),
    "handling": row("smtp engine interfaces transcript _ending _steady _threads", ANY),
    "tls": row("smtp engine interfaces transcript _files _folders _ending _steady", ANY),
    "server": row(
        "smtp engine interfaces transcript handling tls _ending _steady _hangup _ids", ANY
    ),
    "client": row("smtp engine interfaces transcript handling tls _ending _steady _ids", ANY),
    "handlers": row(
        "smtp engine interfaces transcript handling tls client _amounts _words _folders _ending"
        " _steady _threads",
        ANY,
    ),
    "policies": row(
        "smtp engine interfaces handling _amounts _words _reread _ending _steady _threads", ANY
    ),
    "testing": row(
        "smtp engine interfaces transcript handling tls server handlers _ids _threads", ANY
    ),
    "run": row(
        "smtp engine interfaces transcript handling tls server client handlers policies testing"
        " _amounts _files _reread _folders _ending _steady _hangup _threads",
        ANY,
    ),
}


def row_of(name: str) -> str:
    """Find the row of a module, named from below smtpcb; KeyError when the table has none."""
    fitting = [key for key in TABLE if key == name or (key and name.startswith(f"{key}."))]
    if not fitting:
        raise KeyError(name)
    return max(fitting, key=len)


def modules() -> dict[str, Path]:
    """Find every module, named from below smtpcb."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, source: str, *, is_package: bool) -> Iterator[tuple[str, bool]]:
    """
    Yield everything that a module imports, anywhere in it.

    :return: the full name, as deep as the statement goes, and whether only type checkers see it.
    """
    base = ["smtpcb", *name.split(".")] if name else ["smtpcb"]
    if not is_package:
        base.pop()

    def walk(node: ast.AST, typing: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, typing
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{module}.{alias.name}", typing
        elif isinstance(node, ast.If) and ast.unparse(node.test) in (
            "TYPE_CHECKING",
            "typing.TYPE_CHECKING",
        ):
            for statement in node.body:
                yield from walk(statement, True)
            for statement in node.orelse:
                yield from walk(statement, typing)
        else:
            for child in ast.iter_child_nodes(node):
                yield from walk(child, typing)

    return walk(ast.parse(source), False)


def below(name: str, roots: frozenset[str]) -> bool:
    """Tell whether a full name is one of the roots or below one."""
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def violations(name: str, source: str, *, is_package: bool = False) -> list[str]:
    """List what a module imports although the table does not let it."""
    mine = row_of(name)
    allowed = TABLE[mine]
    wrong = []
    for imported, typing in imports(name, source, is_package=is_package):
        top, _, rest = imported.partition(".")
        if top == "smtpcb":
            # A name that is no module of ours stands in smtpcb/__init__.py, where nothing does.
            ours = row_of(rest)
            if ours != mine and not below(ours, allowed.ours | {mine or "smtpcb"}):
                wrong.append(imported)
        elif top not in (TYPING if typing else sys.stdlib_module_names):
            # Naming a type costs nothing at run time, where the package may be named at all.
            roots = frozenset(one.partition(".")[0] for one in allowed.others)
            if not below(imported, roots if typing else allowed.others):
                wrong.append(imported)
    return wrong


@pytest.mark.parametrize(("name", "path"), modules().items(), ids=modules())
def test_a_module_imports_only_what_its_row_names(name: str, path: Path) -> None:
    """The table says who may know whom; a module that is not in it fails too."""
    is_package = path.name == "__init__.py"
    assert violations(name, path.read_text(), is_package=is_package) == []


def test_only_its_own_row_reads_the_settings() -> None:
    """Options and what is made of them are the top of the house: nothing below knows them."""
    assert {key for key, one in TABLE.items() if "run" in one.ours} == set()


def test_handlers_and_server_do_not_know_each_other() -> None:
    """A handler of ours is like one of the user's."""
    assert not below("server", TABLE["handlers"].ours)
    assert not below("handlers", TABLE["server"].ours)
    assert not below("server", TABLE["policies"].ours)
    assert not below("policies", TABLE["server"].ours | TABLE["handlers"].ours)


def test_client_and_server_do_not_know_each_other() -> None:
    """Each is one side of the dialogue; what both need is a word of SMTP, or in the engine."""
    assert not below("server", TABLE["client"].ours)
    assert not below("client", TABLE["server"].ours)


def test_the_plug_in_imports_nothing_of_ours() -> None:
    """Every twistd run may execute it, whoever's service it runs; until that is ours."""
    path = PACKAGE.parent / "twisted" / "plugins" / "smtpcb_plugin.py"
    found = [one for one, _ in imports("", path.read_text(), is_package=True)]
    assert found == [
        "typing.Any",
        "twisted.application.service.ServiceMaker",
        "smtpcb._hangup.remember",
    ]
    program = (
        "import sys, twisted.plugin as plugin, twisted.application.service as service\n"
        "names = [one.name for one in plugin.getPlugins(service.IServiceMaker)]\n"
        "print('smtpcb' in names, 'smtpcb' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert said == b"True False\n"


@pytest.mark.parametrize(
    ("name", "source", "wrong"),
    [
        ("engine._server", "import twisted.internet", ["twisted.internet"]),
        ("engine._server", "from zope.interface import Interface", ["zope.interface.Interface"]),
        ("engine._server", "from smtpcb import interfaces", ["smtpcb.interfaces"]),
        ("engine._server", "from ..handling import callbacks", ["smtpcb.handling.callbacks"]),
        ("engine._server", "from smtpcb.smtp._reply import Reply\nimport re", []),
        ("engine._server", "def f():\n    import attrs", ["attrs"]),
        (
            "engine._server",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import twisted",
            ["twisted"],
        ),
        ("smtp._reply", "from smtpcb.engine import _replies", ["smtpcb.engine._replies"]),
        ("interfaces", "import twisted.internet.reactor", ["twisted.internet.reactor"]),
        ("interfaces", "from twisted.internet.defer import Deferred", []),
        ("interfaces", "if TYPE_CHECKING:\n    from twisted.web.server import Site", []),
        ("server._protocol", "from smtpcb.handlers import capture", ["smtpcb.handlers.capture"]),
        ("handlers.maildir", "import smtpcb.server._factory", ["smtpcb.server._factory"]),
        ("handlers.maildir", "from smtpcb.handlers.capture import Capture", []),
        ("client._feed", "from smtpcb.server import transport", ["smtpcb.server.transport"]),
        ("server._factory", "from smtpcb.client import Outgoing", ["smtpcb.client.Outgoing"]),
        ("handlers.capture", "from smtpcb.run import X", ["smtpcb.run.X"]),
        ("handlers.capture", "from smtpcb.engine._envelope import Envelope", []),
        ("tls", "from smtpcb.run.options import OPTIONS", ["smtpcb.run.options.OPTIONS"]),
        ("run.tap", "from smtpcb.run.build import make", []),
        ("testing._play", "from smtpcb.engine._server import ServerDialogue", []),
    ],
)
def test_the_table_is_obeyed_to_the_letter(name: str, source: str, wrong: list[str]) -> None:
    """What may not be imported is found, however it is written; what may is not."""
    assert violations(name, source) == wrong


def test_a_module_that_is_not_listed_fails() -> None:
    """Whoever adds a part decides where it stands."""
    with pytest.raises(KeyError):
        violations("utils", "")
    with pytest.raises(KeyError):
        violations("run.tap", "import smtpcb.utils")


def test_importing_the_package_imports_nothing_else() -> None:
    """The names of the package are imported when they are first used."""
    result = subprocess.run(
        [sys.executable, "-c", "import smtpcb, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded = result.stdout.split()
    assert "smtpcb" in loaded
    assert not [name for name in loaded if name.startswith(("smtpcb.", "twisted.internet"))]


IMPORT_THE_ENGINE_ALONE = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "smtpcb"}:
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[1])
import smtpcb.engine
for module in pkgutil.walk_packages(smtpcb.engine.__path__, "smtpcb.engine."):
    importlib.import_module(module.name)
print(*sorted(name for name in sys.modules if name.startswith("smtpcb.")), sep="\\n")
"""


def test_the_engine_runs_where_twisted_is_not_installed() -> None:
    """The engine serves asyncio and threads as well, where there may be no Twisted."""
    result = subprocess.run(
        # -S: without site-packages; -I: without PYTHONPATH and the current folder.
        [sys.executable, "-I", "-S", "-c", IMPORT_THE_ENGINE_ALONE, str(PACKAGE.parent)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    engine = {f"smtpcb.{name}" for name in modules() if name.startswith(("engine", "smtp"))}
    assert set(result.stdout.split()) == engine
