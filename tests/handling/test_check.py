"""What is wrong with a handler is told when the server starts, and not by its first client."""

from __future__ import annotations

import asyncio
import functools
import sys
import types
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from twisted.application.service import Service
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from zope.interface import implementer

from smtpcb.engine._connection import Connection
from smtpcb.handling import SmtpEventHandler, callbacks, check, handler_factory, threaded
from smtpcb.handling._names import distance, meant
from smtpcb.interfaces import IReadyMadeHandler, ISmtpEventHandler
from smtpcb.smtp._command import Verb
from smtpcb.smtp._errors import Refusal


def takes(self: Any, envelope: Any) -> None:
    """Take a message."""


def anything(self: Any, *arguments: Any) -> None:
    """Be called with whatever comes."""


def handler(**members: Any) -> type:
    """Make a class of a handler that takes mail."""
    return type("Inbox", (), {"message": takes, **members})


# Mail that would be lost.


@pytest.mark.parametrize(
    "given",
    [
        type("Inbox", (), {}),
        type("Inbox", (), {"rcpt": anything}),
        type("Inbox", (), {"rcpt": anything, "discards_content": False}),
        type("Inbox", (SmtpEventHandler,), {}),
        type("Inbox", (), {"rcpt": anything})(),
        lambda: type("Inbox", (), {"rcpt": anything})(),
        *(42, None, "inbox.Inbox", object(), object, b"", [], {}),
    ],
)
def test_a_handler_that_takes_no_message_does_not_start(given: Any) -> None:
    """Every message would get 250 and be dropped."""
    with pytest.raises(TypeError, match=r"message\(envelope\)"):
        check(given)


def test_who_throws_mail_away_says_so() -> None:
    """By name, in a class, an instance or the base class's attribute."""
    assert check(type("Sink", (), {"discards_content": True})) == []
    assert check(SimpleNamespace(discards_content=True)) == []
    assert check(type("Sink", (SmtpEventHandler,), {"discards_content": True})) == []
    with pytest.raises(TypeError, match="discards_content is True or False, not str"):
        check(handler(discards_content="no"))


@pytest.mark.parametrize("name", ["message", "chunk"])
def test_either_takes_the_message(name: str) -> None:
    """Whole, or as it comes."""
    assert check(type("Inbox", (), {name: anything})) == []


# Names.


@pytest.mark.parametrize(
    ("name", "right"),
    [
        *(("recpt", "rcpt"), ("rctp", "rcpt"), ("rcp", "rcpt"), ("recipient", "rcpt")),
        *(("maill", "mail"), ("dta", "data"), ("hullo", "hello"), ("heder", "header")),
        *(("disconected", "disconnected"), ("conected", "connected"), ("abborted", "aborted")),
        *(("authentciate", "authenticate"), ("headers", "header"), ("chunck", "chunk")),
        *(("handle_RCPT", "rcpt"), ("handle_DATA", "message"), ("handle_EHLO", "hello")),
        *(("on_data", "data"), ("onRcptTo", "rcpt"), ("onData", "data"), ("onMailFrom", "mail")),
        *(("rcpt_to", "rcpt"), ("mail_from", "mail"), ("smtp_RCPT", "rcpt"), ("do_MAIL", "mail")),
        *(("validateTo", "rcpt"), ("validateFrom", "mail")),
        *(("eomReceived", "message"), ("Mail", "mail"), ("Rcpt", "rcpt"), ("Data", "message")),
        *(("hook_rcpt", "rcpt"), ("on_DATA_received", "data"), ("hook_data_post", "data")),
        *(("turn", "etrn"), ("login", "authenticate"), ("auth", "authenticate")),
        *(("closed", "disconnected"), ("on_disconnect", "disconnected"), ("RCPT", "rcpt")),
        *(("connectionLost", "disconnected"), ("onAuth", "authenticate"), ("ehlo", "hello")),
        *(("client_connection", "connected"), ("receive_ehlo_domain", "hello")),
        *(("start_tls", "secured"), ("cb_mailfrom", "mail"), ("cb_rcptto", "rcpt")),
        *(("Reset", "aborted"), ("Logout", "disconnected")),
    ],
)
def test_a_name_that_was_meant_for_an_event_stops_the_start(name: str, right: str) -> None:
    """A slip of the keyboard, or what another library calls it: the right one is named."""
    for given in (handler(**{name: anything}), handler(**{name: anything})()):
        with pytest.raises(TypeError, match=rf"Inbox\.{name} would never be called.*\b{right}\("):
            check(given)


def test_the_one_that_takes_the_message_is_named_too() -> None:
    """Not only that none is there."""
    for name in ("mesage", "messages", "process_message", "on_message", "handle_DATA"):
        with pytest.raises(TypeError, match=rf"{name} would never be called.*message\(envelope\)"):
            check(type("Inbox", (), {name: anything}))


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("handle_exception", "a handler that fails is answered 451"),
        ("max_size", r"Limits\(message_octets="),
        ("get_server_domain", r"Settings\(hostname="),
        ("receivedHeader", r"smtpcb\.received_header\(envelope\)"),
    ],
)
def test_what_no_handler_is_asked_has_its_place_named(name: str, instead: str) -> None:
    """What other libraries ask of it, and ours is told or does otherwise."""
    with pytest.raises(TypeError, match=f"{name} would never be called: .*{instead}"):
        check(handler(**{name: anything}))


def test_data_is_no_misspelt_method() -> None:
    """Lists and dicts, underscores, classes within, properties; on a class or an instance."""

    class Inbox:
        messages: list[object] = []
        headers: dict[str, str] = {}
        recpt = "a text"
        login = property(lambda self: 3)

        class Data:
            pass

        def __init__(self) -> None:
            self.mails: list[object] = []
            self.chunks = SimpleNamespace()
            self.commands = type("Callable", (), {"__call__": anything})()

        def message(self, envelope: Any) -> None: ...

        def _recpt(self, recipient: Any) -> None: ...

        @functools.cached_property
        def hallo(self) -> int:
            return 3

    assert check(Inbox) == []
    assert check(Inbox()) == []


def test_a_helper_is_no_misspelt_method() -> None:
    """One that is used, without an argument, beside its event, or with a name of its own."""

    class Inbox:
        def message(self, envelope: Any) -> Any:
            for recipient in envelope.recipients:
                self.validate_recipient(recipient)
            return [lambda: self.login(envelope)]

        def validate_recipient(self, recipient: Any) -> None:
            self.handle_RCPT(recipient)

        def login(self, user: Any) -> None: ...

        def handle_RCPT(self, recipient: Any) -> None: ...

        def process_message(self, peer: Any, mailfrom: Any, rcpttos: Any, data: Any) -> None: ...

        def messages(self, limit: int) -> list[object]:
            return []

        def connect(self) -> None: ...

        def headers(self) -> None: ...

        def check(self, envelope: Any) -> None: ...

        def fail(self, error: Exception) -> None: ...

        def email(self, to: str) -> None: ...

        def store(self, envelope: Any) -> None: ...

        def look_up(self, recipient: Any) -> None: ...

        def close(self) -> None: ...

    assert check(Inbox) == []


def test_a_method_that_only_speaks_of_itself_is_not_used() -> None:
    """Such as one that calls its base class's."""

    class Base:
        def recpt(self, recipient: Any, envelope: Any) -> None: ...

    class Inbox(Base):
        def recpt(self, recipient: Any, envelope: Any) -> None:
            super().recpt(recipient, envelope)

        def message(self, envelope: Any) -> None: ...

    with pytest.raises(TypeError, match="recpt"):
        check(Inbox)


def test_what_a_base_class_brings_is_its_own() -> None:
    """A handler may be a service or a web page as well, and override what they have."""

    class Serving(Service):
        def message(self, envelope: Any) -> None: ...

        def startService(self) -> None: ...

    class Page(Resource):
        def message(self, envelope: Any) -> None: ...

        def render_GET(self, request: Any) -> bytes:
            return b""

    class Waiting(asyncio.Protocol):
        def message(self, envelope: Any) -> None: ...

        def connection_lost(self, exc: Exception | None) -> None: ...

        def data_received(self, data: bytes) -> None: ...

    for kind in (Serving, Page, Waiting):
        assert check(kind) == []


def test_what_the_users_own_base_class_misspells() -> None:
    """It counts, in whatever class it stands."""

    class Base:
        def recpt(self, recipient: Any, envelope: Any) -> None: ...

    class Inbox(Base):
        def message(self, envelope: Any) -> None: ...

    with pytest.raises(TypeError, match="recpt"):
        check(Inbox)


def test_an_installed_handler_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own package is its user's; what else is installed is not, nor what came with Python."""

    def module(name: str, file: str) -> None:
        found = types.ModuleType(name)
        found.__file__ = file
        monkeypatch.setitem(sys.modules, name, found)

    module("mymail.base", "/venv/lib/python3.11/site-packages/mymail/base.py")
    module("mymail.inbox", "/venv/lib/python3.11/site-packages/mymail/inbox.py")
    module("otherlib", "/venv/lib/python3.11/site-packages/otherlib.py")
    mine = type("Base", (), {"recpt": anything, "__module__": "mymail.base"})
    theirs = type("Base", (), {"recpt": anything, "__module__": "otherlib"})
    with pytest.raises(TypeError, match="recpt"):
        check(type("Inbox", (mine,), {"message": takes, "__module__": "mymail.inbox"}))
    assert check(type("Inbox", (theirs,), {"message": takes, "__module__": "mymail.inbox"})) == []


def test_a_mock_of_a_handler() -> None:
    """Something that has any attribute is told what is wrong with it, or works."""
    with pytest.raises(TypeError, match="is True or False, not Mock"):
        check(Mock())
    assert check(Mock(spec=["message"])) == []


def test_functions_that_an_instance_was_given() -> None:
    """A namespace, or a method set in __init__."""
    with pytest.raises(TypeError, match="recpt"):
        check(SimpleNamespace(message=lambda envelope: None, recpt=lambda r, e: None))


def test_a_module_may_be_a_handler() -> None:
    """Its own functions count, and those it imports do not."""
    module = types.ModuleType("inbox")
    exec("def message(envelope): ...", vars(module))
    vars(module)["headers"] = functools.reduce
    vars(module)["recpt"] = takes
    assert check(module) == []
    exec("def rctp(recipient, envelope): ...", vars(module))
    with pytest.raises(TypeError, match=r"inbox\.rctp"):
        check(module)


def test_how_names_are_compared() -> None:
    """A letter left out, added, mistaken or swapped is one step."""
    assert [distance("rcpt", one) for one in ("rcpt", "rct", "rcpts", "rcpx", "rctp")] == [
        *(0, 1, 1, 1, 1)
    ]
    assert distance("", "rcpt") == 4
    assert meant("rcpt") is None
    assert meant("_") is None


# Methods that cannot be called as they will be.


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"mail": lambda self, reverse_path, parameters: None}, r"called as mail\(envelope\)"),
        ({"rcpt": lambda self, recipient: None}, r"called as rcpt\(recipient, envelope\)"),
        ({"rcpt": lambda self, a, b, *, c: None}, r"called as rcpt\(recipient, envelope\)"),
        ({"rcpt": lambda: None}, r"called as rcpt"),
        ({"authenticate": lambda self, credentials: None}, "as authenticate"),
        ({"rcpt": lambda self, envelope, recipient: None}, "'envelope' would be the recipient"),
        ({"rcpt": lambda self, recipient, connection: None}, "'connection' would be the envelope"),
        ({"mail": lambda self, connection: None}, "'connection' would be the envelope"),
        ({"header": lambda self, value, name, envelope: None}, "'value' would be the name"),
        ({"chunk": lambda self, envelope, octets: None}, "'envelope' would be the octets"),
        ({"hello": lambda self, connection, introduction: None}, "'connection' would be the"),
        ({"mail": 1}, "Inbox.mail is no method"),
        ({"data": []}, "Inbox.data is no method"),
    ],
)
def test_a_method_that_cannot_be_called(members: Any, complaint: str) -> None:
    """Too few or too many arguments, or swapped ones: 451 for every client, or worse."""
    with pytest.raises(TypeError, match=complaint):
        check(handler(**members))
    with pytest.raises(TypeError, match=complaint):
        check(handler(**members)())


def test_arguments_may_be_called_anything_else() -> None:
    """What counts is their place."""

    class Inbox:
        def rcpt(self, forward_path: Any, transaction: Any) -> None: ...

        def verify(self, name: str, client: Any) -> None: ...

        def header(self, *everything: Any) -> None: ...

        def hello(self, who: Any, connection: Any, more: int = 3) -> None: ...

        @staticmethod
        def mail(envelope: Any) -> None: ...

        @classmethod
        def data(cls, envelope: Any) -> None: ...

        help = print  # its signature is known to nobody in some versions
        expand = type  # inspect.signature(type) raises ValueError

        @functools.lru_cache  # noqa: B019 - what it keeps ends with the test
        def message(self, envelope: Any) -> None: ...

        def _etrn(self, how: object, domain: object, connection: object) -> None: ...

        etrn = functools.partialmethod(_etrn, 1)

    assert check(Inbox) == []
    assert check(Inbox()) == []


@pytest.mark.parametrize("kind", ["async", "plain"])
def test_a_yield_makes_a_method_do_nothing(kind: str) -> None:
    """A generator is made, and nothing in it runs."""

    async def later(self: Any, envelope: Any) -> Any:
        yield

    def at_once(self: Any, envelope: Any) -> Any:
        yield

    with pytest.raises(TypeError, match="has a yield in it"):
        check(handler(message=later if kind == "async" else at_once))


def test_what_only_looks_like_a_generator() -> None:
    """inlineCallbacks and types.coroutine make something of it."""

    @inlineCallbacks
    def deferred(self: Any, envelope: Any) -> Any:
        yield None

    @types.coroutine
    def coroutine(self: Any, envelope: Any) -> Any:
        yield

    class Called:
        async def __call__(self, envelope: Any) -> None: ...

    assert check(handler(message=deferred)) == []
    assert check(handler(message=coroutine)) == []
    assert check(handler(message=Called())) == []
    with pytest.raises(TypeError, match="async def"):
        check(threaded(handler(message=coroutine)))
    with pytest.raises(TypeError, match="async def"):
        check(threaded(handler(message=Called())()))


# Content that is not there.


def reads(self: Any, envelope: Any) -> Any:
    """Read the content."""
    return envelope.content.bytes()


def test_chunk_and_content_exclude_each_other() -> None:
    """What was taken as it came is not there afterwards."""
    with pytest.raises(TypeError, match=r"message reads envelope\.content, which a handler with"):
        check(handler(message=reads, chunk=anything))
    for name in ("mail", "data"):
        with pytest.raises(TypeError, match=rf"{name} reads envelope\.content, which is there in"):
            check(handler(**{name: reads}))
    assert check(handler(message=reads)) == []


def test_a_content_of_ones_own() -> None:
    """Something else may be called so."""

    class Inbox:
        def chunk(self, octets: Any, envelope: Any) -> None:
            self.content = octets

        def message(self, envelope: Any) -> Any:
            self.kept = (envelope.id, self.content)
            return lambda content: content

    assert check(Inbox) == []
    assert check(handler(message=lambda *all: all[1].content, chunk=anything)) == []


# What it says of itself.


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"extensions": "DSN"}, "set of keywords"),
        ({"extensions": 3}, "set of keywords"),
        ({"command_mask": "MAIL"}, "command_mask is a Verb"),
        ({"concurrent_recipients": "yes"}, "concurrent_recipients is True or False, not str"),
        ({"concurrent_recipients": 1}, "concurrent_recipients is True or False, not int"),
        ({"extensions": property(lambda self: "DSN")}, "set of keywords"),
    ],
)
def test_what_it_says_of_itself_is_of_its_type(members: Any, complaint: str) -> None:
    """TypeError says what it should be."""
    with pytest.raises(TypeError, match=complaint):
        check(handler(**members))


def test_an_extension_that_is_not_the_handlers_to_offer() -> None:
    """ValueError names what may be offered; the server may have some of its own."""
    with pytest.raises(ValueError, match=r"cannot honour STARTTLS; there are.*DSN"):
        check(handler(extensions={"STARTTLS"}))
    assert check(handler(extensions={"DSN", "XMINE"}), own={"XMINE"}) == []
    assert check(handler(command_mask=Verb.MAIL, command=anything)) == []


def test_a_promise_that_is_not_kept() -> None:
    """Who declares the interface and does not provide it is warned."""

    @implementer(ISmtpEventHandler)
    class Promises:
        def message(self, envelope: Any) -> None: ...

    (warning,) = check(Promises)
    assert "Promises does not provide what it says" in warning
    assert check(type("Inbox", (SmtpEventHandler,), {"message": takes})) == []


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("extension", {"DSN"}, "extensions"),
        ("extentions", {"DSN"}, "extensions"),
        ("smtp_extensions", {"DSN"}, "extensions"),
        ("concurrent_recipient", True, "concurrent_recipients"),
        ("concurrentRecipients", True, "concurrent_recipients"),
        ("CONCURRENT_RECIPIENTS", True, "concurrent_recipients"),
        ("concurent_recipients", True, "concurrent_recipients"),
        ("concurrent_rcpt", True, "concurrent_recipients"),
        ("discard_content", True, "discards_content"),
        ("discardsContent", True, "discards_content"),
        ("discards_mail", True, "discards_content"),
        ("command_masks", Verb.MAIL, "command_mask"),
        ("commandMask", Verb.MAIL, "command_mask"),
        ("wants_command", True, "command_mask"),
    ],
)
def test_a_misspelt_attribute_stops_the_start(name: str, value: Any, right: str) -> None:
    """It would never be looked at, whatever it is: data, a method, or set when it is made."""

    def set_it(self: Any) -> None:
        setattr(self, name, value)

    made = types.ModuleType("inbox")
    vars(made).update(message=lambda envelope: None, **{name: value})
    made.message.__module__ = "inbox"
    for given in (
        handler(**{name: value}),
        handler(**{name: value})(),
        handler(**{name: lambda self: value}),
        handler(**{name: property(lambda self: value)}),
        handler(__init__=set_it),
        type("Derived", (handler(**{name: value}),), {}),
        type("Typed", (SmtpEventHandler,), {"message": takes, name: value}),
        made,
    ):
        with pytest.raises(TypeError, match=f"{name} would never be looked at.* is {right}, or,"):
            check(given)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("require_tls", "require_tls"),
        ("requires_tls", "require_tls"),
        ("requireTLS", "require_tls"),
        ("require_auth", "require_auth"),
        ("auth_required", "require_auth"),
        ("allow_insecure_auth", "allow_insecure_auth"),
        ("lenient_adresses", "lenient_addresses"),
    ],
)
def test_what_a_server_is_told_is_not_told_to_a_handler(name: str, right: str) -> None:
    """Everybody would be let in, where it says that they are not."""
    with pytest.raises(TypeError, match=rf"{name} would .* to the server, Settings\({right}=...\)"):
        check(handler(**{name: "yes"}))


def test_who_speaks_to_the_server_around_it_may() -> None:
    """What `IReadyMadeHandler` has, the server asks; nothing else."""
    given = implementer(IReadyMadeHandler)(handler(lenient_addresses=True, bare_newline="refuse"))
    assert check(given) == check(given()) == []
    with pytest.raises(TypeError, match="require_tls would never be looked at"):
        check(type("Derived", (given,), {"require_tls": True}))


def test_an_attribute_of_ones_own_may_be_called_anything() -> None:
    """One that a method reads, or with an underscore, or that is only a little like another."""

    class Files:
        extension = ".eml"
        _concurrent_recipient = 7
        tension = 3
        commands = ()
        recipients = 2
        mask = 0

        def __init__(self) -> None:
            self.require_tls = True

        def rcpt(self, recipient: Any, envelope: Any) -> Any:
            return envelope.connection.tls is not None or not self.require_tls

        def message(self, envelope: Any) -> None:
            envelope.content.save(envelope.id + self.extension)

    assert check(Files) == []
    assert check(handler(extensions={"DSN"}, concurrent_recipients=True)) == []


@pytest.mark.parametrize("name", ["concurrent_recipients", "discards_content"])
@pytest.mark.parametrize("value", ["no", 0, 1, None, lambda self: False])
def test_yes_or_no_is_said_by_true_or_false(name: str, value: Any) -> None:
    """A word that means no would count as a yes."""
    with pytest.raises(TypeError, match=f"{name} is True or False, not "):
        check(handler(**{name: value}))
    with pytest.raises(TypeError, match=f"{name} is True or False, not "):
        check(lambda: handler(__init__=lambda self: setattr(self, name, value))())


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("check_rcpt", "rcpt"),
        ("accept_recipient", "rcpt"),
        ("verify_recipient", "rcpt"),
        ("allow_sender", "mail"),
        ("check_auth", "authenticate"),
    ],
)
def test_a_hook_that_nobody_calls_stops_the_start(name: str, right: str) -> None:
    """Everybody would be let in; one that another method calls is a helper."""

    def hook(self: Any, *arguments: Any) -> bool:
        return False

    with pytest.raises(TypeError, match=rf"{name} would never be called: .* is {right}\("):
        check(handler(**{name: hook}))
    assert check(handler(**{name: hook, right: anything})) == []
    assert check(handler(**{name: lambda self: False})) == []  # no event comes without an argument


def test_what_takes_mail_may_come_with_the_instance() -> None:
    """It is looked at as well, before the first client comes."""

    class Chosen:
        def __init__(self, keep: bool = True) -> None:
            if keep:
                self.message = self._keep

        def _keep(self, envelope: Any) -> None: ...

    class Proxy:
        def __init__(self) -> None:
            self._inner = handler()()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    assert check(Chosen) == check(Proxy) == check(threaded(Chosen)) == []
    never = type("Never", (Chosen,), {"__init__": anything})
    for nobody in (functools.partial(Chosen, False), never):
        with pytest.raises(TypeError, match=r"message\(envelope\)"):
            check(nobody)


# Making it.


def test_a_handler_that_cannot_be_made() -> None:
    """An __init__ that raises, a factory that fails, one that forgets its return."""

    def fails(self: Any) -> None:
        raise KeyError("no database")

    def leaves() -> None:
        raise SystemExit(3)

    def forgets() -> None:
        Connection("x")

    with pytest.raises(TypeError, match="no handler could be made: KeyError: 'no database'"):
        check(handler(__init__=fails))
    with pytest.raises(TypeError, match="no handler could be made: SystemExit: 3"):
        check(leaves)
    with pytest.raises(TypeError, match="a return is missing"):
        check(forgets)
    with pytest.raises(TypeError, match="neither message"):
        check(lambda: 42)

    async def later() -> object:
        return handler()()

    with pytest.raises(TypeError, match="cannot return a coroutine"):
        check(lambda: later())
    with pytest.raises(KeyboardInterrupt):
        check(lambda: (_ for _ in ()).throw(KeyboardInterrupt))


def test_it_is_made_for_a_client_like_any_other() -> None:
    """With an address; one that is not welcome is no mistake."""
    seen: list[Connection] = []

    def make(connection: Connection) -> Any:
        seen.append(connection)
        raise Refusal(550, "not you")

    assert check(make) == []
    assert seen[0].peer_address == "127.0.0.1"


@pytest.mark.parametrize("reactor", [None, "asyncio", "another"])
def test_what_needs_a_loop_that_does_not_run_yet(
    reactor: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a warning where the loop will run, and a mistake where it never will."""

    def make() -> object:
        asyncio.get_running_loop()
        return handler()()

    installed = None if reactor is None else Clock()
    if reactor == "asyncio":
        installed = object.__new__(AsyncioSelectorReactor)
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", installed)
    if reactor == "another":
        with pytest.raises(TypeError, match="event loop; start with twistd --reactor=asyncio"):
            check(make)
    else:
        (warning,) = check(make)
        assert "no running event loop" in warning


def test_an_instance_is_not_made_again() -> None:
    """It is there already."""
    made: list[object] = []

    class Inbox:
        def __init__(self) -> None:
            made.append(self)

        def message(self, envelope: Any) -> None: ...

    check(Inbox())
    assert len(made) == 1
    handler_factory(Inbox)
    assert len(made) == 1
    check(Inbox)
    assert len(made) == 2


def test_threads_are_for_what_blocks() -> None:
    """async def in threads is told at the start, also where only an instance shows it."""

    async def later(self: Any, envelope: Any) -> None: ...

    for given in (handler(message=later), handler(message=later)()):
        with pytest.raises(TypeError, match="is async def: in threads"):
            threaded(given)
    with pytest.raises(TypeError, match="is async def: in threads"):
        check(threaded(lambda: handler(message=later)()))
    assert check(threaded(handler())) == []
    assert check(threaded(callbacks(message=lambda envelope: None))) == []
