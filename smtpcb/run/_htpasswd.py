"""
``--auth htpasswd:FILE``: who may log in, by the hashes in a file.

A line is ``NAME:HASH``, as `htpasswd -B` and ``smtpcb password`` write it.  To look at a hash takes
long on purpose, and so it is done in a few threads; where too many wait for them, the client is
asked to come again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from smtpcb._threads import start_pool
from smtpcb.engine._connection import Connection
from smtpcb.interfaces import ISecretKeeper
from smtpcb.run._hashes import HashError, scheme_of
from smtpcb.run._named_lines import CANNOT_TELL, PasswordFileError, Watched, named_lines
from smtpcb.run._nobody import Nobody
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import BY_PASSWORD, Credentials, ScramSecret

_log = Logger(namespace="smtpcb")
WANTED = "NAME:HASH"
# Each takes a tenth of a second: so nobody waits for much more than one.
MOST_WAITING = 50
BUSY = Reply(454, "Too many logins at once, try again later", status="4.7.0")

_SCRAM = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")


@implementer(ICredentialsChecker, ISecretKeeper)
class HashedFile:
    """
    Who is in a file of names and hashes, which may change at any time.

    A file that has been removed, or that cannot be read or understood any more, lets nobody in and
    turns nobody away: the client hears `CANNOT_TELL`, and the log says why.  Somebody unknown takes
    as long as somebody known.

    :param path: of the file, which is read now.
    :param owners: who may own it.
    :param reactor: for the threads; by default the one that is installed at the first login.
    :raises PasswordFileError: it cannot be used.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self, path: Path, owners: Collection[int] | None = None, reactor: Any = None
    ) -> None:
        self._file = Watched(path, understood, kind="htpasswd", private=False, owners=owners)
        stored = self._file.names()
        #: SCRAM is for everybody or nobody: a client takes the best that is offered.
        without = without_scram(stored)
        scram = bool(stored) and not without
        if without and len(without) < len(stored):
            _log.warn("{path}: {why}", path=path, why=no_scram_for(without))
        self.mechanisms = frozenset((*BY_PASSWORD, *(_SCRAM if scram else ())))
        self._nobody = Nobody(stored)
        self._reactor = reactor
        self._pool: ThreadPool | None = None
        self._waiting = 0

    def authenticate(
        self, credentials: Credentials, connection: Connection
    ) -> Deferred[Any] | bool | Reply:
        """Look for a name and its password, or only for the name if the password is proven."""
        if credentials.authorization_id not in ("", credentials.username):
            return False  # a password says nothing of acting for somebody else (RFC 4616 §2)
        name = credentials.username.encode()
        if credentials.proven:
            return self._in_thread(lambda names: name in names)
        password = credentials.password
        return self._in_thread(lambda names: self._fits(names, name, password))

    def stored_secret(
        self, username: str, mechanism: str, connection: Connection
    ) -> Deferred[Any] | Reply:
        """Look for what SCRAM wants."""
        return self._in_thread(lambda names: self._secret(names, username))

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See `PasswordFile.requestAvatarId`."""
        name, password = credentials.username, credentials.password
        asked: Any = self._in_thread(
            lambda names: self._fits(names, name, password.decode("utf-8", "surrogateescape"))
        )
        if isinstance(asked, Reply):
            asked = succeed(asked)

        def told(answer: object) -> bytes:
            if isinstance(answer, Reply):
                raise Refusal(answer)
            if answer is not True:
                raise UnauthorizedLogin("no such name, or another password")
            return bytes(name)

        answer: Deferred[Any] = asked.addCallback(told)
        return answer

    def _in_thread(self, work: Callable[[Mapping[bytes, str]], object]) -> Deferred[Any] | Reply:
        """Do something with the file's names, in a thread: reading it may take long as well."""
        if self._waiting >= MOST_WAITING:
            return BUSY
        self._waiting += 1

        def run() -> object:
            names = self._file.names_or_none()
            return CANNOT_TELL if names is None else work(names)

        # Whoever gives the answer up does not stop the thread: it counts until it is done.
        answer: Deferred[Any] = Deferred()

        def hand_over(outcome: object) -> None:
            self._waiting -= 1
            if not answer.called:
                answer.callback(outcome)

        pool = self._threads()
        deferToThreadPool(self._reactor, pool, run).addBoth(hand_over)
        return answer

    def _fits(self, names: Mapping[bytes, str], name: bytes, password: str) -> bool:
        stored = names.get(name)
        looked_at = self._unknown(names).hash_of(name) if stored is None else stored
        fits = scheme_of(looked_at).fits(looked_at, password)
        return fits and stored is not None

    def _secret(self, names: Mapping[bytes, str], username: str) -> ScramSecret:
        stored = names.get(username.encode())
        if stored is not None and stored.startswith("{"):
            return ScramSecret.read(stored)
        return self._unknown(names).secret_of(username)

    def _unknown(self, names: Mapping[bytes, str]) -> Nobody:
        """Return somebody who is not among them; another thread may have another edition."""
        nobody = self._nobody
        if nobody.beside is not names:
            nobody = self._nobody = Nobody(names)
        return nobody

    def _threads(self) -> ThreadPool:
        if self._pool is None:
            if self._reactor is None:
                from twisted.internet import reactor

                self._reactor = reactor
            # As many as there are processors, and one left for the rest.
            most = max(1, min(4, (os.cpu_count() or 1) - 1))
            pool = self._pool = start_pool("smtpcb-passwords", most)
            self._reactor.addSystemEventTrigger("during", "shutdown", _stop, pool)
        return self._pool


def understood(path: Path, octets: bytes) -> Mapping[bytes, str]:
    """
    Return the hash that belongs to each name.

    :raises PasswordFileError: a line is none.
    """
    known: dict[bytes, str] = {}
    for number, name, stored in named_lines(path, octets, WANTED):
        text = known[name] = stored.decode()
        try:
            scheme_of(text)
        except HashError as error:
            raise PasswordFileError(f"{path}: line {number}: {error}") from None
    return known


def without_scram(names: Mapping[bytes, str]) -> list[str]:
    """Return the names whose hashes are not of SCRAM."""
    return [name.decode() for name, stored in names.items() if not stored.startswith("{")]


def no_scram_for(without: list[str]) -> str:
    """Say who keeps SCRAM from being offered, where others have what it wants."""
    more = f" and {len(without) - 1} more" if len(without) > 1 else ""
    return f"SCRAM is not offered to anybody: {without[0]}{more} cannot use it"


def _stop(pool: ThreadPool) -> None:
    """Let the threads end; nobody waits for one that is at work."""
    Thread(target=pool.stop, daemon=True).start()
