"""How the documentation is built; draws the state table and the interfaces from the code."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from importlib.metadata import version as installed_version

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from zope.interface.interface import InterfaceClass, Method

from smtpcb.engine.command import Verb
from smtpcb.engine.state import TRANSITIONS, State

project = "smtpcb"
author = "the smtpcb authors"
project_copyright = f"2026, {author}"
release = installed_version("smtpcb")
version = release

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build", "changes"]
html_theme = "furo"
html_title = f"smtpcb {release}"

# `Reply` in a docstring is a link to it, wherever it is defined.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    # Every name is described once, in the module that defines it.
    "ignore-module-all": True,
}
autodoc_typehints = "signature"
python_use_unqualified_type_names = True


class StateTable(SphinxDirective):
    """``.. state-table::`` draws `smtpcb.engine.state.TRANSITIONS`, one row per verb."""

    def run(self) -> list[nodes.Node]:
        """Render the table as reStructuredText and parse that."""
        verbs = [verb for verb in Verb if any(verb in row for row in TRANSITIONS.values())]
        rows = [["", *(f"**{title(state)}**" for state in State)]]
        for verb in verbs:
            after = [TRANSITIONS.get(state, {}).get(verb) for state in State]
            rows.append([f"**{verb.name}**", *(title(state) if state else "" for state in after)])
        lines = [".. list-table::", "   :header-rows: 1", "   :stub-columns: 1", ""]
        for row in rows:
            lines += [f"   {'* -' if at == 0 else '  -'} {cell}" for at, cell in enumerate(row)]
        return self.parse_text_to_nodes("\n".join(lines))


def title(state: State) -> str:
    """Return a state's name as the prose writes it."""
    return state.name.replace("_", " ").lower()


class PublicModules(SphinxDirective):
    """``.. public-modules::`` describes each module of smtpcb with what it defines."""

    def run(self) -> list[nodes.Node]:
        """Render each module as reStructuredText and parse that."""
        lines: list[str] = []
        for name in sorted(public_modules(), key=reading_order):
            lines += ["", name, "-" * len(name), "", f".. automodule:: {name}", ""]
            for interface in interfaces_of(name):
                lines += describe_interface(interface)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


# What a user of the library opens first; all others follow by name.
FIRST = ["smtpcb", "smtpcb.interfaces", "smtpcb.adapters", "smtpcb.server", "smtpcb.handlers"]


def reading_order(name: str) -> tuple[int, str]:
    """Sort key of a module on the page."""
    package = ".".join(name.split(".")[:2])
    return (FIRST.index(package) if package in FIRST else len(FIRST), name)


def public_modules() -> Iterator[str]:
    """Name every module of the package except those whose names begin with an underscore."""
    package = importlib.import_module("smtpcb")
    yield package.__name__
    for module in pkgutil.walk_packages(package.__path__, "smtpcb."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            yield module.name


def interfaces_of(name: str) -> Iterator[InterfaceClass]:
    """Find the interfaces that a module defines; autodoc takes them for plain values."""
    for value in vars(importlib.import_module(name)).values():
        if isinstance(value, InterfaceClass) and value.__module__ == name:
            yield value


def describe_interface(interface: InterfaceClass) -> list[str]:
    """Render an interface, its methods and its attributes as reStructuredText."""
    path = f"{interface.__module__}.{interface.__name__}"
    bases = [base for base in interface.__bases__ if base.__module__ != "zope.interface"]
    lines = [f".. py:class:: {path}", ""]
    if bases:
        lines += [f"   Extends {', '.join(f'`{base.__name__}`' for base in bases)}.", ""]
    lines += indented(interface.__doc__, 3)
    for name, member in interface.namesAndDescriptions():
        if isinstance(member, Method):
            lines += [f"   .. py:method:: {name}{member.getSignatureString()}"]
        else:
            lines += [f"   .. py:attribute:: {name}"]
        # The index would list each of them twice: a handler class has them too.
        lines += ["      :no-index-entry:", "", *indented(member.__doc__, 6)]
    return lines


def indented(docstring: str | None, columns: int) -> list[str]:
    """Clean a docstring and move it to the right."""
    cleaned: Iterable[str] = inspect.cleandoc(docstring or "").splitlines()
    return [" " * columns + line if line else "" for line in cleaned] + [""]


def skip_interface(
    app: Sphinx, what: str, name: str, value: object, skip: bool, options: object
) -> bool | None:
    """Leave interfaces to `describe_interface`."""
    return True if isinstance(value, InterfaceClass) else None


def setup(app: Sphinx) -> None:
    """Add the directives above."""
    app.add_directive("state-table", StateTable)
    app.add_directive("public-modules", PublicModules)
    app.connect("autodoc-skip-member", skip_interface)
