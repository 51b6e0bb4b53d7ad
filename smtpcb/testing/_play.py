"""
Play: a written dialogue is held with the engine, and must go as it is written.

The notation is that of RFC 5321 Appendix D and of `smtpcb.transcript`::

    play('''
        C: MAIL FROM:<>
        S: 503
    ''')

``C:`` is the client and ``S:`` the server.  ``\\xNN`` is an octet, ``\\\\`` a backslash, and a
lone backslash at the end of a line leaves its CRLF out.  Client lines that follow each other are
sent at once; all that the server says to them stands behind them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby

from smtpcb.engine._budget import Budget
from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._plain import Driver, abilities_of
from smtpcb.engine._questions import Aborted, Event, Message, Reason
from smtpcb.engine._server import ServerDialogue
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.transcript._replay import Line, read

TLS = TlsInformation("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
"""What a handshake in a script is said to have settled."""


class DialogueDiffers(AssertionError):  # noqa: N818 - pytest shows it as the failure it is
    """The server said something else; the text shows where."""


@dataclass
class Played:
    """
    What came of it.

    :ivar dialogue: as it is at the end of the script.
    :ivar handler: whom it asked.
    :ivar envelopes: the messages that were complete, whatever the answer was.
    :ivar aborted: why transactions ended without a message.
    :ivar events: the names of all events, in order.
    :ivar said: everything that the server said.
    """

    dialogue: ServerDialogue
    handler: object
    envelopes: list[Envelope] = field(default_factory=list)
    aborted: list[Reason] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    said: bytes = b""

    def note(self, event: Event) -> None:
        """Remember an event."""
        self.events.append(type(event).__name__)
        if isinstance(event, Message):
            self.envelopes.append(event.envelope)
        elif isinstance(event, Aborted):
            self.aborted.append(event.reason)


class _NotedDialogue(ServerDialogue):
    """A dialogue whose events can be looked at on their way."""

    __slots__ = ("note",)
    note: Callable[[Event], None]

    def next_event(self) -> Event | None:
        event = super().next_event()
        if event is not None:
            self.note(event)
        return event


@dataclass(frozen=True)
class Turn:
    """
    What the client sends at once, and what is said to it.

    :ivar octets: the client's.
    :ivar answer: the lines of the server.
    """

    octets: bytes
    answer: tuple[str, ...]


def turns(lines: Iterable[Line]) -> Iterator[Turn]:
    """Divide a script: a first turn without octets has the greeting, if the script shows it."""
    sent = b""
    for side, group in groupby(
        (line for line in lines if line.side != "*"), lambda line: line.side
    ):
        if side == "C":
            sent = b"".join(line.octets + (b"\r\n" if line.ended else b"") for line in group)
        else:
            yield Turn(sent, tuple(line.octets.decode("ascii") for line in group))
            sent = b""
    if sent:
        yield Turn(sent, ())


def play(
    script: str | Iterable[Line],
    handler: object = None,
    *,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    abilities: Abilities | None = None,
    connection: Connection | None = None,
) -> Played:
    """
    Hold a dialogue twice, in whole turns and octet by octet.

    After the 220 to STARTTLS the handshake succeeds by itself.

    :param script: it begins behind the greeting, unless it shows that first.  An ``S:`` line may
        stop behind the code or any other word: ``S: 250`` fits any 250.
    :param handler: an object with some of the methods of ``ISmtpEventHandler`` that answer at
        once; or a class, to get a new one each time.
    :param settings: how the dialogue is led.
    :param abilities: by default, what the handler has methods for, and TLS.
    :param connection: whose dialogue it is; each time a copy of it.
    :return: what came of it the first time, in whole turns.
    :raises AssertionError: it went otherwise; or otherwise, octet by octet.
    """
    parts = list(turns(read(script) if isinstance(script, str) else script))
    if connection is None:
        connection = Connection("play")
    by_turns, by_octets = (
        _play(
            parts,
            handler() if isinstance(handler, type) else handler,
            settings,
            abilities,
            replace(connection, budget=Budget(settings.limits)),
            cut,
        )
        for cut in (False, True)
    )
    notable = [event for event in by_turns.events if event != "Chunk"]
    if notable != [event for event in by_octets.events if event != "Chunk"]:
        raise DialogueDiffers(
            f"other events octet by octet:\n  {by_turns.events}\n  {by_octets.events}"
        )
    contents = [_content_of(envelope) for envelope in by_turns.envelopes]
    if contents != [_content_of(envelope) for envelope in by_octets.envelopes]:
        raise DialogueDiffers("another content octet by octet")
    return by_turns


def _play(
    parts: list[Turn],
    handler: object,
    settings: Settings,
    abilities: Abilities | None,
    connection: Connection,
    cut: bool,
) -> Played:
    if abilities is None:
        abilities = abilities_of(handler, tls=True)
    dialogue = _NotedDialogue(connection, settings, abilities)
    played = Played(dialogue, handler)
    dialogue.note = played.note
    driver = Driver(dialogue, handler)
    said = driver.start()
    if not (parts and parts[0].octets == b""):
        said = b""
    for number, turn in enumerate(parts):
        if driver.handshaking:
            said = driver.secure(TLS)
        if cut:
            for at in range(len(turn.octets)):
                said += driver.receive(turn.octets[at : at + 1])
        else:
            said += driver.receive(turn.octets)
        _compare(parts[: number + 1], said, cut)
        played.said += said
        said = b""
    return played


def _compare(parts: list[Turn], said: bytes, cut: bool) -> None:
    """Raise if what was said is not what the last turn has."""
    wanted = parts[-1].answer
    lines = said.decode("ascii").split("\r\n")
    unended = lines.pop()
    fits = len(lines) == len(wanted) and not unended
    if fits and all(map(_fits, wanted, lines)):
        return
    got = [
        want if _fits(want, line) else line for want, line in zip(wanted, lines, strict=False)
    ] + lines[len(wanted) :]
    difference = difflib.ndiff([f"S: {line}" for line in wanted], [f"S: {line}" for line in got])
    client = [f"  C: {line!r}"[:110] for part in parts for line in part.octets.split(b"\r\n")[:-1]]
    raise DialogueDiffers(
        "\n".join(
            [
                f"the server says something else{' octet by octet' if cut else ''}"
                " (- written, + said):",
                *client[-10:],
                *(line.rstrip("\n") for line in difference),
            ]
        )
    )


def _fits(wanted: str, line: str) -> bool:
    """Whether a line is what was written, or begins with it and goes on with another word."""
    return line == wanted or (line.startswith(wanted) and line[len(wanted)] in " -")


def _content_of(envelope: Envelope) -> bytes | None:
    return envelope.kept.bytes() if envelope.kept is not None else None
