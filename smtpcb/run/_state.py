"""The folder where a server keeps what nobody has given another place (``--state``)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zope.interface import implementer

from smtpcb import _folders as folders
from smtpcb.interfaces import ISmtpHandlerSetting
from smtpcb.run.options import Configuration, ConfigurationError


@implementer(ISmtpHandlerSetting)
@dataclass(frozen=True, slots=True)
class State:
    """
    The state folder, and what else a ready-made handler is lent.

    Nothing in it is touched while we may still be root: the user that we become may have put
    anything there.  So it is made by who needs it, in ``startService``.

    :ivar reactor: the server's.
    :ivar state: its path, absolute.
    :ivar owners: the users that may have made it.
    :ivar where: how it was said.
    """

    reactor: Any
    state: Path
    owners: frozenset[int]
    where: str = "--state"

    def make_state(self) -> None:
        """
        Make it if it is not there.

        :raises OSError: it cannot be made, or is not to be trusted.
        """
        os.close(folders.make_folder(self.state)[0])

    def check(self) -> None:
        """
        Find out whether it could be used, and change nothing.

        :raises ConfigurationError: it could not.
        """
        with explained(f"{self.where} {self.state}"):
            folders.look_at(self.state, self.owners)


def state_of(configuration: Configuration, reactor: Any, owner: tuple[int, int] | None) -> State:
    """
    Return the state folder of these settings.

    :param owner: user and group that the process will run as, if it is root and will not be.
    """
    us = os.geteuid() if owner is None or owner[0] == -1 else owner[0]
    where = configuration.where("state")
    return State(reactor, configuration["state"], frozenset({0, us}), where)


@contextmanager
def explained(where: str) -> Iterator[None]:
    """
    Make one line of what is wrong with a folder.

    :param where: the setting that names it.
    :raises ConfigurationError: instead of `OSError`.
    """
    try:
        yield
    except OSError as error:
        path = "" if error.filename is None else f"{error.filename}: "
        fault = error.strerror or type(error).__name__
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            fault = "a file is in the way"
        raise ConfigurationError(f"{where}: {path}{fault}") from None
