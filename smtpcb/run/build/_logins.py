"""Who may log in: what ``--auth`` names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import InvalidAuthType, findCheckerFactories, findCheckerFactory
from twisted.internet.defer import inlineCallbacks, maybeDeferred

from smtpcb.engine._connection import Connection
from smtpcb.handling._logins import authenticator as adapt_authenticator
from smtpcb.run._htpasswd import HashedFile
from smtpcb.run._meant import did_you_mean, nearest
from smtpcb.run._passwords import PasswordFile
from smtpcb.run._start import one_line
from smtpcb.run.options import Configuration, ConfigurationError
from smtpcb.smtp.sasl import Credentials


def authenticator_of(configuration: Configuration, owners: Collection[int]) -> object | None:
    """
    Return who knows passwords, instead of the handler.

    :param owners: who may own the files of passwords.
    :raises ConfigurationError: a method is none, or cannot be used.
    """
    where = configuration.where("auth")
    checkers = [_checker(description, where, owners) for description in configuration["auth"]]
    if len(checkers) == 1:  # it may know more than to check a password
        return checkers[0]
    return _AnyOf(checkers) if checkers else None


def _checker(description: str, where: str, owners: Collection[int]) -> object:
    """Return the twisted.cred checker that ``--auth`` describes, which was said so."""
    # Never the whole description: it may hold passwords.
    name, _, argument = description.partition(":")
    where = f"{where} {name}"
    try:
        if name in _FILES and argument:
            return _FILES[name](Path(argument).absolute(), owners)
        checker = findCheckerFactory(name).generateChecker(argument)
    except InvalidAuthType:
        fault = f"no such method; --help-auth lists them{did_you_mean(_meant(name))}"
        raise ConfigurationError(f"{where}: {fault}") from None
    except Exception as error:  # a plug-in may raise anything
        raise ConfigurationError(f"{where}: {one_line(error)}") from None
    if IUsernamePassword not in checker.credentialInterfaces:
        raise ConfigurationError(f"{where}: does not check names and passwords")
    if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
        if not checker.users:
            raise ConfigurationError(f"{where}: it names nobody; NAME:PASSWORD is wanted behind it")
        # Twisted 26.10 puts text into it, and compares that with octets.
        checker.users = {_octets(user): _octets(word) for user, word in checker.users.items()}
    return checker


def _meant(name: str) -> str | None:
    """Return what somebody may have meant who has named no method; only by what they showed."""
    if "/" in name or Path(name).is_file():
        return f"file:{name}"
    found = nearest(name, [checker.authType for checker in findCheckerFactories()])
    return None if found is None else f"{found}:"


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


_FILES: Mapping[str, Any] = {"file": PasswordFile, "htpasswd": HashedFile}


class _AnyOf:
    """Several checkers of ``--auth``: whom one of them knows may log in."""

    def __init__(self, checkers: Sequence[object]) -> None:
        self._logins = [adapt_authenticator(checker) for checker in checkers]

    @inlineCallbacks
    def authenticate(self, credentials: Credentials, connection: Connection) -> Any:
        """Ask one after the other."""
        for login in self._logins:
            answer: Any = yield maybeDeferred(login.authenticate, credentials, connection)
            if answer is not False:
                return answer
        return False
