"""How dialogues begin, and servers that are led by hand: answers come when the test gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smtpcb.engine import Pending
from smtpcb.engine._connection import Connection
from smtpcb.engine._conversation import Conversation
from smtpcb.engine._envelope import Content, Envelope
from smtpcb.engine._observer import Observer
from smtpcb.engine._plain import Driver, PlainPlatform
from smtpcb.engine._reason import Reason
from smtpcb.engine._server import ServerDialogue
from smtpcb.engine._settings import Settings
from smtpcb.engine._verdict import Failed, Incidents
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from smtpcb.testing._play import TLS

HELO = "C: HELO client\nS: 250\n"
MAIL = HELO + "C: MAIL FROM:<anne@example.org>\nS: 250\n"
RCPT = MAIL + "C: RCPT TO:<bob@example.org>\nS: 250\n"
DATA = RCPT + "C: DATA\nS: 354\n"
TRANSACTION = DATA.removeprefix(HELO)

SECURE = Connection("secure", tls=TLS)

TO_RCPT = b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n"
TO_DATA = TO_RCPT + b"DATA\r\n"


def limited(**limits: Any) -> Settings:
    """Return settings with other limits."""
    return Settings(limits=Limits(**limits))


def raises(error: BaseException) -> Any:
    """Return a method that raises."""

    def method(*arguments: object) -> None:
        raise error

    return method


def returns(value: object) -> Any:
    """Return a method that returns."""
    return lambda *arguments: value


class Does:
    """A handler that has the methods it is given, and takes every message."""

    discards_content = True

    def __init__(self, **methods: object) -> None:
        self.__dict__.update(methods)


class Answer(Pending):
    """An answer that the test gives."""

    __slots__ = ("came", "cancelled", "on_cancel", "what")

    def __init__(self, what: object = None) -> None:
        self.what = what
        self.came: Callable[[object], None] | None = None
        self.cancelled = False
        self.on_cancel: Callable[[], object] = lambda: None

    def then(self, came: Callable[[object], None]) -> None:
        self.came = came

    def cancel(self) -> None:
        self.cancelled = True
        self.on_cancel()

    def give(self, outcome: object = None) -> None:
        """Answer."""
        assert self.came is not None
        self.came(outcome)

    def fail(self, error: BaseException) -> None:
        """Raise in place of an answer."""
        self.give(Failed(error))


class Later:
    """
    A handler whose methods of these names answer when the test does.

    :ivar answers: those that have been asked for, in order.
    :ivar heard: the names of all calls.
    """

    discards_content = True

    def __init__(self, *names: str, **methods: object) -> None:
        self.answers: list[Answer] = []
        self.heard: list[str] = []
        for name in names:
            self.__dict__[name] = self._later(name)
        for name, method in methods.items():
            self.__dict__[name] = method

    def _later(self, name: str) -> Callable[..., Answer]:
        def method(*arguments: object) -> Answer:
            self.heard.append(name)
            self.answers.append(Answer(arguments[0]))
            return self.answers[-1]

        return method

    @property
    def last(self) -> Answer:
        """The newest answer that is asked for."""
        return self.answers[-1]


class HandLog:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, /, **fields: Any) -> None:
        self.lines.append(text.format(**fields))

    warn = error = info


class HandPlatform:
    """Where time passes and answers come when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log = HandLog()
        self.incidents = Incidents(self.log, self.seconds)
        self._plain = PlainPlatform()
        self.steps: list[Callable[[], object]] = []
        self.make: Callable[[], Content] = self._plain.make_content

    def later(self, result: Any) -> object:
        return result if isinstance(result, Pending) else self._plain.later(result)

    def seconds(self) -> float:
        return self.now

    def soon(self, step: Callable[[], object]) -> None:
        self.steps.append(step)

    def make_content(self) -> Content:
        return self.make()


class Noting(Observer):
    """Notes what is decided and how transactions end."""

    def __init__(self) -> None:
        self.decisions: list[tuple[str, Reply]] = []
        self.ends: list[Reason] = []
        self.envelopes: list[Envelope] = []
        self.notes: list[str] = []
        self.octets = b""
        self.seconds: list[float] = []
        self.replies: list[Reply | None] = []

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        self.decisions.append((method, reply))
        self.seconds.append(seconds)
        if method == "message" and isinstance(subject, Envelope):
            self.envelopes.append(subject)

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        self.ends.append(reason)
        self.replies.append(reply)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def content(self, octets: bytes) -> None:
        self.octets += octets

    def end_of_content(self) -> None:
        self.octets += b"|"


class Server:
    """
    A server led by hand, whose greeting is out.

    :ivar said: all that it has said since.
    """

    def __init__(
        self,
        handler: object = None,
        settings: Settings | None = None,
        *,
        connection: Connection | None = None,
        tls: bool = True,
        greet: bool = True,
        observer: Observer | None = None,
    ) -> None:
        self.platform = HandPlatform()
        self.observer = observer
        self.driver = Driver(
            Does() if handler is None else handler,
            settings or Settings(),
            connection or Connection("x"),
            tls=tls,
            platform=self.platform,
            observer=observer,
            changed=self._changed,
        )
        self.said = b""
        self.greeting = self.driver.start() if greet else b""

    def _changed(self) -> None:
        self.said += self.driver.advance()

    @property
    def conversation(self) -> Conversation:
        return self.driver.conversation

    @property
    def dialogue(self) -> ServerDialogue:
        return self.driver.conversation.dialogue

    @property
    def log(self) -> list[str]:
        return self.platform.log.lines

    def send(self, octets: bytes) -> list[str]:
        """Return the codes of what is said to some octets."""
        before = len(self.said)
        self.said += self.driver.receive(octets)
        return codes(self.said[before:])

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and see what has taken too long."""
        self.platform.now += seconds
        self.conversation.expire(self.platform.now)
        self._changed()

    @property
    def codes(self) -> list[str]:
        """The codes of all that was said since the greeting."""
        return codes(self.said)


def codes(said: bytes) -> list[str]:
    """Return the code of each reply."""
    lines = said.split(b"\r\n")[:-1]
    return [line[:3].decode() for line in lines if line[3:4] != b"-"]
