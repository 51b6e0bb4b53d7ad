"""The header section that a message is sent with."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.client import ContentError, HeaderRules, Origin
from smtpcb.client._section import Section
from smtpcb.smtp import ForwardPath, ReversePath
from smtpcb.smtp._header import MOST_FIELDS

ANNE = ReversePath("anne", "example.org")
BOB, CARL = ForwardPath("bob", "example.net"), ForwardPath("carl", "example.com")
ORIGIN = Origin(ANNE, (BOB, CARL), datetime(2026, 11, 28, 9, tzinfo=UTC), "unique")
DATE = b"Date: Sat, 28 Nov 2026 09:00:00 +0000\r\n"
FROM = b"From: anne@example.org\r\n"
ID = b"Message-ID: <unique@example.org>\r\n"


def through(
    octets: bytes,
    rules: HeaderRules | None = None,
    origin: Origin = ORIGIN,
    *,
    size: int = 100_000,
    most: int = 100_000,
    keep: bool = False,
) -> bytes:
    """Send a message through, in pieces of one size."""
    section = Section(None if keep else rules or HeaderRules(), origin, most)
    out = [section.read(octets[at : at + size]) for at in range(0, len(octets), size)]
    return b"".join(out) + section.finish()


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (b"", DATE + FROM + ID + b"\r\n"),
        (b"\r\nHello\r\n", DATE + FROM + ID + b"\r\nHello\r\n"),
        (b"Hello\r\n", DATE + FROM + ID + b"\r\nHello\r\n"),
        (b"Hello: you\r\n", b"Hello: you\r\n" + DATE + FROM + ID + b"\r\n"),
        (b"Subject: a\r\nHello\r\n", b"Subject: a\r\n" + DATE + FROM + ID + b"\r\nHello\r\n"),
        (b"date: x\r\nFROM : y\r\nmessage-id: z\r\n\r\n.\r\n",) * 2,
        (b"X: a\r\n b\r\nX: c\r\n" + DATE + FROM + ID + b"\r\n\r\n",) * 2,
    ],
)
def test_a_message_is_completed(given: bytes, sent: bytes) -> None:
    """Every message has a date, an author and a Message-ID; nothing else of it changes."""
    for size in range(1, 30):
        assert through(given, size=size) == sent


def test_what_is_nobodys_business_is_taken_out() -> None:
    """Hidden recipients stay hidden, and what only the last server may write is not sent."""
    kept = DATE + FROM + ID + b"X-Bcc: kept\r\nReceived: from x\r\nResent-To: y\r\n"
    prohibited = (
        b"Bcc: hidden@x.y,\r\n\tother@x.y\r\nReturn-Path: <a@b>\r\nbCC : hidden@x.y\r\n"
        b"Original-Recipient: rfc822; hidden@x.y\r\nResent-Bcc: hidden@x.y\r\n"
        b"Resent-Reply-To: hidden@x.y\r\n"
    )
    assert through(prohibited + kept + b"\r\nBcc: body\r\n") == kept + b"\r\nBcc: body\r\n"


def test_one_of_a_kind_stays_the_first() -> None:
    """A message has one subject and one author: which one does not depend on who reads it."""
    twice = DATE + FROM + ID + b"Subject: a\r\nTo: b\r\nsubject: c\r\nTo: d\r\nX: 1\r\nX: 2\r\n\r\n"
    once = DATE + FROM + ID + b"Subject: a\r\nTo: b\r\nX: 1\r\nX: 2\r\n\r\n"
    assert through(twice) == once


def test_what_belongs_to_the_content_is_not_touched() -> None:
    """MIME, trace and resent fields go through octet for octet, twice if they were there twice."""
    section = (
        b"Received: a\r\nReceived: b\r\nMIME-Version :1.0\r\n"
        b"Content-Type:  text/plain;\r\n\tx=y\r\nResent-From: a@b\r\nResent-From: c@d\r\n"
        b"Content-Type: again\r\nDKIM-Signature: v=1; b=xy\r\n z\r\n"
    )
    assert through(section + DATE + FROM + ID + b"\r\n") == section + DATE + FROM + ID + b"\r\n"
    assert through(section + b"\r\nbody", keep=True) == section + b"\r\nbody"


def test_what_the_message_has_wins_unless_it_is_overridden() -> None:
    """A caller's field fills a gap; to replace one must be said, and then it stays in its place."""
    rules = HeaderRules()
    rules.set("Subject", "ours")
    rules.set("Reply-To", "ours@x.y", override=True)
    rules.set("X-Tag", "one", override=True)
    rules.set("X-Tag", "two")
    rules.set("Date", datetime(2026, 1, 1, tzinfo=UTC), override=True)
    rules.prohibit("x-mailer")
    message = (
        b"Subject: theirs\r\nX-Mailer: a\r\nDate: b\r\nReply-To: c@d\r\nX-TAG: e\r\nTo: f\r\n"
        b"x-tag: g\r\nDate: h\r\n\r\n"
    )
    assert through(message, rules) == (
        b"Subject: theirs\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\nReply-To: ours@x.y\r\n"
        b"X-Tag: one\r\nX-Tag: two\r\nTo: f\r\n" + FROM + ID + b"\r\n"
    )
    assert through(b"", rules) == (
        FROM + b"Subject: ours\r\nReply-To: ours@x.y\r\nX-Tag: one\r\nX-Tag: two\r\n"
        b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n" + ID + b"\r\n"
    )


def test_addresses_add_up() -> None:
    """A list is set in one call or in several."""
    rules = HeaderRules()
    rules.set("To", ("Bob", "bob@x.y"))
    rules.set("to", iter(["c@x.y", "d@x.y"]))
    rules.set("Cc", ["e@x.y"])
    rules.set("From", "Anne <anne@x.y>, f@x.y")
    rules.set("From", "g@x.y")
    sent = message_from_bytes(through(b"", rules), policy=policy.SMTP)
    assert sent["To"] == "Bob <bob@x.y>, c@x.y, d@x.y"
    assert sent["Cc"] == "e@x.y"
    assert sent["From"] == "Anne <anne@x.y>, f@x.y, g@x.y"
    assert sent.keys().count("To") == 1


def test_to_may_be_made_of_the_recipients() -> None:
    """On request everybody reads who else gets the message; nobody does by default."""
    rules = HeaderRules()
    rules.set_to_from_recipients()
    assert rules.from_recipients
    to = b"To: bob@example.net, carl@example.com\r\n"
    assert through(b"", rules) == DATE + FROM + to + ID + b"\r\n"
    own = b"To: theirs\r\n" + DATE + FROM + ID + b"\r\n"
    assert through(own, rules) == own
    assert b"To:" not in through(b"")
    over = HeaderRules()
    over.set_to_from_recipients(override=True)
    assert through(own, over) == to + DATE + FROM + ID + b"\r\n"
    lone = Origin(ANNE, (ForwardPath("Postmaster", ""),))
    assert b"To:" not in through(b"", rules, lone)


def test_mail_of_others_is_only_changed_as_asked() -> None:
    """A gateway adds its field, and neither completes nor cleans what others have written."""
    rules = HeaderRules(complete=False)
    rules.set("X-Spam-Flag", "NO", override=True)
    rules.prohibit("X-Secret")
    theirs = b"Bcc: a\r\nSubject: b\r\nSubject: c\r\nReturn-Path: <d>\r\n"
    given = theirs + b"X-Secret: e\r\nx-spam-flag: YES\r\nX-Spam-Flag: YES\r\n\r\nbody\r\n"
    assert through(given, rules) == theirs + b"X-Spam-Flag: NO\r\n\r\nbody\r\n"
    assert through(b"", rules, Origin()) == b"X-Spam-Flag: NO\r\n\r\n"


def test_a_message_id_is_made_once_and_tells_nothing() -> None:
    """The same message has the same Message-ID in each attempt; no machine is named in it."""
    origin = Origin(ANNE)
    assert through(b"", origin=origin) == through(b"", origin=origin)
    assert origin.message_id() != Origin(ANNE).message_id()
    assert origin.message_id() == f"<{origin.unique}@example.org>"
    assert Origin().message_id().endswith("@unknown.invalid>")
    assert (
        Origin(ReversePath("a", "b\xfccher.example"))
        .message_id()
        .endswith("@xn--bcher-kva.example>")
    )
    assert Origin(ReversePath("a", "\xfc" * 70)).message_id().endswith("@unknown.invalid>")
    named = HeaderRules(message_id_domain="mail.example")
    assert b"Message-ID: <unique@mail.example>\r\n" in through(b"", named)


def test_a_message_id_can_be_left_out() -> None:
    """Who prohibits it gets none."""
    rules = HeaderRules()
    rules.prohibit("Message-ID")
    assert through(ID, rules) == DATE + FROM + b"\r\n"


@pytest.mark.parametrize("domain", ["a b", "x>y", "a\r\nBcc: b", "[a>b]", "a..b", "\u2028"])
def test_a_path_made_by_hand_brings_nothing_into_the_section(domain: str) -> None:
    """A domain that no command could have is no part of a Message-ID."""
    octets = through(FROM, origin=Origin(ReversePath("a", domain), unique="unique"))
    assert octets.endswith(b"Message-ID: <unique@unknown.invalid>\r\n\r\n")
    assert octets.count(b"\r\n") == 4
    with pytest.raises(ContentError, match="envelope"):
        through(b"", origin=Origin(ReversePath("a", domain)))


@pytest.mark.parametrize("domain", ["a b", "a@b", "a>b", "[a>b]", "b\xfc", "a\r\nb"])
def test_a_message_id_is_one_word(domain: str) -> None:
    """What is no domain is refused."""
    with pytest.raises(ValueError, match=r".+"):
        HeaderRules(message_id_domain=domain)


def test_the_null_reverse_path_is_no_author() -> None:
    """A report says itself who wrote it: an author that nobody can answer is not made up."""
    with pytest.raises(ContentError, match="From"):
        through(b"Subject: report\r\n\r\n", origin=Origin())
    assert FROM in through(FROM, origin=Origin())
    assert b"From" not in through(b"Subject: report\r\n\r\n", origin=Origin(), keep=True)


@pytest.mark.parametrize(
    ("path", "author"),
    [
        (ReversePath("anne", "[192.0.2.1]"), b"anne@[192.0.2.1]"),
        (ReversePath("a b", "x.y"), b'"a b"@x.y'),
        (ReversePath("j\xf6", "x.y"), "j\xf6@x.y".encode()),
        (ReversePath("root", ""), None),
    ],
)
def test_an_author_is_made_of_the_reverse_path(path: ReversePath, author: bytes | None) -> None:
    """Whatever MAIL takes is an author, if it has a domain."""
    if author is None:
        with pytest.raises(ContentError, match="From"):
            through(b"", origin=Origin(path))
    else:
        assert b"From: " + author + b"\r\n" in through(b"", origin=Origin(path))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Bcc", "recipient"),
        ("resent-bcc", "recipient"),
        ("Return-Path", "reverse-path"),
        ("Original-Recipient", "ORCPT"),
        ("Resent-Reply-To", "5322"),
        ("MIME-Version", "stays"),
        ("Content-Type", "stays"),
        ("Received", "stays"),
        ("Resent-From", "stays"),
        ("Bad Name", "no name"),
        ("X\r\nY", "no name"),
    ],
)
def test_some_fields_are_not_the_callers_to_set(name: str, why: str) -> None:
    """What cannot be set says why."""
    with pytest.raises(ValueError, match=why):
        HeaderRules().set(name, "a@b.c")


@pytest.mark.parametrize("name", ["Date", "from", "Content-Type", "Resent-To", "Received", "a:b"])
def test_some_fields_cannot_be_prohibited(name: str) -> None:
    """Nor can every field be taken out."""
    with pytest.raises(ValueError, match=r".+"):
        HeaderRules().prohibit(name)


def test_what_is_prohibited_anyway_may_be_prohibited() -> None:
    """To say again that Bcc is not sent is no mistake."""
    HeaderRules().prohibit("Bcc")


def rules_with(*steps: tuple[Any, ...]) -> HeaderRules:
    rules = HeaderRules()
    for name, *arguments in steps:
        getattr(rules, name)(*arguments)
    return rules


@pytest.mark.parametrize(
    ("before", "step"),
    [
        (("set", "Subject", "a"), ("set", "subject", "b")),
        (("set", "Sender", "a@b.c"), ("set", "Sender", "d@e.f")),
        (("set", "Subject", "a"), ("prohibit", "Subject")),
        (("prohibit", "Subject"), ("set", "Subject", "a")),
        (("set_to_from_recipients",), ("set", "To", "a@b.c")),
        (("set_to_from_recipients",), ("prohibit", "To")),
        (("set", "To", "a@b.c"), ("set_to_from_recipients",)),
        (("prohibit", "To"), ("set_to_from_recipients",)),
        (("set", "To", "a@b.c"), ("set", "To", "nobody")),
        (("set", "X", "a"), ("set", "X", "b\r\n")),
    ],
)
def test_a_mistake_changes_nothing(before: tuple[Any, ...], step: tuple[Any, ...]) -> None:
    """What contradicts itself is refused, and what was said first holds."""
    rules = rules_with(before)
    with pytest.raises(ValueError, match=r".+"):
        getattr(rules, step[0])(*step[1:])
    assert through(b"To: x\r\n", rules) == through(b"To: x\r\n", rules_with(before))


@pytest.mark.parametrize(
    "octets",
    [
        b" Hello\r\nyou\r\n",
        b"\tHello: a\r\n\r\n",
        b"From anne Sat Nov 28\r\nSubject: a\r\n\r\n",
        b"Subject: a\r\nFrom here on\r\n\r\n",
        b"Subject: a\r\n: b\r\n\r\n",
        b"From here on there is no header section\r\n",
    ],
)
def test_no_line_is_lost(octets: bytes) -> None:
    """A line that readers of mail pass over is named; it is not dropped on the way."""
    for size in (1, 7, 1000):
        with pytest.raises(ContentError, match="no header field"):
            through(octets, size=size)
    assert through(octets, keep=True) == octets


def test_a_section_has_a_limit() -> None:
    """A section that does not end is refused, not sent with its second half as the body."""
    long = b"X-A: " + b"a" * 50 + b"\r\n"
    for octets in (long * 20 + b"\r\n", long[:-2] * 30, long * 20):
        with pytest.raises(ContentError, match="over 500 octets"):
            through(octets, most=500)
        assert through(octets, most=500, keep=True) == octets
    assert through(b"X: a\r\n" * 50 + b"body\r\n", most=500).endswith(b"\r\n\r\nbody\r\n")
    with pytest.raises(ContentError, match="fields"):
        through(b"X: a\r\n" * (MOST_FIELDS + 1) + b"\r\n")


def test_lines_of_a_section_end_in_crlf() -> None:
    """What is to be written anew has to be read first."""
    with pytest.raises(ContentError, match="LF"):
        through(b"Subject: a\nTo: b\n\nbody\n")


def looked_at(octets: bytes, rules: HeaderRules | None) -> Section:
    section = Section(rules, ORIGIN, 1000)
    section.read(octets)
    section.finish()
    return section


@pytest.mark.parametrize(
    ("octets", "wide"),
    [
        (b"Subject: a\r\n\r\n\xc3\xa4", False),
        (b"Subject: \xc3\xa4\r\n\r\na", True),
        (b"Subject: \xc3\xa4\n\n\xff", True),
        (b"Subject: a\n\n\xff", False),
        (b"\xff\r\n", False),
        (b"Subject: a\r\n\xff", False),
    ],
)
def test_a_section_that_is_no_ascii_is_seen(octets: bytes, wide: bool) -> None:
    """Whether SMTPUTF8 is needed is a matter of the header section alone."""
    assert looked_at(octets, None).wide is wide
    if b"\r" in octets:
        assert looked_at(octets, HeaderRules()).wide is wide


def test_a_section_in_another_charset_is_refused() -> None:
    """Only UTF-8 can stand in a header section; the line is shown."""
    for rules in (None, HeaderRules()):
        with pytest.raises(ContentError, match=r"no UTF-8 .*J.xf6rg"):
            looked_at(b"To: a\r\nSubject: J\xf6rg\r\n\r\n", rules)


def test_the_message_id_is_known() -> None:
    """Who sends a message may note under which name."""
    assert looked_at(b"message-id :\r\n <a@b>\r\n\r\n", HeaderRules()).message_id == "<a@b>"
    assert looked_at(b"Message-ID: <a@b>\r\n\r\n", None).message_id == "<a@b>"
    assert looked_at(b"", HeaderRules()).message_id == "<unique@example.org>"
    assert looked_at(b"\r\nMessage-ID: <a@b>\r\n", None).message_id == ""


NAMES = st.sampled_from(["Date", "From", "To", "Bcc", "Subject", "X-A", "Received", "Content-Type"])
FIELDS = st.lists(st.tuples(NAMES, st.text("ab:. ", max_size=9)), max_size=8)


@given(FIELDS, st.text("ab:\n ", max_size=20), st.integers(1, 40))
def test_the_body_is_never_touched(fields: list[tuple[str, str]], text: str, size: int) -> None:
    """Whatever the header section is, behind it stands the body as it was."""
    body = text.replace("\n", "\r\n").encode()
    given = "".join(f"{name}: x{value}\r\n" for name, value in fields).encode()
    section, _, rest = through(given + b"\r\n" + body, size=size).partition(b"\r\n\r\n")
    assert rest == body
    kept = [(name, value) for name, value in fields if name != "Bcc"]
    sent = message_from_bytes(section, policy=policy.compat32)
    for name in ("X-A", "Received", "Content-Type"):
        mine = [f"x{value}" for one, value in kept if one == name]
        assert sent.get_all(name, []) == mine
    assert all(len(sent.get_all(name, [])) == 1 for name in ("Date", "From", "Message-ID"))
    assert "Bcc" not in sent
