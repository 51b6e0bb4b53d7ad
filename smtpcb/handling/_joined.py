"""
Several methods become the one that a dialogue calls: asked in order, all asked, or only told.

As long as those who are asked in order answer at once, so does what is made of them; the first one
that needs time makes the rest a coroutine, which whoever runs the handler awaits as it does one of
the handler's own.  An event that has one method is that method itself, and none of this is there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb.engine._envelope import Envelope
from smtpcb.engine._pending import ANSWERS
from smtpcb.engine._questions import Kind
from smtpcb.engine._reason import Reason
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Authenticated

Method = Callable[..., Any]
_log = Logger(namespace="smtpcb.handler")


def first_no(methods: Sequence[Method], kind: Kind) -> Method:
    """
    Ask one after the other up to the first that refuses.

    With no refusal the answer is the last one that has words of its own, or None.

    :param kind: what they are asked.
    """
    last = len(methods) - 1

    def ask(*arguments: object) -> object:
        said = None
        for at, method in enumerate(methods):
            answer = method(*arguments)
            if needs_time(answer):
                return rest(answer, at, said, arguments)
            if answer is not None and answer is not True:
                if is_no(answer, kind, is_last=at == last):
                    return answer
                said = answer
        return said

    async def rest(answer: Any, at: int, said: Any, arguments: tuple[object, ...]) -> object:
        while True:
            answer = await outcome_of(answer)
            if answer is not None and answer is not True:
                if is_no(answer, kind, is_last=at == last):
                    return answer
                said = answer
            if at == last:
                return said
            at += 1
            answer = methods[at](*arguments)

    return ask


def first_no_of_a_transaction(
    methods: Sequence[Method], kind: Kind, unheard: Callable[[int], Sequence[Method]]
) -> Method:
    """
    Ask as `first_no` does; a no is told to those for whom the transaction would have no end.

    :param unheard: with the place of the one that refused, the `aborted` of those.
    """
    last = len(methods) - 1

    async def ask(envelope: Envelope) -> object:
        said = None
        at = 0
        try:
            for at, method in enumerate(methods):
                answer = await outcome_of(method(envelope))
                if answer is not None and answer is not True:
                    if is_no(answer, kind, is_last=at == last):
                        # What is no answer is a fault of whoever gave it.
                        reason = Reason.REFUSED if code_of(answer) >= 400 else Reason.FAILED
                        await tell_aborted(unheard(at), reason, envelope)
                        return answer
                    said = answer
        except GeneratorExit:
            raise
        except BaseException as error:
            reason = Reason.REFUSED if isinstance(error, Refusal) else Reason.FAILED
            await tell_aborted(unheard(at), reason, envelope)
            raise
        return said

    return ask


def first_word(methods: Sequence[Method]) -> Method:
    """Ask one after the other up to the first that says anything: yes, or no."""

    async def ask(*arguments: object) -> object:
        for method in methods:
            answer = await outcome_of(method(*arguments))
            if answer is not None:
                return answer
        return None

    return ask


def worst(
    methods: Sequence[Method], kind: Kind, aborted: Mapping[int, Method] | None = None
) -> Method:
    """
    Ask all, one after the other, whatever they say; the worst answer is that of all.

    5yz is worse than 4yz, that is worse than a yes, and of two that are alike the first one is
    taken.  What fails counts as 4yz, and is reported if it is the worst.

    :param kind: what they are asked.
    :param aborted: who is told, by place, if it has said yes and the answer of all is a no.
    """

    def badness(outcome: object) -> int:
        return _badness(outcome, kind)

    async def ask(*arguments: object) -> object:
        outcomes: list[object] = []
        for method in methods:
            try:
                answer = await outcome_of(method(*arguments))
            except CancelledError:
                raise  # nobody waits any more, so nobody else is asked
            except Exception as error:
                answer = _Raised(error)
            outcomes.append(answer)
        found = max(outcomes, key=badness)
        each = [one for one in outcomes if isinstance(one, Mapping)]
        if badness(found) == 0 and each:
            return _worst_for_each(each, badness)
        if badness(found) == 0:  # the words of the first that has some
            return next((one for one in outcomes if one is not None and one is not True), found)
        if aborted:
            had = [method for at, method in aborted.items() if badness(outcomes[at]) == 0]
            await tell_aborted(had, Reason.REFUSED, arguments[-1])
        if isinstance(found, _Raised):
            raise found.error
        return found

    return ask


def told(methods: Sequence[Method]) -> Method:
    """Tell all, one after the other, and wait for each; what one raises the others do not feel."""

    async def tell(*arguments: object) -> None:
        fault: Exception | None = None
        for method in methods:
            try:
                answer = await outcome_of(method(*arguments))
                if answer is not None:
                    kind = type(answer).__name__
                    raise TypeError(f"nothing is answered to that, and not {kind}")
            except Exception as error:
                fault = fault or error
        if fault is not None:
            raise fault

    return tell


def _worst_for_each(
    said: Sequence[Mapping[Any, object]], badness: Callable[[object], int]
) -> Mapping[Any, object]:
    """
    Return the worst answer for each recipient, of handlers that answer for each (LMTP).

    :raises TypeError: they do not name the same ones, or not in the same way.
    """
    if any(one.keys() != said[0].keys() for one in said):
        raise TypeError("handlers of all_of answer for other recipients, or name them otherwise")
    return {key: max((one[key] for one in said), key=badness) for key in said[0]}


class _Raised:
    """What was raised in place of an answer."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


async def tell_aborted(methods: Sequence[Method], reason: Reason, envelope: object) -> None:
    """Tell those who have said yes to a transaction that it has ended; it changes no answer."""
    try:
        if methods:
            await told(methods)(reason, envelope)
    except Exception:
        _log.failure("aborted failed, of a transaction that somebody else has refused")


def needs_time(answer: object) -> bool:
    """Whether an answer has to be waited for."""
    return answer is not None and type(answer) not in ANSWERS and inspect.isawaitable(answer)


async def outcome_of(answer: Any) -> Any:
    """Wait for an answer, if it needs time."""
    return await apart(answer) if needs_time(answer) else answer


def apart(answer: Any) -> Any:
    """
    Return what can be awaited without taking the result away from anybody else.

    A handler may give the same Deferred for several events.  Who awaits a Deferred leaves None in
    it, and to the next event that would be a yes.
    """
    if not isinstance(answer, Deferred):
        return answer
    ours: Deferred[object] = Deferred(lambda _: answer.cancel())

    def fired(result: Any) -> object:
        if not ours.called:
            ours.callback(result)
        return Reply(451) if isinstance(result, Failure) else result

    answer.addBoth(fired)
    return ours


def is_no(answer: object, kind: Kind, *, is_last: bool = True) -> bool:
    """
    Whether nobody else is asked: it refuses, or it is no answer to that, as the dialogue will say.

    :raises TypeError: somebody who is not the last one has an answer for each recipient, which
        would be taken for the answer of those who have not been asked.
    """
    if isinstance(answer, Mapping) and not is_last:
        raise TypeError("a policy answers for the whole message, not for each recipient")
    return not _is_yes(answer, kind)


def code_of(answer: object) -> int:
    """Return the code of a verdict: 200 of a plain yes, 500 of a plain no, 0 if it is none."""
    if answer is None or isinstance(answer, Authenticated):
        return 200
    if isinstance(answer, bool):
        return 200 if answer else 500
    if isinstance(answer, Reply):
        return answer.code
    if isinstance(answer, tuple) and answer:
        answer = answer[0]
    return answer if isinstance(answer, int) and not isinstance(answer, bool) else 0


def _is_yes(answer: object, kind: Kind) -> bool:
    if answer is None or answer is True or isinstance(answer, Authenticated):
        return True
    code = code_of(answer)
    return 200 <= code < 400 and kind.fits(code)


def _badness(outcome: object, kind: Kind) -> int:
    if isinstance(outcome, _Raised):
        error = outcome.error
        outcome = error.answer if isinstance(error, Refusal) else 451
    if isinstance(outcome, Mapping):
        return 0  # a no for one recipient is none for all
    if _is_yes(outcome, kind):
        return 0
    return 2 if 500 <= code_of(outcome) < 600 else 1
