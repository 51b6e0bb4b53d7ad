"""Paths: what is one, what it means, and how it is written again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._address import (
    AddressError,
    ForwardPath,
    ReversePath,
    read_forward_path,
    read_reverse_path,
)


@pytest.mark.parametrize(
    ("text", "local_part", "domain"),
    [
        ("<anne@example.org>", "anne", "example.org"),
        ("<Anne@EXAMPLE.org>", "Anne", "example.org"),
        ("<a.b+c@x>", "a.b+c", "x"),
        ('<"a b>c"@example.org>', "a b>c", "example.org"),
        ('<"a\\"b\\\\"@example.org>', 'a"b\\', "example.org"),
        ('<""@example.org>', "", "example.org"),
        ("<b@[127.0.0.1]>", "b", "[127.0.0.1]"),
        ("<b@[IPv6:2001:DB8::1]>", "b", "[IPv6:2001:db8::1]"),
        ("<@relay.example,@other.example:anne@example.org>", "anne", "example.org"),
        ("<anné@exämple.org>", "anné", "exämple.org"),
        (f"<a@{'x' * 63}.org>", "a", f"{'x' * 63}.org"),
    ],
)
def test_a_path_is_taken_apart(text: str, local_part: str, domain: str) -> None:
    """Quotes and source routes are no part of the meaning (§4.1.2, appendix C)."""
    path, rest = read_forward_path(text + " SIZE=1")
    assert (path, rest) == (ForwardPath(local_part, domain), " SIZE=1")
    assert read_reverse_path(text)[0] == ReversePath(local_part, domain)
    assert read_forward_path(f"<{path}>")[0] == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "anne@example.org",
        "<anne@example.org",
        " <anne@example.org>",
        "<anne>",
        "<@example.org>",
        "<anne@>",
        "<anne@.org>",
        "<anne@-x.org>",
        "<anne@x-.org>",
        "<an ne@example.org>",
        "<a..b@example.org>",
        "<.a@example.org>",
        "<anne@exa_mple.org>",
        "<anne@example.org.>",
        "<anne@[300.1.1.1]>",
        "<anne@[1.2.3]>",
        "<anne@[IPv6:1::2::3]>",
        "<anne@[IPv6:fe80::1%eth0]>",
        "<anne@[X-other:1]>",
        f"<anne@{'x' * 64}.org>",
        f"<anne@{'ä' * 32}.org>",
        f"<{'a' * 250}@example.org>",
        f"<a@{'.'.join(['x' * 50] * 6)}>",
        '<"unended@example.org>',
        '<"a"b@example.org>',
    ],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    """Nothing is guessed: an address that is wrong may mean anybody (§4.1.2)."""
    with pytest.raises(AddressError):
        read_reverse_path(text)
    with pytest.raises(AddressError):
        read_forward_path(text)


def test_the_empty_reverse_path_is_that_of_a_bounce() -> None:
    """``<>`` must never be answered by another bounce (§4.5.5); nobody can receive there."""
    assert read_reverse_path("<> X") == (ReversePath.NULL, " X")
    assert str(ReversePath.NULL) == ""
    with pytest.raises(AddressError):
        read_forward_path("<>")


@pytest.mark.parametrize("lenient", [False, True])
def test_the_postmaster_needs_no_domain(lenient: bool) -> None:
    """Every server takes mail for ``<Postmaster>``, however it is spelled (§4.5.1)."""
    path, rest = read_forward_path("<PostMaster> X", lenient=lenient)
    assert (str(path), rest, path.is_postmaster) == ("PostMaster", " X", True)
    assert read_forward_path("<postmaster@example.org>")[0].is_postmaster
    assert not read_forward_path("<anne@example.org>")[0].is_postmaster


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("anne@example.org", "anne@example.org"),
        ("<anne@ex_ample.org.>", "anne@ex_ample.org."),
        ("anne@[127.0.0.1]", "anne@[127.0.0.1]"),
    ],
)
def test_forms_that_clients_get_wrong_can_be_taken(text: str, written: str) -> None:
    """Missing brackets, an underscore, a dot at the end: only where it is asked for."""
    assert str(read_forward_path(text, lenient=True)[0]) == written
    assert str(read_reverse_path(text, lenient=True)[0]) == written


def test_one_bracket_is_wrong_in_any_case() -> None:
    """With half of the brackets nobody knows where the address ends."""
    with pytest.raises(AddressError):
        read_reverse_path("<anne@example.org", lenient=True)
    assert read_reverse_path("anne@example.org>", lenient=True)[1] == ">"


@pytest.mark.parametrize(
    ("path", "internationalized"),
    [
        (ForwardPath("anne", "example.org"), False),
        (ForwardPath("anné", "example.org"), True),
        (ForwardPath("anne", "exämple.org"), True),
    ],
)
def test_an_address_beyond_ascii_needs_smtputf8(path: ForwardPath, internationalized: bool) -> None:
    """RFC 6531 §3.2: the extension is for either side of the at sign."""
    assert path.internationalized is internationalized


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40))
def test_what_is_written_is_read_as_the_same(local_part: str) -> None:
    """Quoting is added where it is needed, and undone again (§4.1.2)."""
    path = ForwardPath(local_part, "example.org")
    assert read_forward_path(f"<{path}>") == (path, "")
