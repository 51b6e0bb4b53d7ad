"""Client and server of ours talk to each other in memory, however the network cuts it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpcb.engine import (
    ClientDialogue,
    ClientSettings,
    ClientState,
    Connection,
    Driver,
    Envelope,
    Outcome,
    Recipient,
    Settings,
    Transaction,
)
from smtpcb.smtp import Credentials
from smtpcb.smtp.sasl import MECHANISMS
from smtpcb.testing._play import TLS

from .talk import Owner

BOUND = replace(TLS, bind=lambda kind: b"bound" if kind == "tls-exporter" else None,
                client_certificate=b"der", client_names=("anne@example.org",))  # fmt: skip


class Mailroom:
    """
    Decides by names, and keeps what it has taken.

    A local part such as ``r450`` has RCPT refused by that code; a sender's ``m550`` MAIL, ``d451``
    what begins the content, ``f552`` the message; a recipient's ``l452`` its reply in LMTP.
    """

    mechanisms = frozenset(MECHANISMS)

    def __init__(self, *, lmtp: bool) -> None:
        self.lmtp = lmtp
        self.taken: list[tuple[list[str], bytes]] = []

    def mail(self, envelope: Envelope) -> object:
        return code("m", envelope.reverse_path)

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> object:
        return code("r", recipient.forward_path)

    def data(self, envelope: Envelope) -> object:
        return code("d", envelope.reverse_path)

    def message(self, envelope: Envelope) -> object:
        refusal = code("f", envelope.reverse_path)
        if refusal is not None:
            return refusal
        paths = list(envelope.forward_paths)
        taken = [str(path) for path in paths if not (self.lmtp and code("l", path))]
        self.taken.append((taken, envelope.content.bytes()))
        return {str(path): code("l", path) for path in paths} if self.lmtp else None

    def stored_secret(self, username: str, mechanism: str, connection: Connection) -> str | None:
        return "secret" if username == "anne" else None

    def authenticate(self, credentials: Credentials, connection: Connection) -> bool:
        return credentials.proven or credentials.token == "tk" or credentials.password == "secret"


def code(kind: str, path: object) -> int | None:
    """Return what a name asks for."""
    match = re.match(rf"{kind}([45][0-9][0-9])", str(path))
    return None if match is None else int(match[1])


@dataclass
class Case:
    """A client's session with a server."""

    server: Settings
    client: ClientSettings
    tls: bool
    sizes: list[int]
    piece_octets: int
    content: bytes
    opens: bool = False

    def hold(self, messages: list[Transaction], most: int = 1 << 40) -> tuple[Mailroom, Owner]:
        """
        Send messages.

        :param most: how many octets pass before the line is cut.
        """
        room = Mailroom(lmtp=self.server.lmtp)
        driver = Driver(room, self.server, Connection("x", lmtp=self.server.lmtp), tls=self.tls)
        owner = Owner(
            [partial(self.begin, message) for message in messages],
            self.client,
            content=self.content,
            piece_octets=self.piece_octets,
            credentials=secrets,
            handshake=BOUND,
        )
        self.owner = owner
        client, turn = owner.dialogue, 0
        to_client, to_server = driver.start(), b""
        while most > 0 and (to_client or to_server):
            size = min(self.sizes[turn % len(self.sizes)], most)
            turn += 1
            if to_client:
                piece, to_client = to_client[:size], to_client[size:]
                client.receive(piece)
                to_server += owner.go_on()
            else:
                if driver.handshaking:
                    to_client += driver.secure(BOUND)
                piece, to_server = to_server[:size], to_server[size:]
                to_client += driver.receive(piece)
            most -= len(piece)
        client.lost()
        driver.disconnect()
        return room, owner

    def begin(self, message: Transaction, dialogue: ClientDialogue) -> None:
        """Send a message, or open it and name all recipients but the first one later."""
        if not self.opens:
            dialogue.send(message)
            return
        self.owner.later = list(message.destinations[1:])
        del message.destinations[1:]
        dialogue.open(message)


def secrets(mechanism: str) -> Credentials:
    """Give Anne's secrets."""
    return Credentials(mechanism, "anne", "secret", token="tk" if "OAUTH" in mechanism else None)


PARTS = [b"\r\n", b".", b"..", b"abc", b"\r\n.\r\n"]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a client and a server."""
    lmtp = draw(st.booleans())
    off = {"CHUNKING"} if lmtp else {"CHUNKING", "PIPELINING", "ENHANCEDSTATUSCODES", "SIZE"}
    tls = draw(st.booleans())
    return Case(
        Settings(
            lmtp=lmtp,
            without=draw(st.frozensets(st.sampled_from(sorted(off)))),
            allow_insecure_auth=True,
        ),
        ClientSettings(
            lmtp=lmtp,
            starttls="required" if tls else "opportunistic",
            login=draw(st.sampled_from(["off", "required"])),
            mechanisms=("PLAIN", "LOGIN") if draw(st.booleans()) else ("LOGIN",),
            allow_insecure_auth=True,
            chunk_octets=draw(st.sampled_from([1, 5, 20, 1000])),
        ),
        tls,
        draw(st.lists(st.integers(1, 90), min_size=1, max_size=6)),
        draw(st.sampled_from([1, 3, 10, 1000])),
        b"".join(draw(st.lists(st.sampled_from(PARTS), max_size=9))),
        draw(st.booleans()),
    )


def name(*kinds: str) -> st.SearchStrategy[str]:
    """Draw a name that is taken, or one that is refused."""
    good = st.integers(0, 3).map(lambda number: f"ok{number}@example.org")
    bad = st.sampled_from(kinds).map(lambda kind: f"{kind}@example.org")
    return st.one_of(good, good, bad)


MESSAGES = st.lists(
    st.builds(
        lambda sender, names, require_all: Transaction(
            sender, names, require_all_recipients=require_all
        ),
        name("m450", "m550", "d451", "d554", "f452", "f552"),
        st.lists(name("r450", "r550", "l452", "l550"), min_size=1, max_size=4),
        st.booleans(),
    ),
    max_size=4,
)


def outcome(refusal: int | None) -> Outcome:
    """Return what a code means."""
    if refusal is None:
        return Outcome.DELIVERED
    return Outcome.DEFERRED if refusal < 500 else Outcome.REFUSED


def wanted(message: Transaction, *, lmtp: bool) -> list[Outcome]:
    """Return what has to become of each recipient."""
    sender = str(message.reverse_path)
    names = [str(one.forward_path) for one in message.destinations]
    if code("m", sender):
        return [outcome(code("m", sender))] * len(names)
    whole = code("d", sender) or code("f", sender)
    held = message.require_all_recipients and any(code("r", one) for one in names)
    return [
        outcome(code("r", one))
        if code("r", one)
        else Outcome.NOT_TRIED
        if held
        else outcome(whole or (code("l", one) if lmtp else None))
        for one in names
    ]


def delivered(messages: list[Transaction]) -> list[list[str]]:
    """Return whom each message has reached, as far as the client knows."""
    reached = [
        [str(one.forward_path) for one in message.destinations if one.outcome is Outcome.DELIVERED]
        for message in messages
    ]
    return [one for one in reached if one]


@settings(max_examples=150, deadline=None)
@given(cases(), MESSAGES)
def test_both_know_the_same_of_every_message(case: Case, messages: list[Transaction]) -> None:
    """Whatever is offered and refused: what was delivered, the server has, octet for octet."""
    room, owner = case.hold(messages)
    assert owner.dialogue.failure is None
    assert owner.dialogue.state is ClientState.OVER
    assert (owner.dialogue.tls is None) is not case.tls
    content = case.content if case.content[-2:] in (b"", b"\r\n") else case.content + b"\r\n"
    assert [taken for taken, _ in room.taken if taken] == delivered(messages)
    assert {octets for _, octets in room.taken} <= {content}
    for message in messages:
        got = [one.outcome for one in message.destinations]
        assert got == wanted(message, lmtp=case.server.lmtp)


@settings(max_examples=250, deadline=None)
@given(cases(), MESSAGES, st.integers(0, 1500))
def test_wherever_the_line_is_cut_nobody_believes_what_is_not_so(
    case: Case, messages: list[Transaction], most: int
) -> None:
    """Delivered is what the server has; what it has and was not told of is unknown (P55)."""
    room, _ = case.hold(messages, most)
    server_has = [one for taken, _ in room.taken for one in taken]
    client_says = [one for reached in delivered(messages) for one in reached]
    unknown = [
        str(one.forward_path)
        for message in messages
        for one in message.destinations
        if one.outcome is Outcome.UNKNOWN
    ]
    assert server_has[: len(client_says)] == client_says
    # Nothing else arrived but what the client is not sure of.
    for one in server_has[len(client_says) :]:
        unknown.remove(one)


@pytest.mark.parametrize("mechanism", sorted(MECHANISMS))
def test_each_mechanism_logs_in(mechanism: str) -> None:
    """Both sides of each, with what proves the server as well (L56)."""
    client = ClientSettings(login="required", mechanisms=(mechanism,))
    case = Case(Settings(), client, True, [7], 100, b"hi\r\n")
    message = Transaction("anne@example.org", ["bob@example.org"])
    room, owner = case.hold([message])
    assert owner.dialogue.failure is None
    assert owner.dialogue.mechanism == mechanism
    assert room.taken == [(["bob@example.org"], b"hi\r\n")]


def test_a_wrong_secret_does_not() -> None:
    """And nothing is sent (L59)."""
    for mechanism in sorted(MECHANISMS):
        if mechanism == "EXTERNAL":
            continue
        case: Any = Case(
            Settings(),
            ClientSettings(login="required", mechanisms=(mechanism,)),
            True,
            [50],
            9,
            b"",
        )
        message = Transaction("anne@example.org", ["bob@example.org"])
        room = Mailroom(lmtp=False)
        room.stored_secret = lambda *arguments: "other"  # type: ignore[method-assign]
        room.authenticate = lambda credentials, connection: credentials.proven  # type: ignore[method-assign]
        driver = Driver(room, case.server, Connection("x"), tls=True)
        owner = Owner([message], case.client, credentials=secrets, handshake=BOUND)
        to_client = driver.start()
        while to_client:
            owner.dialogue.receive(to_client)
            to_server = owner.go_on()
            to_client = driver.secure(BOUND) if driver.handshaking else b""
            to_client += driver.receive(to_server)
        assert owner.dialogue.failure is not None
        assert owner.dialogue.failure.reply is not None
        assert owner.dialogue.failure.reply.code == 535
        assert message.destinations[0].outcome is Outcome.NOT_TRIED
