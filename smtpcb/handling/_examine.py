"""
What can be seen of a handler before the first client comes: that it takes mail, and can be
called.

Everything here is a mistake that would otherwise show as mail accepted and dropped, as recipients
nobody looked at, or as 451 for every client.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

from smtpcb.engine._handler import (
    DECLARATIONS,
    EVENTS,
    Method,
    abilities_of,
    methods_of,
    name_of,
    require_mail_taken,
)
from smtpcb.handling._names import Likeness, Meant, meant
from smtpcb.smtp._command import Verb

# Parameters that are called so mean what these events give under that name, and nothing else.
_TELLING = frozenset({"connection", "credentials", "envelope", "octets", "recipient"})
_BEFORE_THE_CONTENT = ("mail", "rcpt", "data", "header", "chunk")


def examine(
    handler: object, *, blocking: bool = False, own: AbstractSet[str] | None = None
) -> None:
    """
    Look at a handler, or at the class of some.

    :param blocking: it is to be called in threads.
    :param own: keywords of the server's own extensions, which it may honour; ``None`` where that
        is not known.
    :raises TypeError: mail for it would be lost, a name was meant for an event and is none, a
        method cannot be called as it will be, or what it says of itself is of another type.
    :raises ValueError: ``extensions`` names one that cannot be left to a handler.
    """
    methods = methods_of(handler)
    for name in _own_callables(handler):
        _refuse_misspelt(handler, methods, name)
    if not _is_said_later(handler, "discards_content"):
        require_mail_taken(handler, methods)
    for name, method in methods.items():
        _refuse_uncallable(handler, name, method)
        _refuse_unrunnable(handler, name, method, blocking=blocking)
    _refuse_content_that_is_not_there(handler, methods)
    _check_declarations(handler, own)


# What is written with def, or made of it.  An object that happens to be callable is data.
_WRITTEN = (
    *(FunctionType, MethodType, BuiltinFunctionType, staticmethod, classmethod),
    *(functools.partial, functools.partialmethod, type(functools.lru_cache(int))),
)


def _own_callables(handler: object) -> Iterator[str]:
    """Yield the public methods that the user has written."""
    if isinstance(handler, ModuleType):
        for name, value in vars(handler).items():
            if getattr(value, "__module__", None) == handler.__name__:
                yield from _if_written(name, value)
        return
    if not isinstance(handler, type):
        for name, value in getattr(handler, "__dict__", {}).items():
            yield from _if_written(name, value)
    kind = handler if isinstance(handler, type) else type(handler)
    inherited: set[str] = set()
    for base in reversed(kind.__mro__):
        if _is_somebody_elses(base):
            inherited.update(vars(base))
            continue
        for name, value in vars(base).items():
            if name not in inherited:
                yield from _if_written(name, value)


def _if_written(name: str, value: object) -> Iterator[str]:
    if not name.startswith("_") and isinstance(value, _WRITTEN):
        yield name


def _is_somebody_elses(base: type) -> bool:
    """Whether a base class came with Python, with a library, or with us."""
    root = base.__module__.partition(".")[0]
    if root in sys.stdlib_module_names or root in ("smtpcb", "twisted", "zope"):
        return root != "__main__"
    file = getattr(sys.modules.get(base.__module__), "__file__", None) or ""
    return any(file.startswith(sysconfig.get_path(place)) for place in ("purelib", "platlib"))


def _refuse_misspelt(handler: object, methods: dict[str, Method], name: str) -> None:
    found = meant(name)
    if found is None or _is_their_own(handler, methods, name, found):
        return
    if not found.events:
        raise TypeError(
            f"{name_of(handler)}.{name} would never be called: a handler that fails is answered "
            "451 and logged by itself; a leading underscore says that it is yours"
        )
    right = " or ".join(_call(event) for event in found.events)
    raise TypeError(
        f"{name_of(handler)}.{name} would never be called: what is meant is {right}, or, if it is "
        f"something of your own, _{name}"
    )


def _is_their_own(handler: object, methods: dict[str, Method], name: str, found: Meant) -> bool:
    """Whether a method is a helper of the handler's, although its name is like an event's."""
    if found.likeness is Likeness.FOREIGN:
        return False
    signature = _signature(handler, name, getattr(handler, name, None))
    if found.likeness is Likeness.NEAR and signature is not None and not signature.parameters:
        return True  # no event comes without an argument
    if not found.events or any(event not in methods for event in found.events):
        return False
    return found.likeness is Likeness.NEAR or any(
        signature is None or _accepts(signature, EVENTS[event]) for event in found.events
    )


def _accepts(signature: inspect.Signature, arguments: tuple[str, ...]) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _call(event: str) -> str:
    return f"{event}({', '.join(EVENTS[event])})"


def _is_unbound(handler: object, name: str) -> bool:
    """Whether the first argument is the instance, which is not there yet."""
    return isinstance(handler, type) and inspect.isfunction(
        inspect.getattr_static(handler, name, None)
    )


def _signature(handler: object, name: str, method: Any) -> inspect.Signature | None:
    """Return how a method is called; ``None`` where only an instance or a client can tell."""
    static = inspect.getattr_static(handler, name, None)
    if isinstance(handler, type) and not isinstance(
        static, (FunctionType, staticmethod, classmethod)
    ):
        return None  # a cache, a partial method
    try:
        signature = inspect.signature(method)
    except (ValueError, TypeError):
        # A method without self is bound to nothing.
        return inspect.Signature() if isinstance(method, MethodType) else None
    if not _is_unbound(handler, name):
        return signature
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        return signature.replace(parameters=parameters[1:])
    return signature


def _positional(signature: inspect.Signature) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one for one in signature.parameters.values() if one.kind in kinds]


def _refuse_uncallable(handler: object, name: str, method: Method) -> None:
    signature = _signature(handler, name, method)
    if signature is None:
        return
    arguments = EVENTS[name]
    if not _accepts(signature, arguments):
        raise TypeError(f"{name_of(handler)}.{name}{signature} cannot be called as {_call(name)}")
    for wanted, parameter in zip(arguments, _positional(signature), strict=False):
        other = parameter.name
        if other != wanted and (other in arguments or other in _TELLING):
            raise TypeError(
                f"{name_of(handler)}.{name}{signature} is called as {_call(name)}: {other!r} would "
                f"be the {wanted}"
            )


def function_of(method: Any) -> Any:
    """Return what is behind a method: its function, whatever it is wrapped in."""
    while True:
        if hasattr(method, "__func__"):
            method = method.__func__
        elif hasattr(method, "func"):
            method = method.func
        elif not inspect.isroutine(method) and not isinstance(method, type):
            called = inspect.getattr_static(type(method), "__call__", None)
            return called if isinstance(called, FunctionType) else method
        else:
            return method


def _refuse_unrunnable(handler: object, name: str, method: Method, *, blocking: bool) -> None:
    function = function_of(method)
    coroutine = bool(
        getattr(getattr(function, "__code__", None), "co_flags", 0) & inspect.CO_ITERABLE_COROUTINE
    )
    if inspect.isasyncgenfunction(function) or (
        inspect.isgeneratorfunction(function) and not coroutine
    ):
        raise TypeError(
            f"{name_of(handler)}.{name} has a yield in it, so that calling it does nothing"
        )
    if blocking and (inspect.iscoroutinefunction(function) or coroutine):
        raise TypeError(
            f"{name_of(handler)}.{name} is async def: in threads a method is a plain function that "
            "blocks"
        )


def _refuse_content_that_is_not_there(handler: object, methods: dict[str, Method]) -> None:
    for name in _BEFORE_THE_CONTENT:
        if name in methods and _reads_content(handler, name, methods[name]):
            raise TypeError(
                f"{name_of(handler)}.{name} reads envelope.content, which is there in "
                "message(envelope) only"
            )
    if {"chunk", "message"} <= methods.keys() and _reads_content(
        handler, "message", methods["message"]
    ):
        raise TypeError(
            f"{name_of(handler)}.message reads envelope.content, which a handler with "
            "chunk(octets, envelope) does not have: it has taken the content already"
        )


def _reads_content(handler: object, name: str, method: Method) -> bool:
    """Whether the code of a method has ``envelope.content`` in it, by the name it gives to that."""
    code: CodeType | None = getattr(function_of(method), "__code__", None)
    signature = _signature(handler, name, method)
    if code is None or signature is None or "content" not in code.co_names:
        return False
    at = EVENTS[name].index("envelope")
    parameters = _positional(signature)
    if at >= len(parameters):
        return False
    before: object = None
    for step in dis.get_instructions(code):
        if step.argval == "content" and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            last = before[-1] if isinstance(before, tuple) and before else before
            if last == parameters[at].name:
                return True
        before = step.argval
    return False


def _is_said_later(handler: object, name: str) -> bool:
    """Whether only an instance knows: a property."""
    static = inspect.getattr_static(handler, name, None)
    return isinstance(handler, type) and hasattr(type(static), "__get__")


def _check_declarations(handler: object, own: AbstractSet[str] | None) -> None:
    if any(_is_said_later(handler, name) for name in DECLARATIONS):
        return
    for name in ("concurrent_recipients", "discards_content"):
        value = getattr(handler, name, False)
        if not isinstance(value, bool):
            raise TypeError(
                f"{name_of(handler)}.{name} is True or False, not {type(value).__name__}"
            )
    extensions = getattr(handler, "extensions", ())
    if isinstance(extensions, Iterable) and not isinstance(extensions, str):
        extensions = [] if own is None else [one for one in extensions if one not in own]
    mask = getattr(handler, "command_mask", Verb(0))
    said = SimpleNamespace(command_mask=mask, extensions=extensions)
    try:
        abilities_of(said, {}, tls=False)
    except TypeError as error:
        raise TypeError(f"{name_of(handler)}: {error}") from None
