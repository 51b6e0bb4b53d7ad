"""Deliver every message into a Maildir, or into one for each recipient (RFC 5321 §4.4)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb import _folders as folders
from smtpcb._ending import DISK_SECONDS
from smtpcb.engine import _replies as replies
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._received import received_header
from smtpcb.handlers._disk import DiskThreads, not_stored
from smtpcb.handlers._mailboxes import folder_name
from smtpcb.handlers._maildir import PLAIN, OsLayer, look_at, opened, prepare, store, unique_name
from smtpcb.handlers._undemanding import Undemanding
from smtpcb.interfaces import ISmtpHandlerPlugin, ISmtpHandlerSetting
from smtpcb.smtp._reply import Reply

__all__ = ["Deliver", "MaildirPlugin"]

PER = ("message", "recipient", "mailbox")

_log = Logger(namespace="smtpcb.handlers")


class Deliver(Undemanding, Service):
    """
    A handler that delivers mail: what is answered 250 is on disk, and nothing is ever removed.

    Each delivery begins with Return-Path, Delivered-To and Received (RFC 5321 §4.4); the rest is
    what the client sent, octet for octet.  Delivered-To says for whom it is, where that is one: of
    several recipients none may read of the others.

    :param folder: a Maildir, or where those of all mailboxes are.
    :param reactor: fires the Deferreds.
    :param per: ``"message"``: each is delivered once, into the folder; ``"recipient"``: there too,
        once for each recipient; ``"mailbox"``: for each recipient into a Maildir of its own below
        the folder, whose name is the address in small letters, with ``%`` and two digits for each
        octet that could make it anything but a name.  A recipient without one is refused.
    :param owners: who may own what is there, for `check`; by default root and us.
    :param os_layer: see ``store``.
    """

    def __init__(
        self,
        folder: Path,
        reactor: Any,
        *,
        per: str = "message",
        owners: frozenset[int] | None = None,
        os_layer: OsLayer = os,
    ) -> None:
        if per not in PER:
            raise ValueError(f"per: {', '.join(PER[:-1])} or {PER[-1]} is wanted, not {per!r}")
        self.folder = folder
        self.folders = (folder,)
        what = folder / "new" if per != "mailbox" else f"{folder}, a folder for each mailbox"
        self.report = (f"messages: {what}",)
        self._per = per
        self._owners = owners
        self._os_layer = os_layer
        self._threads = DiskThreads(reactor, "maildir")

    def check(self) -> Sequence[str]:
        """Say what is wrong with the folder; see `smtpcb.interfaces.IReadyMadeHandler`."""
        if self._per != "mailbox":
            look_at(self.folder, self._owners)
        elif not folders.look_at(self.folder, self._owners) or not any(self.folder.iterdir()):
            return [f"{self.folder} has no folder of a mailbox: every recipient is refused"]
        return ()

    def startService(self) -> None:
        """
        Make the folder if it is not there.

        :raises OSError: it cannot be used; the text and the file name say what is wrong.
        """
        if self._per == "mailbox":
            os.close(folders.make_folder(self.folder)[0])
        else:
            prepare(self.folder, PLAIN, may_be_cleared=False)
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Stop when everything is on disk; one that does not answer is left after 4 seconds."""
        super().stopService()
        return self._threads.stop(DISK_SECONDS).addCallback(lambda _: None)

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> Deferred[Reply | None] | None:
        """Refuse whoever has no mailbox, where each has one of its own."""
        if self._per != "mailbox":
            return None
        answer: Deferred[Reply | None] = Deferred()
        name = folder_name(recipient.forward_path)
        self._threads.run(partial(self._is_there, name), partial(_settle, answer, self.folder))
        return answer

    def message(self, envelope: Envelope) -> Deferred[Reply | None]:
        """
        Deliver it; see `smtpcb.interfaces`.

        :return: fires with 250 once all of it is on disk, with 452 if there was no room and 451
            on every other error of the disk: then none of it is.
        """
        answer: Deferred[Reply | None] = Deferred()
        copies = [*self._copies(envelope)]
        content = envelope.content

        def deliver() -> Reply | None:
            if answer.called:
                return None  # the client was told to try again
            self._deliver(copies, content)
            return Reply(250, (f"Delivered as {copies[0].name}",), status="2.0.0")

        self._threads.run(deliver, partial(_settle, answer, self.folder))
        return answer

    def _copies(self, envelope: Envelope) -> Iterator[_Copy]:
        recipients: Sequence[Recipient] = envelope.recipients
        returns = f"Return-Path: <{envelope.reverse_path}>\r\n"
        received = received_header(envelope)
        size = envelope.content.size_octets
        # A first line that begins so would go on with our Received: no stranger writes into that.
        with envelope.content.open() as reader:
            end = b"\r\n" if reader.read(1) in (b" ", b"\t") else b""
        # Who is named twice gets it once.
        by_name = {self._name(one): one for one in reversed(recipients)}
        chosen = [*reversed(by_name.values())]
        for one in recipients[:1] if self._per == "message" else chosen:
            told = len(recipients) == 1 or self._per != "message"
            to = f"Delivered-To: {one.forward_path}\r\n" if told else ""
            head = f"{returns}{to}".encode() + received + end
            name = unique_name(len(head) + size)
            folder = self.folder
            if self._per == "mailbox":
                folder = folder / folder_name(one.forward_path)
            yield _Copy(folder, name, head)

    def _name(self, recipient: Recipient) -> str:
        path = recipient.forward_path
        return folder_name(path) if self._per == "mailbox" else str(path)

    def _deliver(self, copies: Sequence[_Copy], content: Any) -> None:
        """Bring all of them to disk, or none."""
        done: list[_Copy] = []
        try:
            for copy in copies:
                self._bring_to_disk(copy, content.pieces())
                done.append(copy)
        except BaseException:
            # The client will send it again, to all.
            for copy in done:
                with suppress(OSError), opened(copy.folder, PLAIN) as maildir:
                    self._os_layer.unlink(copy.name, dir_fd=maildir.new)
            raise

    def _bring_to_disk(self, copy: _Copy, pieces: Iterable[bytes]) -> None:
        with ExitStack() as stack:
            try:
                maildir = stack.enter_context(opened(copy.folder, PLAIN))
            except FileNotFoundError:
                if self._per == "mailbox" and not copy.folder.is_dir():
                    raise  # it has gone since its recipient was accepted
                prepare(copy.folder, PLAIN, may_be_cleared=False)
                maildir = stack.enter_context(opened(copy.folder, PLAIN))
            whole = _behind(copy.head, pieces)
            store(maildir, whole, name=copy.name, os_layer=self._os_layer)

    def _is_there(self, name: str) -> Reply | None:
        try:
            os.close(folders.open_folder(self.folder / name))
        except FileNotFoundError:
            if not self.folder.is_dir():
                raise  # a disk that is not mounted bounces nobody's mail
            return replies.MAILBOX_UNKNOWN
        return None


@dataclass(frozen=True, slots=True)
class _Copy:
    """One delivery."""

    folder: Path
    name: str
    head: bytes


def _behind(head: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield head
    yield from pieces


def _settle(answer: Deferred[Reply | None], folder: Path, result: Any) -> None:
    if answer.called:
        return  # nobody waits for it any more
    if not isinstance(result, Failure):
        answer.callback(result)
    elif isinstance(result.value, OSError):
        _log.warn("not delivered below {folder}: {error}", folder=folder, error=result.value)
        answer.callback(not_stored(result.value))
    else:
        answer.errback(result)


@implementer(ISmtpHandlerPlugin)
class MaildirPlugin:
    """``--handler maildir:FOLDER[:per=recipient|mailbox]``."""

    name = "maildir"
    usage = "maildir:FOLDER"
    help = (
        "Delivers every message into a Maildir, with trace fields; :per=recipient behind it a copy "
        "for each recipient, :per=mailbox into a folder for each."
    )

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> Deliver:
        """
        Return a `Deliver`.

        :raises ValueError: there is no folder, or what is behind it means nothing.
        """
        place, colon, per = argument.rpartition(":per=")
        if not colon:
            place, per = argument, "message"
        if place.endswith(":per"):
            raise ValueError("a setting is written as in per=mailbox")
        if not place:
            raise ValueError("a folder is wanted, as in maildir:/var/mail/inbox")
        return Deliver(
            Path(place).expanduser().absolute(), setting.reactor, per=per, owners=setting.owners
        )


plugin = MaildirPlugin()
