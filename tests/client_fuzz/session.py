"""One session in memory, from the first connection to the last thing that can happen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from smtpcb.client import ContentError, Message, NoSession, Server, SubmissionSession
from smtpcb.engine import ClientSettings, Outcome
from smtpcb.smtp.sasl import Credentials

from .events import Seen
from .server import PASSWORD, SECRETS, Judge
from .wire import Endpoint, Wire, lost

# Longer than a server may take for anything.
LONG_SECONDS = 1000.0
MOST_STEPS = 4000
MOST_HELD_OCTETS = 400_000
_LINES = (b"", b".", b"..", b".a", b"a", b"Subject: hi", b"x" * 70, b"QUIT", b"x" * 900)


class Session:
    """
    A session that is wholly given by its seed.

    :ivar accepted: how many messages were delivered.
    """

    def __init__(self, seed: str) -> None:
        random = self._random = Random(seed)
        self._clock = Clock()
        self._lmtp = random.random() < 0.2
        # Without evil some sessions get far; with much of it others end in every way there is.
        self._evil = random.choice((0.0, 0.0, 0.02, 0.1, 0.3))
        self._trouble = random.choice((0.0, 0.0, 0.01, 0.05))
        self._implicit = random.random() < 0.3
        self._connections: list[tuple[Wire, Judge]] = []
        self._asked: list[Deferred[Any]] = []
        self._insecure = random.random() < 0.2
        settings = self._settings()
        self._seen = Seen()
        self._session = SubmissionSession(
            *(self._server() for _ in range(random.choice((1, 1, 1, 3)))),
            settings=settings,
            **({} if settings.login == "off" else {"give": self._give}),
            observer=self._seen,
            reactor=self._clock,
        )
        self._sources: list[str] = []
        self._waits: list[Deferred[Any]] = []
        self._expected: dict[Message, bytes | None] = {}
        self._result: list[Any] = []
        self._cancelled = False
        self.accepted = 0
        for _ in range(random.choice((1, 1, 2, 3))):
            self._add()

    def _server(self) -> Server:
        endpoint = Endpoint(self._random, self._clock, self._met, implicit=self._implicit)
        return Server(endpoint, implicit_tls=False, creator=object())

    def _settings(self) -> ClientSettings:
        random = self._random
        return ClientSettings(
            hostname="client.example.org",
            lmtp=self._lmtp,
            starttls=random.choice(("off", "opportunistic", "required")),
            login=random.choice(("off", "off", "optional", "required")),
            next_mechanism=random.random() < 0.5,
            allow_insecure_auth=self._insecure,
            require=frozenset(random.choice(((), (), (), ("8BITMIME",)))),
            without=frozenset(random.choice(((), ("CHUNKING",), ("PIPELINING",)))),
            chunk_octets=random.choice((1, 50, 65_536)),
        )

    # What the caller does.

    def _add(self) -> None:
        random = self._random
        lines = [random.choice(_LINES) for _ in range(random.choice((0, 1, 5, 40)))]
        if random.random() < 0.1:
            lines += [b"y" * 900] * 500
        octets = b"".join(line + random.choice((b"\r\n", b"\r\n", b"\n")) for line in lines)
        if random.random() < 0.1 and octets:
            octets = octets.rstrip(b"\r\n") + b"end"
        expected: bytes | None = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if expected and not expected.endswith(b"\r\n"):
            expected += b"\r\n"
        number = len(self._expected)
        fails = random.random() < 0.04
        kind = random.choice(("octets", "callable", "iterator", "async"))
        source: Any = octets
        if kind != "octets":
            pieces = self._cut(octets)
            if fails:
                expected = None
            if kind == "async":
                source = self._async(number, pieces, fails=fails)
            elif kind == "iterator":
                source = self._iterator(number, pieces, fails=fails)
            else:
                source = lambda: self._iterator(number, pieces, fails=fails)  # noqa: E731
        message = self._session.add_message(
            random.choice(("", "anne@example.org")),
            source,
            rules=None,
            require_all_recipients=random.random() < 0.2,
            may_lack=frozenset(random.choice(((), ("8BITMIME",), ("8BITMIME",)))),
        )
        for recipient in range(random.choice((1, 1, 2, 4))):
            message.add_recipient(f"r{number}-{recipient}@d{recipient % 2}.example.org")
        self._expected[message] = expected

    def _cut(self, octets: bytes) -> list[bytes]:
        pieces = []
        while octets:
            cut = self._random.choice((1, 7, 1000, 65_536, len(octets)))
            pieces.append(octets[:cut])
            octets = octets[cut:]
            if len(pieces) > 20:
                pieces.append(octets)
                break
        return pieces

    def _iterator(self, number: int, pieces: list[bytes], *, fails: bool) -> Iterator[bytes]:
        self._sources.append(f"opened {number}")
        try:
            yield from pieces
            if fails:
                raise OSError("the disk is gone")
        finally:
            self._sources.append(f"closed {number}")

    async def _async(
        self, number: int, pieces: list[bytes], *, fails: bool
    ) -> AsyncIterator[bytes]:
        self._sources.append(f"opened {number}")
        try:
            for piece in pieces:
                if self._random.random() < 0.3:
                    waiting: Deferred[Any] = Deferred()
                    self._waits.append(waiting)
                    await waiting
                yield piece
            if fails:
                raise OSError("the disk is gone")
        finally:
            self._sources.append(f"closed {number}")

    def _give(self, mechanism: str) -> Any:
        chance = self._random.random()
        if chance < 0.05:
            raise OSError("the key ring is gone")
        if chance < 0.2:
            return None
        credentials = Credentials(mechanism, "anne", PASSWORD, token=PASSWORD)
        if chance < 0.6:
            return credentials
        asked: Deferred[Any] = Deferred()
        self._asked.append(asked)
        return asked.addCallback(lambda _: credentials)

    def _met(self, wire: Wire) -> None:
        judge = Judge(self._random, lmtp=self._lmtp, evil=self._evil)
        self._connections.append((wire, judge))
        if not self._implicit:
            judge.greet()

    # What happens.

    def run(self) -> list[str]:
        """Hold the session; return what is wrong with it."""
        running: Any = ensureDeferred(self._session.run())
        running.addBoth(self._result.append)
        running_out = 0
        for _ in range(MOST_STEPS):
            if self._result:
                break
            if self._random.random() < self._trouble * 0.2:
                self._cancelled = True
                running.cancel()
            elif not self._step():
                running_out += 1
                self._clock.advance(0 if running_out % 3 else LONG_SECONDS)
        complaints = [] if self._result else ["it has come to no end"]
        self._settle()
        return complaints + list(self._complaints())

    def _step(self) -> bool:
        """Let one thing happen; tell whether there was one."""
        random = self._random
        if self._waits and random.random() < 0.9:
            waiting = self._waits.pop()
            if not waiting.called:
                waiting.callback(None)
            return True
        if self._asked and random.random() < 0.5:
            asked = self._asked.pop()
            if not asked.called:
                asked.callback(None)
            return True
        happened = False
        for wire, judge in self._connections:
            if not wire.lost:
                happened = self._serve(wire, judge) or happened
        return happened

    def _serve(self, wire: Wire, judge: Judge) -> bool:
        random = self._random
        if wire.closed:
            wire.settle(random)
            if wire.closed == "lose" and not wire.lost:
                judge.hear(wire.read(random))
            return wire.lost
        if random.random() < self._trouble:
            random.choice(
                (
                    lambda: wire.lose(lost(random)),
                    lambda: self._clock.advance(LONG_SECONDS),
                    lambda: self._clock.advance(1),
                    lambda: (
                        wire.say(random.choice((b"2", b"250 ok\r\n", b"\r\n", b"421 bye\r\n")))
                        if self._evil and not self._poison(judge)
                        else None
                    ),
                )
            )()
            return True
        if wire.shaking:
            return self._shake(wire, judge)
        if judge.said:
            self._speak(wire, judge)
            return True
        if judge.wants_tls and not judge.poisoned:
            return False  # the client begins with it once it has read the 220
        if wire.to_server and random.random() < 0.95:
            judge.hear(wire.read(random))
            return True
        if judge.closing and random.random() < 0.5:
            wire.lose(lost(random))
            return True
        return False

    @staticmethod
    def _poison(judge: Judge) -> None:
        judge.poisoned = True

    def _speak(self, wire: Wire, judge: Judge) -> None:
        random = self._random
        octets = judge.said.popleft()
        while judge.said and random.random() < 0.3:
            octets += judge.said.popleft()
        if judge.wants_tls and not judge.said and random.random() < self._evil:
            judge.poisoned = True
            octets += b"250-evil\r\n250 AUTH PLAIN\r\n"
        if random.random() < 0.3:
            for at in range(0, len(octets), step := random.choice((1, 3, 1000))):
                if random.random() < self._trouble * 0.1:
                    wire.lose(lost(random))
                wire.say(octets[at : at + step])
        else:
            wire.say(octets)
        if judge.malformed and not judge.said and not (wire.closed or wire.lost):
            judge.complaints.append(f"goes on behind {octets[-80:]!r}")

    def _shake(self, wire: Wire, judge: Judge) -> bool:
        random = self._random
        if judge.poisoned or random.random() < self._evil:
            wire.lose(SSL.Error([("SSL routines", "", "certificate verify failed")]))
        elif random.random() < self._trouble:
            self._clock.advance(LONG_SECONDS)
        else:
            judge.secure, judge.wants_tls = True, False
            wire.shake_hands()
            if self._implicit:
                judge.greet()
        return True

    def _settle(self) -> None:
        """Let everything happen that still can."""
        for _ in range(20):
            for wire, judge in self._connections:
                for _ in range(200):
                    if not wire.to_server or wire.closed == "abort":
                        break
                    judge.hear(wire.read(self._random))
                judge.said.clear()
                wire.settle(self._random)
            self._clock.advance(LONG_SECONDS)

    def _complaints(self) -> Iterator[str]:
        for wire, judge in self._connections:
            yield from judge.complaints
            if not (wire.lost or wire.closed):
                yield "a connection is left"
            if wire.most_waiting_octets > MOST_HELD_OCTETS:
                yield f"{wire.most_waiting_octets} octets waited to be sent"
            if not self._insecure:
                yield from (f"said in the clear: {one!r}" for one in SECRETS if one in wire.clear)
        yield from (f"a timer is left: {call}" for call in self._clock.getDelayedCalls())
        yield from (f"somebody is still asked: {one}" for one in self._asked if not one.called)
        result = self._result[0] if self._result else None
        if isinstance(result, Failure):
            if self._cancelled and not result.check(
                CancelledError, NoSession, ContentError, OSError
            ):
                yield f"cancelled, it has raised {result.value!r}"
            elif not self._cancelled and not result.check(NoSession, ContentError, OSError):
                yield f"raised {result.getTraceback()}"
        left_over = [one for one in self._sources if one.startswith("opened")]
        for one in left_over:
            if f"closed{one[6:]}" not in self._sources and self._ended(int(one[7:])):
                yield f"a source is left: {one}"
        yield from self._seen.complaints()
        yield from self._of_messages()

    def _ended(self, number: int) -> bool:
        """Tell whether nobody can send a message any more."""
        return self._cancelled or not self._session.messages[number].transaction.remaining

    def _of_messages(self) -> Iterator[str]:
        accepted = [one for _, judge in self._connections for one in judge.accepted]
        whole = {one for _, judge in self._connections for one in judge.whole}
        poisoned = any(judge.poisoned for _, judge in self._connections)
        for message, expected in self._expected.items():
            for recipient in message.recipients:
                name, outcome = str(recipient.forward_path), recipient.outcome
                taken = [content for to, content in accepted if to == name]
                if outcome is Outcome.DELIVERED:
                    self.accepted += 1
                    if not taken and not poisoned:
                        yield f"{name}: delivered, and nobody has taken it"
                    if len(taken) > 1:
                        yield f"{name}: delivered twice"
                if any(content != expected for content in taken):
                    yield f"{name}: another content was taken: {taken[0]!r:.200}"
                if taken and outcome not in (Outcome.DELIVERED, Outcome.UNKNOWN):
                    yield f"{name}: taken, and said to be {outcome.value}"
                # What was on its way when the client left, nobody has seen.
                seen = poisoned or any(wire.closed == "abort" for wire, _ in self._connections)
                if outcome is Outcome.UNKNOWN and name not in whole and not seen:
                    yield f"{name}: unknown, and was not sent to its end"
