"""Nothing that a caller gives adds a line, ends one, or hides in one (P52)."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.headerregistry import Address
from email.message import EmailMessage
from random import Random
from typing import Any

import pytest

from smtpcb.client import ContentError, HeaderRules, Origin, Outgoing, Server, SubmissionSession
from smtpcb.engine import (
    ClientDialogue,
    ClientFailure,
    ClientSettings,
    ClientWants,
    Destination,
    Transaction,
)
from smtpcb.handlers.relay import Changes
from smtpcb.smtp import (
    Command,
    Credentials,
    Extension,
    ForwardPath,
    LocalProtocolError,
    MailParameters,
    OriginalRecipient,
    Parameter,
    RcptParameters,
    ReversePath,
    Verb,
    XClient,
    XForward,
)
from smtpcb.smtp._xclient import XFORWARD, write_attributes
from smtpcb.smtp.sasl import Mechanism
from tests.client.running import sent
from tests.engine.client.talk import TLS

#: Each character that ends a line or steers a terminal: C0, DEL, C1 and Unicode's separators.
CONTROLS = [*map(chr, range(32)), "\x7f", "\x85", "\x9b", "\u2028", "\u2029"]
MOST_HOSTILE = ["\r", "\n", "\r\n", "\0", "\x1b", "\x7f"]
HIDDEN = "RSET"

# A command as a strict server takes it: no control, but for the CRLF at the end of each.
_LINES = re.compile(rb"(?:[^\x00-\x1f\x7f]*\r\n)*")
_FIELD = re.compile(rb"(?:[^\r\n\0]*\r\n)+")

TICKET = Extension(
    "XTICKET",
    mail={"XTICKET": Parameter(str)},
    rcpt={"XFOR": Parameter(str)},
    verbs={"XTICKETS": lambda argument, connection: None},
)
OFFERED = (
    b"250-here\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250-DSN\r\n250-8BITMIME\r\n250-ETRN\r\n"
    b"250-AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2 OAUTHBEARER X-OWN\r\n250-XTICKET\r\n"
    b"250-MT-PRIORITY\r\n250-XCLIENT NAME ADDR HELO LOGIN\r\n250-XFORWARD NAME\r\n250 SIZE\r\n"
)

REFUSED = (ValueError, TypeError, LocalProtocolError, ClientFailure, ContentError)
ORIGIN = Origin(ReversePath("anne", "example.org"))


def opened(**settings: Any) -> ClientDialogue:
    """Return a session that waits for work, or for credentials."""
    how = {"hostname": "me.example.org", "starttls": "off", "extensions": (TICKET,), **settings}
    dialogue = ClientDialogue(ClientSettings(**how), tls=TLS)
    dialogue.receive(b"220 here\r\n")
    dialogue.take_output()
    dialogue.receive(OFFERED)
    return dialogue


def said_by(act: Callable[[ClientDialogue], object], **settings: Any) -> bytes:
    """Return what goes out when something is done."""
    dialogue = opened(**settings)
    assert dialogue.take_output() == b"" or "xclient" in settings
    act(dialogue)
    return dialogue.take_output()


def transaction(reverse_path: Any = "a@b.example", to: Any = "c@d.example", **more: Any) -> bytes:
    def act(dialogue: ClientDialogue) -> None:
        one = to if isinstance(to, Destination) else Destination(to)
        dialogue.send(Transaction(reverse_path, [one], **more))

    return said_by(act)


def introduced(name: str) -> bytes:
    dialogue = ClientDialogue(ClientSettings(hostname=name))
    dialogue.receive(b"220 here\r\n")
    return dialogue.take_output()


def asked(verb: Verb, argument: str, name: str = "") -> bytes:
    return said_by(lambda dialogue: dialogue.ask(Command(verb, argument, name)))


def logged_in(mechanism: str, **fields: str) -> bytes:
    given = {"username": "anne", "password": "secret", **fields}
    out = b""
    dialogue = opened(login="required", mechanisms=(mechanism,))
    assert dialogue.wants is ClientWants.CREDENTIALS
    dialogue.give(Credentials(mechanism, **given))  # type: ignore[arg-type]
    for challenge in (b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"):
        out += dialogue.take_output()
        dialogue.receive(b"334 " + challenge + b"\r\n")
    return out + dialogue.take_output()


def own_mechanism(name: str) -> bytes:
    def client(credentials: Credentials) -> Any:
        yield b"x\r\nRSET"

    row = Mechanism(name, lambda initial: iter(()), client, plaintext=False)  # type: ignore[arg-type,return-value]
    dialogue = opened(login="required", mechanisms=(row,))
    if dialogue.wants is ClientWants.CREDENTIALS:
        dialogue.give(Credentials(name, "anne", "secret"))
    return dialogue.take_output()


def spoken_for(**fields: str) -> bytes:
    dialogue = opened(xclient=XClient(**fields))  # type: ignore[arg-type]
    return dialogue.take_output()


def forwarded(**fields: str) -> bytes:
    text = write_attributes(XForward(**fields), XFORWARD, ["NAME", "ADDR", "HELO", "IDENT"])  # type: ignore[arg-type]
    return asked(Verb.XFORWARD, text)


def number(bad: str) -> Any:
    """Return what should be a number, and is one if there is nothing bad in it."""
    return f"3{bad}" if bad else 3


VALUES: dict[str, Callable[[str], bytes]] = {
    "hostname": lambda bad: introduced(f"me{bad}.example"),
    "hostname, at its end": lambda bad: introduced(f"me.example{bad}"),
    "hostname, a literal": lambda bad: introduced(f"[192.0.2.1{bad}]"),
    "reverse-path": lambda bad: transaction(f"a{bad}b@c.example"),
    "reverse-path, its domain": lambda bad: transaction(f"a@b{bad}.example"),
    "reverse-path, its end": lambda bad: transaction(f"a@b.example{bad}"),
    "reverse-path, quoted": lambda bad: transaction(f'"a{bad}b"@c.example'),
    "reverse-path, made": lambda bad: transaction(ReversePath(f"a{bad}", "b.example")),
    "reverse-path, its domain made": lambda bad: transaction(ReversePath("a", f"b{bad}.example")),
    "forward-path": lambda bad: transaction(to=f"a{bad}@c.example"),
    "forward-path, its end": lambda bad: transaction(to=f"a@c.example{bad}"),
    "forward-path, quoted": lambda bad: transaction(to=f'"{bad}"@c.example'),
    "forward-path, made": lambda bad: transaction(to=ForwardPath(f"a{bad}", "c.example")),
    "forward-path, its domain made": lambda bad: transaction(
        to=ForwardPath("a", f"c{bad}.example")
    ),
    "ENVID": lambda bad: transaction(parameters=MailParameters(envid=f"x{bad}")),
    "AUTH": lambda bad: transaction(parameters=MailParameters(auth=ReversePath(f"x{bad}", "y"))),
    "MT-PRIORITY": lambda bad: transaction(parameters=MailParameters(mt_priority=number(bad))),  # type: ignore[arg-type]
    "SIZE": lambda bad: transaction(parameters=MailParameters(size=number(bad))),  # type: ignore[arg-type]
    "size_octets": lambda bad: transaction(size_octets=number(bad)),
    "RET": lambda bad: transaction(parameters=MailParameters(ret=f"FULL{bad}")),  # type: ignore[arg-type]
    "BODY": lambda bad: transaction(parameters=MailParameters(body=f"7BIT{bad}")),  # type: ignore[arg-type]
    "own parameter": lambda bad: transaction(parameters=MailParameters.of({"XTICKET": f"x{bad}"})),
    "own parameter, its name": lambda bad: transaction(
        parameters=MailParameters.of({f"XTICKET{bad}": "x"})
    ),
    "ORCPT": lambda bad: transaction(
        to=Destination("c@d.example", RcptParameters(orcpt=OriginalRecipient("rfc822", f"x{bad}")))
    ),
    "ORCPT, its type": lambda bad: transaction(
        to=Destination("c@d.example", RcptParameters(orcpt=OriginalRecipient(f"rfc822{bad}", "x")))
    ),
    "NOTIFY": lambda bad: transaction(
        to=Destination("c@d.example", RcptParameters(notify=frozenset({f"DELAY{bad}"})))
    ),
    "own parameter of RCPT": lambda bad: transaction(
        to=Destination("c@d.example", RcptParameters.of({"XFOR": f"x{bad}"}))
    ),
    "ETRN": lambda bad: asked(Verb.ETRN, f"d.example{bad}"),
    "ETRN, its beginning": lambda bad: asked(Verb.ETRN, f"{bad}d.example"),
    "VRFY": lambda bad: asked(Verb.VRFY, f"x{bad}"),
    "NOOP": lambda bad: asked(Verb.NOOP, f"x{bad}"),
    "own command": lambda bad: asked(Verb.UNKNOWN, f"x{bad}", "XTICKETS"),
    "own command, its verb": lambda bad: asked(Verb.UNKNOWN, "x", f"XTICKETS{bad}"),
    "a verb's name": lambda bad: asked(Verb.NOOP, "", f"NOOP{bad}"),
    "username, PLAIN": lambda bad: logged_in("PLAIN", username=f"x{bad}"),
    "username, LOGIN": lambda bad: logged_in("LOGIN", username=f"x{bad}"),
    "username, CRAM-MD5": lambda bad: logged_in("CRAM-MD5", username=f"x{bad}"),
    "authorization_id": lambda bad: logged_in("PLAIN", authorization_id=f"x{bad}"),
    "token, XOAUTH2": lambda bad: logged_in("XOAUTH2", token=f"x{bad}"),
    "token, OAUTHBEARER": lambda bad: logged_in("OAUTHBEARER", token=f"x{bad}"),
    "a mechanism's name": lambda bad: own_mechanism(f"X-OWN{bad}"),
    "XCLIENT NAME": lambda bad: spoken_for(name=f"x{bad}"),
    "XCLIENT HELO": lambda bad: spoken_for(hello=f"x{bad}"),
    "XCLIENT LOGIN": lambda bad: spoken_for(login=f"x{bad}"),
    "XCLIENT ADDR": lambda bad: spoken_for(address=f"192.0.2.1{bad}"),
    "XFORWARD HELO": lambda bad: forwarded(hello=f"x{bad}"),
    "XFORWARD IDENT": lambda bad: forwarded(identifier=f"x{bad}"),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_control_character_is_refused_before_an_octet_is_sent(
    value: Callable[[str], bytes],
) -> None:
    """Whatever it is in, wherever it stands, and whichever it is (P52)."""
    assert value("") != b""
    for control in CONTROLS:
        for bad in (control, f"{control}{HIDDEN}{control}"):
            with pytest.raises(REFUSED):
                raise AssertionError(f"{bad!r}: {value(bad)!r}")


@pytest.mark.parametrize("bad", ["\0", "\r", "\n", "\r\n"], ids=repr)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_a_password_has_no_line_end(mechanism: str, bad: str) -> None:
    """It is refused before anything is sent, and is in no error (P14, P52)."""
    with pytest.raises(ValueError, match="NUL, CR or LF in a password") as refused:
        logged_in(mechanism, password=f"the-secret{bad}x")
    assert "the-secret" not in str(refused.value)


def test_whatever_is_given_the_wire_has_the_commands_that_were_meant() -> None:
    """Random values: each is refused, or makes as many lines as one that is good (P52)."""
    random = Random(52)
    alphabet = [*CONTROLS, *'abc.@<>"\\ =+;,:', "é", "ﬀ", "\udce9", "\U0001f600", "RSET", "\u212a"]
    lines = {name: value("").count(b"\r\n") for name, value in VALUES.items()}
    taken = 0
    for _ in range(3000):
        name, value = random.choice(list(VALUES.items()))
        bad = "".join(random.choices(alphabet, k=random.randrange(6)))
        try:
            out = value(bad)
        except REFUSED:
            continue
        taken += 1
        assert _LINES.fullmatch(out), f"{name}: {bad!r}: {out!r}"
        assert out.count(b"\r\n") == lines[name], f"{name}: {bad!r}: {out!r}"
    assert taken > 100


# Header fields.


def completed(rules: HeaderRules) -> bytes:
    return sent(Outgoing(b"Subject: hi\r\n\r\nbody\r\n", ORIGIN, rules=rules))


FIELDS: dict[str, Callable[[str], bytes]] = {
    "text": lambda bad: _with(lambda rules: rules.set("X-Note", f"x{bad}y")),
    "a name": lambda bad: _with(lambda rules: rules.set(f"X-Note{bad}", "x")),
    "an address": lambda bad: _with(lambda rules: rules.set("To", f"a@b{bad}.example")),
    "a display name": lambda bad: _with(lambda rules: rules.set("To", (f"x{bad}", "a@b.example"))),
    "a Subject": lambda bad: _with(lambda rules: rules.set("Subject", f"x{bad}", override=True)),
    "a domain": lambda bad: completed(HeaderRules(message_id_domain=f"x{bad}.example")),
    "of a filter": lambda bad: _changed(f"x{bad}y"),
    "of a filter, its name": lambda bad: _changed("x", f"X-Note{bad}"),
}


def _with(act: Callable[[HeaderRules], object]) -> bytes:
    rules = HeaderRules()
    act(rules)
    return completed(rules)


def _changed(value: str, name: str = "X-Note") -> bytes:
    changes = Changes()
    changes.add_field(name, value)
    return changes.applied(b"Subject: hi\r\n\r\n") + b"body\r\n"


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
@pytest.mark.parametrize("bad", MOST_HOSTILE, ids=repr)
def test_a_field_cannot_be_made_two(field: Callable[[str], bytes], bad: str) -> None:
    """It is refused (P52); nothing is made of it that looks right."""
    before = field("")
    assert _FIELD.fullmatch(before)
    with pytest.raises(REFUSED):
        raise AssertionError(repr(field(f"{bad}Bcc: evil@example.org{bad}")))


@pytest.mark.parametrize("bad", ["\r", "\n", "\r\n", "\0"], ids=repr)
def test_a_message_of_emails_adds_no_field(bad: str) -> None:
    """What `email` takes is refused or written in one field (P52)."""
    message = EmailMessage()
    message.set_content("body")
    try:
        message["Subject"] = f"hi{bad}Bcc: evil@example.org"
        message["To"] = Address("Bob", "bob", "example.org")
        out = sent(Outgoing(message, ORIGIN, rules=None))
    except (ValueError, ContentError):
        return
    head = out.partition(b"\r\n\r\n")[0]
    assert not re.search(rb"(?mi)^Bcc:", head)
    assert b"\0" not in head


@pytest.mark.parametrize("bad", MOST_HOSTILE, ids=repr)
def test_a_session_refuses_it_when_it_is_added(bad: str) -> None:
    """Before any server is looked for (P52)."""
    session = SubmissionSession(
        Server("mail.example.org"), settings=ClientSettings(hostname="me.example.org")
    )
    with pytest.raises(ValueError, match=r"\S"):
        session.add_message(f"a{bad}@example.org", b"x")
    message = session.add_message("a@example.org", b"x")
    with pytest.raises(ValueError, match=r"\S"):
        message.add_recipient(f"b@example.org{bad}")
    with pytest.raises(ValueError, match=r"\S"):
        session.add_command(Command(Verb.ETRN, f"example.org{bad}"))
    assert list(message.recipients) == []
    assert session.commands == []
