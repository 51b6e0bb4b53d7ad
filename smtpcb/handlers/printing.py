"""Print every message on standard output, for whoever tries something out at a terminal."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from threading import Lock
from typing import Any, TextIO

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb._ending import DISK_SECONDS
from smtpcb.engine._envelope import Envelope
from smtpcb.handlers._disk import DiskThreads
from smtpcb.handlers._undemanding import Undemanding
from smtpcb.interfaces import ISmtpHandlerPlugin, ISmtpHandlerSetting
from smtpcb.smtp._reply import Reply

__all__ = ["Print", "PrintPlugin"]

NOT_PRINTED = Reply(451, ("Message could not be printed, try again later",), status="4.3.0")

# A terminal would obey these, and a message is a stranger's: ESC, C1, what turns writing round.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Print(Undemanding, Service):
    """
    A handler that prints every message with its envelope, and keeps none.

    Octets that are no UTF-8, and characters that a terminal would obey, are escaped.  It is printed
    whole or, where nobody reads that, not at all as far as the client is told: 451.

    :param reactor: fires the Deferreds.
    :param output: where to; standard output, as it was before twistd took it for its log.
    """

    report = ("messages: printed on standard output, and not kept",)

    def __init__(self, reactor: Any, output: TextIO | None = None) -> None:
        self._output = output
        # A terminal may have been stopped, and a pipe be full.
        self._threads = DiskThreads(reactor, "print")
        self._alone = Lock()

    def stopService(self) -> Deferred[None]:
        """Stop when everything is printed; a terminal that does not move is left after 4 s."""
        super().stopService()
        return self._threads.stop(DISK_SECONDS).addCallback(lambda _: None)

    def message(self, envelope: Envelope) -> Deferred[Reply]:
        """
        Print it; see `smtpcb.interfaces`.

        :return: fires with 250 once it is printed, with 451 if it cannot be.
        """
        answer: Deferred[Reply] = Deferred()
        work = partial(self._print, _head(envelope), envelope.content)
        self._threads.run(work, partial(_answer, answer))
        return answer

    def _print(self, head: Sequence[str], content: Any) -> None:
        output = self._output or sys.__stdout__
        if output is None:
            raise OSError("there is no standard output")
        with self._alone:
            for text in _shown(head, content.pieces()):
                # What it has no letters for is escaped too.
                known = output.encoding or "ascii"
                output.write(text.encode(known, "backslashreplace").decode(known))
            output.flush()


def _answer(answer: Deferred[Reply], result: object) -> None:
    if answer.called:
        return  # nobody waits for it any more
    if not isinstance(result, Failure):
        answer.callback(Reply(250, ("Printed",), status="2.0.0"))
    elif isinstance(result.value, (OSError, ValueError)):  # ValueError: it is closed
        answer.callback(NOT_PRINTED)
    else:
        answer.errback(result)


def _head(envelope: Envelope) -> list[str]:
    connection = envelope.connection
    return [
        f"---------- MESSAGE {envelope.id} ----------",
        f"from <{envelope.reverse_path}>",
        *(f"to <{recipient.forward_path}>" for recipient in envelope.recipients),
        f"by {connection.hello} [{connection.peer_address}]",
        "",
    ]


def _shown(head: Iterable[str], pieces: Iterable[bytes]) -> Iterator[str]:
    """Return it as a terminal may be shown it, piece by piece."""
    for line in head:
        yield _OBEYED.sub(_escaped, line) + "\n"
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    held, last = "", "\n"
    for piece in chain(pieces, [None]):
        text = held + (decoder.decode(b"", final=True) if piece is None else decoder.decode(piece))
        # A CR that is last belongs to the LF behind it.
        held = "\r" if piece is not None and text.endswith("\r") else ""
        text = text.removesuffix(held) if held else text
        text = _OBEYED.sub(_escaped, text.replace("\r\n", "\n"))
        last = text[-1:] or last
        yield text
    yield ("" if last == "\n" else "\n") + "---------- END ----------\n"


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


@implementer(ISmtpHandlerPlugin)
class PrintPlugin:
    """``--handler print``."""

    name = "print"
    usage = "print"
    help = "Prints every message on standard output, and keeps none."

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> Print:
        """
        Return a `Print`.

        :raises ValueError: there is an argument.
        """
        if argument:
            raise ValueError("nothing stands behind print: it prints every message")
        return Print(setting.reactor)


plugin = PrintPlugin()
