"""What became of it: a line for each recipient who was not reached, and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from smtpcb.client import Check, FailedCheck, Message, MessageRecipient, NoSession
from smtpcb.engine import Cause, ClientFailure, Outcome, Stage
from smtpcb.smtp import Reply, printable

INTERRUPTED = 130
"""As a shell says it of whom SIGINT has ended."""

_OF_CAUSE = {
    Cause.PROTOCOL: os.EX_PROTOCOL,
    Cause.TLS: os.EX_PROTOCOL,
    Cause.LOST: os.EX_TEMPFAIL,
    Cause.TIMEOUT: os.EX_TEMPFAIL,
    Cause.LACKING: os.EX_UNAVAILABLE,
    Cause.LIMIT: os.EX_UNAVAILABLE,
    Cause.SOURCE: os.EX_DATAERR,
    Cause.LOGIN: os.EX_NOPERM,
    Cause.CANCELLED: INTERRUPTED,
}
_MAY_PASS = frozenset({Cause.LOST, Cause.TIMEOUT})


def complain(text: str) -> None:
    """Write a line on stderr, whatever is in it."""
    print(f"smtpcb: {printable(text, 1024)}", file=sys.stderr, flush=True)


def tell_no_session(error: NoSession, *, secured: bool, named: bool) -> int:
    """
    Say why no server takes it; return the exit status.

    :param secured: whether there was to be TLS.
    :param named: whether the user has said which server.
    """
    for where, failure in error.failures:
        hint = _hint(failure, secured) if named else ""
        complain(f"{where}: {failure}{hint}; nothing was sent")
    return _worst(_of_failure(failure) for _, failure in error.failures)


def _hint(failure: ClientFailure, secured: bool) -> str:
    """Say which option may help."""
    cause = failure.__cause__
    if isinstance(cause, FailedCheck) and cause.check is Check.NAME:
        return " (--tls-hostname NAME says another)"
    if not secured and failure.stage is Stage.AUTH and failure.cause is Cause.LACKING:
        return " (inside TLS it may: say --tls starttls)"
    return ""


def tell(message: Message) -> int:
    """Say who was not reached; return the exit status."""
    missed = [one for one in message.recipients if one.outcome is not Outcome.DELIVERED]
    for one in missed:
        complain(f"{one.forward_path}: {one.outcome.value}: {_why(one)}")
    return _worst(map(_of_recipient, missed))


def tell_interrupted(message: Message) -> int:
    """Say what has become of it, of which the user wanted no more; return the exit status."""
    recipients = message.recipients
    unknown = [one for one in recipients if one.outcome is Outcome.UNKNOWN]
    delivered = [one for one in recipients if one.outcome is Outcome.DELIVERED]
    if delivered:
        complain(f"interrupted; delivered to {_names(delivered)}")
        if len(delivered) == len(recipients):
            return os.EX_OK
    if unknown:
        complain(f"interrupted; it is not known whether {_names(unknown)} will get it")
    if not (delivered or unknown):
        complain("interrupted; nothing was delivered")
    return INTERRUPTED


def _names(recipients: Sequence[MessageRecipient]) -> str:
    return ", ".join(str(one.forward_path) for one in recipients)


def _why(one: MessageRecipient) -> str:
    if one.failure is not None:
        return str(one.failure)
    return "nothing was sent" if one.reply is None else one.reply.text


def _of_recipient(one: MessageRecipient) -> int:
    if one.outcome is Outcome.UNKNOWN:
        return os.EX_TEMPFAIL
    if one.failure is not None:
        return _of_failure(one.failure)
    return os.EX_TEMPFAIL if one.reply is None else _of_reply(one.reply)


def _of_failure(failure: ClientFailure) -> int:
    reply = failure.reply
    if failure.stage is Stage.AUTH and failure.cause not in (Cause.PROTOCOL, Cause.CANCELLED):
        passes = failure.cause in _MAY_PASS or (reply is not None and reply.code < 500)
        return os.EX_TEMPFAIL if passes else os.EX_NOPERM
    if failure.cause is Cause.REFUSED and reply is not None:
        return _of_reply(reply)
    return _OF_CAUSE.get(failure.cause, os.EX_TEMPFAIL)


def _of_reply(reply: Reply) -> int:
    return os.EX_TEMPFAIL if reply.code < 500 else os.EX_UNAVAILABLE


def _worst(statuses: Iterable[int]) -> int:
    """Return one for all: that of trying again later, if that makes sense for anybody."""
    found = list(statuses)
    return os.EX_TEMPFAIL if os.EX_TEMPFAIL in found else (found or [os.EX_OK])[0]
