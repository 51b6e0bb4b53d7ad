"""
UNIX sockets: a path in the file system outlives who listened there, and may be something else.

Who was killed leaves the socket, and Twisted's lock beside it.  Both are removed where nobody
listens; what is no socket is not, and neither is the socket of somebody else.
"""

from __future__ import annotations

import copy
import errno
import os
import socket
import stat
from contextlib import suppress
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb.server._direct import DirectReactor

_log = Logger(namespace="smtpcb.server")


def tidy(endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
    """Return an endpoint that looks at what lies at its path, if it is one of a UNIX socket."""
    reactor: Any = getattr(endpoint, "_reactor", None)
    if type(endpoint) is not UNIXServerEndpoint or not isinstance(
        reactor, (PosixReactorBase, DirectReactor)
    ):
        return endpoint
    tidied: Any = copy.copy(endpoint)
    tidied._reactor = _Tidying(reactor)
    made: IStreamServerEndpoint = tidied
    return made


class _Tidying:
    """A reactor, as an endpoint of a UNIX socket sees it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def listenUNIX(
        self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, **lock: Any
    ) -> IListeningPort:
        """
        Listen; the same as `IReactorUNIX.listenUNIX`.

        :raises CannotListenError: somebody else does, or what lies there is no socket.
        """
        path = os.fsencode(address)
        if not path.startswith(b"\0"):
            clear(path)
        port: Any = TidyPort(path, factory, backlog, mode, self._reactor, **lock)
        port.startListening()
        listening: IListeningPort = port
        return listening


def clear(path: bytes) -> None:
    """
    Remove the socket that somebody has left, and the lock.

    :raises CannotListenError: somebody listens there, or it is no socket.
    """
    try:
        found = os.lstat(path)
    except OSError:
        found = None  # what is wrong with its folder shows when it is made
    if found is not None and not stat.S_ISSOCK(found.st_mode):
        raise CannotListenError(None, path, "what lies there is no socket")
    if found is not None and _answers(path):
        raise CannotListenError(None, path, "another server listens there")
    lock = path + b".lock"
    holder = _holder(lock)
    if holder == os.getpid():
        # It was killed, and the number came again: in containers it always does.
        with suppress(OSError):
            os.unlink(lock)
    elif holder is not None:
        raise CannotListenError(
            None, path, f"process {holder} holds {os.fsdecode(lock)}; remove it if it is no server"
        )
    if found is not None:
        with suppress(OSError):
            os.unlink(path)


def _answers(path: bytes) -> bool:
    """Whether somebody listens; where that cannot be known, somebody does."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        try:
            client.connect(path)
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def _holder(lock: bytes) -> int | None:
    """Return the process that holds Twisted's lock, a link that names it; ``None``: nobody."""
    try:
        number = int(os.readlink(lock))
        os.kill(number, 0)
    except PermissionError:
        return number
    except (OSError, ValueError, OverflowError):
        return None
    return number


class TidyPort(unix.Port):
    """
    A port that leaves nothing behind: its lock where it could not listen, its socket at its end.
    """

    _inode: tuple[int, int] | None = None
    _made: socket.socket | None = None

    def createInternetSocket(self) -> socket.socket:
        """Make the socket, and remember it: what cannot be bound is closed."""
        made: socket.socket = super().createInternetSocket()
        self._made = made
        return made

    def startListening(self) -> None:
        """Bind, and listen."""
        try:
            super().startListening()
        except BaseException:
            if self._made is not None:
                self._made.close()
            self._unlock()
            raise
        self._made = None
        self._inode = self._found()

    def connectionLost(self, reason: Failure) -> None:
        """Remove the socket, unless it is another one by now, and go."""
        path = self._bindPath
        if self._inode is not None and self._found() == self._inode:
            try:
                os.unlink(path)
            except OSError as error:
                # It was bound as root, and the folder is root's.
                _log.warn(
                    "{path} stays: {why}", path=os.fsdecode(path), why=error.strerror or str(error)
                )
        self._unlock()
        tcp.Port.connectionLost(self, reason)

    def _unlock(self) -> None:
        lock, self.lockFile = self.lockFile, None
        if lock is not None and lock.locked:
            with suppress(OSError):
                lock.unlock()

    def _found(self) -> tuple[int, int] | None:
        try:
            found = os.lstat(self._bindPath)
        except (OSError, ValueError):  # gone; or a name that is none in the file system
            return None
        return found.st_dev, found.st_ino
