"""The searches in mail data: both makes give the same."""

from __future__ import annotations

import importlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp import _scan as scan

FINDERS = [scan.plain_find_dot_line, scan.fast_find_dot_line]
CHECKS = [scan.plain_newlines_paired, scan.fast_newlines_paired]

octets = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"x", b"\r\n."])).map(b"".join)


@given(octets)
def test_a_dot_line_is_found_where_it_is(data: bytes) -> None:
    """Whatever stands around it, the first CRLF and dot are found."""
    for find in FINDERS:
        assert find(data) == data.find(b"\r\n.")


@given(octets)
def test_a_bare_cr_or_lf_is_seen(data: bytes) -> None:
    """Pairs are taken away; what is left is bare."""
    rest = data.replace(b"\r\n", b"")
    for paired in CHECKS:
        assert paired(data) == (b"\r" not in rest and b"\n" not in rest)


def test_the_fast_searches_are_used_where_they_are_installed() -> None:
    """The choice is made once, at import, and needs no setting."""
    assert scan.find_dot_line is scan.fast_find_dot_line
    assert scan.newlines_paired is scan.fast_newlines_paired


def test_the_standard_library_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra everything works the same, only slower."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "stringzilla", None)
        importlib.reload(scan)
        assert scan.find_dot_line is scan.plain_find_dot_line
        assert scan.newlines_paired is scan.plain_newlines_paired
    importlib.reload(scan)
    assert scan.find_dot_line is scan.fast_find_dot_line
