"""What EHLO offers, and when."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._extensions import EXTENSIONS, HANDLER_EXTENSIONS, Situation, offered
from smtpcb.engine._offer import offer_to, try_own
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._extension import Extension, Parameter
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import MAXIMUM_LINE_OCTETS, Reply

from .scripts import Answer, Does, Server, raises, returns

ALL = Abilities(
    tls=True, authentication=True, extensions=frozenset({"DSN"}), expand=True, etrn=True
)


def keywords(**changes: Any) -> set[str]:
    """Return what is offered in a situation."""
    given: dict[str, Any] = {"secure": False, "authenticated": False, "abilities": Abilities()}
    given |= {"settings": Settings()} | changes
    situation = Situation(**given)
    found = offered(situation, given["settings"].extensions)
    lines = found.reply.lines[1:]
    assert {line.partition(" ")[0] for line in lines} <= found.keywords
    return set(lines)


ALWAYS = {
    "PIPELINING",
    "SIZE 33554432",
    "8BITMIME",
    "SMTPUTF8",
    "ENHANCEDSTATUSCODES",
    "CHUNKING",
    "LIMITS RCPTMAX=1000",
    "VRFY",
    "HELP",
}


def test_only_what_can_be_honoured_is_offered() -> None:
    """A handler that can do nothing more gets what the engine does by itself."""
    assert keywords() == ALWAYS
    assert keywords(abilities=ALL) == ALWAYS | {"STARTTLS", "DSN", "ETRN", "EXPN"}


def test_passwords_are_asked_for_inside_tls_only() -> None:
    """Unless the operator says otherwise (P11); and STARTTLS is not offered twice (P8)."""
    inside = keywords(abilities=ALL, secure=True)
    assert "AUTH PLAIN LOGIN" in inside
    assert "STARTTLS" not in inside
    assert "AUTH PLAIN LOGIN" in keywords(
        abilities=ALL, settings=Settings(allow_insecure_auth=True)
    )
    assert not any(word.startswith("AUTH") for word in keywords(abilities=ALL))


def test_auth_is_not_offered_to_whoever_has_logged_in() -> None:
    """RFC 4954 §4: but AUTH= goes on being understood."""
    situation = Situation(Settings(), ALL, secure=True, authenticated=True)
    assert not any(line.startswith("AUTH") for line in offered(situation).reply.lines)
    assert "AUTH" in offered(situation).mail


def test_a_size_of_nought_is_no_limit() -> None:
    """RFC 1870 §4."""
    assert "SIZE 0" in keywords(settings=Settings(limits=Limits(message_octets=None)))
    assert "SIZE 1000" in keywords(settings=Settings(limits=Limits(message_octets=1000)))


def test_no_line_passes_512_octets() -> None:
    """RFC 5321 §4.5.3.1.5, with the longest name (P18)."""
    name = ".".join(["x" * 50] * 5)
    reply = offered(Situation(Settings(hostname=name), ALL, False, False)).reply
    assert max(map(len, reply.wire.splitlines(keepends=True))) <= MAXIMUM_LINE_OCTETS


def test_what_is_left_to_handlers_is_a_row_like_any_other() -> None:
    """Nothing can be declared that EHLO would not say."""
    assert {row.keyword for row in EXTENSIONS} >= HANDLER_EXTENSIONS


def test_an_extension_of_ones_own_is_a_row_like_any_other() -> None:
    """Offered in its situation, with its words; or only if the handler says that it honours it."""
    settings = Settings(
        extensions=(
            Extension("XONE"),
            Extension("XTWO", "three four"),
            Extension("XSAFE", lambda situation: "" if situation.secure else None),
            Extension("XMUST", handler_must_honour=True),
        )
    )
    assert keywords(settings=settings) == ALWAYS | {"XONE", "XTWO three four"}
    able = Abilities(extensions=frozenset({"XMUST"}))
    assert keywords(settings=settings, secure=True, abilities=able) == ALWAYS | {
        *("XONE", "XTWO three four", "XSAFE", "XMUST")
    }


@pytest.mark.parametrize(
    ("extensions", "complaint"),
    [
        ((Extension("DSN"),), "DSN is a keyword already"),
        ((Extension("xone"), Extension("XONE")), "XONE is a keyword already"),
        ((Extension("XONE", mail={"SIZE": Parameter(str)}),), "SIZE is a parameter of MAIL"),
        ((Extension("XONE", rcpt={"NOTIFY": Parameter(str)}),), "NOTIFY is a parameter of RCPT"),
        ((Extension("XONE", verbs={"noop": print}),), "NOOP is a verb already"),
    ],
)
def test_what_is_taken_cannot_be_taken_again(
    extensions: tuple[Extension, ...], complaint: str
) -> None:
    """It would be found out when a client uses it."""
    with pytest.raises(ValueError, match=complaint):
        Settings(extensions=extensions)


@pytest.mark.parametrize(
    "extension",
    [
        Extension("XONE", raises(RuntimeError("no"))),
        Extension("XONE", returns("a\r\nb")),
        Extension("XONE", returns(5)),
        Extension("XONE", lambda situation: {}["now"] if situation.authenticated else ""),
    ],
)
def test_what_cannot_be_offered_is_found_out_before_a_client_comes(extension: Extension) -> None:
    """None of them would be greeted."""
    with pytest.raises(ValueError, match="the offer of XONE fails"):
        try_own(Settings(extensions=(extension,)))


def test_what_is_the_same_for_all_is_made_once() -> None:
    """A situation that has been met before costs nothing."""
    settings, abilities, connection = Settings(), Abilities(), Connection("here")
    offer = offer_to(connection, settings, abilities, frozenset())
    assert offer_to(Connection("there"), settings, abilities, frozenset()) is offer
    connection.identity = "anne"
    assert offer_to(connection, settings, abilities, frozenset()) is not offer


def test_what_is_offered_follows_the_session() -> None:
    """AUTH goes with the login."""
    server = Server(Does(authenticate=returns(True)), Settings(allow_insecure_auth=True))
    server.send(b"EHLO me\r\n")
    assert b"250-AUTH PLAIN LOGIN\r\n" in server.said
    server.send(b"AUTH PLAIN AGEAYg==\r\n")
    server.said = b""
    server.send(b"EHLO me\r\n")
    assert b"AUTH" not in server.said
    server.send(b"MAIL FROM:<> AUTH=<>\r\n")
    assert server.codes[-1] == "250"


# Functions of users' extensions that fail.


def failing(error: type[BaseException], *, when: list[bool]) -> Any:
    """A function that fails while ``when`` is not empty."""

    def function(*_: Any) -> Any:
        if when:
            raise error("a secret of the shop")
        return ""

    return function


@pytest.mark.parametrize("error", [KeyError, SystemExit, GeneratorExit])
@pytest.mark.parametrize("which", ["offer", "lasts"])
def test_an_offer_that_fails_is_not_made(which: str, error: type[BaseException]) -> None:
    """The session goes on without the keyword; the log says whose fault it is, and how."""
    when = [True]
    function = failing(error, when=when)
    own = Extension("XTAG", function if which == "offer" else (lambda _: None), lasts=function)
    settings, handler = Settings(extensions=(own, Extension("XALSO"))), Does()
    server = Server(handler, settings)
    assert server.send(b"EHLO me\r\nMAIL FROM:<>\r\n") == ["250", "250"]
    assert b"XTAG" not in server.said
    assert b"XALSO" in server.said
    (line,) = server.log
    assert "the offer of XTAG of an extension failed: incident" in line
    assert error.__name__ in line
    # The next client is asked about anew.
    when.clear()
    again = Server(handler, settings)
    again.send(b"EHLO me\r\n")
    assert (b"XTAG" in again.said) is (which == "offer")
    assert again.log == []


@pytest.mark.parametrize("error", [KeyError, SystemExit, GeneratorExit])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
def test_a_reader_that_fails_is_an_incident_of_its_own(
    verb: str, error: type[BaseException]
) -> None:
    """The client is asked to come again, the session lives, and smtpcb is not to blame."""
    row = Parameter(failing(error, when=[True]))
    settings = Settings(extensions=(Extension("XTAG", mail={"XTAG": row}, rcpt={"XTAG": row}),))
    server = Server(settings=settings)
    server.send(b"EHLO me\r\n")
    if verb == "RCPT":
        server.send(b"MAIL FROM:<>\r\n")
    command = b"MAIL FROM:<>" if verb == "MAIL" else b"RCPT TO:<a@b>"
    assert server.send(command + b" XTAG=1\r\n" + command + b"\r\n") == ["451", "250"]
    assert b"a secret" not in server.said
    (line,) = server.log
    assert "read of XTAG of an extension failed: incident" in line


def test_the_faults_of_an_extension_are_no_errors_of_a_client() -> None:
    """It can do nothing about them."""
    row = Parameter(failing(KeyError, when=[True]))
    server = Server(settings=Settings(extensions=(Extension("XTAG", mail={"XTAG": row}),)))
    server.send(b"EHLO me\r\n")
    assert server.send(b"MAIL FROM:<> XTAG=1\r\n" * 30) == ["451"] * 30


def test_who_interrupts_an_offer_is_obeyed() -> None:
    """Control-C ends the program."""
    own = Extension("XTAG", failing(KeyboardInterrupt, when=[True]))
    with pytest.raises(KeyboardInterrupt):
        Server(settings=Settings(extensions=(own,)))


def test_a_verb_that_is_slow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the extension's, not as the handler's."""
    monkeypatch.setattr("smtpcb.engine._conversation.SLOW_SECONDS", -1.0)

    def lookup(argument: str, connection: object) -> bool:
        return True

    server = Server(settings=Settings(extensions=(Extension("X", verbs={"XFIND": lookup}),)))
    server.send(b"EHLO me\r\nXFIND a\r\n")
    assert any(
        "XFIND of an extension," in line and "lookup, kept everybody waiting" in line
        for line in server.log
    )


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (Extension("XTAG", lambda now: now.nothing), "the offer of XTAG fails: AttributeError: "),
        (Extension("XTAG", lambda now: "\r\n"), "the offer of XTAG fails: ValueError: EHLO cannot"),
        (Extension("XTAG", lambda now: 7), "the offer of XTAG fails: TypeError: EHLO says a str"),
        (
            Extension("XTAG", lambda now: "\n" if now.secure and now.authenticated else ""),
            "the offer of XTAG fails: ValueError",
        ),
        (Extension("XTAG", lambda _: None, lasts=lambda now: 1 / 0), "fails: ZeroDivisionError"),
    ],
)
def test_an_offer_is_tried_before_the_first_client(own: Extension, why: str) -> None:
    """In each situation there is."""
    settings = Settings(extensions=(own,))
    with pytest.raises(ValueError, match=why):
        try_own(settings)


def test_a_reader_of_parameters_may_refuse_in_its_own_words() -> None:
    """As whatever else of the user's is called."""
    extension = Extension("XTAG", rcpt={"XTAG": Parameter(raises(Refusal(550, "Not that one")))})
    server = Server(settings=Settings(extensions=(extension,)))
    server.send(b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b> XTAG=1\r\n")
    assert server.said.endswith(b"550 5.1.1 Not that one\r\n")


def test_a_verb_of_ones_own_may_take_its_time() -> None:
    """What the client has sent behind it waits, and several lines are one reply."""
    answer = Answer()
    own = Extension("XLIST", verbs={"XLIST": lambda argument, connection: answer})
    server = Server(settings=Settings(extensions=(own,)))
    assert server.send(b"EHLO me\r\nXLIST all\r\nNOOP\r\n") == ["250"]
    answer.give(Reply(250, ("one", "two")))
    assert server.said.endswith(b"250-2.0.0 one\r\n250 2.0.0 two\r\n250 2.0.0 OK\r\n")


def test_a_verb_of_ones_own_may_end_the_session() -> None:
    """By a reply that closes; what it refuses later is no error of the client."""
    own = Extension(
        "XBYE", verbs={"XBYE": lambda argument, connection: Reply(550, "Enough").closing()}
    )
    server = Server(settings=Settings(extensions=(own,)))
    assert server.send(b"EHLO me\r\nXBYE\r\nNOOP\r\n") == ["250", "550"]
    assert server.dialogue.finished is not None


def test_nobody_is_kept_from_stopping_the_server() -> None:
    """A keyboard interrupt is no fault of whoever runs just then."""
    extension = Extension("XTAG", mail={"XTAG": Parameter(raises(KeyboardInterrupt()))})
    server = Server(settings=Settings(extensions=(extension,)))
    server.send(b"EHLO me\r\n")
    with pytest.raises(KeyboardInterrupt):
        server.send(b"MAIL FROM:<> XTAG\r\n")
