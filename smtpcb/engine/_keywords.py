"""Which keywords a server's settings name: those of a user's own, and those that are off."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from smtpcb.engine._extensions import EXTENSIONS
from smtpcb.smtp._command import VERBS
from smtpcb.smtp._extension import Extension
from smtpcb.smtp._parameter import MailParameters, RcptParameters
from smtpcb.smtp._text import printable, upper


def check_own(own: tuple[Extension, ...]) -> None:
    """
    Check a user's extensions.

    :raises ValueError: one takes a keyword, a parameter or a verb that is taken already.
    """
    taken: dict[str, set[str]] = {
        "keyword": {row.keyword for row in EXTENSIONS},
        "parameter of MAIL": set(MailParameters.ROWS),
        "parameter of RCPT": set(RcptParameters.ROWS),
        "verb": {verb.decode("ascii") for verb in VERBS},
    }
    for row in own:
        for what, names in (
            ("keyword", (row.keyword,)),
            ("parameter of MAIL", row.mail),
            ("parameter of RCPT", row.rcpt),
            ("verb", row.verbs),
        ):
            for name in names:
                if name in taken[what]:
                    raise ValueError(f"{name} is a {what} already")
                taken[what].add(name)


def switched_off(words: Iterable[str], own: tuple[Extension, ...]) -> frozenset[str]:
    """
    Return keywords that are switched off, in upper case.

    :param own: the extensions of the user.
    :raises TypeError: it is no collection of text.
    :raises ValueError: one is no keyword that could be offered.
    """
    if isinstance(words, str) or not isinstance(words, Iterable):
        raise TypeError(f"without is a set of keywords, such as {{'CHUNKING'}}, not {words!r:.40}")
    given = list(words)
    if not all(isinstance(word, str) for word in given):
        raise TypeError("without is a set of keywords, which are text")
    known = {row.keyword for row in EXTENSIONS + own}
    for word in given:
        if upper(word) not in known:
            raise ValueError(
                f"without names {printable(word, 64)}, which is no keyword; {meant(word, known)}"
            )
    return frozenset(map(upper, given))


def meant(word: str, known: Iterable[str]) -> str:
    """Return what is said of a keyword that nobody knows: which may have been meant, or all."""
    near = get_close_matches(word.upper()[:64], known, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
