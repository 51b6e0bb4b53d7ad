"""What a dialogue knows of its handler; and what is no handler."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._handler import EVENTS, Authenticator, absent, name_of, understand
from smtpcb.engine._plain import Driver
from smtpcb.engine._settings import Settings
from smtpcb.smtp._command import Verb

from .scripts import Does, returns


def test_what_a_handler_has_methods_for_can_be_offered() -> None:
    """And nothing else."""

    class Able(Does):
        extensions = ("DSN",)
        command_mask = Verb.MAIL
        concurrent_recipients = True

        def authenticate(self, credentials: object, connection: object) -> None: ...

        expand = etrn = command = authenticate

    able = understand(Able(), tls=True).abilities
    assert (able.tls, able.authentication, able.expand, able.etrn) == (True, True, True, True)
    assert (able.extensions, able.command_mask) == (frozenset({"DSN"}), Verb.MAIL)
    assert able.concurrent_recipients
    unable = understand(Does()).abilities
    assert (unable.tls, unable.authentication, unable.expand, unable.etrn) == (False,) * 4
    assert (unable.extensions, unable.command_mask) == (frozenset(), None)
    assert not unable.concurrent_recipients


@pytest.mark.parametrize("extensions", ["DSN", 5, None])
def test_extensions_are_several_keywords(extensions: object) -> None:
    """One in a string would be taken for its letters."""
    with pytest.raises(TypeError, match="extensions is a set of keywords"):
        understand(Does(extensions=extensions))


def test_somebody_else_may_decide_on_logins() -> None:
    """In place of the handler's own method."""
    given = Does(authenticate=returns(False), stored_secret=returns("other"))
    handler = understand(given, login=Authenticator(returns(True)))
    assert handler.methods["authenticate"](None, None) is True
    assert "stored_secret" not in handler.methods
    assert handler.abilities.authentication
    assert handler.abilities.mechanisms == {"PLAIN", "LOGIN"}
    keeper = Authenticator(returns(True), returns("secret"), frozenset({"CRAM-MD5"}))
    handler = understand(given, login=keeper)
    assert handler.methods["stored_secret"](None, None, None) == "secret"
    assert handler.abilities.mechanisms == {"CRAM-MD5"}


@pytest.mark.parametrize(
    ("said", "mechanisms"),
    [
        ({}, {"PLAIN", "LOGIN"}),
        ({"mechanisms": None}, {"PLAIN", "LOGIN"}),
        ({"mechanisms": ["plain", "XOAUTH2"]}, {"PLAIN", "XOAUTH2"}),
        ({"mechanisms": ()}, set()),
        (
            {"stored_secret": returns(None)},
            {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"},
        ),
        (
            {"stored_secret": returns(None), "mechanisms": {"SCRAM-SHA-256"}},
            {"SCRAM-SHA-256"},
        ),
    ],
)
def test_a_handler_says_by_which_mechanisms_it_can_decide(
    said: dict[str, Any], mechanisms: set[str]
) -> None:
    """What needs a password only, and with stored secrets what needs them; the rest by name."""
    handler = understand(Does(authenticate=returns(False), **said))
    assert handler.abilities.mechanisms == mechanisms


@pytest.mark.parametrize(
    ("said", "kind", "complaint"),
    [
        ("PLAIN", TypeError, "some names, such as"),
        (7, TypeError, "some names, such as"),
        (["XOAUTH"], ValueError, "there is no XOAUTH; there are SCRAM"),
        (["CRAM-MD5"], ValueError, "CRAM-MD5 needs stored_secret"),
    ],
)
def test_a_mechanism_that_it_cannot_decide_on_is_told_at_the_start(
    said: object, kind: type[Exception], complaint: str
) -> None:
    """And not by the first login."""
    with pytest.raises(kind, match=complaint):
        understand(Does(authenticate=returns(False), mechanisms=said))


@pytest.mark.parametrize(
    ("methods", "keeps", "reads", "only"),
    [
        (("message",), True, False, True),
        (("message", "header"), True, True, False),
        (("chunk",), False, False, False),
        (("chunk", "message"), False, False, False),
        (("chunk", "header"), False, True, False),
        ((), False, False, False),
    ],
)
def test_content_is_kept_for_whoever_takes_it_whole(
    methods: tuple[str, ...], keeps: bool, reads: bool, only: bool
) -> None:
    """Who takes it as it comes has it already."""
    handler = understand(Does(**{name: returns(None) for name in methods}))
    assert (handler.keeps_content, handler.reads_headers, handler.only_keeps) == (
        keeps,
        reads,
        only,
    )
    assert set(handler.methods) == set(methods)


@pytest.mark.parametrize("methods", [{}, {"rcpt": returns(None)}, {"mesage": returns(None)}])
def test_a_handler_that_takes_no_mail_does_not_start(methods: dict[str, Any]) -> None:
    """It would say 250 and drop the message, unless it says by name that this is meant."""
    handler = type("Forgetful", (), {name: staticmethod(one) for name, one in methods.items()})()
    with pytest.raises(TypeError, match="Forgetful has neither message") as caught:
        Driver(handler, Settings(), Connection("x"))
    assert "\n" not in str(caught.value)
    handler.discards_content = True
    Driver(handler, Settings(), Connection("x"))


@pytest.mark.parametrize(
    ("attributes", "error", "complaint"),
    [
        ({"rcpt": 5}, TypeError, "rcpt is no method"),
        ({"message": "yes"}, TypeError, "message is no method"),
        ({"command_mask": 3}, TypeError, "command_mask is a Verb, not int"),
        ({"extensions": "DSN"}, TypeError, "extensions is a set of keywords"),
        ({"extensions": 5}, TypeError, "extensions is a set of keywords"),
        (
            {"extensions": ["SIZE"]},
            ValueError,
            "a handler cannot honour SIZE; there are BINARYMIME, DELIVERBY, DSN, F",
        ),
        ({"extensions": ["dsn"]}, ValueError, r"honour dsn; did you mean DSN\?"),
        ({"extensions": ["REQURETLS"]}, ValueError, r"did you mean REQUIRETLS\?"),
    ],
)
def test_what_is_no_handler_is_refused(
    attributes: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    """When it is made known, and not when the first client comes."""
    with pytest.raises(error, match=complaint):
        understand(Does(**attributes))


def test_a_handler_may_honour_what_settings_name() -> None:
    """An extension of one's own that the handler has to honour."""
    assert understand(Does(extensions={"XONE"}), own=frozenset({"XONE"})).abilities.extensions


def test_a_factory_is_no_coroutine() -> None:
    """A handler is there at once; its methods may wait."""

    async def factory() -> None: ...

    with pytest.raises(TypeError, match="cannot be async def"):
        understand(factory())


def test_a_method_that_is_only_inherited_is_not_there() -> None:
    """A base class may describe all of them without having any."""

    class Base:
        discards_content = True

        @absent
        def rcpt(self, recipient: object, envelope: object) -> None:
            """Describe it."""

        @absent
        def verify(self, text: str, connection: object) -> None:
            """Describe it."""

    class Derived(Base):
        def rcpt(self, recipient: object, envelope: object) -> None: ...

    assert set(understand(Derived()).methods) == {"rcpt"}


def test_a_handler_has_a_name_for_logs() -> None:
    """Its class's, its own, or that of the class itself."""

    def function() -> None: ...

    assert name_of(Does()) == "Does"
    assert name_of(Does) == "Does"
    assert name_of(function) == "function"


def test_the_last_argument_says_whose_an_event_is() -> None:
    """The connection's, or the transaction's."""
    assert {arguments[-1] for arguments in EVENTS.values()} == {"connection", "envelope"}


@pytest.mark.parametrize("name", [property(lambda self: 1 / 0), 7, None, ""])
def test_a_handler_without_a_name_is_called_by_its_class(name: Any) -> None:
    """Whatever it says of itself: logs and errors must not fail over it."""
    kind = type("Inbox", (), {"__name__": name})
    assert name_of(kind()) == name_of(kind) == "Inbox"
