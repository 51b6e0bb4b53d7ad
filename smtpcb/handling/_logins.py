"""Who may log in: whatever knows passwords, twisted.cred's checkers and portals among it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from typing import Any

from twisted.cred.checkers import ANONYMOUS, ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from smtpcb.engine._connection import Connection
from smtpcb.engine._handler import Authenticator, mechanisms_of, name_of
from smtpcb.handling._calls import positional
from smtpcb.interfaces import AuthenticationVerdict, IAuthenticator
from smtpcb.smtp.sasl import Authenticated, Credentials

# twisted.cred's ANONYMOUS is the empty tuple.
_NOBODY = (ANONYMOUS, None)


class IAuthenticatedUser(Interface):
    """What a `twisted.cred.portal.Portal` is asked for; its avatar becomes the identity."""


class CredLogin:
    """
    Asks twisted.cred.

    :param ask: a checker's ``requestAvatarId``, or a portal's ``login``.
    :param vouched: turns what it brings into the answer.
    :param name: what logs call it.
    """

    def __init__(
        self,
        ask: Callable[[UsernamePassword], Any],
        vouched: Callable[[Any], Authenticated | bool],
        name: str,
    ) -> None:
        self._ask = ask
        self._vouched = vouched
        self.__name__ = name

    def authenticate(
        self, credentials: Credentials, connection: Connection
    ) -> AuthenticationVerdict:
        """Ask whether they are who they say."""
        if credentials.authorization_id not in ("", credentials.username):
            return False  # twisted.cred cannot decide on acting for somebody else (RFC 4616 §2)
        asked: Deferred[Any] = maybeDeferred(self._ask, _cred(credentials))
        return asked.addCallbacks(self._vouched, _unauthorized)


def _cred(credentials: Credentials) -> UsernamePassword:
    return UsernamePassword(_octets(credentials.username), _octets(credentials.password))


def _octets(text: str) -> bytes:
    """Return the octets that the client sent, also those that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _known_by_id(avatar_id: object) -> Authenticated | bool:
    if isinstance(avatar_id, bytes):
        avatar_id = avatar_id.decode("utf-8", "backslashreplace")
    return Authenticated(avatar_id) if avatar_id not in _NOBODY else False


def _given_an_avatar(found: tuple[Any, Any, Callable[[], object]]) -> Authenticated:
    _, avatar, logout = found
    return Authenticated(avatar, release=logout)


def _unauthorized(failure: Failure) -> bool:
    failure.trap(UnauthorizedLogin, LoginFailed)
    return False


def authenticator(given: object) -> Authenticator:
    """
    Make of whatever knows passwords what is asked at a login.

    :param given: what has ``authenticate(credentials, connection)``, or ``(credentials)`` alone,
        and perhaps ``stored_secret(username, mechanism, connection)`` and ``mechanisms``; a
        `twisted.cred` checker of `IUsernamePassword`; or a `Portal` whose realm knows
        `IAuthenticatedUser`.
    :raises TypeError: it is nothing of the kind.
    :raises ValueError: ``mechanisms`` names one that cannot be decided on.
    """
    if isinstance(given, Portal):
        return Authenticator(_of_portal(given))
    # A checker may say that it is one of ours as well, and knows more then.
    if ICredentialsChecker.providedBy(given) and not IAuthenticator.providedBy(given):
        interfaces = given.credentialInterfaces
        if not any(interface.implementedBy(UsernamePassword) for interface in interfaces):
            raise TypeError(f"{name_of(given)} cannot check a name and a password")
        asked = CredLogin(given.requestAvatarId, _known_by_id, name_of(given))
        return Authenticator(asked.authenticate)
    adapted: Any = IAuthenticator(given, given)
    method = getattr(adapted, "authenticate", None)
    if isinstance(adapted, type):
        raise TypeError(f"{name_of(given)} is a class: an authenticator is one of its instances")
    if not callable(method):
        raise TypeError(f"{name_of(given)} has no method authenticate(credentials, connection)")
    name = name_of(adapted)
    login = _with_connection(name, "authenticate", method, ("credentials",))
    secret = getattr(adapted, "stored_secret", None)
    if secret is not None:
        secret = _with_connection(name, "stored_secret", secret, ("username", "mechanism"))
    has = ("stored_secret",) if secret is not None else ()
    return Authenticator(login, secret, mechanisms_of(adapted, has))


def _of_portal(portal: Portal) -> Callable[..., Any]:
    asked = copy(portal)  # with the same checkers, also those that are registered later
    asked.realm = _Somebody(portal)

    def ask(credentials: UsernamePassword) -> Any:
        return asked.login(credentials, None, IAuthenticatedUser)

    return CredLogin(ask, _given_an_avatar, name_of(portal)).authenticate


@implementer(IRealm)
class _Somebody:
    """A portal's realm, which nobody enters by a name as nobody."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def requestAvatar(self, avatarId: object, mind: object, *interfaces: Any) -> Any:  # noqa: N803 - IRealm's
        """See `twisted.cred.portal.IRealm`."""
        if avatarId in _NOBODY:
            raise UnauthorizedLogin
        realm: Any = self._portal.realm
        return realm.requestAvatar(avatarId, mind, *interfaces)


class _Alone:
    """
    Asks an authenticator that does not want the connection.

    :param name: what logs call it.
    """

    def __init__(self, name: str, method: Callable[..., Any]) -> None:
        self._method = method
        self.__name__ = name

    def ask(self, *arguments: object) -> Any:
        """Ask it, without the connection, which comes last."""
        return self._method(*arguments[:-1])


def _with_connection(
    name: str, called: str, method: Callable[..., Any], without: tuple[str, ...]
) -> Callable[..., Any]:
    """
    Call with the connection who takes it.

    :param called: its name.
    :param without: the names of its other arguments.
    """
    try:
        signature = inspect.signature(method)
    except (ValueError, TypeError):
        return method
    # One for user and password takes as many arguments, and would be given others.
    for_itself = "password" in [one.name for one in positional(signature)[:2]]
    for arguments in () if for_itself else ((*without, "connection"), without):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return _Alone(name, method).ask if arguments is without else method
    raise TypeError(
        f"{name}.{called}{signature} cannot be called as "
        f"{called}({', '.join((*without, 'connection'))})"
    )
