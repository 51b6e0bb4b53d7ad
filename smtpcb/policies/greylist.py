"""greylist: who is not known yet is asked to come again, as mail servers do and robots seldom."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from smtpcb._ending import DISK_SECONDS
from smtpcb._threads import start_pool
from smtpcb._words import Kind, duration, no_words, path, read_words, seconds, whole_number
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin, Verdict
from smtpcb.policies._addresses import address_of
from smtpcb.policies._clients import JUDGES_NOBODY, Trusted, network_text, of_everybody
from smtpcb.policies._domains import postmaster_of
from smtpcb.policies._greylist_store import GreylistStore, Times
from smtpcb.smtp._address import ReversePath
from smtpcb.smtp._networks import LINE_BITS, UNIX, network_around, read_address
from smtpcb.smtp._reply import Reply

__all__ = ["Greylist", "GreylistPlugin"]

_log = Logger(namespace="smtpcb.policies")


class Greylist(Service):
    """
    Defers mail of a network, sender and recipient that were not seen together before (RFC 6647).

    It passes when it comes again after the delay; from then on, for as long as it comes now and
    then, at once.  A network of which several have passed is not asked to wait any more (an
    automatic allow list).  Clients that have logged in, and those of networks that are named, never
    are, nor are those of a UNIX socket; and mail for a postmaster is never deferred.

    :param reactor: tells the time, and whose threads are woken.
    :param file: where it is remembered, an SQLite file, which all workers share; None: in memory,
        of each worker, until it ends.
    :param delay_seconds: how long who is not known has to wait.
    :param retry_seconds: in this time it has to come again.
    :param keep_seconds: who is not seen for so long is not known any more.
    :param passes: of so many of a network that have passed, all of it passes; 0: never.
    :param most: so many are remembered; then the oldest are forgotten.
    :param trusted: networks that never wait.
    :raises ValueError: one of these cannot be; the text is one line.
    """

    concurrent_recipients = True

    def __init__(
        self,
        reactor: Any,
        *,
        file: Path | None = None,
        delay_seconds: float = 300.0,
        retry_seconds: float = 2 * 86400.0,
        keep_seconds: float = 36 * 86400.0,
        passes: int = 5,
        most: int = 1_000_000,
        trusted: Iterable[str] = (),
    ) -> None:
        if not 0 <= delay_seconds < retry_seconds:
            raise ValueError("who waits for the delay has to be able to come again: retry > delay")
        self._reactor = reactor
        self._file = file
        self._times = Times(delay_seconds, retry_seconds, keep_seconds, passes, most)
        self._trusted = Trusted([*trusted, UNIX])
        self._pool: ThreadPool | None = None
        self._store = None if file is not None else GreylistStore(None, self._times)
        minutes = max(1, round(delay_seconds / 60))
        wait = f"{minutes} minute{'s' if minutes > 1 else ''}"
        self._later = Reply(451, "4.7.1", f"Greylisted, try again in {wait}")

    @property
    def warnings(self) -> list[str]:
        """See `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        return of_everybody("trusted=", self._trusted.networks, JUDGES_NOBODY)

    def startService(self) -> None:
        """
        Open the file.

        :raises OSError: it cannot be used.
        """
        if self._file is not None:
            self._store = GreylistStore(self._file, self._times)
            # One: it waits for one file, and SQLite lets one write at a time.
            self._pool = start_pool("smtpcb-greylist", 1)
        super().startService()

    def stopService(self) -> None:
        """Let go of the file."""
        super().stopService()
        pool, self._pool = self._pool, None
        if pool is not None:
            store, self._store = self._store, None
            stopping = Thread(target=pool.stop, daemon=True)
            stopping.start()
            stopping.join(DISK_SECONDS)
            if store is not None and not stopping.is_alive():
                store.close()

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.rcpt`."""
        connection = envelope.connection
        if postmaster_of(recipient.local_part) or connection in self._trusted:
            return None
        store = self._store
        if store is None:
            return None  # it has not started, or has stopped
        sender = envelope.reverse_path
        said = "" if sender == ReversePath.NULL else address_of(sender)
        whose = network_of(connection.peer_address), said, address_of(recipient.forward_path)
        now = self._reactor.seconds()
        if self._pool is None:
            return None if store.passes(*whose, now) else self._later
        found = deferToThreadPool(self._reactor, self._pool, store.passes, *whose, now)
        return self._answer(found)

    async def _answer(self, found: Deferred[bool]) -> Reply | None:
        try:
            return None if await found else self._later
        except sqlite3.Error as error:
            _log.warn("greylist: {file}: {error}; mail passes", file=self._file, error=error)
            return None


def network_of(address: str) -> str:
    """
    Return the network of a client: a sender with many machines comes again from another of them.
    """
    found = read_address(address)
    if found is None:
        return address
    return network_around(found, 24 if found.version == 4 else LINE_BITS)


def _delay(text: str) -> float:
    """Read how long who is not known has to wait."""
    value = duration(text)
    if not value:
        raise ValueError("who need not wait is not greylisted: a time above 0 is wanted")
    return value


@implementer(ISmtpPolicyPlugin)
class GreylistPlugin:
    """``--policy greylist[:file=FILE][,delay=5m][,retry=2d][,keep=36d][,passes=5]``."""

    name = "greylist"
    usage = "greylist[:file=FILE]"
    help = (
        "Asks who is not known to come again (greylisting); delay=5m, retry=2d, keep=36d, "
        "passes=5, most=N, trusted=NETWORK."
    )

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> Greylist:
        """Return a `Greylist`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        kinds: dict[str, Kind] = {
            "file": path,
            "delay": _delay,
            "retry": seconds,
            "keep": seconds,
            "passes": whole_number,
            "most": whole_number,
            "trusted": network_text,
        }
        words, said = read_words(argument, kinds, frozenset({"trusted"}))
        no_words(words)
        file = said.get("file")
        if file is not None and not file.parent.is_dir():
            raise ValueError(f"file={file}: there is no folder {file.parent}")
        for name in ("delay", "retry", "keep"):
            if name in said:
                said[f"{name}_seconds"] = said.pop(name)
        return Greylist(setting.reactor, **said)


plugin = GreylistPlugin()
