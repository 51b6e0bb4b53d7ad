"""A function of somebody's extension that fails: an incident of its own, and no fault of ours."""

from __future__ import annotations

from collections.abc import Callable

from smtpcb.engine import _replies as replies
from smtpcb.engine._questions import Kind, Settle
from smtpcb.engine._verdict import Failed

_EXTENSION = "an extension"


def whose(function: Callable[..., object]) -> str:
    """Return what logs call the function of an extension."""
    return f"{_EXTENSION}, {getattr(function, '__qualname__', function)!s:.80},"


def fault(what: str, error: BaseException, settle: Settle) -> Kind:
    """
    Return what a function of an extension has failed at: asking it is an incident.

    :param what: which function, and of what.
    :param settle: what the reply to it does.
    """
    # Not raised once more: its traceback would know us, who know it.
    failed = Failed(error)
    return Kind(what, replies.OK, replies.OK, settle, call=lambda *_: failed, whose=_EXTENSION)
