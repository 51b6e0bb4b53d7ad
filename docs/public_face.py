"""What is public, where each name is described, and what a reference means."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode
from zope.interface.interface import InterfaceClass, Method

# In the order in which a user meets them.  What the first one has is described in the others.
FACES = (
    "smtpcb",
    "smtpcb.interfaces",
    "smtpcb.handling",
    "smtpcb.smtp",
    "smtpcb.smtp.sasl",
    "smtpcb.server",
    "smtpcb.tls",
    "smtpcb.transcript",
    "smtpcb.testing",
    "smtpcb.handlers",
    "smtpcb.handlers.capture",
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
    behind = [one.name for one in iter_modules(getattr(module, "__path__", ()), f"{face}.")]
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


# What a reference means that Sphinx does not find: docstrings call things by the name that a user
# calls them by, signatures by the private module that defines them.


def resolve(
    app: Sphinx, env: BuildEnvironment, node: Any, shown: nodes.TextElement
) -> nodes.Element | None:
    """Find what a reference means; ``None`` is a dead one, which fails the build."""
    if node["refdomain"] != "py":
        return None
    objects = env.domains.python_domain.objects
    within = node.get("py:class")
    target = bare(node["reftarget"])
    for candidate in candidates(target, within):
        owner, _, name = candidate.rpartition(".")
        # What has no entry of its own, a member of an enum for one, is described with its class.
        found = candidate if candidate in objects else owner if has_member(owner, name) else ""
        if found in objects:
            there = objects[found]
            return make_refnode(
                app.builder, node["refdoc"], there.docname, there.node_id, shown, found
            )
    private = node["reftype"] == "class" and is_private_type(target)
    known = private or is_parameter(target, node.get("py:module")) or is_of_others(target)
    return shown if known else None


_NAME = re.compile(r"(?:<InterfaceClass )?([\w.]+)")


def bare(target: str) -> str:
    """Return the name in what Sphinx makes of some annotations, such as ``Mapping[str``."""
    match = _NAME.match(target)
    return match[1] if match else target


def candidates(target: str, within: str | None) -> Iterator[str]:
    """Return the places where what is meant may be described, the nearest first."""
    parts = target.split(".")
    for at, part in enumerate(parts):
        if part in homes():
            yield ".".join([homes()[part], *parts[at:]])
    if within is not None and len(parts) == 1:
        name = within.rpartition(".")[2]
        if name in homes():
            yield f"{homes()[name]}.{name}.{target}"
    yield f"smtpcb.interfaces.ISmtpEventHandler.{target}"


def has_member(owner: str, name: str) -> bool:
    """Whether a public class has something by that name, or says that its instances have."""
    class_name = owner.rpartition(".")[2]
    if f"{homes().get(class_name)}.{class_name}" != owner:
        return False
    value = value_of(class_name)
    return isinstance(value, type) and (
        hasattr(value, name) or f"var {name}:" in (value.__doc__ or "")
    )


def is_parameter(target: str, module: str | None) -> bool:
    """Whether a function or method of a public module takes something so called."""
    return module is not None and target in _parameters(module)


@cache
def _parameters(module: str) -> frozenset[str]:
    found: set[str] = set()
    for name, home in homes().items():
        value = value_of(name)
        if home == module and callable(value):
            members = vars(value).values() if isinstance(value, type) else ()
            for one in filter(inspect.isroutine, [value, *members]):
                with suppress(TypeError, ValueError):
                    found.update(inspect.signature(one).parameters)
    return frozenset(found)


# As they are called in signatures and docstrings where they are not said with their module.
_OTHERS = (
    *("builtins", "typing", "collections.abc", "pathlib", "email.message"),
    *("twisted.application.service", "twisted.cred.credentials", "twisted.cred.portal"),
    *("twisted.internet.interfaces", "twisted.protocols.tls"),
)
_OTHER_PACKAGES = {"twisted", "zope", "cryptography", "OpenSSL", *sys.stdlib_module_names}


@cache
def is_of_others(target: str) -> bool:
    """Whether something exists in Python, Twisted or what else we stand on."""
    if any(hasattr(importlib.import_module(module), target) for module in _OTHERS):
        return True
    parts = target.split(".")
    if parts[0] not in _OTHER_PACKAGES:
        return False
    for at in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:at]))
        except ImportError:
            continue
        for part in parts[at:]:
            value = _attribute(value, part)
        return value is not None
    return False


def _attribute(value: Any, name: str) -> Any:
    if isinstance(value, InterfaceClass):
        return value.get(name)
    return getattr(value, name, None)


@cache
def is_private_type(target: str) -> bool:
    """Whether a type in a signature is one of ours that nobody has to name."""
    name = target.rpartition(".")[2]
    return any(
        hasattr(module, name)
        for path, module in list(sys.modules.items())
        if path.startswith("smtpcb.") and "._" in path
    )


def skip_interface(
    app: Sphinx, what: str, name: str, value: object, skip: bool, options: object
) -> bool | None:
    """Leave interfaces to `describe_interface`."""
    return True if isinstance(value, InterfaceClass) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives above, and what finds what is meant."""
    app.add_directive("public-names", PublicNames)
    app.add_directive("public-modules", PublicModules)
    app.connect("autodoc-skip-member", skip_interface)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
