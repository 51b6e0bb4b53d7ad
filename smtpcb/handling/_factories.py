"""Classes, instances and plain functions become providers of what the server asks for."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from threading import Thread
from types import FunctionType
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import Interface, implementer

from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._extensions import HANDLER_EXTENSIONS
from smtpcb.engine._questions import Reason
from smtpcb.engine._settings import Abilities
from smtpcb.interfaces import (
    AuthenticationVerdict,
    Done,
    IAuthenticator,
    ISmtpEventHandler,
    ISmtpHandlerFactory,
    Verdict,
)
from smtpcb.smtp._address import ForwardPath, ReversePath
from smtpcb.smtp._command import Command, Introduction, Verb
from smtpcb.smtp._parameter import MailParameters, RcptParameters
from smtpcb.smtp.sasl import Authenticated, Credentials

Method = Callable[..., object]

STOP_SECONDS = 5.0
"""How long the threads of `threaded` are waited for when all else has ended."""

EVENTS: Mapping[str, int] = {
    name: len(description.positional)
    for name, description in ISmtpEventHandler.namesAndDescriptions()
    if hasattr(description, "positional")
}
"""The methods of `ISmtpEventHandler`, with how many arguments they are called."""

DECLARATIONS = ("command_mask", "extensions", "concurrent_recipients")
"""Its attributes: what a handler says of itself."""


@implementer(ISmtpEventHandler)
class SmtpEventHandler:
    """
    `ISmtpEventHandler` as a base class, for type checkers and for whoever likes one.

    A method that is not overridden counts as absent: it accepts, and costs nothing.
    """

    command_mask: Verb = Verb(0)
    extensions: frozenset[str] = frozenset()
    concurrent_recipients: bool = False

    def connected(self, connection: Connection) -> Verdict:
        """See `ISmtpEventHandler.connected`."""
        return None

    def command(self, command: Command) -> Done:
        """See `ISmtpEventHandler.command`."""
        return None

    def hello(self, introduction: Introduction) -> Verdict:
        """See `ISmtpEventHandler.hello`."""
        return None

    def secured(self, tls: TlsInformation) -> Verdict:
        """See `ISmtpEventHandler.secured`."""
        return None

    def mail(self, reverse_path: ReversePath, parameters: MailParameters) -> Verdict:
        """See `ISmtpEventHandler.mail`."""
        return None

    def rcpt(self, forward_path: ForwardPath, parameters: RcptParameters) -> Verdict:
        """See `ISmtpEventHandler.rcpt`."""
        return None

    def data(self, envelope: Envelope) -> Verdict:
        """See `ISmtpEventHandler.data`."""
        return None

    def header(self, name: str, value: str) -> Done:
        """See `ISmtpEventHandler.header`."""
        return None

    def chunk(self, octets: bytes) -> Done:
        """See `ISmtpEventHandler.chunk`."""
        return None

    def message(self, envelope: Envelope) -> Verdict:
        """See `ISmtpEventHandler.message`."""
        return None

    def verify(self, text: str) -> Verdict:
        """See `ISmtpEventHandler.verify`."""
        return None

    def expand(self, text: str) -> Verdict:
        """See `ISmtpEventHandler.expand`."""
        return None

    def help(self, text: str) -> Verdict:
        """See `ISmtpEventHandler.help`."""
        return None

    def turn(self, domain: str) -> Verdict:
        """See `ISmtpEventHandler.turn`."""
        return None

    def aborted(self, reason: Reason) -> Done:
        """See `ISmtpEventHandler.aborted`."""
        return None

    def disconnected(self, reason: Reason) -> Done:
        """See `ISmtpEventHandler.disconnected`."""
        return None


def methods_of(handler: object) -> dict[str, Method]:
    """
    Return those methods of `ISmtpEventHandler` that a handler has.

    :raises TypeError: one of the names is something else than a method; or there is none at all,
        and no ``authenticate`` either: a handler that somebody forgot to return takes no mail.
    """
    if inspect.iscoroutine(handler):
        handler.close()
        raise TypeError("a handler factory answers at once: it cannot be async def")
    methods: dict[str, Method] = {}
    kind = type(handler)
    for name in EVENTS:
        method = getattr(handler, name, None)
        if method is None or getattr(method, "__func__", None) is getattr(SmtpEventHandler, name):
            continue
        if not callable(method):
            raise TypeError(f"{kind.__qualname__}.{name} is no method")
        methods[name] = method
    if not (
        methods
        or isinstance(handler, (SmtpEventHandler, _Callbacks))
        or hasattr(handler, "authenticate")
    ):
        raise TypeError(_none_of_the_methods(kind.__qualname__))
    return methods


def _none_of_the_methods(name: str) -> str:
    return f"{name} has none of the methods of ISmtpEventHandler: {', '.join(sorted(EVENTS))}"


def abilities_of(
    handler: object, methods: Mapping[str, Method], *, tls: bool, authentication: bool
) -> Abilities:
    """
    Return what the server may offer on behalf of a handler.

    :raises TypeError: ``command_mask`` is no `Verb`, or ``extensions`` is no set of keywords.
    :raises ValueError: ``extensions`` names one that cannot be left to a handler.
    """
    mask = getattr(handler, "command_mask", Verb(0))
    if not isinstance(mask, Verb):
        raise TypeError(f"command_mask is a Verb, not {type(mask).__name__}")
    extensions = getattr(handler, "extensions", ())
    if isinstance(extensions, str) or not isinstance(extensions, Iterable):
        raise TypeError("extensions is a set of keywords, such as {'DSN'}")
    taken = frozenset(extensions)
    if not taken <= HANDLER_EXTENSIONS:
        unknown = ", ".join(sorted(map(str, taken - HANDLER_EXTENSIONS)))
        known = ", ".join(sorted(HANDLER_EXTENSIONS))
        raise ValueError(f"a handler cannot offer {unknown}; it can offer {known}")
    return Abilities(
        tls=tls,
        authentication=authentication,
        extensions=taken,
        expand="expand" in methods,
        turn="turn" in methods,
        concurrent_recipients=bool(getattr(handler, "concurrent_recipients", False)),
        asks=frozenset(methods),
        command_mask=mask if "command" in methods else None,
    )


@implementer(ISmtpHandlerFactory)
class _OnePerConnection:
    """A class: an instance of its own for each connection, so state lives in ``self``."""

    def __init__(self, kind: type) -> None:
        _check_methods(kind, kind.__qualname__)
        self._kind = kind
        try:
            signature = inspect.signature(kind)
        except ValueError:  # a class written in C says nothing of its arguments
            self._takes_connection = False
        else:
            # An argument that can be left out, and is called otherwise, is for somebody else.
            self._takes_connection = not _accepts(signature, 0) or _is_named_connection(signature)
            if self._takes_connection and not _accepts(signature, 1):
                raise TypeError(
                    f"{kind.__qualname__} must be callable with the connection, or with nothing"
                )

    def __call__(self, connection: Connection) -> object:
        return self._kind(connection) if self._takes_connection else self._kind()


@implementer(ISmtpHandlerFactory)
class _OneForAll:
    """An instance, shared by all connections."""

    def __init__(self, handler: object) -> None:
        _check_methods(handler, type(handler).__qualname__)
        self._handler = handler

    def __call__(self, connection: Connection) -> object:
        return self._handler


def handler_factory(handler: object) -> Callable[[Connection], object]:
    """
    Adapt whatever an application gives to `ISmtpHandlerFactory`.

    :param handler: what provides or is adaptable to `ISmtpHandlerFactory`; a class, called once
        per connection; or an object with some of the methods of `ISmtpEventHandler`, or adaptable
        to it, shared by all.
    :raises TypeError: it is nothing of the kind, or one of its methods cannot be called with the
        arguments it will get; the text says which.
    :raises ValueError: ``extensions`` names one that cannot be left to a handler.
    """
    if isinstance(handler, type) and not ISmtpHandlerFactory.providedBy(handler):
        return _OnePerConnection(handler)
    factory: Any = ISmtpHandlerFactory(handler, None)
    if factory is not None:
        return factory  # type: ignore[no-any-return]  # an interface says nothing to mypy here
    return _OneForAll(ISmtpEventHandler(handler, handler))


def _accepts(signature: inspect.Signature, arguments: int) -> bool:
    try:
        signature.bind(*[None] * arguments)
    except TypeError:
        return False
    return True


def _is_named_connection(signature: inspect.Signature) -> bool:
    first = next(iter(signature.parameters.values()), None)
    return first is not None and first.name == "connection" and _accepts(signature, 1)


def _check_methods(handler: object, name: str) -> None:
    """Find out now, and not from the first client, that a method cannot be called."""
    found = hasattr(handler, "authenticate")
    for event, arguments in EVENTS.items():
        method = getattr(handler, event, None)
        if method is None:
            continue
        found = True
        if not callable(method):
            raise TypeError(f"{name}.{event} is no method")
        try:
            signature = inspect.signature(method)
        except ValueError:
            continue
        static = inspect.getattr_static(handler, event, None)
        unbound = isinstance(handler, type) and inspect.isfunction(static)
        if isinstance(handler, type) and not isinstance(
            static, (FunctionType, staticmethod, classmethod)
        ):
            continue  # how it is called, only an instance knows (a cache, a partial method)
        if not _accepts(signature, arguments + unbound):
            wanted = ", ".join(ISmtpEventHandler[event].positional)
            raise TypeError(f"{name}.{event} must be callable as {event}({wanted})")
    if not found:
        raise TypeError(_none_of_the_methods(name))
    declared = [inspect.getattr_static(handler, attribute, None) for attribute in DECLARATIONS]
    if not any(hasattr(type(one), "__get__") for one in declared):  # a property says it later
        abilities_of(handler, {}, tls=False, authentication=False)


class _Callbacks:
    """A handler made of functions."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self.__dict__.update(given)

    def __repr__(self) -> str:
        return f"callbacks({', '.join(sorted(self.__dict__))})"


def callbacks(**functions: object) -> object:
    """
    Make a handler, shared by all connections, of functions named as in `ISmtpEventHandler`.

    ``callbacks(rcpt=f, message=g)``; ``authenticate``, ``command_mask``, ``extensions`` and
    ``concurrent_recipients`` may be given as well.

    :raises TypeError: there is no such event, or a function cannot be called as it would be.
    """
    also = {"authenticate", *DECLARATIONS}
    for name in functions:
        if name not in EVENTS and name not in also:
            raise TypeError(f"there is no event {name!r}; there are {', '.join(sorted(EVENTS))}")
    handler = _Callbacks(functions)
    _check_methods(handler, "callbacks")
    return handler


@implementer(ISmtpHandlerFactory)
class threaded:  # noqa: N801 - used like a function: threaded(Inbox)
    """
    A handler whose methods may block: they run in threads, one at a time per connection.

    The handler itself is made in the reactor's thread.  Cancelling an answer ends the waiting,
    not the thread; the next call of that connection waits until the thread is free.

    :param handler: whatever `handler_factory` takes.
    :param threads: at most so many calls at once, over all connections.
    :param reactor: the reactor of the server; by default the one that is installed when the
        first client connects.
    """

    def __init__(self, handler: object, *, threads: int = 10, reactor: Any = None) -> None:
        self._factory = handler_factory(handler)
        self._threads = threads
        self._pool: ThreadPool | None = None
        self._reactor = reactor
        self._stop_trigger: Any = None

    def __call__(self, connection: Connection) -> object:
        """Return a handler that calls another one in threads."""
        pool = self._start()
        handler = self._factory(connection)
        proxy = _Callbacks({})
        lock = DeferredLock()
        methods = methods_of(handler)
        if callable(authenticate := getattr(handler, "authenticate", None)):
            methods["authenticate"] = authenticate
        for name, method in methods.items():
            setattr(proxy, name, self._in_thread(pool, lock, method))
        for name in DECLARATIONS:
            if hasattr(handler, name):
                setattr(proxy, name, getattr(handler, name))
        return proxy

    def _start(self) -> ThreadPool:
        if self._pool is None:
            if self._reactor is None:
                from twisted.internet import reactor

                self._reactor = reactor
            self._pool = ThreadPool(0, self._threads, "smtpcb-handler")
            # A call that never returns must not keep the process from ending.
            # Typed as the class itself, and any callable will do.
            self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
            self._pool.start()
            self._stop_trigger = self._reactor.addSystemEventTrigger(
                "during", "shutdown", self._stop_for_a_while, self._pool
            )
        return self._pool

    def stop(self) -> None:
        """End the threads, waiting a while for what they do; the end of the reactor does it too."""
        pool, self._pool = self._pool, None
        if pool is not None:
            self._reactor.removeSystemEventTrigger(self._stop_trigger)
            self._stop_for_a_while(pool)

    @staticmethod
    def _stop_for_a_while(pool: ThreadPool) -> None:
        """End the threads; one that does not end is left behind."""
        stopping = Thread(target=pool.stop, daemon=True)
        stopping.start()
        stopping.join(STOP_SECONDS)

    def _in_thread(self, pool: ThreadPool, lock: DeferredLock, method: Method) -> Method:
        def call(*arguments: object) -> Deferred[object]:
            # Without a canceller: cancelling it fails it at once, and what comes later is dropped.
            answer: Deferred[object] = Deferred()

            def run() -> Deferred[object] | None:
                if answer.called:
                    return None  # cancelled before its turn came
                if pool.joined:
                    raise RuntimeError("the threads of this handler have been stopped")
                return deferToThreadPool(self._reactor, pool, _plain_call, method, *arguments)

            def hand_over(result: object) -> None:
                if not answer.called:
                    answer.callback(result)
                elif isinstance(result, Authenticated) and result.release is not None:
                    result.release()

            lock.run(run).addBoth(hand_over)
            return answer

        return call


def _plain_call(method: Method, *arguments: object) -> object:
    result = method(*arguments)
    if isinstance(result, Awaitable):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError("a threaded handler answers by itself: neither async def nor a Deferred")
    return result


class IAuthenticatedUser(Interface):
    """What a `twisted.cred.portal.Portal` is asked for; its avatar becomes the identity."""


@implementer(IAuthenticator)
class _CheckerAuthenticator:
    """A twisted.cred checker: the avatar's id becomes the identity."""

    def __init__(self, checker: Any) -> None:
        self._checker = checker

    def authenticate(self, credentials: Credentials) -> AuthenticationVerdict:
        if not _for_themselves(credentials):
            return False
        asked: Deferred[Any] = maybeDeferred(self._checker.requestAvatarId, _cred(credentials))
        return asked.addCallbacks(_vouched, _unauthorized)


@implementer(IAuthenticator)
class _PortalAuthenticator:
    """A twisted.cred portal, whose realm gives avatars for `IAuthenticatedUser`."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def authenticate(self, credentials: Credentials) -> AuthenticationVerdict:
        if not _for_themselves(credentials):
            return False
        asked: Deferred[Any] = maybeDeferred(
            self._portal.login, _cred(credentials), None, IAuthenticatedUser
        )
        return asked.addCallbacks(
            lambda found: Authenticated(found[1], release=found[2]), _unauthorized
        )


def _for_themselves(credentials: Credentials) -> bool:
    """Whether nobody else is to be acted for, which twisted.cred cannot decide (RFC 4616 §2)."""
    return credentials.authorization_id in ("", credentials.username)


def _cred(credentials: Credentials) -> UsernamePassword:
    return UsernamePassword(credentials.username.encode(), credentials.password.encode())


def _vouched(avatar_id: object) -> Authenticated | bool:
    if isinstance(avatar_id, bytes):
        avatar_id = avatar_id.decode("utf-8", "backslashreplace")
    # twisted.cred's ANONYMOUS is the empty tuple: nobody, who may not log in by a name.
    return Authenticated(avatar_id) if avatar_id not in ((), None) else False


def _unauthorized(failure: Any) -> bool:
    failure.trap(UnauthorizedLogin, LoginFailed)
    return False


def authenticator(given: object) -> Callable[[Credentials], object]:
    """
    Adapt whatever knows passwords.

    :param given: what has ``authenticate(credentials)``, a `twisted.cred` checker of
        `IUsernamePassword`, or a `Portal` whose realm knows `IAuthenticatedUser`.
    :return: its ``authenticate``.
    :raises TypeError: it is nothing of the kind.
    """
    if isinstance(given, Portal):
        return _PortalAuthenticator(given).authenticate
    if ICredentialsChecker.providedBy(given):
        interfaces = given.credentialInterfaces
        if not any(interface.implementedBy(UsernamePassword) for interface in interfaces):
            raise TypeError(f"{type(given).__qualname__} cannot check a name and a password")
        return _CheckerAuthenticator(given).authenticate
    adapted: Any = IAuthenticator(given, given)
    method = getattr(adapted, "authenticate", None)
    if not callable(method):
        raise TypeError(f"{type(given).__qualname__} has no method authenticate(credentials)")
    return method  # type: ignore[no-any-return]  # looked up by name
