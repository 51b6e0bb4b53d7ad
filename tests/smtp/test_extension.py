"""A service extension is one record, ours and anybody's."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine._extensions import Situation, check_own, offered
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.smtp import Extension, MailParameters, Parameter, RcptParameters
from smtpcb.smtp._dsn import read_xtext, write_xtext

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
    with pytest.raises(ValueError, match="EHLO"):
        offered(situation(), (Extension("X", lambda _: said),))


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
