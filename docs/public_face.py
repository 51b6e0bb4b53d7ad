"""What is public, and where each name is described."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from functools import cache
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from zope.interface.interface import InterfaceClass, Method

# In the order in which a user meets them.  What the first one has is described in the others.
FACES = (
    "smtpcb",
    "smtpcb.interfaces",
    "smtpcb.handling",
    "smtpcb.smtp",
    "smtpcb.smtp.sasl",
    "smtpcb.server",
    "smtpcb.client",
    "smtpcb.tls",
    "smtpcb.transcript",
    "smtpcb.testing",
    "smtpcb.handlers",
    "smtpcb.handlers.capture",
    "smtpcb.handlers.maildir",
    "smtpcb.handlers.printing",
    "smtpcb.handlers.relay",
    "smtpcb.handlers.discard",
    "smtpcb.policies",
    "smtpcb.policies.bounces",
    "smtpcb.policies.dnsbl",
    "smtpcb.policies.greylist",
    "smtpcb.policies.helo",
    "smtpcb.policies.local_domains",
    "smtpcb.policies.networks",
    "smtpcb.policies.rate",
    "smtpcb.policies.recipients",
    "smtpcb.policies.reverse_dns",
    "smtpcb.policies.sender_domain",
    "smtpcb.policies.sender_login",
    "smtpcb.policies.size",
    "smtpcb.engine",
)


def names_of(face: str) -> list[str]:
    """Return a module's public names: its ``__all__``, or else what it defines and explains."""
    module = importlib.import_module(face)
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (name in _below(face) or (isinstance(value, type) and value.__module__ == face))
    ]


@cache
def homes() -> dict[str, str]:
    """Return the module in which each public name is described."""
    found: dict[str, str] = {}
    for face in FACES[1:]:
        for name in names_of(face):
            found.setdefault(name, face)
    return found


def value_of(name: str) -> Any:
    """Return what a public name means."""
    return getattr(importlib.import_module(homes()[name]), name)


def docstring_of(name: str) -> str:
    """Return what is written about a public name; of a value, what stands below it."""
    value = value_of(name)
    if isinstance(value, (type, InterfaceClass, ModuleType)) or inspect.isroutine(value):
        return inspect.getdoc(value) or ""
    return _below(homes()[name]).get(name, "")


@cache
def _below(face: str) -> dict[str, str]:
    """Return what stands below the values of a module and of the private ones behind it."""
    module = importlib.import_module(face)
    found: dict[str, str] = {}
    behind = [one.name for one in walk_packages(getattr(module, "__path__", ()), f"{face}.")]
    for name in [*behind, face]:
        documented = ModuleAnalyzer.for_module(name).find_attr_docs()
        for (owner, attribute), lines in documented.items():
            if not owner:
                found[attribute] = "\n".join(lines).strip()
    return found


def first_sentence(docstring: str) -> str:
    """Return the first paragraph in one line, or of a long one its first sentence."""
    paragraph = " ".join(docstring.strip().partition("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return sentence + stop.strip() if len(paragraph) > 120 else paragraph


class PublicNames(SphinxDirective):
    """``.. public-names::`` lists all names of each public module, with a line about each."""

    def run(self) -> list[nodes.Node]:
        """Render the tables as reStructuredText and parse that."""
        lines: list[str] = []
        for face in filter(names_of, FACES):
            lines += ["", face, "-" * len(face), "", ".. list-table::", "   :widths: 30 70", ""]
            for name in sorted(names_of(face), key=str.lower):
                about = first_sentence(docstring_of(name))
                lines += [f"   * - :py:obj:`{name} <{homes()[name]}.{name}>`", f"     - {about}"]
        return self.parse_text_to_nodes("\n".join([*lines, ""]), allow_section_headings=True)


class PublicModules(SphinxDirective):
    """``.. public-modules::`` describes each public module with what it exports."""

    def run(self) -> list[nodes.Node]:
        """Render each module as reStructuredText and parse that."""
        lines: list[str] = []
        for face in FACES:
            title = [face, "-" * len(face)]
            lines += ["", *title, "", f".. automodule:: {face}", "   :no-members:", ""]
            for name in names_of(face):
                if homes()[name] == face:
                    lines += described(face, name)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def described(face: str, name: str) -> list[str]:
    """Render what a module exports as reStructuredText."""
    value = value_of(name)
    if isinstance(value, InterfaceClass):
        return describe_interface(value)
    if isinstance(value, type):
        return [f".. autoclass:: {face}.{name}", ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {face}.{name}", ""]
    lines = [f".. py:data:: {name}", "", *indented(docstring_of(name), 3)]
    if isinstance(value, ModuleType):
        lines += ["   .. reply-table::", ""]
    return lines


def describe_interface(interface: InterfaceClass) -> list[str]:
    """Render an interface, its methods and its attributes as reStructuredText."""
    # The module is the current one: with its name here it would be said twice.
    lines = [f".. py:class:: {interface.__name__}", ""]
    bases = [base for base in interface.__bases__ if base.__module__ != "zope.interface"]
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


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives above."""
    app.add_directive("public-names", PublicNames)
    app.add_directive("public-modules", PublicModules)
    app.connect("autodoc-skip-member", skip_interface)
    return {"parallel_read_safe": True}
