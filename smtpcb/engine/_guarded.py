"""Guarded: what an observer raises costs nobody else anything."""

from __future__ import annotations

from time import perf_counter
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING

from smtpcb.engine._conversation import SLOW_SECONDS
from smtpcb.engine._handler import name_of
from smtpcb.engine._observer import Observer
from smtpcb.engine._verdict import LOGIN_SEEN

if TYPE_CHECKING:
    from smtpcb.engine._envelope import Envelope
    from smtpcb.engine._pending import Platform
    from smtpcb.engine._reason import Reason
    from smtpcb.smtp._reply import Reply

# Calling it has only made it; nobody would ever run it.
_NOT_RUN = (CoroutineType, GeneratorType, AsyncGeneratorType)
# What an observer is told of them comes with the method's name first.
_OF_LOGINS = (("authenticate",), ("stored_secret",))
_METHODS = [name for name in vars(Observer) if callable(getattr(Observer, name)) and name[0] != "_"]


class Guarded(Observer):
    """
    A user's observer: one that fails is an incident, and is called no more.

    Dialogue, handler and the other observers go on as if it had never been there.

    :param observer: whose methods are called.
    :param platform: where the incident is reported.
    :raises TypeError: it is no observer.
    """

    __slots__ = (
        *("_connection_id", "_name", "_observer", "_platform"),
        *("sees_octets", "sees_plain_answers"),
    )

    def __init__(self, observer: object, platform: Platform, connection_id: str) -> None:
        if isinstance(observer, type):
            raise TypeError(f"an Observer is wanted: {name_of(observer)} is a class")
        for method in _METHODS:
            if not callable(getattr(observer, method, None)):
                raise TypeError(f"an Observer is wanted: {name_of(observer)} has no {method}()")
        self._observer: object | None = observer
        self._name = f"the observer {name_of(observer)}"
        self._platform = platform
        self._connection_id = connection_id
        self.sees_octets = bool(getattr(observer, "sees_octets", True))
        self.sees_plain_answers = bool(getattr(observer, "sees_plain_answers", True))

    def client(self, octets: bytes) -> None:
        """See `Observer.client`."""
        self._call("client", octets)

    def server(self, octets: bytes) -> None:
        """See `Observer.server`."""
        self._call("server", octets)

    def content(self, octets: bytes) -> None:
        """See `Observer.content`."""
        self._call("content", octets)

    def end_of_content(self) -> None:
        """See `Observer.end_of_content`."""
        self._call("end_of_content")

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        """See `Observer.decided`."""
        self._call("decided", method, subject, reply, seconds)

    def refused(self, line: bytes, reply: Reply) -> None:
        """See `Observer.refused`."""
        self._call("refused", line, reply)

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        """See `Observer.aborted`."""
        self._call("aborted", reason, envelope, reply)

    def note(self, text: str) -> None:
        """See `Observer.note`."""
        self._call("note", text)

    def ended(self, reason: Reason) -> None:
        """See `Observer.ended`."""
        self._call("ended", reason)

    def _call(self, name: str, *arguments: object) -> None:
        observer = self._observer
        if observer is None:
            return
        began = perf_counter()
        try:
            answer = getattr(observer, name)(*arguments)
            if isinstance(answer, _NOT_RUN):
                if isinstance(answer, CoroutineType):
                    answer.close()
                raise TypeError(f"{name} of an observer is a plain def: nobody would run it")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit() in an observer is a fault of its own, no more
            self._observer = None
            # What it raises about a login may quote the password.
            what = LOGIN_SEEN if arguments[:1] in _OF_LOGINS else name
            self._platform.incidents.report(what, self._name, error, self._connection_id)
        seconds = perf_counter() - began
        if seconds > SLOW_SECONDS:
            self._platform.log.warn(
                "{name} of {observer} kept everybody waiting for {seconds:.1f} s on {id}",
                name=name,
                observer=self._name,
                seconds=seconds,
                id=self._connection_id,
            )
