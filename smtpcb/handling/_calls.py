"""How a method is called, and what it is, as far as can be seen without calling it."""

from __future__ import annotations

import dis
import functools
import inspect
from types import CodeType, FunctionType, MethodType
from typing import Any


def _is_unbound(handler: object, name: str) -> bool:
    """Whether the first argument is the instance, which is not there yet."""
    return isinstance(handler, type) and inspect.isfunction(
        inspect.getattr_static(handler, name, None)
    )


def signature_of(handler: object, name: str, method: Any) -> inspect.Signature | None:
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


def positional(signature: inspect.Signature) -> list[inspect.Parameter]:
    """Return the parameters that have a place."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one for one in signature.parameters.values() if one.kind in kinds]


def accepts(signature: inspect.Signature, arguments: tuple[str, ...]) -> bool:
    """Whether it can be called with so many arguments."""
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def function_of(method: Any) -> Any:
    """Return what is behind a method: its function, whatever it is wrapped in."""
    while True:
        if hasattr(method, "__func__"):
            method = method.__func__
        elif isinstance(method, functools.partial):
            method = method.func
        elif not inspect.isroutine(method) and not isinstance(method, type):
            called = inspect.getattr_static(type(method), "__call__", None)
            return called if isinstance(called, FunctionType) else method
        else:
            return method


def is_coroutine(method: Any) -> bool:
    """Whether calling it brings something that has to be awaited."""
    function = function_of(method)
    return inspect.iscoroutinefunction(function) or _is_generator_as_coroutine(function)


def does_nothing(method: Any) -> bool:
    """Whether calling it only makes a generator, which nobody runs."""
    function = function_of(method)
    return inspect.isasyncgenfunction(function) or (
        inspect.isgeneratorfunction(function) and not _is_generator_as_coroutine(function)
    )


def _is_generator_as_coroutine(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & inspect.CO_ITERABLE_COROUTINE)


def reads_content(handler: object, name: str, method: Any, place: int) -> bool:
    """
    Whether the code of a method has ``envelope.content`` in it.

    :param place: of the envelope among its arguments.
    """
    code: CodeType | None = getattr(function_of(method), "__code__", None)
    signature = signature_of(handler, name, method)
    if code is None or signature is None or "content" not in code.co_names:
        return False
    parameters = positional(signature)
    if place >= len(parameters):
        return False
    before: object = None
    for step in dis.get_instructions(code):
        if step.argval == "content" and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            last = before[-1] if isinstance(before, tuple) and before else before
            if last == parameters[place].name:
                return True
        before = step.argval
    return False
