"""A value and its parameters: Content-Type, Content-Disposition (RFC 2045 §5.1, RFC 2231)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from smtpcb.smtp._mime._charsets import clean, decode
from smtpcb.smtp._mime._words import BLANK, QUOTED, SPECIAL, decode_words, tokens

# No mail program writes a tenth of these; who does wants them to cost us memory.
MOST_PARAMETERS = 1000
# name*  name*0  name*0*: RFC 2231 §3 and §4.  Nobody has a billion sections.
_SECTION = re.compile(r"(.+?)\*(?:(\d{1,9})(\*)?)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Parameterized:
    """
    What such a field says.

    :ivar value: what comes first, without comments: ``text/plain``.
    :ivar parameters: by name in lower case, decoded; of two with one name, the first.
    :ivar defects: what was wrong, in words.
    """

    value: str
    parameters: Mapping[str, str]
    defects: tuple[str, ...]


def parameterized(text: str) -> Parameterized:
    """Read such a value, unfolded."""
    segments = _segments(text)
    value, _ = next(segments)
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[str, bool]]] = {}
    defects: dict[str, None] = {}
    for number, (name, given) in enumerate(segments):
        if number == MOST_PARAMETERS:
            defects["more parameters than are read"] = None
            break
        if not name:
            defects["a parameter without a name"] = None
            continue
        if given is None:
            defects["a parameter without a value"] = None
        match = _SECTION.fullmatch(name)
        if match is None:
            known = name in plain
            plain.setdefault(name, decode_words(given or "")[0])
        else:
            base = sections.setdefault(match[1], {})
            section = int(match[2] or 0)
            known = section in base
            base.setdefault(section, (given or "", match[2] is None or match[3] is not None))
        if known:
            defects["a parameter that is given twice"] = None
    for name, numbered in sections.items():
        # Mail programs take this one, and leave the other for those that are older.
        if name in plain:
            defects["a parameter that is given twice"] = None
        if len(numbered) != max(numbered) + 1:
            defects["a parameter of which a section is missing"] = None
        plain[name] = _joined([numbered[number] for number in sorted(numbered)])
    return Parameterized(value, plain, tuple(defects))


def _segments(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield the value, and then the name in lower case and the value of each parameter."""
    words: list[str] = []
    name: str | None = None
    quoted: str | None = None
    first = True
    for kind, word in tokens(text):
        if kind == SPECIAL and word == ";":
            yield _segment(name, words, quoted)
            words, name, quoted, first = [], None, None, False
        elif kind == SPECIAL and word == "=" and name is None and not first:
            name, words = clean("".join(words)).strip().lower(), []
        elif quoted is not None:
            pass  # what follows a quoted string, up to the semicolon, says nothing
        elif kind == QUOTED and name is not None and not words:
            quoted = word
        elif words or kind != BLANK:
            words.append(word)
    if first or words or name is not None:  # a semicolon at the end does no harm
        yield _segment(name, words, quoted)


def _segment(name: str | None, words: list[str], quoted: str | None) -> tuple[str, str | None]:
    said = "".join(words).strip()
    if name is None:
        return clean(said).lower(), None
    return name, said if quoted is None else quoted


def _joined(sections: list[tuple[str, bool]]) -> str:
    """Put sections together; the first extended one names the charset (RFC 2231 §4.1)."""
    charset = ""
    parts: list[str] = []
    pending = bytearray()  # a character may be cut in two
    named = False
    for text, extended in sections:
        if not extended:
            parts += (decode(bytes(pending), charset), text)
            pending = bytearray()
            continue
        if not named and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        named = True
        pending += unquote_to_bytes(text.encode("utf-8", "surrogateescape"))
    parts.append(decode(bytes(pending), charset))
    return clean("".join(parts))
