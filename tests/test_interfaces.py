"""What objects may provide: declarations agree with the base class and with each other."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from zope.interface import implementer
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyClass, verifyObject

from smtpcb.engine import _questions as events
from smtpcb.handling._factories import DECLARATIONS, EVENTS, SmtpEventHandler
from smtpcb.interfaces import IAuthenticator, ISmtpEventHandler

# In the order of a connection.
TABLE = (
    *("connected", "command", "hello", "secured", "mail", "rcpt", "data", "header", "chunk"),
    *("message", "verify", "expand", "help", "turn", "aborted", "disconnected"),
)


def test_the_events_of_the_table_and_no_others() -> None:
    """The methods are those of the design's table, with the documented attributes."""
    assert sorted(EVENTS) == sorted(TABLE)
    assert sorted({*TABLE, *DECLARATIONS}) == sorted(ISmtpEventHandler.names())


def test_each_event_of_the_dialogue_is_a_method() -> None:
    """What the dialogue asks is what a handler may answer, with the same arguments."""
    kinds: list[Any] = [events.Event]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    for kind in kinds:
        name = getattr(kind, "method", None)
        if name is not None and name != "authenticate" and kind is not events.StartTls:
            assert len(kind.given) == EVENTS[name]
    assert events.Authenticate.method in IAuthenticator.names()


def test_the_base_class_provides_the_interface() -> None:
    """SmtpEventHandler is ISmtpEventHandler for users of plain type checkers."""
    assert verifyClass(ISmtpEventHandler, SmtpEventHandler)
    assert verifyObject(ISmtpEventHandler, SmtpEventHandler())
    for name in EVENTS:
        given = [object()] * EVENTS[name]
        assert getattr(SmtpEventHandler(), name)(*given) is None


def test_an_explicit_provider_is_verified() -> None:
    """@implementer(ISmtpEventHandler) passes verifyObject, and a forgotten argument does not."""

    def method(name: str, arguments: list[str]) -> Any:
        parameters = [
            inspect.Parameter(argument, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            for argument in ["self", *arguments]
        ]

        def call(*given: Any) -> None:
            return None

        namespace: dict[str, Any] = {}
        source = f"def {name}({', '.join(p.name for p in parameters)}): pass"
        exec(source, namespace)
        return namespace[name]

    body: dict[str, Any] = {
        name: method(name, list(ISmtpEventHandler[name].positional)) for name in EVENTS
    }
    for attribute in DECLARATIONS:
        body[attribute] = getattr(SmtpEventHandler, attribute)
    good = implementer(ISmtpEventHandler)(type("Good", (), dict(body)))
    assert verifyObject(ISmtpEventHandler, good())
    body["rcpt"] = method("rcpt", ["forward_path"])
    bad = implementer(ISmtpEventHandler)(type("Bad", (), dict(body)))
    with pytest.raises(Invalid, match="rcpt"):
        verifyObject(ISmtpEventHandler, bad())


def test_every_method_says_what_it_is_for() -> None:
    """An interface can be implemented from its docstring alone."""
    for name in EVENTS:
        assert ISmtpEventHandler[name].getDoc()
