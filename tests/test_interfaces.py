"""What objects may provide: interface, engine, base class and callbacks say the same."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest
from zope.interface import implementer
from zope.interface.exceptions import Invalid
from zope.interface.interface import Method
from zope.interface.verify import verifyClass, verifyObject

import smtpcb
from smtpcb import interfaces
from smtpcb.engine._handler import DECLARATIONS, EVENTS
from smtpcb.engine._questions import KINDS
from smtpcb.handling import SmtpEventHandler, callbacks
from smtpcb.interfaces import IAuthenticator, ISmtpEventHandler


def own_docstring(text: str | None) -> str:
    return inspect.cleandoc(text or "")


def test_the_events_are_those_of_the_engine() -> None:
    """Name by name and argument by argument, in the order of a connection."""
    methods = {
        name: tuple(description.positional)
        for name, description in ISmtpEventHandler.namesAndDescriptions()
        if isinstance(description, Method)
    }
    assert methods == dict(EVENTS)
    assert sorted({*EVENTS, *DECLARATIONS}) == sorted(ISmtpEventHandler.names())
    source = inspect.getsource(interfaces)
    assert list(EVENTS) == sorted(EVENTS, key=lambda name: source.index(f"    def {name}("))


def test_each_question_of_the_dialogue_is_a_method() -> None:
    """What the dialogue asks is what a handler may answer."""
    assert {kind.method for kind in KINDS} <= set(EVENTS)


@pytest.mark.parametrize("name", EVENTS)
def test_the_base_class_says_the_same_as_the_interface(name: str) -> None:
    """An editor that shows the method of the base class shows all that is to be known."""
    method = getattr(SmtpEventHandler, name)
    described = ISmtpEventHandler[name]
    assert own_docstring(method.__doc__) == own_docstring(described.getDoc())
    assert tuple(inspect.signature(method).parameters) == ("self", *EVENTS[name])
    hints = typing.get_type_hints(method)
    assert set(hints) == {*EVENTS[name], "return"}
    assert method.absent


def test_every_method_says_what_it_is_for() -> None:
    """An interface can be implemented from its docstrings alone."""
    for name in EVENTS:
        text = own_docstring(ISmtpEventHandler[name].getDoc())
        assert ":return:" in text, name
        for argument in EVENTS[name]:
            if argument not in ("connection", "envelope"):
                assert f":param {argument}:" in text, (name, argument)
    for name in DECLARATIONS:
        assert own_docstring(ISmtpEventHandler[name].getDoc())


def test_callbacks_take_what_the_interface_has() -> None:
    """Each with its type, so that type checkers and editors know them."""
    parameters = inspect.signature(callbacks).parameters
    assert list(parameters) == [*EVENTS, *DECLARATIONS]
    for name, arguments in EVENTS.items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        taken = parameters[name].annotation.partition("[[")[2].partition("]")[0]
        assert len(taken.split(", ")) == len(arguments), name


def test_the_base_class_provides_the_interface() -> None:
    """SmtpEventHandler is ISmtpEventHandler for users of plain type checkers."""
    assert verifyClass(ISmtpEventHandler, SmtpEventHandler)
    assert verifyObject(ISmtpEventHandler, SmtpEventHandler())
    for name, arguments in EVENTS.items():
        answer = getattr(SmtpEventHandler(), name)(*arguments)
        assert answer is (False if name == "authenticate" else None)


def test_an_explicit_provider_is_verified() -> None:
    """@implementer(ISmtpEventHandler) passes verifyObject, and a forgotten argument does not."""

    def method(name: str, arguments: tuple[str, ...]) -> Any:
        namespace: dict[str, Any] = {}
        exec(f"def {name}({', '.join(('self', *arguments))}): pass", namespace)
        return namespace[name]

    body: dict[str, Any] = {name: method(name, arguments) for name, arguments in EVENTS.items()}
    for attribute in DECLARATIONS:
        body[attribute] = getattr(SmtpEventHandler, attribute)
    good = implementer(ISmtpEventHandler)(type("Good", (), dict(body)))
    assert verifyObject(ISmtpEventHandler, good())
    body["rcpt"] = method("rcpt", ("recipient",))
    bad = implementer(ISmtpEventHandler)(type("Bad", (), dict(body)))
    with pytest.raises(Invalid, match="rcpt"):
        verifyObject(ISmtpEventHandler, bad())


def test_an_authenticator_is_asked_as_a_handler_is() -> None:
    """One method, the same arguments."""
    assert tuple(IAuthenticator["authenticate"].positional) == EVENTS["authenticate"]


def test_what_a_server_needs_is_exported() -> None:
    """One import is enough for a typed handler: events, what they bring, what may be answered."""
    for name in (
        *("SmtpEventHandler", "Envelope", "Recipient", "Connection", "Content", "Introduction"),
        *("MailParameters", "RcptParameters", "Verdict", "Done", "AuthenticationVerdict"),
        *("Budget", "Reason", "Refusal", "Reply", "Observer", "Extension", "Limits", "Settings"),
        *("ServerTls", "TranscriptFolder", "TranscriptSettings", "callbacks", "threaded"),
    ):
        assert getattr(smtpcb, name) is not None
        assert name in smtpcb.__all__
    with pytest.raises(AttributeError, match="no attribute 'Verdikt'"):
        smtpcb.Verdikt  # noqa: B018 - looking for it is what fails
    assert smtpcb.Verdict == interfaces.Verdict
    assert set(smtpcb.__all__) <= set(dir(smtpcb))
