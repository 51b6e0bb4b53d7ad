"""What a message asks of a server: addresses, parameters, limits; looked at before it is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from smtpcb.engine import (
    Cause,
    ClientDialogue,
    ClientFailure,
    Destination,
    Outcome,
    Stage,
    Transaction,
)
from smtpcb.smtp import (
    AddressError,
    BodyType,
    Command,
    DeliverBy,
    Extension,
    ForwardPath,
    MailParameters,
    Notify,
    OriginalRecipient,
    Parameter,
    RcptParameters,
    Ret,
    ReversePath,
    ValidSince,
    Verb,
    WhenLate,
)
from smtpcb.smtp._dsn import read_xtext, write_xtext
from smtpcb.testing._play import TLS

from .talk import BOB, CARL, GREETING, PLAIN, QUIT, talk, to

TICKET = Extension(
    "XTICKET",
    mail={"XTICKET": Parameter(read_xtext, write_xtext)},
    rcpt={"XSEAT": Parameter(read_xtext)},
    verbs={"XTICKETS": lambda argument, connection: None},
)
OWN = replace(PLAIN, extensions=(TICKET,))
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def opened(*offers: str, **how: Any) -> ClientDialogue:
    """Return a session whose server offers that."""
    dialogue = ClientDialogue(how.get("settings", PLAIN), tls=how.get("tls"))
    dialogue.receive(b"220 m\r\n")
    dialogue.take_output()
    lines = ["m", *offers]
    dialogue.receive(
        b"".join(
            f"250{' ' if at == len(lines) - 1 else '-'}{line}\r\n".encode()
            for at, line in enumerate(lines)
        )
    )
    return dialogue


def said(transaction: Transaction, *offers: str, **how: Any) -> list[str]:
    """Return MAIL and RCPT as they are sent."""
    dialogue = opened("PIPELINING", *offers, **how)
    dialogue.send(transaction)
    return dialogue.take_output().decode().split("\r\n")[:-2]


def lacks(transaction: Transaction, *offers: str, **how: Any) -> str:
    """Return why a message is not sent; nothing is, and the session goes on."""
    dialogue = opened("PIPELINING", *offers, **how)
    with pytest.raises(ClientFailure) as caught:
        dialogue.send(transaction)
    assert caught.value is transaction.failure
    assert transaction.failure is not None
    assert not transaction.failure.temporary
    assert [one.outcome for one in transaction.destinations] == [Outcome.NOT_TRIED] * len(
        transaction.destinations
    )
    assert dialogue.take_output() == b""
    dialogue.send(to())
    assert transaction.failure.cause in (Cause.LACKING, Cause.LIMIT)
    return str(transaction.failure)


# Addresses.


@pytest.mark.parametrize(
    ("text", "path", "wire"),
    [
        ("bob@Example.ORG", ForwardPath("bob", "example.org"), "<bob@Example.ORG>"),
        ("Postmaster", ForwardPath("Postmaster", ""), "<Postmaster>"),
        ('"b o b"@example.org', ForwardPath("b o b", "example.org"), '<"b o b"@example.org>'),
        ("bob@[192.0.2.1]", ForwardPath("bob", "[192.0.2.1]"), "<bob@[192.0.2.1]>"),
        ("bób@example.org", ForwardPath("bób", "example.org"), "<bób@example.org>"),
    ],
)
def test_a_recipient_is_text_or_a_forward_path(text: str, path: ForwardPath, wire: str) -> None:
    """Text is sent as it is written, if it is a mailbox (L7)."""
    one = Destination(text)
    assert one.forward_path == path
    assert one.wire.decode() == wire
    assert Destination(path).forward_path is path
    assert Destination(path).wire.decode().lower() == wire.lower()


def test_a_sender_is_text_or_a_reverse_path() -> None:
    """Nobody is "" or `ReversePath.NULL`; it is never None."""
    for nobody in ("", ReversePath.NULL):
        message = Transaction(nobody, [BOB])
        assert message.reverse_path == ReversePath.NULL
        assert message.wire == b"<>"
    assert Transaction("a b@c".replace(" ", "."), [BOB]).wire == b"<a.b@c>"
    assert Transaction('"a b"@c', [BOB]).wire == b'<"a b"@c>'
    assert Transaction(ReversePath("a", "c"), [BOB]).wire == b"<a@c>"


BAD = [
    "",
    "bob",
    "bob@",
    "@example.org",
    "bob@example.org>",
    "bob@example.org> NOTIFY=NEVER",
    "<bob@example.org>",
    "bob@example.org\r\nDATA",
    "bob\r@example.org",
    "bob\n@example.org",
    "bob\0@example.org",
    "bob\x7f@example.org",
    "bob\x85@example.org",
    "bob\u2028@example.org",
    "bob\udc80@example.org",
    "bob @example.org",
    "bob@exam ple.org",
    "x" * 250 + "@example.org",
    "bob@" + "x" * 64 + ".org",
    "bob@[1.2.3]",
    '"bob"@example.org>, <"x"@example.org',
    "Postmaster> X",
]


@pytest.mark.parametrize(
    "text", ["Bob <bob@example.org>", "bob@example.org, carol@example.org", "bob.example.org"]
)
def test_what_is_no_mailbox_is_shown(text: str) -> None:
    """Of a thousand recipients it is known which one is wrong, and how it is written."""
    with pytest.raises(AddressError, match=r"is no mailbox: .*local-part@domain") as recipient:
        Destination(text)
    with pytest.raises(AddressError, match=r"is no mailbox: .*local-part@domain") as sender:
        Transaction(text, [BOB])
    assert str(recipient.value).startswith(f"'{text}' ")
    assert str(sender.value).startswith(f"'{text}' ")


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_mailbox_is_never_sent(text: str) -> None:
    """It is refused when it is said, in a sender as well (P52, LX4)."""
    with pytest.raises(AddressError):
        Destination(text)
    if text:
        with pytest.raises(AddressError):
            Transaction(text, [BOB])
    if "\r" in text:
        local_part, _, domain = text.partition("@")
        for path in (ForwardPath(local_part, domain), ForwardPath("a", text)):
            with pytest.raises(AddressError):
                Destination(path)
        with pytest.raises(AddressError):
            Transaction(ReversePath(local_part, domain), [BOB])


def test_a_long_recipient_is_sent_whole() -> None:
    """No line is cut (LX5)."""
    long = "x" * 200 + "@" + "y" * 40 + ".org"
    assert said(to(long))[1] == f"RCPT TO:<{long}>"


def test_recipients_are_several() -> None:
    """One text alone would be one recipient a letter."""
    with pytest.raises(TypeError, match="several"):
        Transaction("", "bob@example.org")
    (failure,) = talk(GREETING + "S: 250 m\n" + QUIT, Transaction("", []), cut=False).failures
    assert (failure.stage, failure.cause) == (Stage.RCPT, Cause.CANCELLED)


# Parameters.


@pytest.mark.parametrize(
    ("parameters", "offer", "wanted"),
    [
        ({"body": BodyType.EIGHT_BIT_MIME}, "8BITMIME", "BODY=8BITMIME"),
        ({"body": BodyType.SEVEN_BIT}, "8bitmime", "BODY=7BIT"),
        ({"smtputf8": True}, "SMTPUTF8", "SMTPUTF8"),
        ({"ret": Ret.HDRS, "envid": "a+b c"}, "DSN", "RET=HDRS ENVID=a+2Bb+20c"),
        ({"by": DeliverBy(60, WhenLate.RETURN)}, "DELIVERBY 60", "BY=60;R"),
        ({"by": DeliverBy(-60, WhenLate.NOTIFY, trace=True)}, "DELIVERBY 90", "BY=-60;NT"),
        ({"mt_priority": -3}, "MT-PRIORITY", "MT-PRIORITY=-3"),
        ({"holdfor": 60}, "FUTURERELEASE 60 x", "HOLDFOR=60"),
        ({"holduntil": NOON}, "FUTURERELEASE", "HOLDUNTIL=2026-11-28T12:00:00Z"),
        ({"auth": ReversePath.NULL}, "AUTH PLAIN", "AUTH=<>"),
        ({"auth": ReversePath("a", "b")}, "AUTH PLAIN", "AUTH=a@b"),
    ],
)
def test_each_parameter_is_said_where_it_is_offered(
    parameters: dict[str, Any], offer: str, wanted: str
) -> None:
    """And where it is not, the message is not sent (L45-L49)."""
    message = to(parameters=MailParameters(**parameters))
    assert said(message, offer)[0] == f"MAIL FROM:<anne@example.org> {wanted}"
    assert message.left_out == ()
    keyword = offer.split()[0].upper()
    if keyword == "AUTH" or wanted == "BODY=7BIT":
        # True whether or not it is said.
        assert said(message)[0] == "MAIL FROM:<anne@example.org>"
        assert message.left_out == (wanted.partition("=")[0],)
    else:
        name = wanted.partition("=")[0]
        assert lacks(message) == f"mail: {name} needs {keyword}, which is not offered"
        lenient = to(parameters=MailParameters(**parameters), may_lack={keyword.lower()})
        assert said(lenient)[0] == "MAIL FROM:<anne@example.org>"
        assert name in lenient.left_out


def test_a_message_for_tls_alone_goes_nowhere_in_the_clear() -> None:
    """What a server promises there, anybody may have promised (RFC 8689 §2)."""
    message = to(parameters=MailParameters(requiretls=True))
    assert said(message, "REQUIRETLS", tls=TLS)[0] == "MAIL FROM:<anne@example.org> REQUIRETLS"
    assert lacks(message, tls=TLS) == "mail: REQUIRETLS needs REQUIRETLS, which is not offered"
    assert lacks(message, "REQUIRETLS").endswith("needs REQUIRETLS, which is not offered")


@pytest.mark.parametrize(
    "parameters",
    [
        *({"envid": "x" * 101}, {"envid": ""}, {"envid": "a\r\nb"}, {"ret": "NONE"}),
        *({"size": -1}, {"size": True}, {"size": 10**25}, {"body": "9BIT"}, {"by": 5}),
        *({"holdfor": 0}, {"holdfor": "5"}, {"holduntil": datetime(2026, 1, 1)}),
        *({"mt_priority": 10}, {"mt_priority": "3"}, {"auth": "anne@example.org"}),
        *({"smtputf8": 1}, {"requiretls": "x"}),
    ],
)
def test_what_no_server_could_read_is_no_parameter_of_a_message(parameters: Any) -> None:
    """It is told when it is said, and by which parameter."""
    keyword = next(iter(parameters)).upper().replace("_", "-")
    with pytest.raises(ValueError, match=f"{keyword} cannot be written: "):
        to(parameters=MailParameters(**parameters))


@pytest.mark.parametrize(
    "parameters",
    [
        *(
            {"notify": {"NEVER", "DELAY"}},
            {"notify": frozenset()},
            {"notify": {"success", "DELAY"}},
        ),
        *({"notify": "SUCCESS"}, {"notify": {"SOON"}}, {"orcpt": "rfc822;bob@example.org"}),
        *({"orcpt": OriginalRecipient("rfc822", "x" * 494)}, {"rrvs": NOON}),
        *({"orcpt": OriginalRecipient(kind, "x")} for kind in ("", "rfc 822", "r;x")),
    ],
)
def test_what_no_server_could_read_is_no_parameter_of_a_recipient(parameters: Any) -> None:
    """A word that is none is not left out in silence."""
    keyword = next(iter(parameters)).upper()
    with pytest.raises(ValueError, match=f"{keyword} cannot be written: "):
        Destination(BOB, RcptParameters(**parameters))


@pytest.mark.parametrize(
    ("parameters", "offer", "wanted"),
    [
        ({"notify": frozenset({Notify.FAILURE, Notify.DELAY})}, "DSN", "NOTIFY=FAILURE,DELAY"),
        ({"orcpt": OriginalRecipient("rfc822", "a=b@c")}, "DSN", "ORCPT=rfc822;a+3Db@c"),
        ({"rrvs": ValidSince(NOON)}, "RRVS", "RRVS=2026-11-28T12:00:00Z"),
    ],
)
def test_each_parameter_of_a_recipient_is_said_where_it_is_offered(
    parameters: dict[str, Any], offer: str, wanted: str
) -> None:
    """One such recipient is enough to keep the message back (L48)."""

    def message(**more: Any) -> Transaction:
        return Transaction("", [CARL, Destination(BOB, RcptParameters(**parameters))], **more)

    assert said(message(), offer)[1:3] == [f"RCPT TO:<{CARL}>", f"RCPT TO:<{BOB}> {wanted}"]
    assert lacks(message()).endswith(f"needs {offer}, which is not offered")
    assert said(message(may_lack={offer}))[2] == f"RCPT TO:<{BOB}>"


def test_binary_content_needs_chunks_and_goes_no_other_way() -> None:
    """Whatever may be lacking (RFC 3030 §3)."""
    message = to(parameters=MailParameters(body=BodyType.BINARY_MIME), may_lack={"BINARYMIME"})
    assert said(message, "BINARYMIME", "CHUNKING") == [
        "MAIL FROM:<anne@example.org> BODY=BINARYMIME"
    ]
    assert lacks(message) == "mail: BODY needs BINARYMIME and CHUNKING, which is not offered"
    assert lacks(message, "BINARYMIME").endswith("needs CHUNKING, which is not offered")
    message.may_lack = frozenset({"BINARYMIME", "CHUNKING"})
    assert lacks(message).startswith("mail: BODY needs")


def test_an_address_in_utf8_needs_smtputf8() -> None:
    """It is said by itself; without it no octet of the address is sent (RFC 6531, P52)."""
    for message in (to("bób@example.org"), Transaction("ánne@example.org", [BOB])):
        mail = said(message, "SMTPUTF8", "8BITMIME")[0]
        assert mail.endswith("> SMTPUTF8")
        assert lacks(message) == "mail: SMTPUTF8 needs SMTPUTF8, which is not offered"
    for which in (MailParameters(smtputf8=True), MailParameters(smtputf8=False)):
        anyway = to("bób@example.org", parameters=which, may_lack={"SMTPUTF8"})
        assert lacks(anyway) == "mail: SMTPUTF8 needs SMTPUTF8, which is not offered"
    both = to("bób@example.org", parameters=MailParameters(smtputf8=True))
    assert said(both, "SMTPUTF8")[0] == "MAIL FROM:<anne@example.org> SMTPUTF8"


def test_the_size_is_said_where_it_is_offered_and_compared() -> None:
    """A message that is too long is not begun (RFC 1870 §6.1, L53)."""
    assert said(to(size_octets=1000), "SIZE")[0] == "MAIL FROM:<anne@example.org> SIZE=1000"
    assert said(to(size_octets=1000), "SIZE 1000")[0].endswith("SIZE=1000")
    assert said(to(size_octets=1000), "SIZE 0")[0].endswith("SIZE=1000")
    assert said(to(size_octets=1000))[0] == "MAIL FROM:<anne@example.org>"
    sized = to(parameters=MailParameters(size=7, body=BodyType.EIGHT_BIT_MIME))
    assert sized.size_octets == 7
    assert said(sized, "SIZE", "8BITMIME")[0].endswith("> SIZE=7 BODY=8BITMIME")
    told = "mail: the message has 1001 octets, and the server takes 1000 at most"
    assert lacks(to(size_octets=1001), "SIZE 1000") == told


def test_what_a_server_says_that_it_cannot_do_is_not_asked_of_it() -> None:
    """A time too short for it, or too long (L23, RFC 2852, RFC 4865)."""
    soon = to(parameters=MailParameters(by=DeliverBy(60, WhenLate.RETURN)))
    assert lacks(soon, "DELIVERBY 240") == "mail: the server needs 240 seconds to deliver"
    held = to(parameters=MailParameters(holdfor=61))
    assert lacks(held, "FUTURERELEASE 60").endswith("holds messages for 60 seconds at most")
    with pytest.raises(ValueError, match="HOLDFOR and HOLDUNTIL exclude each other"):
        to(parameters=MailParameters(holdfor=1, holduntil=NOON))


@pytest.mark.parametrize(
    "parameters",
    [
        MailParameters(by=None, others={"XTICKET": 5}),
        MailParameters(others={"XNOBODYS": "x"}),
    ],
)
def test_an_extension_of_ones_own_has_parameters_too(parameters: MailParameters) -> None:
    """They are written as it says; those that nobody knows are not offered."""
    mine = to(parameters=MailParameters(others={"XTICKET": "a=b"}))
    assert said(mine, "XTICKET", settings=OWN)[0].endswith("> XTICKET=a+3Db")
    assert lacks(mine, settings=OWN).endswith("XTICKET, which is not offered")
    seat = Transaction("", [Destination(BOB, RcptParameters(others={"XSEAT": "5"}))])
    assert said(seat, "XTICKET", settings=OWN)[1].endswith("> XSEAT=5")
    if "XNOBODYS" in parameters:
        assert lacks(to(parameters=parameters)).endswith("XNOBODYS, which is not offered")


@pytest.mark.parametrize("value", ["a\r\nDATA", "a b", "a=b", "a\0", "\x7f", "\udc80"])
def test_a_value_that_would_be_another_word_is_never_sent(value: str) -> None:
    """Whatever it would do to the line (P52); another message may be sent."""
    own = Extension("XRAW", mail={"XRAW": Parameter(str)}, rcpt={"XRAWR": Parameter(str)})
    dialogue = opened("XRAW", settings=replace(PLAIN, extensions=(own,)))
    for message in (
        to(parameters=MailParameters(others={"XRAW": value})),
        Transaction("", [Destination(BOB, RcptParameters(others={"XRAWR": value}))]),
    ):
        with pytest.raises(ValueError, match=r"written|surrogates"):
            dialogue.send(message)
        assert dialogue.take_output() == b""
    dialogue.send(to())


def test_a_verb_of_ones_own_may_be_asked() -> None:
    """Where its extension is offered."""
    talk(
        GREETING + "S: 250-m\nS: 250 XTICKET\nC: xtickets all\nS: 250 5 left\n" + QUIT,
        Command(Verb.UNKNOWN, "all", name="xtickets"),
        settings=OWN,
    )
    command = Command(Verb.UNKNOWN, "all", name="XTICKETS")
    owner = talk(GREETING + "S: 250 m\n" + QUIT, command, settings=OWN)
    assert str(owner.failures[0]) == "command: XTICKET is not offered"


def test_may_lack_is_keywords() -> None:
    """A text alone would be one keyword a letter."""
    with pytest.raises(TypeError, match="may_lack is a set of keywords"):
        to(may_lack="DSN")


# LIMITS (RFC 9422).


def outcomes(message: Transaction) -> list[Outcome]:
    """Return what became of each recipient."""
    return [one.outcome for one in message.destinations]


def test_no_more_recipients_are_named_than_a_server_takes() -> None:
    """The others are for the next time, with the same transaction (RFC 9422 §4.2)."""
    names = [f"r{number}@example.org" for number in range(5)]
    message = Transaction("", names)
    dialogue = opened("PIPELINING", "LIMITS RCPTMAX=2")
    sent = []
    while message.remaining:
        dialogue.send(message)
        lines = dialogue.take_output().decode().split("\r\n")
        sent.append([line[9:-1] for line in lines if line.startswith("RCPT")])
        dialogue.receive(b"250 ok\r\n" * (1 + len(sent[-1])) + b"354 go\r\n")
        dialogue.end_content()
        dialogue.take_output()
        dialogue.receive(b"250 taken\r\n")
    assert sent == [names[:2], names[2:4], names[4:]]
    assert outcomes(message) == [Outcome.DELIVERED] * 5


def test_no_more_domains_are_named_than_a_server_takes() -> None:
    """RFC 9422 §4.3."""
    message = Transaction("", ["a@x.org", "b@y.org", "c@x.org", "d@z.org"])
    assert said(message, "LIMITS RCPTDOMAINMAX=1")[1:] == [
        "RCPT TO:<a@x.org>",
        "RCPT TO:<c@x.org>",
    ]


def test_no_more_messages_are_sent_than_a_server_takes() -> None:
    """Another session takes the next one (RFC 9422 §4.1)."""
    dialogue = opened("LIMITS MAILMAX=1")
    assert not dialogue.is_spent
    dialogue.send(to())
    assert dialogue.is_spent
    assert not opened("LIMITS RCPTMAX=1").is_spent
    dialogue.take_output()
    dialogue.receive(b"550 no\r\n")
    message = to()
    with pytest.raises(ClientFailure, match="no more messages in this session") as caught:
        dialogue.send(message)
    assert message.failure is caught.value
    assert message.failure.temporary
    dialogue.quit()


def test_all_or_nobody_is_nobody_where_they_are_too_many() -> None:
    """They cannot all be in one message."""
    message = Transaction("", ["a@x.org", "b@y.org"], require_all_recipients=True)
    assert lacks(message, "LIMITS RCPTMAX=1") == "rcpt: more recipients than the server takes"
