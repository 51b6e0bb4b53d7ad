"""A service extension is one record, ours and anybody's."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine._extensions import Situation, offered
from smtpcb.engine._keywords import check_own
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.smtp import Extension, MailParameters, Parameter, RcptParameters
from smtpcb.smtp._dsn import read_xtext, write_xtext
from smtpcb.smtp._extension import ExtensionFailed

TICKET = Parameter(read_xtext, write_xtext)


def situation(*extensions: str, secure: bool = False) -> Situation:
    return Situation(Settings(), Abilities(extensions=frozenset(extensions)), secure, False)


def act(argument: str, connection: object) -> None:
    """Answer a command of one's own."""


def test_an_extension_of_ones_own_is_offered_with_all_it_brings() -> None:
    """Its keyword in EHLO, its parameters on MAIL and RCPT, its verbs."""
    own = Extension(
        "xticket", "v1 v2", mail={"xticket": TICKET}, rcpt={"XFOR": TICKET}, verbs={"xlist": act}
    )
    check_own((own,))
    found = offered(situation(), (own,))
    assert found.reply.lines[-1] == "XTICKET v1 v2"
    assert "XTICKET" in found.keywords
    assert MailParameters.read(" XTICKET=a+20b", found.mail)["XTICKET"] == "a b"
    assert RcptParameters.read(" xfor=c", found.rcpt)["XFOR"] == "c"
    assert found.verbs == {b"XLIST": act}
    assert offered(situation()).verbs == {}


def test_what_a_handler_must_honour_is_offered_if_it_says_so() -> None:
    """A promise that nobody keeps is not made."""
    own = Extension("XKEEP", mail={"XKEEP": TICKET}, handler_must_honour=True)
    assert "XKEEP" not in offered(situation(), (own,)).mail
    assert "XKEEP" in offered(situation("XKEEP"), (own,)).mail
    assert "DSN" not in offered(situation()).keywords
    assert set(offered(situation("DSN")).rcpt) == {"NOTIFY", "ORCPT"}


def test_the_situation_may_decide_on_the_offer() -> None:
    """Here, inside TLS only; the parameter lasts if the record says so."""
    own = Extension(
        "XSAFE",
        lambda now: "yes" if now.secure else None,
        mail={"XSAFE": TICKET},
        lasts=lambda now: not now.secure,
    )
    assert "XSAFE yes" in offered(situation(secure=True), (own,)).reply.lines
    outside = offered(situation(), (own,))
    assert not any(line.startswith("XSAFE") for line in outside.reply.lines)
    assert "XSAFE" in outside.mail


@pytest.mark.parametrize(
    "arguments",
    [
        {"keyword": ""},
        {"keyword": "X Y"},
        {"keyword": "-X"},
        {"keyword": "X\r\n250 Y"},
        {"keyword": "\u017fX"},
        {"keyword": 7},
        {"keyword": "X", "offer": "a\r\nb"},
        {"keyword": "X", "offer": " a"},
        {"keyword": "X", "offer": "a" * 401},
        {"keyword": "X" * 65},
        {"keyword": "X", "offer": "\u00e4"},
        {"keyword": "X", "mail": {"X=": TICKET}},
        {"keyword": "X", "rcpt": {"": TICKET}},
        {"keyword": "X", "verbs": {"X Y": act}},
        {"keyword": "X", "verbs": {"1X": act}},
    ],
)
def test_a_record_that_cannot_be_said_in_smtp_is_a_mistake(arguments: dict[str, Any]) -> None:
    """It is seen when it is made, not by the first client."""
    with pytest.raises(ValueError, match=r"."):
        Extension(**arguments)


@pytest.mark.parametrize("said", ["a\r\n250 STARTTLS", "x" * 500, "\u00e4"])
def test_what_a_function_offers_must_fit_into_its_line(said: str) -> None:
    """It would become another keyword, which nobody offers."""
    with pytest.raises(ValueError, match="EHLO cannot say"):
        Extension("X", lambda _: said).offered(situation())


@pytest.mark.parametrize("said", [True, 7, b"a", ("a",)])
def test_what_a_function_offers_is_text(said: Any) -> None:
    """Or None, for nothing now."""
    with pytest.raises(TypeError, match="EHLO says a str, or None for nothing, not "):
        Extension("X", lambda _: said).offered(situation())


async def later(*_: Any) -> str:
    return "later"


def one(given: Any) -> Any: ...


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"offer": 42}, r"offer of X is a function \(situation\), not 42"),
        ({"offer": None}, r"offer of X is a function \(situation\), not None"),
        ({"offer": lambda: ""}, r"offer of X\(\) cannot be called as \(situation\)"),
        ({"offer": later}, "offer of X answers at once: it cannot be async def"),
        ({"lasts": True}, r"lasts of X is a function \(situation\), not True"),
        ({"lasts": act}, "lasts of X.* cannot be called as"),
        ({"handler_must_honour": "yes"}, "handler_must_honour of X is True or False"),
        ({"mail": {"Y": int}}, "Y of X is a Parameter, not <class 'int'>"),
        ({"rcpt": {"Y": None}}, "Y of X is a Parameter, not None"),
        ({"mail": ["Y"]}, "mail of X is a mapping, by name"),
        ({"verbs": None}, "verbs of X is a mapping, by name"),
        ({"verbs": {"Y": "no"}}, r"Y is a function \(argument, connection\), not 'no'"),
        (
            {"verbs": {"Y": lambda connection, argument: None}},
            r"Y\(connection, argument\) is called as \(argument, connection\): .* swapped",
        ),
        ({"verbs": {"Y": one}}, r"Y.* cannot be called as \(argument, connection\)"),
    ],
)
def test_what_cannot_be_called_is_told_at_once(arguments: dict[str, Any], why: str) -> None:
    """And not by the first client who says that word."""
    with pytest.raises(TypeError, match=why):
        Extension("X", **arguments)


def test_a_name_given_twice_is_a_mistake() -> None:
    """Keywords and verbs know no case: one of two would never be called."""
    with pytest.raises(ValueError, match="verbs of X has a name twice"):
        Extension("X", verbs={"Y": act, "y": act})


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((42,), r"Parameter.read is a function \(text\), not 42"),
        ((later,), "Parameter.read answers at once"),
        ((act,), r"Parameter.read.* cannot be called as \(text\)"),
        ((int, None), r"Parameter.write is a function \(value\), not None"),
        ((int, lambda: ""), r"Parameter.write.* cannot be called as \(value\)"),
    ],
)
def test_a_parameter_is_read_and_written_by_functions(arguments: Any, why: str) -> None:
    """Of one argument, that answer at once."""
    with pytest.raises(TypeError, match=why):
        Parameter(*arguments)


def test_what_says_nothing_of_its_arguments_is_believed() -> None:
    """As types written in C do not."""
    assert Parameter(dict, str).read is dict
    assert Extension("X", verbs={"Y": later}).verbs["Y"] is later


@pytest.mark.parametrize("error", [KeyError, SystemExit, GeneratorExit, TypeError])
def test_a_reader_that_fails_has_not_refused(error: type[BaseException]) -> None:
    """ValueError is its no; whatever else comes is a fault of its own."""

    def read(text: str | None) -> Any:
        raise error

    with pytest.raises(ExtensionFailed) as caught:
        MailParameters.read(" X=1", {"X": Parameter(read)})
    assert caught.value.what == "read of X"
    assert isinstance(caught.value.__cause__, error)


def test_a_reader_answers_at_once() -> None:
    """What it would bring later is no value; who interrupts is obeyed."""
    with pytest.raises(ExtensionFailed):
        MailParameters.read(" X=1", {"X": Parameter(lambda text: later(text))})

    def interrupted(text: str | None) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MailParameters.read(" X=1", {"X": Parameter(interrupted)})


@pytest.mark.parametrize(
    "own",
    [
        (Extension("SIZE"),),
        (Extension("X"), Extension("x")),
        (Extension("X", mail={"BODY": TICKET}),),
        (Extension("X", rcpt={"notify": TICKET}),),
        (Extension("X", verbs={"data": act}),),
        (Extension("X", verbs={"XV": act}), Extension("Y", verbs={"XV": act})),
    ],
)
def test_nothing_means_two_things(own: tuple[Extension, ...]) -> None:
    """An extension may not take the keyword, the parameter or the verb of another one."""
    with pytest.raises(ValueError, match="already"):
        check_own(own)


def test_a_record_can_be_told_apart() -> None:
    """Equal by what it says; it may be a key."""
    assert Extension("X", mail={"X": TICKET}) == Extension("x", mail={"x": TICKET})
    assert len({Extension("X"), Extension("X"), Extension("Y")}) == 2
    assert Parameter(int).write(True) is None
    assert Parameter(int).write(12) == "12"
