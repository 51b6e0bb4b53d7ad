"""An answer that needs time, and the platform that waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from smtpcb.engine._verdict import Failed, Incidents, Log
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Authenticated

if TYPE_CHECKING:
    from smtpcb.engine._envelope import Content
    from smtpcb.engine._questions import Question

# What needs no second look: it is an answer, whatever it says.
ANSWERS = frozenset({bool, int, tuple, Reply, Failed, Authenticated})


class Pending:
    """An answer that needs time; a platform makes its own kind of them."""

    __slots__ = ()

    def then(self, came: Callable[[object], None]) -> None:
        """Have it called once, with the answer or with what was raised, as `Failed`."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Say that nobody waits any more; it raises nothing."""
        raise NotImplementedError


class Platform(Protocol):
    """Where conversations run; one for all of a server."""

    log: Log
    incidents: Incidents

    def later(self, result: Any) -> object:
        """
        Take what a method of a handler has returned.

        :return: the answer; if it needs time, a `Pending`.
        :raises BaseException: what a coroutine raises before it waits.
        """

    def seconds(self) -> float:
        """Tell the time for deadlines; it never goes back."""

    def soon(self, step: Callable[[], object]) -> None:
        """
        Do something when the event under way is over; it raises nothing.

        Where nothing can be done by itself it is left: whoever leads a dialogue looks after each
        step.
        """

    def make_content(self) -> Content:
        """Make the place for one message's octets."""


class Call:
    """A call under way."""

    __slots__ = ("deadline", "done", "limit", "name", "pending", "question")

    def __init__(
        self, name: str, pending: Pending, done: Callable[[object], None], deadline: float
    ) -> None:
        self.name = name
        self.pending: Pending | None = pending
        self.done = done
        self.deadline = deadline
        self.limit = 0.0
        self.question: Question | None = None
