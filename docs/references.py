"""
What a reference means that Sphinx does not find by itself.

Docstrings call things by the name that a user calls them by, signatures by the private module that
defines them; and Python and Twisted have their pages elsewhere.  Whatever means nothing is dead.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from docutils import nodes
from public_face import homes, value_of
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode
from zope.interface.interface import InterfaceClass


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


def setup(app: Sphinx) -> dict[str, bool]:
    """Ask `resolve` for what is not found."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
