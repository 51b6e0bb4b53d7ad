"""Classes, instances, functions, factories: all of them become handlers."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.python.components import registerAdapter
from zope.interface import implementer, provider

from smtpcb.engine._connection import Connection
from smtpcb.engine._handler import methods_of, understand
from smtpcb.handling import SmtpEventHandler, callbacks, check, handler_factory
from smtpcb.interfaces import ISmtpEventHandler, ISmtpHandlerFactory

HERE = Connection("test")


class Inbox:
    def message(self, envelope: Any) -> None: ...


class Session(Inbox):
    def __init__(self, db: object, connection: Connection) -> None:
        self.db = db
        self.connection = connection


def test_a_class_is_called_once_per_connection() -> None:
    """State lives in self; the connection is given to who takes it."""

    class With(Inbox):
        def __init__(self, connection: Connection) -> None:
            self.connection = connection

    one, two = handler_factory(Inbox)(HERE), handler_factory(Inbox)(HERE)
    assert isinstance(one, Inbox)
    assert one is not two
    made: Any = handler_factory(With)(HERE)
    assert made.connection is HERE


def test_an_instance_is_shared() -> None:
    """All connections call the same object."""
    handler = Inbox()
    factory = handler_factory(handler)
    assert factory(HERE) is handler
    assert factory(Connection("other")) is handler


def test_a_namespace_of_functions_is_an_instance() -> None:
    """Whatever has the methods, a module too."""
    handler = SimpleNamespace(message=lambda envelope: None)
    assert handler_factory(handler)(HERE) is handler


@pytest.mark.parametrize(
    "make",
    [
        lambda: Inbox(),
        lambda connection: Session(1, connection),
        lambda *, connection: Session(1, connection),
        lambda connection, /: Session(1, connection),
        lambda other=None, connection=None: Session(other, connection),
        functools.partial(Session, 1),
        functools.partial(Session, db=1),
        functools.partial(Session, 1, connection=HERE),
    ],
)
def test_any_callable_is_a_factory(make: Any) -> None:
    """The connection goes to the parameter of that name, wherever it stands."""
    assert check(make) == []
    made: Any = handler_factory(make)(HERE)
    assert isinstance(made, Inbox)
    if isinstance(made, Session):
        assert made.connection is HERE


def test_what_can_be_called_and_is_no_function() -> None:
    """An object with __call__ makes handlers, unless it is one."""

    class Makes:
        def __call__(self, connection: Connection) -> object:
            return Session(None, connection)

    class Both(Inbox):
        def __call__(self) -> object:
            raise AssertionError

    made: Any = handler_factory(Makes())(HERE)
    assert made.connection is HERE
    both = Both()
    assert handler_factory(both)(HERE) is both


def test_an_argument_of_another_name_is_never_the_connection() -> None:
    """One with a default is for whoever makes instances by hand."""

    class Plain(Inbox):
        def __init__(self, store: object = None, **others: object) -> None:
            self.store = store

    class Asking(Inbox):
        def __init__(self, connection: object = None) -> None:
            self.connection = connection

    plain: Any = handler_factory(Plain)(HERE)
    asking: Any = handler_factory(Asking)(HERE)
    assert plain.store is None
    assert asking.connection is HERE


@pytest.mark.parametrize("make", [Session, lambda c: Inbox(), lambda connection, db: Inbox()])
def test_what_nobody_gives_is_told_at_once(make: Any) -> None:
    """A required argument that is not the connection is an error at the start, with a way out."""
    with pytest.raises(TypeError, match=r"nothing for '(db|c)'; functools.partial can"):
        handler_factory(make)


def test_a_factory_answers_at_once() -> None:
    """It cannot be async def."""

    async def make(connection: Connection) -> object:
        return Inbox()

    class Later:
        async def __call__(self, connection: Connection) -> object:
            return Inbox()

    for wrong in (make, Later(), functools.partial(make)):
        with pytest.raises(TypeError, match="cannot be async def"):
            handler_factory(wrong)


def test_a_class_without_a_signature() -> None:
    """A class written in C is called with nothing."""

    class Mapping(dict):
        def message(self, envelope: Any) -> None: ...

    assert handler_factory(Mapping)(HERE) == {}


def test_a_factory_declares_itself() -> None:
    """@provider, @implementer or an adapter: all that zope.interface knows."""

    @provider(ISmtpHandlerFactory)
    def make(connection: Connection) -> object:
        return Inbox()

    assert handler_factory(make) is make

    @implementer(ISmtpHandlerFactory)
    class Factory:
        def __call__(self, connection: Connection) -> object:
            return Inbox()

    factory = Factory()
    assert handler_factory(factory) is factory

    class Adaptable:
        def __conform__(self, interface: Any) -> object:
            return factory if interface is ISmtpHandlerFactory else None

    assert handler_factory(Adaptable()) is factory

    @provider(ISmtpHandlerFactory)
    class Itself:
        def __new__(cls, connection: Connection) -> Any:
            return Inbox()

    assert handler_factory(Itself) is Itself


def test_what_adapts_to_a_handler_is_one() -> None:
    """By __conform__ or a registered adapter: an instance, a class, what a factory makes."""

    class Conforms:
        def __conform__(self, interface: Any) -> object:
            return Inbox() if interface is ISmtpEventHandler else None

    class Mailbox:
        pass

    class MailboxHandler(SmtpEventHandler):
        def __init__(self, mailbox: Mailbox) -> None:
            self.mailbox = mailbox

        def message(self, envelope: Any) -> None: ...

    registerAdapter(MailboxHandler, Mailbox, ISmtpEventHandler)
    for kind, expected in ((Conforms, Inbox), (Mailbox, MailboxHandler)):
        for given in (kind(), kind, lambda kind=kind: kind()):
            assert isinstance(handler_factory(given)(HERE), expected)
            assert check(given) == []


def test_what_is_not_overridden_is_absent() -> None:
    """The default of chunk in the base class does not make a handler stream."""

    class Mine(SmtpEventHandler):
        def message(self, envelope: Any) -> None: ...

    found = understand(handler_factory(Mine)(HERE))
    assert sorted(found.methods) == ["message"]
    assert found.keeps_content
    assert not found.abilities.expand
    assert not found.abilities.authentication


def test_a_method_set_on_an_instance_counts() -> None:
    """Also where the base class has one of that name."""
    handler: Any = SmtpEventHandler()
    handler.message = lambda envelope: None
    assert sorted(methods_of(handler_factory(handler)(HERE))) == ["message"]


def test_functions_become_a_handler() -> None:
    """callbacks(rcpt=f, message=g), and what a handler says of itself."""
    handler = callbacks(
        rcpt=lambda recipient, envelope: None,
        message=lambda envelope: None,
        authenticate=lambda credentials, connection: True,
        concurrent_recipients=True,
        extensions={"DSN"},
    )
    found = understand(handler_factory(handler)(HERE))
    assert sorted(found.methods) == ["authenticate", "message", "rcpt"]
    assert found.abilities.concurrent_recipients
    assert found.abilities.extensions == {"DSN"}
    assert repr(handler).startswith("callbacks(authenticate")
    assert check(handler) == []


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"rctp": print}, r"no event 'rctp'; did you mean rcpt\?"),
        ({"recipient": print}, "did you mean rcpt"),
        ({"handle_DATA": print}, "did you mean message or data"),
        ({"extension": {"DSN"}}, "did you mean extensions"),
        ({"handle_exception": print}, "there is no event 'handle_exception'; there are connected"),
        ({"weather": print}, "there are connected, secured"),
        ({"rcpt": lambda recipient: None}, r"cannot be called as rcpt\(recipient, envelope\)"),
        ({"rcpt": 3}, "rcpt is no method"),
        ({"message": None}, "neither message"),
    ],
)
def test_a_callback_that_would_never_be_called(wrong: Any, complaint: str) -> None:
    """A misspelt name is refused with the nearest one, before anything is served."""
    with pytest.raises(TypeError, match=complaint):
        callbacks(**{"message": lambda envelope: None, **wrong})


def test_callbacks_that_throw_mail_away() -> None:
    """Nothing that takes the message: it has to be said."""
    with pytest.raises(TypeError, match="discards_content = True"):
        callbacks()
    assert understand(callbacks(discards_content=True)).methods == {}
