"""Whatever knows passwords decides on logins, and a fault is neither yes nor no."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.checkers import (
    ANONYMOUS,
    AllowAnonymousAccess,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import Interface, implementer

from smtpcb.engine._connection import Connection
from smtpcb.handling import IAuthenticatedUser, authenticator
from smtpcb.interfaces import IAuthenticator
from smtpcb.smtp.sasl import Authenticated, Credentials
from smtpcb.testing import play
from smtpcb.testing._play import TLS

HERE = Connection("test")
ANNE = Credentials("PLAIN", "anne", "secret")
SECURE = Connection("secure", tls=TLS)
LOGIN = "C: EHLO me\nS: 250 ...\nC: AUTH PLAIN AGFubmUAc2VjcmV0\n"


def answer_of(method: Any, credentials: Credentials) -> Any:
    """The answer, or the exception, of a login that takes no time."""
    found: list[Any] = []
    answer = method.authenticate(credentials, HERE)
    if not isinstance(answer, Deferred):
        return answer
    answer.addBoth(found.append)
    return found[0]


def checker_saying(answer: Any, seen: list[Any] | None = None) -> Any:
    @implementer(ICredentialsChecker)
    class Saying:
        credentialInterfaces = (IUsernamePassword,)

        def requestAvatarId(self, credentials: Any) -> Any:
            if seen is not None:
                seen.append(credentials)
            return answer() if callable(answer) else answer

    return Saying()


def boom() -> Any:
    raise RuntimeError("no database")


def test_a_checker_of_twisted_cred_is_an_authenticator() -> None:
    """Its avatar's id is the identity; a wrong password is a no."""
    login = authenticator(checker_saying(succeed(b"anne\xff")))
    assert answer_of(login, ANNE).identity == "anne\\xff"
    login = authenticator(InMemoryUsernamePasswordDatabaseDontUse(anne=b"secret"))
    assert answer_of(login, Credentials("PLAIN", "anne", "wrong")) is False
    assert answer_of(login, Credentials("PLAIN", "nobody", "secret")) is False


def test_a_password_that_is_no_utf_8_is_asked_about() -> None:
    """The checker gets the octets that the client sent."""
    seen: list[Any] = []
    login = authenticator(checker_saying(succeed("anne"), seen))
    answer_of(login, Credentials("PLAIN", "j\udcf6rg", "\udcff\udc80"))
    assert (seen[0].username, seen[0].password) == (b"j\xf6rg", b"\xff\x80")


@pytest.mark.parametrize("anonymous", [ANONYMOUS, None, succeed(ANONYMOUS)])
def test_anonymous_is_no_login(anonymous: Any) -> None:
    """Nobody logs in by a name as nobody."""
    assert answer_of(authenticator(checker_saying(anonymous)), ANNE) is False
    realm = Realm()
    assert answer_of(authenticator(Portal(realm, [checker_saying(anonymous)])), ANNE) is False
    assert realm.left == []


@pytest.mark.parametrize("fault", [boom, lambda: fail(RuntimeError("no database"))])
def test_a_checker_that_fails_is_a_fault_and_no_answer(fault: Any) -> None:
    """A database that is down is neither yes nor no: the client hears 451 and tries again."""
    found = answer_of(authenticator(checker_saying(fault)), ANNE)
    assert found.check(RuntimeError)
    for given in (checker_saying(fault), Portal(Realm(), [checker_saying(fault)])):
        play(LOGIN + "S: 451 4.3.0 Local error", connection=SECURE, authenticator=given)


def test_acting_for_somebody_else_is_refused() -> None:
    """twisted.cred knows of no authorization identity (RFC 4616 §2)."""
    other = Credentials("PLAIN", "anne", "secret", authorization_id="root")
    same = Credentials("PLAIN", "anne", "secret", authorization_id="anne")
    login = authenticator(checker_saying("anne"))
    assert answer_of(login, other) is False
    assert answer_of(login, same).identity == "anne"
    assert answer_of(authenticator(Portal(Realm(), [checker_saying("anne")])), other) is False


@implementer(IRealm)
class Realm:
    def __init__(self) -> None:
        self.left: list[object] = []

    def requestAvatar(self, avatar_id: Any, mind: Any, *interfaces: Any) -> Any:
        assert interfaces == (IAuthenticatedUser,)
        return IAuthenticatedUser, f"avatar of {avatar_id}", lambda: self.left.append(avatar_id)


def test_a_portal_of_twisted_cred_is_an_authenticator() -> None:
    """Its avatar is the identity, and its logout is called when the connection ends."""
    realm = Realm()
    portal = Portal(realm, [checker_saying("anne")])
    played = play(LOGIN + "S: 235", connection=SECURE, authenticator=portal)
    assert played.dialogue.connection.identity == "avatar of anne"
    assert realm.left == []
    play(LOGIN + "S: 235\nC: QUIT\nS: 221", connection=SECURE, authenticator=portal)
    assert realm.left == ["anne", "anne"]


def test_a_portal_says_no() -> None:
    """A wrong password, or no checker for passwords."""
    portal = Portal(Realm(), [checker_saying(lambda: fail(UnauthorizedLogin()))])
    assert answer_of(authenticator(portal), ANNE) is False
    assert answer_of(authenticator(Portal(Realm(), [AllowAnonymousAccess()])), ANNE) is False


def test_whoever_has_authenticate_is_an_authenticator() -> None:
    """An object with the method, with or without the connection, or one that adapts to it."""

    class Own:
        def authenticate(self, credentials: Credentials) -> bool:
            return credentials.password == "secret"

    class Knows:
        def authenticate(self, credentials: Credentials, connection: Connection) -> Any:
            return Authenticated(connection.id)

    class Unsaid:
        authenticate = type("Callable", (), {"__call__": lambda self, *all: len(all) == 2})()

    class Adaptable:
        def __conform__(self, interface: type[Interface]) -> object:
            return Own() if interface is IAuthenticator else None

    for given in (Own(), Adaptable(), Unsaid()):
        assert authenticator(given).authenticate(ANNE, HERE) is True
    assert answer_of(authenticator(Knows()), ANNE).identity == "test"


def test_it_goes_before_the_handlers_own() -> None:
    """The one that the server was given is asked."""

    class Inbox:
        def authenticate(self, credentials: Credentials, connection: Connection) -> bool:
            raise AssertionError

        def message(self, envelope: Any) -> None: ...

    checker = InMemoryUsernamePasswordDatabaseDontUse(anne=b"secret")
    play(LOGIN + "S: 235", Inbox, connection=SECURE, authenticator=checker)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (object(), "object has no method authenticate"),
        (type("Class", (), {"authenticate": lambda self, credentials: True}), "Class is a class"),
        (Realm, "Realm is a class"),
        (AllowAnonymousAccess(), "cannot check a name and a password"),
        (type("A", (), {"authenticate": lambda self: True})(), "cannot be called as authenticate"),
        (type("A", (), {"authenticate": 3})(), "has no method authenticate"),
    ],
)
def test_what_is_none_is_told_at_once(given: Any, complaint: str) -> None:
    """When the server is configured, and not by the first login."""
    with pytest.raises(TypeError, match=complaint):
        authenticator(given)
