"""Coroutines run to their end, where nothing has to be waited for."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from smtpcb.client import Outgoing

T = TypeVar("T")


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")


async def all_pieces(outgoing: Outgoing) -> list[bytes]:
    """Take one attempt's pieces."""
    async with aclosing(outgoing.pieces()) as pieces:
        return [piece async for piece in pieces]


def sent(outgoing: Outgoing) -> bytes:
    """Return what one attempt sends."""
    return b"".join(finished(all_pieces(outgoing)))
