"""
``smtpcb send``: one message to one server, and an exit status that says what became of it.

All that can be wrong with what was said is found before anything is sent.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from smtpcb.client import (
    ContentError,
    Message,
    Monitor,
    NoSession,
    Observers,
    Server,
    SubmissionSession,
    Transcripts,
)
from smtpcb.engine import ClientObserver
from smtpcb.run.command.send._mail import Mail, mail_of
from smtpcb.run.command.send._mistake import MistakeError
from smtpcb.run.command.send._options import parser
from smtpcb.run.command.send._told import (
    INTERRUPTED,
    complain,
    tell,
    tell_interrupted,
    tell_no_session,
)
from smtpcb.run.command.send._watch import LARGE_OCTETS, Progress
from smtpcb.smtp import RcptParameters
from smtpcb.transcript import TranscriptFolder, TranscriptSettings


def main(arguments: Sequence[str]) -> int:
    """Do it; see `smtpcb.run.command.main`."""
    said = parser().parse_args(arguments)
    try:
        # Not before: it takes its time, and --help needs none of it.
        from twisted.internet import reactor, task

        from smtpcb.run.command.send._target import target_of

        mail = mail_of(said)
        target = target_of(said, reactor)
        folder = _folder(said.transcripts, reactor)
        session, message = _session(said, mail, target, folder, reactor)
    except MistakeError as error:
        complain(str(error))
        return error.status
    except KeyboardInterrupt:
        complain("interrupted; nothing was sent")
        return INTERRUPTED
    statuses: list[int] = []

    async def work(_: Any) -> None:
        try:
            statuses.append(await _send(session, message, target, reactor))
        finally:
            if folder is not None:
                await folder.close()

    with suppress(SystemExit):
        task.react(work)
    return statuses[0] if statuses else os.EX_SOFTWARE


def _folder(path: Path | None, reactor: Any) -> TranscriptFolder | None:
    if path is None:
        return None
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"--transcripts {path}: {error.strerror or error}"
        raise MistakeError(text, os.EX_CANTCREAT) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise MistakeError(f"--transcripts {path}: nothing can be written there", os.EX_CANTCREAT)
    # One message is no reason to remove what others have kept.
    kept = TranscriptSettings(
        path, sessions="all", keep_days=None, keep_octets=None, keep_files=None
    )
    return TranscriptFolder(kept, reactor)


def _session(
    said: Namespace, mail: Mail, target: Any, folder: TranscriptFolder | None, reactor: Any
) -> tuple[SubmissionSession, Message]:
    messages: list[Message] = []
    observers: list[ClientObserver] = []
    if folder is not None:
        observers.append(Transcripts(folder))
    if said.monitor or said.monitor_headers:
        observers.append(Monitor(sys.stderr, header=said.monitor_headers))
    elif said.progress is not False and sys.stderr.isatty():
        least_octets = 0 if said.progress else LARGE_OCTETS
        observers.append(
            Progress(sys.stderr, lambda: messages[0].transaction.size_octets, least_octets)
        )
    login = {} if target.settings.login == "off" else {"give": target.give}
    session = SubmissionSession(
        target.server,
        settings=target.settings,
        **login,
        times=target.times,
        observer=Observers(*observers) if observers else None,
        reactor=reactor,
    )
    try:
        message = session.add_message(
            mail.reverse_path,
            mail.source,
            rules=mail.rules,
            require_all_recipients=said.require_all,
            downgrade=mail.downgrade,
        )
        for one in mail.recipients:
            message.add_recipient(one, RcptParameters(notify=said.notify))
    except ContentError as error:
        raise MistakeError(str(error), os.EX_DATAERR) from None
    except ValueError as error:
        raise MistakeError(str(error)) from None
    messages.append(message)
    return session, message


async def _send(session: SubmissionSession, message: Message, target: Any, reactor: Any) -> int:
    from twisted.internet.defer import CancelledError, ensureDeferred

    sending = ensureDeferred(session.run())
    reactor.addSystemEventTrigger("before", "shutdown", sending.cancel)
    try:
        await sending
    except CancelledError:
        return tell_interrupted(message)
    except NoSession as error:
        named = isinstance(target.server, Server)
        return tell_no_session(error, secured=target.secured, named=named)
    except ContentError as error:
        complain(f"the message cannot be sent: {error}")
        return os.EX_DATAERR
    except OSError as error:
        complain(f"the message cannot be read: {error.strerror or error}")
        return os.EX_NOINPUT
    return tell(message)
