"""Which names of a handler its user has written, and which came with a base class."""

from __future__ import annotations

import dis
import functools
import sys
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

from smtpcb.handling._calls import function_of

# What is written with def, or made of it.  An object that happens to be callable is data.
_FUNCTIONS = (
    *(FunctionType, MethodType, BuiltinFunctionType, staticmethod, classmethod),
    *(functools.partial, functools.partialmethod, type(functools.lru_cache(int))),
)
_OURS = frozenset({"smtpcb", "twisted", "zope"})
_STANDARD = tuple(sysconfig.get_path(place) for place in ("stdlib", "platstdlib"))


def functions_of(handler: object) -> Iterator[str]:
    """Yield the names of the public methods."""
    return (name for name, value in _names(handler) if isinstance(value, _FUNCTIONS))


def is_used(handler: object, name: str) -> bool:
    """Whether another of its methods speaks of that name, and not only to set it."""
    codes = (
        getattr(function_of(value), "__code__", None)
        for other, value in _all_names(handler)
        if other != name and isinstance(value, _FUNCTIONS)
    )
    return any(_speaks_of(name, code) for code in codes if code is not None)


def sets(handler: object, names: Collection[str]) -> bool:
    """Whether a method, such as ``__init__``, gives it an attribute of one of these names."""
    codes = (getattr(function_of(value), "__code__", None) for _, value in _all_names(handler))
    return any(
        step.opname == "STORE_ATTR" and step.argval in names
        for code in codes
        if code is not None
        for step in dis.get_instructions(code)
    )


def _speaks_of(name: str, code: CodeType) -> bool:
    if name in code.co_names and any(
        step.argval == name and not step.opname.startswith(("STORE_", "DELETE_"))
        for step in dis.get_instructions(code)
    ):
        return True
    within = (one for one in code.co_consts if isinstance(one, CodeType))
    return any(_speaks_of(name, one) for one in within)


def names_of(handler: object) -> Iterator[str]:
    """Yield the public names of whatever there is."""
    return (name for name, _ in _names(handler))


def _names(handler: object) -> Iterator[tuple[str, object]]:
    return (item for item in _all_names(handler) if not item[0].startswith("_"))


def _all_names(handler: object) -> Iterator[tuple[str, object]]:
    if isinstance(handler, ModuleType):
        for name, value in vars(handler).items():
            # What it has imported is not its own.  Data does not say where it comes from.
            imported = isinstance(value, ModuleType) or (
                isinstance(value, (type, FunctionType, BuiltinFunctionType))
                and value.__module__ != handler.__name__
            )
            if not imported:
                yield name, value
        return
    if not isinstance(handler, type):
        yield from getattr(handler, "__dict__", {}).items()
    kind = handler if isinstance(handler, type) else type(handler)
    inherited: set[str] = set()
    for base in reversed(kind.__mro__):
        if _is_somebody_elses(base, kind):
            inherited.update(vars(base))
        else:
            for name, value in vars(base).items():
                if name not in inherited or name.startswith("__"):  # such as its own __init__
                    yield name, value


def _is_somebody_elses(base: type, kind: type) -> bool:
    """Whether a base class of `kind` came with Python, with us, or with another library."""
    root = base.__module__.partition(".")[0]
    file = getattr(sys.modules.get(base.__module__), "__file__", None) or ""
    installed = not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)
    if root in _OURS or root in sys.builtin_module_names:
        return True
    if not installed and file.startswith(_STANDARD):
        return True
    return installed and root != kind.__module__.partition(".")[0]
