"""Message: what a session sends, to whom, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from smtpcb.client._complete import Origin
from smtpcb.client._outgoing import Outgoing
from smtpcb.client._passage import Needs
from smtpcb.client._rules import HeaderRules
from smtpcb.engine import (
    Cause,
    ClientFailure,
    Destination,
    Offers,
    Outcome,
    Stage,
    Transaction,
)
from smtpcb.smtp import BodyType, ForwardPath, MailParameters, RcptParameters, ReversePath

_NO_MAIL = MailParameters()
_NO_RCPT = RcptParameters()

SaidWithMail: TypeAlias = MailParameters | Callable[[Offers], MailParameters]
"""Parameters of MAIL, or what returns those that suit a server."""


class MessageRecipient(Destination):
    """
    One recipient of a message, what became of it, and whatever you want to know it by.

    :ivar message: what it is to get.
    :ivar data: yours.
    """

    __slots__ = ("data", "message")

    def __init__(
        self,
        message: Message,
        forward_path: ForwardPath | str,
        parameters: RcptParameters = _NO_RCPT,
        data: object = None,
    ) -> None:
        super().__init__(forward_path, parameters)
        self.message = message
        self.data = data


class Message:
    """
    One message of a session; `SubmissionSession.add_message` makes it.

    :ivar recipients: in the order in which they were added.
    :ivar transaction: its envelope, and what became of it.
    :ivar outgoing: what is sent.
    """

    def __init__(
        self,
        reverse_path: ReversePath | str,
        source: object,
        *,
        parameters: SaidWithMail,
        rules: HeaderRules | None,
        require_all_recipients: bool,
        may_lack: Iterable[str],
        downgrade: bool,
        data: object,
        pause: Any,
        wait: Any,
    ) -> None:
        constant = parameters if isinstance(parameters, MailParameters) else _NO_MAIL
        self.transaction = Transaction(
            reverse_path,
            [],
            parameters=constant,
            require_all_recipients=require_all_recipients,
            may_lack=may_lack,
            data=data,
        )
        self._parameters = parameters
        self._to: list[ForwardPath] = []
        origin = Origin(self.transaction.reverse_path, self._to)
        body = constant.body
        self.outgoing = Outgoing(
            source,
            origin,
            rules=rules,
            body=body,
            # Octets that are no lines are sent as they are, or not at all.
            exact=body is BodyType.BINARY_MIME,
            pause=pause,
            wait=wait,
        )
        self.transaction.ahead = self.outgoing.again
        self._downgrade = downgrade
        self._needs = Needs()
        self._under_way = False

    @property
    def data(self) -> object:
        """Yours."""
        return self.transaction.data

    @data.setter
    def data(self, data: object) -> None:
        self.transaction.data = data

    @property
    def recipients(self) -> Sequence[MessageRecipient]:
        """Those that were added, in their order."""
        return [one for one in self.transaction.destinations if isinstance(one, MessageRecipient)]

    def add_recipient(
        self,
        forward_path: ForwardPath | str,
        parameters: RcptParameters = _NO_RCPT,
        data: object = None,
    ) -> MessageRecipient:
        """
        Add somebody who is to get it.

        :param forward_path: the mailbox, without brackets if it is text.
        :param parameters: of RCPT: NOTIFY, ORCPT, RRVS.
        :param data: yours.
        :raises ValueError: it is no mailbox.
        :raises RuntimeError: the session is running.
        """
        if self._under_way:
            raise RuntimeError("the session is running: add recipients before, or after it")
        recipient = MessageRecipient(self, forward_path, parameters, data)
        self.transaction.destinations.append(recipient)
        self._to.append(recipient.forward_path)
        return recipient

    @property
    def is_delivered(self) -> bool:
        """Whether the server has taken responsibility for it, for every recipient."""
        recipients = self.recipients
        return bool(recipients) and all(one.outcome is Outcome.DELIVERED for one in recipients)

    async def prepare(self) -> None:
        """
        Look at the content: what it needs is said with MAIL.

        :raises ContentError: it cannot be sent.
        :raises OSError: it cannot be read.
        """
        self._needs = await self.outgoing.needs()
        if isinstance(self._parameters, MailParameters):
            self._say(self._parameters)

    def suit(self, offers: Offers) -> None:
        """Find out what is said to a server, if that depends on it."""
        if not isinstance(self._parameters, MailParameters):
            self._say(self._parameters(offers))

    def _say(self, parameters: MailParameters) -> None:
        needs, transaction = self._needs, self.transaction
        wide = not transaction.wire.isascii()
        wide = wide or not all(one.wire.isascii() for one in transaction.destinations)
        transaction.parameters = replace(
            parameters,
            body=needs.body,
            smtputf8=parameters.smtputf8 or needs.smtputf8 or wide,
        )
        # Of what can be read once nobody knows it better than the caller.
        known = needs.size_octets is not None
        transaction.size_octets = needs.size_octets if known else parameters.size

    def give_up(self, error: Exception) -> None:
        """Take note that it cannot be sent at all, whatever the server."""
        failure = ClientFailure(
            Stage.CONTENT, Cause.SOURCE, str(error) or type(error).__name__, temporary=False
        )
        failure.__cause__ = error
        self.transaction.failure = failure
        for one in self.transaction.remaining:
            # Of what may have come the last time, that is still all that is known.
            if one.outcome is not Outcome.UNKNOWN:
                one.fail(failure, Outcome.NOT_TRIED)

    def begin(self) -> None:
        """Take no more recipients, until `end`."""
        self._under_way = True

    def end(self) -> None:
        """Take more recipients, if somebody names them."""
        self._under_way = False

    async def narrowed(self) -> None:
        """
        Write it anew in 7 bits, if that was allowed.

        :raises ContentError: it cannot be.
        """
        self.outgoing = await self.outgoing.reencoded()
        await self.prepare()

    @property
    def may_be_narrowed(self) -> bool:
        """Whether a server without 8BITMIME or SMTPUTF8 gets it all the same."""
        return self._downgrade
