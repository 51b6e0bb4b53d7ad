"""Classes, instances, functions, threads and twisted.cred: all of them become handlers."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.cred.checkers import (
    ANONYMOUS,
    AllowAnonymousAccess,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from zope.interface import Interface, implementer, provider

from smtpcb.engine._connection import Connection
from smtpcb.handling._factories import (
    EVENTS,
    IAuthenticatedUser,
    SmtpEventHandler,
    abilities_of,
    authenticator,
    callbacks,
    handler_factory,
    methods_of,
    threaded,
)
from smtpcb.interfaces import IAuthenticator, ISmtpEventHandler, ISmtpHandlerFactory
from smtpcb.smtp._command import Verb
from smtpcb.smtp.sasl import Authenticated, Credentials
from tests.server.client import HELLO, MESSAGE, Client, Recorder

HERE = Connection("test")


def abilities(handler: object) -> Any:
    return abilities_of(handler, methods_of(handler), tls=False, authentication=False)


# What a handler may be.


def test_a_class_is_called_once_per_connection() -> None:
    """State lives in self; the connection is given to who takes it."""

    class Without:
        def rcpt(self, forward_path: Any, parameters: Any) -> None: ...

    class With(Without):
        def __init__(self, connection: Connection) -> None:
            self.connection = connection

    one, two = handler_factory(Without)(HERE), handler_factory(Without)(HERE)
    assert isinstance(one, Without)
    assert one is not two
    made: Any = handler_factory(With)(HERE)
    assert made.connection is HERE


def test_an_instance_is_shared() -> None:
    """All connections call the same object."""
    handler = Recorder()
    factory = handler_factory(handler)
    assert factory(HERE) is handler
    assert factory(Connection("other")) is handler


def test_functions_become_a_handler() -> None:
    """callbacks(rcpt=f, message=g), and the attributes too."""
    seen: list[str] = []
    handler = callbacks(
        rcpt=lambda path, parameters: seen.append("rcpt"),
        message=lambda envelope: None,
        authenticate=lambda credentials: True,
        concurrent_recipients=True,
        extensions={"DSN"},
    )
    assert sorted(methods_of(handler)) == ["message", "rcpt"]
    assert abilities(handler).concurrent_recipients
    assert abilities(handler).extensions == {"DSN"}
    assert repr(handler).startswith("callbacks(authenticate")
    client = Client(handler)
    client.send(HELLO + MESSAGE)
    client.leave()
    assert seen == ["rcpt"]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """A misspelt callback would never be called."""
    with pytest.raises(TypeError, match=r"no event 'recipient'; there are .*chunk.*rcpt"):
        callbacks(recipient=print)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: callbacks(rcpt=lambda path: None), r"rcpt\(forward_path, parameters\)"),
        (lambda: callbacks(rcpt=3), "rcpt is no method"),
        (lambda: callbacks(), "none of the methods"),
        (lambda: handler_factory(object()), "none of the methods"),
        (lambda: handler_factory(object), "none of the methods"),
        (lambda: handler_factory(print), "none of the methods"),
        (lambda: handler_factory(None), "none of the methods"),
        (lambda: handler_factory(type("H", (), {"mail": lambda self, path: None})), "H.mail must"),
        (lambda: handler_factory(type("H", (), {"mail": 1})), "H.mail is no method"),
        (
            lambda: handler_factory(
                type("H", (Recorder,), {"__init__": lambda self, one, two: None})
            ),
            "with the connection, or with nothing",
        ),
        (lambda: handler_factory(type("H", (Recorder,), {"extensions": "DSN"})), "set of keywords"),
        (lambda: handler_factory(type("H", (Recorder,), {"extensions": 3})), "set of keywords"),
        (lambda: handler_factory(type("H", (Recorder,), {"command_mask": "MAIL"})), "a Verb"),
        (lambda: threaded(object()), "none of the methods"),
        (lambda: authenticator(object()), "no method authenticate"),
        (lambda: authenticator(AllowAnonymousAccess()), "name and a password"),
    ],
)
def test_a_mistake_is_told_at_once(make: Any, complaint: str) -> None:
    """When the server is configured, and not by the first client (TypeError)."""
    with pytest.raises(TypeError, match=complaint):
        make()


def test_an_extension_that_is_not_the_handlers_to_offer() -> None:
    """ValueError names what may be offered."""
    with pytest.raises(ValueError, match="cannot offer STARTTLS; it can offer DSN"):
        handler_factory(type("H", (Recorder,), {"extensions": {"STARTTLS"}})())


def test_what_a_class_only_knows_as_an_instance_is_asked_later() -> None:
    """A property is no value yet."""

    class Later(Recorder):
        @property
        def extensions(self) -> set[str]:
            return {"DSN"}

    assert abilities(handler_factory(Later)(HERE)).extensions == {"DSN"}


def test_static_and_class_methods_and_callables() -> None:
    """Whatever can be called with the arguments will do."""

    class Odd:
        @staticmethod
        def rcpt(forward_path: Any, parameters: Any) -> None: ...

        @classmethod
        def mail(cls, reverse_path: Any, parameters: Any) -> None: ...

        def message(self, *everything: Any) -> None: ...

        verify = print  # its signature is known to nobody in some versions

    for given in (Odd, Odd()):
        handler = handler_factory(given)(HERE)
        assert sorted(methods_of(handler)) == ["mail", "message", "rcpt", "verify"]


def test_a_class_without_a_signature() -> None:
    """A class written in C is called with nothing."""

    class Mapping(dict):  # type: ignore[type-arg]
        def rcpt(self, forward_path: Any, parameters: Any) -> None: ...

    assert handler_factory(Mapping)(HERE) == {}


def test_a_method_without_a_signature() -> None:
    """What says nothing of its arguments is taken on trust."""

    class Unsaid:
        verify = type  # inspect.signature(type) raises ValueError

    assert "verify" in methods_of(handler_factory(Unsaid())(HERE))


def test_a_factory_function_declares_itself() -> None:
    """@provider, @implementer or an adapter: all that zope.interface knows."""

    @provider(ISmtpHandlerFactory)
    def make(connection: Connection) -> object:
        return Recorder()

    assert handler_factory(make) is make

    @implementer(ISmtpHandlerFactory)
    class Factory:
        def __call__(self, connection: Connection) -> object:
            return Recorder()

    factory = Factory()
    assert handler_factory(factory) is factory

    class Adaptable:
        def __conform__(self, interface: Any) -> object:
            return factory if interface is ISmtpHandlerFactory else None

    assert handler_factory(Adaptable()) is factory

    class Events:
        def __conform__(self, interface: Any) -> object:
            return SmtpEventHandler() if interface is ISmtpEventHandler else None

    assert isinstance(handler_factory(Events())(HERE), SmtpEventHandler)

    @provider(ISmtpHandlerFactory)
    class Itself:
        def __new__(cls, connection: Connection) -> Any:
            return Recorder()

    assert handler_factory(Itself) is Itself


def test_what_is_not_overridden_is_absent() -> None:
    """The default of chunk in the base class does not make a handler stream."""

    class Inbox(SmtpEventHandler):
        content = b""

        def message(self, envelope: Any) -> None:
            Inbox.content = envelope.content.bytes()

    assert sorted(methods_of(Inbox())) == ["message"]
    assert methods_of(SmtpEventHandler()) == {}
    assert not abilities(Inbox()).expand
    assert abilities(Inbox()).command_mask is None
    client = Client(Inbox)
    client.send(HELLO + MESSAGE)
    client.leave()
    assert Inbox.content == b"Subject: hi\r\n\r\nA text\r\n"


def test_a_method_set_on_an_instance_counts() -> None:
    """Also where the base class has one of that name."""
    handler: Any = SmtpEventHandler()
    handler.rcpt = lambda path, parameters: None
    assert sorted(methods_of(handler)) == ["rcpt"]


def test_the_mask_of_observed_commands() -> None:
    """Verb(0), the default, is all of them."""

    class Observer(Recorder):
        command_mask = Verb.MAIL | Verb.RCPT

        def command(self, command: Any) -> None:
            self.calls.append(("command", command.name))

    handler = Observer()
    client = Client(handler)
    client.send(HELLO + MESSAGE)
    client.leave()
    assert handler.said("command") == [("MAIL",), ("RCPT",)]


def test_every_event_has_its_arguments_counted() -> None:
    """The base class is called as the interface says."""
    assert EVENTS["rcpt"] == 2
    assert EVENTS["message"] == 1


# Threads.


@pytest.fixture
def threads() -> Iterator[Any]:
    """Make threaded handlers whose threads end with the test."""
    made: list[threaded] = []

    def make(handler: object, **options: Any) -> threaded:
        made.append(threaded(handler, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


class Blocking:
    """Says in which thread it was called, and waits to be let go."""

    command_mask = Verb.MAIL

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.seen: list[str] = []
        self.inside = 0
        self.most = 0

    def verify(self, text: str) -> Any:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.seen.append(threading.current_thread().name)
        if text == "wait":
            self.gate.wait(5)
        self.inside -= 1
        if text == "raise":
            raise RuntimeError("in a thread")
        return 250

    async def expand(self, text: str) -> None: ...

    def turn(self, domain: str) -> Any:
        return Deferred()

    def authenticate(self, credentials: Credentials) -> Any:
        self.gate.wait(5)
        return Authenticated("x", release=lambda: self.seen.append("released"))


@pytest_twisted.ensureDeferred
async def test_a_blocking_handler_runs_in_a_thread(threads: Any) -> None:
    """Off the reactor's thread; answers and exceptions come back."""
    inner = Blocking()
    handler: Any = threads(inner)(HERE)
    assert await handler.verify("x") == 250
    assert inner.seen != [threading.current_thread().name]
    with pytest.raises(RuntimeError, match="in a thread"):
        await handler.verify("raise")
    assert handler.command_mask == Verb.MAIL
    assert "chunk" not in methods_of(handler)


@pytest_twisted.ensureDeferred
async def test_calls_of_one_connection_do_not_overlap(threads: Any) -> None:
    """One at a time per connection, and side by side for two."""
    inner = Blocking()
    factory = threads(inner)
    one: Any = factory(HERE)
    waiting = [one.verify("wait"), one.verify("x"), one.verify("x")]
    other: Any = factory(Connection("other"))
    assert await other.verify("x") == 250  # does not wait for the other connection
    inner.most = 1
    inner.gate.set()
    for answer in waiting:
        assert await answer == 250
    assert inner.most == 1


@pytest_twisted.ensureDeferred
async def test_cancelling_ends_the_waiting_and_not_the_thread(threads: Any) -> None:
    """The next call waits until the thread is free; one that had not begun never runs."""
    inner = Blocking()
    handler: Any = threads(inner)(HERE)
    running, queued, last = handler.verify("wait"), handler.verify("x"), handler.verify("x")
    for cancelled in (running, queued):
        cancelled.cancel()
        with pytest.raises(CancelledError):
            await cancelled
    assert not last.called
    inner.gate.set()
    assert await last == 250
    assert len(inner.seen) == 2


@pytest_twisted.ensureDeferred
async def test_a_login_that_nobody_waits_for_is_let_go(threads: Any) -> None:
    """What vouched for the client is told, although the answer came too late."""
    inner = Blocking()
    handler: Any = threads(inner)(HERE)
    answer = handler.authenticate(Credentials("PLAIN", "u", "p"))
    answer.cancel()
    with pytest.raises(CancelledError):
        await answer
    inner.gate.set()
    await handler.verify("x")
    assert inner.seen[0] == "released"


@pytest_twisted.ensureDeferred
async def test_what_is_no_plain_function_is_told_so(threads: Any) -> None:
    """async def and Deferreds belong into the reactor's thread."""
    handler: Any = threads(Blocking())(HERE)
    for call in (handler.expand, handler.turn):
        with pytest.raises(TypeError, match="neither async def nor a Deferred"):
            await call("x")


@pytest_twisted.ensureDeferred
async def test_threads_may_be_stopped_and_started_again() -> None:
    """stop() waits for what they do; the next connection starts them anew."""
    factory = threaded(Blocking)
    factory.stop()
    handler: Any = factory(HERE)
    assert await handler.verify("x") == 250
    factory.stop()
    with pytest.raises(RuntimeError, match="have been stopped"):
        await handler.verify("x")
    handler = factory(HERE)
    assert await handler.verify("x") == 250
    factory.stop()


@pytest_twisted.ensureDeferred
async def test_a_threaded_handler_serves_a_client(threads: Any) -> None:
    """threaded(Inbox) is a handler like any other."""
    from twisted.internet import reactor

    seen: list[bytes] = []
    done: Deferred[None] = Deferred()

    class Inbox:
        def message(self, envelope: Any) -> None:
            with envelope.content.open() as file:
                seen.append(file.read())

        def disconnected(self, reason: Any) -> None:
            from twisted.internet import reactor as installed

            installed.callFromThread(done.callback, None)  # type: ignore[attr-defined]

    client = Client(threads(Inbox, reactor=reactor))
    assert client.codes(HELLO + MESSAGE) == [220, 250, 250, 250, 354]
    client.leave()
    await done
    assert seen == [b"Subject: hi\r\n\r\nA text\r\n"]


def test_a_threaded_handler_with_nothing_overridden(threads: Any) -> None:
    """It accepts, like the one inside."""
    assert methods_of(threads(SmtpEventHandler)(HERE)) == {}


# Logins.

ANNE = Credentials("PLAIN", "anne", "secret")


def answer_of(method: Any, credentials: Credentials) -> Any:
    """The answer, or the exception, of a login that takes no time."""
    found: list[Any] = []
    answer = method(credentials)
    if not isinstance(answer, Deferred):
        return answer
    answer.addBoth(found.append)
    return found[0]


def checker() -> InMemoryUsernamePasswordDatabaseDontUse:
    return InMemoryUsernamePasswordDatabaseDontUse(anne=b"secret")


class Checker:
    """Answers a checker's question with what it is given."""


def checker_saying(answer: Any) -> Any:
    from twisted.cred.checkers import ICredentialsChecker

    @implementer(ICredentialsChecker)
    class Saying:
        credentialInterfaces = (IUsernamePassword,)

        def requestAvatarId(self, credentials: Any) -> Any:
            return answer() if callable(answer) else answer

    return Saying()


def boom() -> Any:
    raise RuntimeError("no database")


def test_a_checker_of_twisted_cred_is_an_authenticator() -> None:
    """Its avatar's id is the identity; a wrong password is a no."""
    login = authenticator(checker_saying(succeed(b"anne\xff")))
    assert answer_of(login, ANNE).identity == "anne\\xff"
    login = authenticator(checker())
    found = answer_of(login, Credentials("PLAIN", "anne", "wrong"))
    assert found is False
    assert answer_of(login, Credentials("PLAIN", "nobody", "secret")) is False


@pytest.mark.parametrize("anonymous", [ANONYMOUS, None, succeed(ANONYMOUS)])
def test_anonymous_is_no_login(anonymous: Any) -> None:
    """Nobody logs in by a name as nobody."""
    assert answer_of(authenticator(checker_saying(anonymous)), ANNE) is False


@pytest.mark.parametrize("fault", [boom, fail(RuntimeError("no database"))])
def test_a_checker_that_fails_is_a_fault_and_no_answer(fault: Any) -> None:
    """A database that is down is neither yes nor no: the client hears 451."""
    found = answer_of(authenticator(checker_saying(fault)), ANNE)
    assert found.check(RuntimeError)


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
    client = Client(Recorder(), authenticator=Portal(realm, [checker_saying("anne")]))
    assert client.codes(HELLO + b"AUTH PLAIN AGFubmUAc2VjcmV0\r\n") == [220, 250, 235]
    assert client.protocol.connection.identity == "avatar of anne"
    assert realm.left == []
    client.leave()
    assert realm.left == ["anne"]


def test_a_portal_says_no() -> None:
    """A wrong password, or no checker for passwords."""
    from twisted.cred.error import UnauthorizedLogin

    portal = Portal(Realm(), [checker_saying(lambda: fail(UnauthorizedLogin()))])
    assert answer_of(authenticator(portal), ANNE) is False
    assert answer_of(authenticator(Portal(Realm(), [AllowAnonymousAccess()])), ANNE) is False


def test_a_logout_that_fails_hurts_nobody(clean_reactor: list[Any]) -> None:
    """The connection ends as it would have."""

    def fails() -> None:
        raise RuntimeError

    handler = callbacks(authenticate=lambda credentials: Authenticated("x", release=fails))
    client = Client(handler)
    client.send(HELLO + b"AUTH PLAIN AGFubmUAc2VjcmV0\r\n")
    client.finish()
    assert len(clean_reactor) == 1
    clean_reactor.clear()


def test_whoever_has_authenticate_is_an_authenticator() -> None:
    """An object with the method, or one that adapts to it."""

    class Own:
        def authenticate(self, credentials: Credentials) -> bool:
            return credentials.password == "secret"

    class Adaptable:
        def __conform__(self, interface: type[Interface]) -> object:
            return Own() if interface is IAuthenticator else None

    for given in (Own(), Adaptable()):
        assert authenticator(given)(ANNE) is True


def test_only_a_class_that_wants_the_connection_gets_it() -> None:
    """An argument with a default and another name is for whoever makes instances by hand."""

    class Plain:
        def __init__(self, store: object = None) -> None:
            self.store = store

        def message(self, envelope: object) -> None: ...

    class Asking(Plain):
        def __init__(self, connection: object = None) -> None:
            super().__init__(connection)

    here = Connection("x")
    plain: Any = handler_factory(Plain)(here)
    asking: Any = handler_factory(Asking)(here)
    assert plain.store is None
    assert asking.store is here


def test_a_method_may_be_more_than_a_function() -> None:
    """A cache or a partial method is callable, but only an instance knows how."""

    class Cached:
        @functools.lru_cache  # noqa: B019
        def rcpt(self, forward_path: object, parameters: object) -> None: ...

        def _mail(self, how: object, reverse_path: object, parameters: object) -> None: ...

        mail = functools.partialmethod(_mail, 1)

    assert set(methods_of(handler_factory(Cached)(Connection("x")))) == {"rcpt", "mail"}


def test_a_call_that_never_returns_does_not_keep_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Threads that do not end are left behind; they are daemons."""
    monkeypatch.setattr("smtpcb.handling._factories.STOP_SECONDS", 0.01)
    go_on = threading.Event()
    started = threading.Event()

    class Stuck:
        def message(self, envelope: object) -> None:
            started.set()
            go_on.wait(60)

    factory = threaded(Stuck)
    handler: Any = factory(Connection("x"))
    handler.message(None).addErrback(lambda _: None)
    assert started.wait(10)
    factory.stop()
    assert not go_on.is_set()
    go_on.set()
