"""
A verdict for each recipient: what ``message`` may answer in place of one for all.

Keys are recipients, as the envelope has them or as text; values are verdicts, in the grammar of
all others, or exceptions, as ``gather(…, return_exceptions=True)`` brings them, which count as if
they had been raised for that recipient.  Nobody knows what became of the mail of a recipient whom
the answer forgets: 451 and an incident.  SMTP has one reply for all, so there a message that was
taken for some has to come again.  What was not delivered never looks as if it had been.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._lmtp import ReplyToEach, mildest
from smtpcb.engine._questions import MESSAGE, Question
from smtpcb.engine._verdict import Failed
from smtpcb.smtp._address import ForwardPath
from smtpcb.smtp._reply import Reply

if TYPE_CHECKING:
    from smtpcb.engine._conversation import Conversation

# How many recipients the log names.
_MOST_NAMED = 5


def judge_message(conversation: Conversation, question: Question, answer: object) -> Reply:
    """Turn what ``message`` answered, or failed with, into the reply."""
    envelope, standard = question.subject, question.accept
    assert isinstance(envelope, Envelope)
    one = Question(MESSAGE, envelope, MESSAGE.accept)
    if not isinstance(standard, ReplyToEach):
        assert isinstance(answer, Mapping)
        said = _judge_each(conversation, one, envelope.recipients, answer)
        return _one_for_all(conversation, said)
    recipients = [recipient for recipient, _ in standard.each]
    if isinstance(answer, Mapping):
        said = _judge_each(conversation, one, recipients, answer)
    else:
        said = [conversation.judge(one, answer)] * len(recipients)
    return ReplyToEach(zip(recipients, said, strict=True))


def _one_for_all(conversation: Conversation, said: Sequence[Reply]) -> Reply:
    if len({reply.positive for reply in said}) == 1:
        return mildest(said)
    error = ValueError("message was taken for some recipients only, which SMTP cannot say")
    return conversation.incident(MESSAGE, MESSAGE.method, error)


def _judge_each(
    conversation: Conversation,
    question: Question,
    recipients: Sequence[Recipient],
    answer: Mapping[object, object],
) -> list[Reply]:
    """Return what is said of each recipient, in their order."""
    try:
        verdicts = {_key_of(name): verdict for name, verdict in answer.items()}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # it is a mapping of the user's
        return [_judge_one(conversation, question, error)] * len(recipients)
    keys = [_key_in(verdicts, recipient) for recipient in recipients]
    said: dict[object, Reply] = {}
    forgotten = [one for one, key in zip(recipients, keys, strict=True) if key is None]
    if forgotten:
        silence = LookupError(f"message did not answer for {_some(forgotten)}")
        said[None] = conversation.incident(MESSAGE, MESSAGE.method, silence)
    strangers = [name for name in verdicts if name not in keys]
    if strangers:
        unknown = ValueError(f"message answered for who is no recipient: {_some(strangers)}")
        conversation.incident(MESSAGE, MESSAGE.method, unknown)
    for key in keys:
        if key not in said:
            said[key] = _judge_one(conversation, question, verdicts[key])
    return [said[key] for key in keys]


def _judge_one(conversation: Conversation, question: Question, verdict: object) -> Reply:
    if isinstance(verdict, BaseException):
        verdict = Failed(verdict)
    elif isinstance(verdict, Mapping):
        verdict = Failed(TypeError("the verdict on a recipient is no mapping"))
    elif inspect.iscoroutine(verdict):
        verdict.close()  # nobody runs it; that it is no verdict is said below
    return conversation.judge(question, verdict)


def _key_of(name: object) -> object:
    """Return what names a recipient: itself, or its address as a text."""
    return _text_of(str(name)) if isinstance(name, (str, ForwardPath)) else name


def _text_of(name: str) -> str:
    """Return an address as those of recipients are written: domains have no upper case."""
    local_part, at, domain = name.rpartition("@")
    return f"{local_part}{at}{domain.lower()}"


def _key_in(verdicts: Mapping[object, object], recipient: Recipient) -> object | None:
    """Return the key that names a recipient; ``None``: there is none."""
    if recipient in verdicts:
        return recipient
    text = _text_of(str(recipient))
    return text if text in verdicts else None


def _some(names: Sequence[object]) -> str:
    shown = ", ".join([f"{name!s:.100}" for name in names[:_MOST_NAMED]])
    return f"{shown}, …" if len(names) > _MOST_NAMED else shown
