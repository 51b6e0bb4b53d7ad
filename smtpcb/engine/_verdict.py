"""What a handler answered becomes a reply, whatever it was; what it failed with, an incident."""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from smtpcb.engine import _replies as replies
from smtpcb.engine._questions import AUTHENTICATE, CONNECTED, STORED_SECRET, Kind
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import printable
from smtpcb.smtp.sasl import Authenticated

# Faults of one kind are written in full so often; between, they are counted.
INCIDENT_SECONDS = 60.0
_MOST_KINDS = 256
_MOST_TEXT = 20_000

LOGIN_SEEN = "decided, of a login,"
"""What an observer's method is called, in place of its name, when it has failed at a login."""
_WITHOUT_WORDS = frozenset({AUTHENTICATE.method, STORED_SECRET.method, LOGIN_SEEN})


class Failed:
    """What was raised in place of an answer; to be taken once."""

    __slots__ = ("_error",)

    def __init__(self, error: BaseException) -> None:
        self._error: BaseException | None = error

    def take(self) -> BaseException:
        """
        Return it and forget it.

        Its traceback knows who has caught it, and that one knows us: kept, both would be freed by
        a garbage collection only.
        """
        error, self._error = self._error, None
        assert error is not None
        # A Refusal may be raised from however deep: out of the tasks of a group it comes in one.
        while isinstance(error, BaseExceptionGroup) and error.split(Refusal)[1] is None:
            error = error.exceptions[0]
        return error


class CannotWaitError(TypeError):
    """What was given as an answer is nothing that can be waited for here; the words are ours."""


class NoVerdictError(TypeError):
    """
    What ``authenticate`` or ``stored_secret`` answered is no answer, or a mechanism wants what
    cannot be wanted; the words are ours, and quote nothing of it.
    """


class TimedOut(Exception):  # noqa: N818 - it is what became of an answer
    """No answer has come in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it has not answered within {seconds:g} s")


class Log(Protocol):
    """Where a conversation writes, whatever logs there are: ``{name}`` stands for a field."""

    def info(self, text: str, /, **fields: Any) -> None:
        """Say what has happened."""

    def warn(self, text: str, /, **fields: Any) -> None:
        """Say what somebody should look at."""

    def error(self, text: str, /, **fields: Any) -> None:
        """Say what went wrong."""


class Incidents:
    """
    Faults in users' code: logged once a minute each, and named to the client by a number.

    One for all connections of a server, so that a client that provokes the same fault again and
    again fills no log: within the minute it hears the same number.

    :param log: where they are written.
    :param seconds: tells the time.
    """

    __slots__ = ("_known", "_log", "_seconds", "count")

    def __init__(self, log: Log, seconds: Callable[[], float]) -> None:
        self._log = log
        self._seconds = seconds
        #: How many there were, logged or not.
        self.count = 0
        # By kind: number, until when, how often since.
        self._known: dict[object, tuple[str, float, int]] = {}

    def report(self, method: str, handler: str, error: BaseException, connection_id: str) -> str:
        """
        Log a fault, unless the same one has been logged just now.

        :param method: what failed.
        :param handler: whose it is.
        :return: its number.
        """
        self.count += 1
        place = _place(error)
        key = (method, handler, type(error), place)
        now = self._seconds()
        number, until, more = self._known.get(key, ("", 0.0, 0))
        if number and now < until:
            self._known[key] = number, until, more + 1
            return number
        if len(self._known) >= _MOST_KINDS:
            self._known.clear()
        number = secrets.token_hex(4)
        self._known[key] = number, now + INCIDENT_SECONDS, 0
        self._log.error(
            "{method} of {handler} failed: incident {incident} on {id}{more}: {trace}",
            method=method,
            handler=handler,
            incident=number,
            id=connection_id,
            more=f" (and {more} like it before)" if more else "",
            # What somebody raises for a login may quote the password: its kind and place will do.
            trace=_told(error, _outline if method in _WITHOUT_WORDS else _in_full),
        )
        return number


def reply_to_incident(kind: Kind | None, number: str) -> Reply:
    """Return what the client hears of a fault: nothing but where to find it."""
    if kind is CONNECTED:  # there is no 451 in place of a greeting
        return Reply(421, f"Local error in processing (incident {number})", status="4.3.0")
    return replies.incident(number)


def reply_of(kind: Kind, accept: Reply, answer: object) -> Reply:
    """
    Turn an answer into the reply.

    :raises TypeError: it is no verdict.
    :raises ValueError: it cannot be the answer to that command.
    """
    if kind is AUTHENTICATE:
        if isinstance(answer, Authenticated):
            return accept
        if answer is None or not isinstance(answer, (bool, int, tuple, Reply)):
            kind_of = "None" if answer is None else type(answer).__name__
            raise NoVerdictError(
                f"authenticate answers True, Authenticated, False or a Reply, not {kind_of}"
            )
    if kind is STORED_SECRET and answer is True:
        raise NoVerdictError("stored_secret answers what is stored, None or a refusal, not True")
    verdict = Reply.from_verdict(answer, kind.refuse)
    if verdict is True:
        return accept
    if verdict is False:
        return kind.refuse
    assert isinstance(verdict, Reply)
    if verdict.code >= 400:
        return verdict
    if not kind.fits(verdict.code):
        raise ValueError(f"{verdict.code} is no answer to {kind.method}")
    return verdict.fitted(accept)


def is_secret(answer: object) -> bool:
    """
    Tell whether what ``stored_secret`` answered is a secret, or says that there is none.

    :raises TypeError: it is an empty one, which anybody could prove to know.
    """
    if answer is None or answer is False:
        return True
    if isinstance(answer, (str, bytes)) and not answer:
        raise NoVerdictError("stored_secret answers None for somebody unknown, not an empty secret")
    return not isinstance(answer, (bool, int, tuple, Reply))


def reply_of_refusal(kind: Kind, refusal: Refusal) -> Reply:
    """
    Turn what was raised as a no into the reply.

    :raises ValueError: it says yes.
    """
    reply = reply_of(kind, kind.refuse, refusal.answer)
    if reply.positive:
        raise ValueError("a Refusal carries a 4yz or 5yz reply") from refusal
    return reply


def _place(error: BaseException) -> tuple[str, int]:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return (last.tb_frame.f_code.co_filename, last.tb_lineno) if last is not None else ("", 0)


def _told(error: BaseException, tell: Callable[[BaseException], str]) -> str:
    # Nobody has raised that it is too late: there is no place of it, and the words are ours.
    return str(error) if isinstance(error, TimedOut) else tell(error)


def _outline(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = "; ".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    # Texts of our own quote nobody.
    why = f" ({error})" if isinstance(error, (CannotWaitError, NoVerdictError)) else ""
    return f"{type(error).__qualname__}{why} at {where}"


def _in_full(error: BaseException) -> str:
    """Return the traceback; what strangers may have put into its texts cannot steer a terminal."""
    text = "".join(traceback.format_exception(error))[-_MOST_TEXT:]
    return "\n".join(printable(line, 1000) for line in text.splitlines())
