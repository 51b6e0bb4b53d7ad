"""Keep every message in a Maildir, with its envelope."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb._amounts import days, number, octets
from smtpcb._ending import DISK_SECONDS
from smtpcb.engine._envelope import Envelope
from smtpcb.handlers._clearing import Keep, Kept, clear
from smtpcb.handlers._disk import DiskThreads, not_stored
from smtpcb.handlers._envelope import CapturedEnvelope
from smtpcb.handlers._maildir import OsLayer, look_at, opened, prepare, store, unique_name
from smtpcb.interfaces import IReadyMadeHandler, ISmtpHandlerPlugin, ISmtpHandlerSetting
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Credentials

__all__ = ["KEEP_OF_STATE", "Capture", "CapturePlugin", "Keep"]

CLEAR_SECONDS = 3600.0
"""How often old mail is looked for, besides whenever there is too much of it."""
KEEP_OF_STATE = Keep(days=30, messages=100_000, octets=4 * 1024**3)
"""What is kept in the state folder, which nobody has chosen; a folder of yours keeps all."""


@implementer(IReadyMadeHandler)
class Capture(Service):
    """
    A handler that keeps every message in a Maildir, one instance for all connections.

    It lets anybody log in, and takes every recipient: it is there to be sent to.

    A message in ``new`` has the octets that the client sent, and nothing else.  Its envelope, with
    the recipients that the message does not name (Bcc), is in ``envelopes``, in a file of the
    same name with ``.json`` behind it.  A mail
    reader that moves a message to ``cur`` adds flags to its name, from a colon on; they are not
    in the name of the envelope.

    The disk is waited for in threads of its own, never by the reactor.  The Maildir is made by
    `startService`, and again when somebody has removed it.  Nothing is ever removed from a
    Maildir that was there before us.

    :param maildir: its path; folders that lead to it are made too.
    :param reactor: fires the Deferreds.
    :param keep: how much of the mail is kept; all of it by default.
    :param make_parent: makes the folder above it, if that is somebody else's business.
    :param owners: who may own what is there, for `check`; by default root and us.
    :param os_layer: see ``store``.
    """

    _log = Logger()

    lenient_addresses = True
    bare_newline = "normalize"
    transcripts = True
    takes_any_login = True

    def __init__(
        self,
        maildir: Path,
        reactor: Any,
        *,
        keep: Keep | None = None,
        make_parent: Callable[[], None] | None = None,
        owners: frozenset[int] | None = None,
        os_layer: OsLayer | None = None,
    ) -> None:
        self.maildir = maildir
        self.folders = (maildir,)
        self.report = (f"messages: {maildir / 'new'}",)
        self._reactor = reactor
        self._keep = keep or Keep()
        self._make_parent = make_parent
        self._owners = owners
        self._store = store if os_layer is None else partial(store, os_layer=os_layer)
        self._threads = DiskThreads(reactor, "capture")
        self._loop: LoopingCall | None = None
        self._kept: Kept | None = None  # what there is, as far as we know

    def check(self) -> list[str]:
        """Say what is wrong with the Maildir; see `smtpcb.interfaces.IReadyMadeHandler`."""
        ours = look_at(self.maildir, self._owners)
        if ours or self._keep == Keep():
            return []
        return [f"{self.maildir} was there before us: nothing in it is removed, whatever is kept"]

    def startService(self) -> None:
        """
        Make the Maildir, and look for old mail from now on.

        :raises OSError: it cannot be used; the text and the file name say what is wrong.
        """
        self._prepare()
        super().startService()
        self._loop = LoopingCall(self._clear)
        self._loop.clock = self._reactor
        self._loop.start(CLEAR_SECONDS)

    def stopService(self) -> Deferred[None]:
        """
        Stop when everything that `message` was given is on disk.

        :return: fires then, and after 4 seconds if the disk takes longer: what is not kept
            by then may not be kept, and its client has not been told that it is.
        """
        super().stopService()
        if self._loop is not None:
            self._loop.stop()
            self._loop = None
        return self._threads.stop(DISK_SECONDS).addCallback(self._stopped)

    def authenticate(self, credentials: Credentials, connection: object = None) -> bool:
        """Accept any login."""
        return True

    def message(self, envelope: Envelope) -> Deferred[Reply]:
        """
        Keep the message; see `smtpcb.interfaces`.

        :return: fires with 250 once it is on disk, with 452 if there was no room and 451 on
            every other error of the disk.  Cancelling it keeps the reply from you and not the
            message from the disk, if that is at it: it is there whole, or not at all.
        """
        name = unique_name(envelope.content.size_octets)
        try:
            # Here and not in the thread: the content may be closed by then.
            pieces = envelope.content.pieces()
        except OSError as error:
            return succeed(self._not_kept(name, error))
        about = CapturedEnvelope(envelope)

        def keep() -> Path | None:
            if answer.called:
                return None  # nobody waits for it any more, and the client was told to try again
            return self._bring_to_disk(about.reading(pieces), name, about.as_json)

        answer: Deferred[Reply] = Deferred()
        self._threads.run(keep, partial(self._answer, answer, name))
        return answer

    def _answer(self, answer: Deferred[Reply], name: str, result: Path | Failure | None) -> None:
        if isinstance(result, Path):
            self._count(int(name.rpartition("=")[2]))
            answer.callback(Reply(250, (f"Kept as {name}",), status="2.0.0"))
        elif result is None:
            pass
        elif isinstance(result.value, OSError):
            answer.callback(self._not_kept(name, result.value))
        else:
            answer.errback(result)

    def _not_kept(self, name: str, error: OSError) -> Reply:
        self._log.warn("not kept: {path}: {error}", path=self.maildir / "new" / name, error=error)
        return not_stored(error)

    def _prepare(self) -> None:
        if self._make_parent is not None:
            self._make_parent()
        prepare(self.maildir)

    def _bring_to_disk(self, pieces: Any, name: str, envelope: Callable[[], bytes]) -> Path:
        """Store it, in a Maildir that may have to be made first."""
        with ExitStack() as stack:
            try:
                maildir = stack.enter_context(opened(self.maildir))
            except FileNotFoundError:
                # It was removed while we ran.
                self._prepare()
                maildir = stack.enter_context(opened(self.maildir))
            return self._store(maildir, pieces, name=name, envelope=envelope)

    def _count(self, octets: int) -> None:
        """Look for old mail now, if there is too much of it."""
        if self._kept is None:
            return
        self._kept = Kept(self._kept.messages + 1, self._kept.octets + octets)
        if self._keep.is_passed(self._kept.messages, self._kept.octets):
            self._kept = None  # until it has been counted
            self._clear()

    def _stopped(self, unfinished: int) -> None:
        if unfinished:
            self._log.warn(
                "{path} is not waited for any longer: the disk has not done {number} tasks",
                path=self.maildir,
                number=unfinished,
            )

    def _clear(self) -> None:
        self._threads.run(partial(clear, self.maildir, self._keep, time.time()), self._cleared)

    def _cleared(self, result: Kept | Failure | None) -> None:
        if not isinstance(result, Failure):
            self._kept = result
        elif not isinstance(result.value, FileNotFoundError):  # it was removed, and will be made
            self._log.warn(
                "old mail is not removed from {path}: {error}",
                path=self.maildir,
                error=result.value,
            )


_KINDS: Mapping[str, Callable[[str], float]] = {"days": days, "messages": number, "octets": octets}

# From the end, so that a folder may have colons in its name.
_SETTING = re.compile(
    r"(?P<rest>.*):(?P<name>[A-Za-z]+[-_]?[A-Za-z]+)=(?P<value>[^:/]*)", re.DOTALL
)
_SETTING_WITHOUT_VALUE = re.compile(r"(?:\A|:)keep[-_](?:days|messages|octets)(?:\Z|:)")


def _read_argument(argument: str) -> tuple[str, dict[str, Any]]:
    """Return the folder, and what is to be kept."""
    keep: dict[str, Any] = {}
    argument = f":{argument}"
    while (found := _SETTING.fullmatch(argument)) is not None:
        argument, name, value = found["rest"], found["name"], found["value"]
        field = name.removeprefix("keep-")
        if f"keep-{field}" != name or field not in _KINDS:
            raise ValueError(
                f"no such setting: {name}; there are keep-days, keep-messages, keep-octets"
            )
        if field in keep:
            raise ValueError(f"{name} is given twice")
        try:
            keep[field] = None if value == "none" else _KINDS[field](value)
            Keep(**{field: keep[field]})
        except ValueError:
            wanted = "octets such as 2G" if field == "octets" else "a number above 0"
            raise ValueError(f"{name}: {wanted}, or none, is wanted, not {value!r}") from None
    place = argument.removeprefix(":")
    if _SETTING_WITHOUT_VALUE.search(place):
        raise ValueError("a setting is written as in keep-days=7")
    return place, keep


@implementer(ISmtpHandlerPlugin)
class CapturePlugin:
    """``--handler capture[:FOLDER][:keep-days=N][:keep-messages=N][:keep-octets=N]``."""

    name = "capture"
    usage = "capture[:FOLDER]"
    help = (
        "Keeps every message in a Maildir; :keep-days=N, :keep-messages=N and :keep-octets=N "
        "behind it remove old ones."
    )

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> Capture:
        """
        Return a `Capture`.

        :param argument: a folder; by default ``Maildir`` in the state folder, where `KEEP_OF_STATE`
            says what is kept.
        :raises ValueError: a setting behind it is none.
        """
        place, keep = _read_argument(argument)
        if place:
            return Capture(
                Path(place).expanduser().absolute(),
                setting.reactor,
                keep=Keep(**keep),
                owners=setting.owners,
            )
        defaults = {"days": KEEP_OF_STATE.days, "messages": KEEP_OF_STATE.messages}
        return Capture(
            setting.state / "Maildir",
            setting.reactor,
            keep=Keep(**{**defaults, "octets": KEEP_OF_STATE.octets, **keep}),
            make_parent=setting.make_state,
            owners=setting.owners,
        )


plugin = CapturePlugin()
