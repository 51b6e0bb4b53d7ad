"""
Sending: one transaction on its way, its replies read in the order of its commands.

With PIPELINING all that may go goes in one write: MAIL, every RCPT, and DATA (RFC 2920), or the
first chunk instead of DATA (RFC 3030 §4.2).  Without it each command waits for the reply to the one
before.  The script is the same for both: where it waits for a reply, the command has been written,
just now or with all the others.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from smtpcb.engine._client._content import Content, refuses
from smtpcb.engine._client._failure import Cause, ClientFailure
from smtpcb.engine._client._table import ClientStep, Stage
from smtpcb.engine._client._transaction import Destination, Outcome, Transaction
from smtpcb.smtp._reply import Reply

if TYPE_CHECKING:
    from smtpcb.engine._client._dialogue import ClientDialogue

# A member of an enum is looked up in its class for the price of three calls before Python 3.12.
_MAIL, _RCPT, _DATA, _FINAL = Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.FINAL
_NOT_TRIED = Outcome.NOT_TRIED


class Sending:
    """
    A transaction on its way.

    :param dialogue: in which it is sent.
    :param destinations: those of the transaction that are tried.
    :param commands: MAIL and each RCPT.
    :param named: whether these are all; else `add` names others, until `proceed`.
    :ivar destinations: those whom it names.
    :ivar accepted: those whom the server has taken.
    :ivar content: what follows them.
    """

    __slots__ = (
        *("_commands", "_dialogue", "_dropped", "_idle", "_named", "_resets", "_together"),
        *("accepted", "content", "destinations", "transaction"),
    )

    def __init__(
        self,
        dialogue: ClientDialogue,
        transaction: Transaction,
        destinations: list[Destination],
        commands: list[bytes],
        *,
        named: bool,
    ) -> None:
        self._dialogue = dialogue
        self.destinations = destinations
        self._commands = commands
        self._together = dialogue.offers.pipelining
        # A transaction that has come to nothing is open at the server until it is told.
        self._resets, dialogue.unfinished = dialogue.unfinished, False
        self._named = named
        self._idle = False  # the script waits for the owner, and not for a reply
        self._dropped = False
        self.transaction = transaction
        self.accepted: list[Destination] = []
        self.content = Content(dialogue, transaction, self.accepted)

    def begin(self) -> None:
        """Write what may be written at once."""
        dialogue, content, commands = self._dialogue, self.content, self._commands
        step = ClientStep.TRANSACTION if self._named else ClientStep.TRANSACTION_OPEN
        if self._resets:
            commands.insert(0, b"RSET\r\n")
        if self._together:
            if self._named and not self.transaction.require_all_recipients:
                if not content.chunked:
                    commands.append(b"DATA\r\n")
                    content.begun = True
                elif not content.waits and self.transaction.ahead:
                    step = ClientStep.TRANSACTION_AHEAD
            dialogue.outbox.write(b"".join(commands), len(commands))
        else:
            dialogue.outbox.write(commands[0])
        dialogue.move(step)

    def add(self, destination: Destination, command: bytes) -> None:
        """Name another recipient."""
        self.transaction.destinations.append(destination)
        self.destinations.append(destination)
        if self._together:
            self._dialogue.outbox.write(command)
        else:
            self._commands.append(command)
        self._wake()

    def proceed(self, *, drop: bool = False) -> None:
        """
        Take note that there are no more recipients.

        :param drop: the message is not to be sent at all.
        """
        self._dropped = drop
        self._named = True
        self._dialogue.move(ClientStep.RECIPIENTS_NAMED)
        self._wake()

    def _wake(self) -> None:
        if self._idle:
            self._idle = False
            self._dialogue.resume(None)

    def replies(self) -> Generator[Stage, Reply, None]:
        """Read what is said to it."""
        dialogue, content = self._dialogue, self.content
        refusal = yield from self._envelope()
        if refusal is None:
            dialogue.unfinished = True
        if content.begun or content.ahead or self._worth_it():
            yield from content.to_chunks() if content.chunked else content.to_data()
        dialogue.sending = None
        dialogue.move(ClientStep.TRANSACTION_ENDED)
        if dialogue.outbox.observer is not None:
            dialogue.outbox.observer.finished(self.transaction)
        yield Stage.IDLE

    def _envelope(self) -> Generator[Stage, Reply, Reply | None]:
        """Read what is said to MAIL and to each RCPT; return the reply that has refused MAIL."""
        transaction, outbox = self.transaction, self._dialogue.outbox
        observer = outbox.observer
        # Those that are still to be written, each behind the reply to the one before.
        rest = None if self._together else iter(self._commands)
        if rest is not None:
            next(rest)
        if self._resets:
            reply = yield _MAIL
            if reply.code >= 300:
                raise ClientFailure(_MAIL, Cause.REFUSED, "RSET was refused", reply)
            if rest is not None:
                outbox.write(next(rest))
        refusal: Reply | None = None
        transaction.mail_reply = reply = yield _MAIL
        if observer is not None:
            observer.replied(_MAIL, transaction, reply)
        if reply.code >= 300 and refuses(reply, _MAIL):
            refusal = reply
            for one in self.destinations:
                one.decide(reply, _MAIL)
            if not self._named:
                self.proceed()
            if rest is not None:
                return refusal
        at = 0
        while at < len(self.destinations) or not self._named:
            if at == len(self.destinations):
                self._idle = True
                yield _RCPT  # until the owner has named another one, or says that there is none
                continue
            one = self.destinations[at]
            at += 1
            if rest is not None:
                outbox.write(next(rest))
            one.rcpt_reply = reply = yield _RCPT
            if observer is not None:
                observer.replied(_RCPT, one, reply)
            if reply.code >= 300 and refuses(reply, _RCPT):
                if refusal is None:
                    one.decide(reply, _RCPT)
            elif refusal is None:
                self.accepted.append(one)
        return refusal

    def _worth_it(self) -> bool:
        """Whether the content is to be sent at all, where that has been left open."""
        if not self.accepted:
            return False
        if self._dropped:
            self._keep_back(ClientFailure(_RCPT, Cause.CANCELLED))
            return False
        if not self.transaction.require_all_recipients:
            return True
        refused = [one for one in self.destinations if one.reply is not None]
        if not refused:
            return True
        self._keep_back(
            ClientFailure(_RCPT, Cause.REFUSED, "another recipient was refused", refused[0].reply)
        )
        return False

    def _keep_back(self, failure: ClientFailure) -> None:
        self.transaction.failure = failure
        for one in self.accepted:
            one.fail(failure, _NOT_TRIED)

    def fail(self, failure: ClientFailure) -> None:
        """
        Take note that the session is over.

        What was sent to its end may have been delivered, unless the server has said before that it
        would close; all else was not.
        """
        said = failure.reply is not None and failure.reply.code >= 400
        outcome = Outcome.UNKNOWN if self.content.whole and not said else Outcome.DEFERRED
        self.transaction.failure = failure
        for one in self.destinations:
            if one.outcome is _NOT_TRIED:
                one.fail(failure, outcome)
        if self._dialogue.outbox.observer is not None:
            self._dialogue.outbox.observer.finished(self.transaction)
