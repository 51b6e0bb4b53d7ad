"""SASLprep (RFC 4013): one form of a password that can be typed in several."""

from __future__ import annotations

import stringprep
import unicodedata
from collections.abc import Callable

# RFC 4013 §2.3.
_PROHIBITED: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """
    Return the prepared form of a password.

    One that has none is used as it is, as PostgreSQL does it: whoever has such a password has it
    on both sides.  What Unicode has got since version 3.2 is left as it is (RFC 3454 §7).
    """
    if text.isascii():
        prepared = text
    else:
        mapped = "".join(
            " " if stringprep.in_table_c12(one) else one
            for one in text
            if not stringprep.in_table_b1(one)
        )
        prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    forbidden = any(rule(one) for one in prepared for rule in _PROHIBITED)
    return text if forbidden or not _is_one_way(prepared) else prepared


def _is_one_way(text: str) -> bool:
    """Whether its directions of writing may stand side by side (RFC 3454 §6)."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(map(stringprep.in_table_d2, text))
