"""Written dialogues of a client, held in whole turns and octet by octet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from itertools import groupby
from typing import Any

from smtpcb.engine import (
    ClientDialogue,
    ClientFailure,
    ClientObserver,
    ClientSettings,
    ClientWants,
    Destination,
    Transaction,
)
from smtpcb.engine._connection import TlsInformation
from smtpcb.smtp import Command, Credentials
from smtpcb.testing._play import TLS
from smtpcb.transcript._replay import read

ANNE, BOB, CARL = "anne@example.org", "bob@example.org", "carl@example.net"
TEXT = b"Subject: hi\r\n\r\nbody\r\n"
PLAIN = ClientSettings(hostname="me.example.org", starttls="off")

GREETING = "S: 220 mail.example.org ESMTP\nC: EHLO me.example.org\n"
#: A session up to its first message: step by step, in groups, and with chunks.
STEPS = GREETING + "S: 250 mail.example.org\n"
GROUPS = GREETING + "S: 250-mail.example.org\nS: 250 PIPELINING\n"
CHUNKS = GREETING + "S: 250-mail.example.org\nS: 250-PIPELINING\nS: 250 CHUNKING\n"
MAIL = "C: MAIL FROM:<anne@example.org>\n"
RCPT = "C: RCPT TO:<bob@example.org>\n"
RCPT_2 = "C: RCPT TO:<carl@example.net>\n"
CONTENT = "C: Subject: hi\nC:\nC: body\nC: .\n"
QUIT = "C: QUIT\nS: 221 bye\n"


def to(*forward_paths: str, **more: Any) -> Transaction:
    """Return a message of Anne's."""
    return Transaction(ANNE, forward_paths or (BOB,), **more)


class Owner:
    """
    Leads a dialogue as its owner does, but for the connection.

    :param work: transactions, commands, or functions of the dialogue; QUIT comes behind them.
    :param content: of every message; ``None``: the source fails.
    :param piece_octets: how much of it is given at a time.
    :param credentials: who logs in, by mechanism.
    :param later: recipients of a message that is opened; ``None`` drops it.
    :ivar failures: what `send` and `ask` have raised.
    """

    def __init__(
        self,
        work: Iterable[Any],
        settings: ClientSettings = PLAIN,
        *,
        content: bytes | None = TEXT,
        piece_octets: int = 1 << 30,
        credentials: Callable[[str], Credentials | None] = lambda mechanism: None,
        tls: TlsInformation | None = None,
        handshake: TlsInformation | None = TLS,
        observer: ClientObserver | None = None,
        later: Iterable[Destination | str | None] = (),
    ) -> None:
        self.dialogue = ClientDialogue(settings, tls=tls, observer=observer)
        self.work = list(work)
        self.content = content
        self.piece_octets = piece_octets
        self.credentials = credentials
        self.handshake = handshake
        self.later = list(later)
        self.failures: list[ClientFailure] = []
        self._given = 0

    def go_on(self) -> bytes:
        """Do what is wanted, up to where the server has to say something; return what is sent."""
        dialogue = self.dialogue
        out = dialogue.take_output()
        while dialogue.wants not in (ClientWants.REPLY, ClientWants.NOTHING):
            self._do(dialogue.wants)
            out += dialogue.take_output()
        return out

    def _do(self, wants: ClientWants) -> None:
        dialogue = self.dialogue
        if wants is ClientWants.HANDSHAKE:
            if self.handshake is None:
                dialogue.handshake_failed("not whom we meant")
            else:
                dialogue.secured(self.handshake)
        elif wants is ClientWants.CREDENTIALS:
            assert dialogue.mechanism is not None
            dialogue.give(self.credentials(dialogue.mechanism))
        elif wants is ClientWants.CONTENT:
            self._give_content()
        elif wants is ClientWants.RECIPIENTS:
            self._name()
        elif self.work:
            self._given = 0
            self._begin(self.work.pop(0))
        else:
            dialogue.quit()

    def _begin(self, work: Any) -> None:
        try:
            if isinstance(work, Transaction):
                self.dialogue.send(work)
            elif isinstance(work, Command):
                self.dialogue.ask(work)
            else:
                work(self.dialogue)
        except ClientFailure as failure:
            self.failures.append(failure)

    def _name(self) -> None:
        dialogue = self.dialogue
        one = self.later.pop(0) if self.later else ""
        if one is None:
            dialogue.drop()
        elif one:
            dialogue.add(one if isinstance(one, Destination) else Destination(one))
        else:
            dialogue.proceed()

    def _give_content(self) -> None:
        dialogue = self.dialogue
        if self.content is None:
            dialogue.fail_content("the disk is gone")
        elif self._given < len(self.content):
            piece = self.content[self._given : self._given + self.piece_octets]
            self._given += len(piece)
            dialogue.content(piece)
        else:
            dialogue.end_content()


def talk(
    script: str,
    *work: Any,
    cut: bool = True,
    **how: Any,
) -> Owner:
    """
    Hold a dialogue as it is written; ``*: gone`` ends the connection, ``*: late`` the patience.

    ``C:`` lines that follow each other are all that is sent before the next word of the server's.

    :param cut: hold it octet by octet as well.
    :return: the owner, as it is behind the first time.
    """
    lines = list(read(script))
    again = [_copied(one) for one in work]
    owner = _hold(lines, Owner(work, **how), cut=False)
    if cut:
        _hold(lines, Owner(again, **how), cut=True)
    return owner


def _copied(work: Any) -> Any:
    """Return the same message, which has not been sent either."""
    if isinstance(work, Transaction):
        work = copy(work)
        work.destinations = [copy(one) for one in work.destinations]
    return work


def _hold(lines: Any, owner: Owner, *, cut: bool) -> Owner:
    said = b""
    so_far = ""
    dialogue = owner.dialogue
    for side, group in groupby(lines, key=lambda line: line.side):
        turn = list(group)
        octets = b"".join(line.octets + (b"\r\n" if line.ended else b"") for line in turn)
        so_far += "".join(f"{side}: {line.octets.decode('latin-1')}\n" for line in turn)
        if side == "C":
            assert said == octets, f"{so_far}\nsaid: {said!r}"
            said = b""
            continue
        assert said == b"", f"{so_far}\nsaid before: {said!r}"
        if side == "*":
            dialogue.lost() if octets.startswith(b"gone") else dialogue.time_out()
        else:
            for piece in [octets[at : at + 1] for at in range(len(octets))] if cut else [octets]:
                dialogue.receive(piece)
                said += owner.go_on()
        said += owner.go_on()
    assert said == b"", f"{so_far}\nsaid: {said!r}"
    return owner
