"""Transaction and Destination: what is to be sent, to whom, and what became of it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

from smtpcb.engine._client._failure import ClientFailure
from smtpcb.engine._client._settings import keywords
from smtpcb.engine._client._table import Stage
from smtpcb.smtp._address import (
    AddressError,
    AnyPath,
    ForwardPath,
    Path,
    PathRead,
    ReversePath,
    read_forward_path,
    read_reverse_path,
)
from smtpcb.smtp._argument import USUAL_MAIL, USUAL_RCPT
from smtpcb.smtp._parameter import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    MailParameters,
    RcptParameters,
)
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import printable


class Outcome(enum.Enum):
    """What became of a message for one recipient."""

    NOT_TRIED = "not tried"
    """Nothing was sent, or it was kept back on purpose."""
    DELIVERED = "delivered"
    """The server has taken responsibility for it."""
    REFUSED = "refused for good"
    DEFERRED = "refused for now"
    """Or it did not come to that: surely it was not delivered, and to try again makes sense."""
    UNKNOWN = "unknown"
    """All of it was sent, and no reply came: sent again, it may come twice (RFC 1047)."""

    __hash__ = object.__hash__


_NOTHING: frozenset[str] = frozenset()
_DECIDED = frozenset({Outcome.DELIVERED, Outcome.REFUSED})


class Destination:
    """
    One recipient of a transaction, and what became of it.

    :param forward_path: its mailbox, without brackets if it is text.
    :param parameters: of RCPT.
    :raises ValueError: it is no mailbox, or cannot be written.
    :ivar outcome: what became of the message.
    :ivar rcpt_reply: the reply to RCPT.
    :ivar reply: the reply that decided it; ``None``: none did.
    :ivar stage: which command that was the reply to, or what was under way.
    :ivar failure: why it did not come to a reply.
    """

    __slots__ = (
        *("failure", "forward_path", "outcome", "parameters", "rcpt_reply", "reply", "stage"),
        "wire",
    )

    def __init__(
        self, forward_path: ForwardPath | str, parameters: RcptParameters = NO_RCPT_PARAMETERS
    ) -> None:
        self.forward_path, self.wire = _forward_path(forward_path)
        if parameters is not NO_RCPT_PARAMETERS:
            parameters.check()
        self.parameters = parameters
        self.again()

    def again(self) -> None:
        """Forget what became of it, so that the transaction tries it again."""
        self.outcome = Outcome.NOT_TRIED
        self.rcpt_reply: Reply | None = None
        self.reply: Reply | None = None
        self.stage: Stage | None = None
        self.failure: ClientFailure | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be done: it was delivered, or refused for good."""
        return self.outcome in _DECIDED

    @property
    def why(self) -> str:
        """What decided it, in a line: the reply, or what has failed; ``""``: nothing yet."""
        return self.reply.text if self.reply is not None else str(self.failure or "")

    def decide(self, reply: Reply, stage: Stage) -> None:
        """Take note of the reply that decides."""
        code = reply.code
        self.outcome = (
            Outcome.DELIVERED if code < 300 else Outcome.DEFERRED if code < 500 else Outcome.REFUSED
        )
        self.reply, self.stage = reply, stage

    def fail(self, failure: ClientFailure, outcome: Outcome) -> None:
        """Take note that no reply did."""
        self.outcome, self.reply = outcome, failure.reply
        self.stage, self.failure = failure.stage, failure

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.forward_path}: {self.outcome.value}>"


class Transaction:
    """
    One message: its envelope, and what became of it.

    Given to `ClientDialogue.send` again it goes to those whom it has not reached and who have not
    refused it for good.

    :param reverse_path: where reports go; ``""`` is nobody, as for a bounce.
    :param destinations: who is to get it.
    :param parameters: of MAIL.  One that the server does not offer is an error, before anything is
        sent; but for SIZE, AUTH and ``BODY=7BIT``, which are left out.
    :param size_octets: how long the content is, for SIZE; CRLF counts as two.
    :param require_all_recipients: send it only if no recipient was refused.
    :param ahead: its content may leave before anybody is known to be taken, as a first chunk does
        (RFC 3030 §4.2); not so where the content can be had only once, and a recipient may be
        refused for now.
    :param may_lack: extensions whose parameters are left out as well, such as ``{"DSN"}``.
    :param data: yours: what an observer knows it by.
    :raises ValueError: something cannot be sent.
    :ivar mail_reply: the reply to MAIL.
    :ivar final_reply: the reply to DATA if it was refused, else that to the content; in LMTP the
        first one.
    :ivar failure: why it was not sent, or not to its end.
    :ivar left_out: parameters that were not said, since they were not offered.
    """

    __slots__ = (
        "ahead",
        "data",
        "destinations",
        "failure",
        "final_reply",
        "left_out",
        "mail_reply",
        "may_lack",
        "parameters",
        "require_all_recipients",
        "reverse_path",
        "size_octets",
        "wire",
    )

    def __init__(
        self,
        reverse_path: ReversePath | str,
        destinations: Iterable[Destination | ForwardPath | str],
        *,
        parameters: MailParameters = NO_MAIL_PARAMETERS,
        size_octets: int | None = None,
        require_all_recipients: bool = False,
        ahead: bool = True,
        may_lack: Iterable[str] = _NOTHING,
        data: object = None,
    ) -> None:
        self.reverse_path, self.wire = _reverse_path(reverse_path)
        if isinstance(destinations, (str, bytes)):
            raise TypeError("destinations are several: [...]")
        self.destinations = [
            one if isinstance(one, Destination) else Destination(one) for one in destinations
        ]
        if parameters is not NO_MAIL_PARAMETERS:
            parameters.check()
        self.parameters = parameters
        self.size_octets = parameters.size if size_octets is None else size_octets
        self.require_all_recipients = require_all_recipients
        self.ahead = ahead
        self.may_lack = keywords("may_lack", may_lack) if may_lack else _NOTHING
        self.data = data
        self.forget()

    def forget(self) -> None:
        """Forget what was said about it the last time."""
        self.mail_reply: Reply | None = None
        self.final_reply: Reply | None = None
        self.failure: ClientFailure | None = None
        self.left_out: tuple[str, ...] = ()

    @property
    def remaining(self) -> list[Destination]:
        """
        Those for whom something is left to be done.

        It is nobody if all were required and one was refused for good: without it the message is
        not to go to the others either.
        """
        if self.require_all_recipients and any(map(_is_no_mailbox, self.destinations)):
            return []
        return [one for one in self.destinations if one.outcome not in _DECIDED]


def _is_no_mailbox(one: Destination) -> bool:
    return one.outcome is Outcome.REFUSED and one.stage is Stage.RCPT


def _forward_path(path: ForwardPath | str) -> tuple[ForwardPath, bytes]:
    if not isinstance(path, str):
        return path, _wire(path)
    text = f"<{path}>"
    usual = USUAL_RCPT.match(b"TO:" + _octets(text))
    if usual is not None and not usual[3]:
        local_part, domain = usual.group(1, 2)
        read = ForwardPath(local_part.decode("ascii"), domain.decode("ascii").lower())
        return read, text.encode("ascii")
    found = _read(read_forward_path, text)
    return found, _wire(found)


def _reverse_path(path: ReversePath | str) -> tuple[ReversePath, bytes]:
    if not isinstance(path, str):
        return path, _wire(path)
    text = f"<{path}>"
    usual = USUAL_MAIL.match(b"FROM:" + _octets(text))
    if usual is not None and not usual[3]:
        if usual[1] is None:
            return ReversePath.NULL, b"<>"
        local_part, domain = usual.group(1, 2)
        read = ReversePath(local_part.decode("ascii"), domain.decode("ascii").lower())
        return read, text.encode("ascii")
    found = _read(read_reverse_path, text)
    return found, _wire(found)


def _read(read: Callable[[str], PathRead[AnyPath]], text: str) -> AnyPath:
    """
    Read a path in its brackets.

    :raises AddressError: it is none; the text has what somebody has written.
    """
    try:
        found = read(text)
        if found.rest:
            raise AddressError("something stands behind it")
    except AddressError as error:
        given, why = text[1:-1], str(error)
        if any(one in given for one in "<>,"):
            why = "it is local-part@domain alone, without a name, brackets or another one"
        raise AddressError(f"'{printable(given, 80)}' is no mailbox: {why}") from None
    return found.path


def _wire(path: Path) -> bytes:
    return _octets(path.wire)


def _octets(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise AddressError("A path is text: a surrogate is none") from None
