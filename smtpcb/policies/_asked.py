"""A function of an application's own is asked: yes or no, now or later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from smtpcb.interfaces import Verdict
from smtpcb.smtp._reply import Reply


class Asked:
    """
    What a function answers, as a verdict.

    :param function: returns True or False, now, from ``async def`` or as a Deferred.
    :param no: what the client hears if it is False.
    :param wanted: what True and False say, for whoever answers something else.
    :raises TypeError: it is no function.
    """

    __slots__ = ("_function", "_no", "_wanted")

    def __init__(
        self, function: Callable[..., bool | Awaitable[bool]], no: Reply, wanted: str
    ) -> None:
        if not callable(function):
            raise TypeError(f"a function is wanted, not {type(function).__name__}")
        self._function = function
        self._no = no
        self._wanted = wanted

    def __call__(self, *arguments: object) -> Verdict:
        """
        Ask it.

        :raises TypeError: it answers neither; what it raises itself goes on to the caller.
        """
        found = self._function(*arguments)
        return self._later(found) if isinstance(found, Awaitable) else self._verdict(found)

    async def _later(self, found: Awaitable[bool]) -> Reply | None:
        return self._verdict(await found)

    def _verdict(self, found: object) -> Reply | None:
        if not isinstance(found, bool):  # a forgotten return, or what a database calls a row
            raise TypeError(f"{self._wanted}: True or False, not {type(found).__name__}")
        return None if found else self._no
