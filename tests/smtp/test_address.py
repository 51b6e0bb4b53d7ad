"""Paths: what is one, what it means, and how it is written again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._address import (
    AddressError,
    ForwardPath,
    Leniency,
    Path,
    ReversePath,
    read_forward_path,
    read_mailbox,
    read_reverse_path,
)
from smtpcb.smtp._text import CONTROL


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
        ("<anné@EXÄMPLE.org>", "anné", "exämple.org"),
        ("<\u200canne@x\u200cy.org>", "\u200canne", "x\u200cy.org"),
        ("<\U0001fae8\U000323af@\ue000.org>", "\U0001fae8\U000323af", "\ue000.org"),
        ("<a@example.\u212aom>", "a", "example.\u212aom"),
        ("<a@\u0130.org>", "a", "\u0130.org"),
        (f"<a@{'x' * 63}.org>", "a", f"{'x' * 63}.org"),
    ],
)
def test_a_path_is_taken_apart(text: str, local_part: str, domain: str) -> None:
    """Quotes and source routes are no part of the meaning (§4.1.2, appendix C)."""
    for lenient in (False, True):
        found = read_forward_path(text + " SIZE=1", lenient=lenient)
        assert (found.path, found.rest) == (ForwardPath(local_part, domain), " SIZE=1")
        assert found.leniencies == ()
        found = read_forward_path(f" \t {text}", lenient=lenient)  # blanks behind the colon
        assert (found.path, found.rest) == (ForwardPath(local_part, domain), "")
        assert read_reverse_path(text, lenient=lenient).path == ReversePath(local_part, domain)
        assert read_reverse_path(f"\t{text}").rest == ""
    assert read_forward_path(found.path.wire).path == found.path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "anne@example.org",
        "<anne@example.org",
        "<anne\x85@example.org>",
        "<anne@exam\u2028ple.org>",
        "<an\ud800ne@example.org>",
        '<"a\x9b"@example.org>',
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
    for lenient in (False, True):
        assert read_reverse_path(" <> X", lenient=lenient) == (ReversePath.NULL, " X", False, ())
    assert ReversePath.NULL.wire == "<>"
    assert str(ReversePath.NULL) == ""
    with pytest.raises(AddressError):
        read_forward_path("<>")


@pytest.mark.parametrize("lenient", [False, True])
def test_the_postmaster_needs_no_domain(lenient: bool) -> None:
    """Every server takes mail for ``<Postmaster>``, however it is spelled (§4.5.1)."""
    found = read_forward_path(" <PostMaster> X", lenient=lenient)
    assert (str(found.path), found.rest, found.leniencies) == ("PostMaster", " X", ())
    assert found.path.is_postmaster
    assert found.path.wire == "<PostMaster>"


def test_somebody_elses_postmaster_is_not_ours() -> None:
    """Whoever takes mail for the postmaster must not become a relay by it (§4.5.1)."""
    assert not read_forward_path("<postmaster@victim.example>").path.is_postmaster
    assert not ForwardPath("anne", "").is_postmaster
    # Keywords are ASCII: the LONG S is no s.
    assert not ForwardPath("po\u017ftmaster", "").is_postmaster
    with pytest.raises(AddressError):
        read_forward_path("<po\u017ftmaster>")


@pytest.mark.parametrize(
    ("text", "local_part", "domain", "leniencies"),
    [
        ("anne@example.org", "anne", "example.org", {Leniency.BRACKETS}),
        ("anne@[127.0.0.1]", "anne", "[127.0.0.1]", {Leniency.BRACKETS}),
        ("<local.@example.com>", "local.", "example.com", {Leniency.DOTS}),
        ("<.a..b@example.com>", ".a..b", "example.com", {Leniency.DOTS}),
        ("<root>", "root", "", {Leniency.NO_DOMAIN}),
        ('<"a b">', "a b", "", {Leniency.NO_DOMAIN}),
        ("root", "root", "", {Leniency.BRACKETS, Leniency.NO_DOMAIN}),
        ("postmaster", "postmaster", "", {Leniency.BRACKETS, Leniency.NO_DOMAIN}),
        ("<anne@example.org.>", "anne", "example.org", {Leniency.FINAL_DOT}),
        ("<anne@EX_ample.org.>", "anne", "ex_ample.org", {Leniency.FINAL_DOT, Leniency.HOST_NAME}),
        ("<anne@-x-.org>", "anne", "-x-.org", {Leniency.HOST_NAME}),
        ("< anne@example.org\t>", "anne", "example.org", {Leniency.BLANKS}),
        ("<anne @ example.org>", "anne", "example.org", {Leniency.BLANKS}),
        ("<@relay.example: anne@example.org>", "anne", "example.org", {Leniency.BLANKS}),
        ('<"a @b"@example.org.>', "a @b", "example.org", {Leniency.FINAL_DOT}),
        (f"<{'a' * 300}@example.org>", "a" * 300, "example.org", {Leniency.LENGTH}),
        (
            " < .anne@example.org. >",
            ".anne",
            "example.org",
            {Leniency.BLANKS, Leniency.DOTS, Leniency.FINAL_DOT},
        ),
    ],
)
def test_forms_that_clients_get_wrong_can_be_taken(
    text: str, local_part: str, domain: str, leniencies: set[Leniency]
) -> None:
    """Only where it is asked for, and it is said in what way they were wrong."""
    for read in (read_forward_path, read_reverse_path):
        found = read(text + " SIZE=1", lenient=True)
        assert (found.path.local_part, found.path.domain) == (local_part, domain)
        assert found.rest == " SIZE=1"
        assert set(found.leniencies) == leniencies
        assert len(found.leniencies) == len(leniencies)
        with pytest.raises(AddressError):
            read(text)
        again = read(found.path.wire, lenient=True)
        assert again.path == found.path
        assert Leniency.DOTS not in again.leniencies  # it is quoted


@pytest.mark.parametrize("text", ['<"">', '""', ' < "" >', '<"" > X'])
def test_an_empty_local_part_alone_is_nobody(text: str) -> None:
    """It would be taken for the ``<>`` of a bounce, which is written otherwise."""
    for read in (read_forward_path, read_reverse_path):
        for lenient in (False, True):
            with pytest.raises(AddressError):
                read(text, lenient=lenient)


def test_a_null_path_with_a_blank_in_it_can_be_taken() -> None:
    """It is meant as ``<>``; as a recipient it is nobody even so."""
    found = read_reverse_path("< > X", lenient=True)
    assert found == (ReversePath.NULL, " X", False, (Leniency.BLANKS,))
    for text in ("< >", "<>", ""):
        with pytest.raises(AddressError):
            read_forward_path(text, lenient=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<anne@example.org",
        "<a b@example.org>",
        "<anne@>",
        "<@example.org>",
        "<anne@example..org>",
        "<anne@[300.1.1.1]>",
        f"<anne@{'x' * 64}.org>",
        "<an\x85ne>",
    ],
)
def test_some_forms_mean_nothing_in_any_case(text: str) -> None:
    """With half of the brackets nobody knows where the address ends; no host has such names."""
    for read in (read_forward_path, read_reverse_path):
        with pytest.raises(AddressError):
            read(text, lenient=True)
    assert read_reverse_path("anne@example.org>", lenient=True).rest == ">"


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


@pytest.mark.parametrize(
    ("text", "internationalized"),
    [
        ("<anne@example.org>", False),
        ("<anné@example.org>", True),
        ("<anne@exämple.org>", True),
        # Its lower case is ASCII, but what was received is not.
        ("<a@example.\u212aom>", True),
        ("<@exämple.org:anne@example.org>", True),
    ],
)
def test_what_was_received_decides_whether_smtputf8_is_needed(
    text: str, internationalized: bool
) -> None:
    """Not what became of it (RFC 6531 §3.2)."""
    for lenient in (False, True):
        assert read_forward_path(text, lenient=lenient).internationalized is internationalized
        assert read_reverse_path(text, lenient=lenient).internationalized is internationalized
    assert read_forward_path("anné", lenient=True).internationalized


LOCAL_PARTS = st.text(
    st.characters(
        min_codepoint=0x20,
        exclude_characters="\x7f\u2028\u2029" + "".join(map(chr, range(0x80, 0xA0))),
        exclude_categories=["Cs"],
    ),
    max_size=40,
)


@given(LOCAL_PARTS, st.sampled_from(["example.org", "[127.0.0.1]", "[IPv6:::1]", "exämple.org"]))
def test_what_is_written_is_read_as_the_same(local_part: str, domain: str) -> None:
    """Quoting is added where it is needed, and undone again (§4.1.2)."""
    forward, reverse = ForwardPath(local_part, domain), ReversePath(local_part, domain)
    assert read_forward_path(f"<{forward}>").path == forward
    assert read_forward_path(forward.wire)[:2] == (forward, "")
    assert read_reverse_path(reverse.wire)[:2] == (reverse, "")


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_path_never_ends_the_command_that_it_stands_in(local_part: str, domain: str) -> None:
    """Whatever values a program puts into one: it is a path on one line, or an error (P52)."""
    for path in (ForwardPath(local_part, domain), ReversePath(local_part, domain)):
        try:
            wire = path.wire
        except AddressError:
            continue
        assert not CONTROL.search(wire)
        read = read_forward_path if isinstance(path, ForwardPath) else read_reverse_path
        assert read(wire + " X=1", lenient=True).rest == " X=1"


@pytest.mark.parametrize(
    "path",
    [
        ForwardPath("a\r\nb", "example.org"),
        ForwardPath("a", "example.org> SIZE=1"),
        ForwardPath("a", "example.org\t"),
        ReversePath("a", " example.org"),
        ForwardPath("a", "[1.2.3]"),
        ForwardPath("", ""),
        ReversePath("a\x85", "example.org"),
        ReversePath("\udcff", "example.org"),
    ],
)
def test_a_path_that_cannot_be_said_is_an_error(path: Path) -> None:
    """Before an octet of it is sent (P52)."""
    with pytest.raises(AddressError):
        _ = path.wire


@given(st.text('<>@.,:"\\ []_-aé\t', max_size=12))
def test_lenient_takes_whatever_strict_takes_and_means_the_same(text: str) -> None:
    """Leniency never changes what a correct path means."""
    for read in (read_forward_path, read_reverse_path):
        try:
            found = read(text)
        except AddressError:
            continue
        assert read(text, lenient=True) == found


def test_a_mailbox_stands_without_brackets() -> None:
    """As AUTH= and ORCPT= have it (RFC 4954 §5)."""
    assert read_mailbox('"a b"@Example.ORG') == ReversePath("a b", "example.org")
    for text in ("", "anne", "<a@b>", "a@b ", f"a@{'x' * 64}.org", f"{'a' * 256}@b"):
        with pytest.raises(AddressError):
            read_mailbox(text)
