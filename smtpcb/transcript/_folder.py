"""Where transcripts are written: the connections' side of it, which never waits for the disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from smtpcb._ending import DISK_SECONDS
from smtpcb._steady import steady_seconds
from smtpcb.transcript._disk import SLOW, Disk, Warnings
from smtpcb.transcript._file import TranscriptWriting
from smtpcb.transcript._names import place_of
from smtpcb.transcript._notation import Head
from smtpcb.transcript._proxied import described
from smtpcb.transcript._transcript import Transcript
from smtpcb.transcript._writer import Writer

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from smtpcb.engine._connection import Connection
    from smtpcb.transcript._settings import TranscriptSettings

# How much may wait for a disk that is slow, beside 16 KiB of each connection.
QUEUE_OCTETS = 16_777_216

# The thread is woken when a tenth of a second has passed, or so much is waiting: all sessions
# that ended meanwhile are written at once.  One that goes on is in its file after a second.
_WAKE_SECONDS = 0.1
_WAKE_OCTETS = 1_048_576
_FOLLOW_SECONDS = 1.0

_TIDY_SECONDS = 3600.0
_LOOK_SECONDS = 0.02

_log = Logger(namespace="smtpcb.transcript")


class _Ending:
    """
    The end of a thread, looked for now and then, since nobody waits for it.

    :ivar fired: when it has come, or too much time has passed.
    """

    def __init__(self, writer: Writer, clock: IReactorTime) -> None:
        self.fired: Deferred[None] = Deferred()
        self._writer = writer
        self._clock = clock
        self._left = round(DISK_SECONDS / _LOOK_SECONDS)
        self._timer: IDelayedCall | None = None
        self.look()

    def look(self) -> None:
        """See if it has come."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self.fired.called:
            return
        if not self._writer.has_ended and self._left:
            self._left -= 1
            self._timer = self._clock.callLater(_LOOK_SECONDS, self.look)
            return
        if not self._writer.has_ended:
            _log.warn(
                "The disk does not answer: {octets} octets of transcripts are not written",
                octets=self._writer.waiting_octets,
            )
        self.fired.callback(None)


class TranscriptFolder:
    """
    Where transcripts are written, by a thread of its own.

    The folder is looked through when it starts and hourly, and what is too old or too much is
    removed.  Nothing is done to the disk before `start`, or the first thing to write: a process
    may fork after this has been made.

    :param clock: the reactor's timers, and the time, unless that is what the wall clock says.
    :param wall: seconds since the epoch, for the age of transcripts.
    """

    def __init__(
        self,
        settings: TranscriptSettings,
        clock: IReactorTime,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.clock = clock
        #: What times in transcripts are taken from: how much has passed, whoever sets the clock.
        self.seconds = steady_seconds(clock)
        self._disk = Disk(settings, self.seconds, wall)
        self._warnings = Warnings(self.seconds)
        self._writer: Writer | None = None
        self._previous: Writer | None = None
        # Transcripts with something in memory, in the order and with the time they got it.
        self._unwritten: dict[Transcript, float] = {}
        self._timer: IDelayedCall | None = None
        self._closed = False
        self._asleep_octets = 0  # handed to the thread since it was woken
        self._endings: list[_Ending] = []

    def start(self) -> None:
        """Look the folder through now, and not only when there is something to write."""
        self._closed = False
        try:
            self._thread()
        except RuntimeError as error:  # none can be started; the next one may be
            self._warnings.lost(str(error))

    def open(self, connection: Connection) -> Transcript:
        """
        Begin the transcript of a connection.

        :param connection: its ``id`` names the file.
        :return: a transcript, whether or not it can be written.
        :raises ValueError: the id is none that a server makes.
        """
        day, name = place_of(connection.id)
        self._closed = False
        head = Head(
            connection.id,
            connection.peer_address,
            connection.peer_port,
            connection.host_address,
            connection.host_port,
            self.seconds(),
            connection.started,
            described(connection),
        )
        writing = TranscriptWriting(head, day, name, self.settings.max_octets)
        return Transcript(self, self.settings, writing)

    def close(self) -> Deferred[None]:
        """
        Write everything and end the thread; it never blocks.

        Transcripts that are still open are written when they close.

        :return: fires when all is written, or after 4 seconds: a disk that does not answer
            keeps nobody, and the log says what is lost.
        """
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for transcript in list(self._unwritten):
            transcript.hand_over()
        self._end()
        if self._previous is None:
            return succeed(None)
        ending = _Ending(self._previous, self.clock)
        self._endings = [*(other for other in self._endings if not other.fired.called), ending]
        return ending.fired

    def flush(self, seconds: float = 5.0) -> bool:
        """
        Have all that was said up to now in its files; it blocks, and is for scripts and tests.

        :param seconds: how long to wait for the disk.
        :return: whether it is there.
        """
        for transcript in list(self._unwritten):
            transcript.hand_over()
        if self._writer is not None:
            done = Event()
            self._writer.hand(0, self._disk.tell, done)
            self._wake(self._writer)
            return done.wait(seconds)
        written = self._previous is None or self._previous.wait(seconds)
        for ending in self._endings:
            ending.look()
        return written

    def path_of(self, writing: TranscriptWriting) -> str:
        """Say where a transcript is, or will be."""
        return f"{self.settings.folder}/{writing.day}/{writing.name}"

    def remember(self, transcript: Transcript) -> None:
        """
        Have a transcript written within some second.

        :param transcript: one that has just got something.
        """
        self._unwritten[transcript] = self.seconds()
        if self._timer is None:
            self._arm()

    def forget(self, transcript: Transcript) -> None:
        """
        Leave a transcript alone.

        :param transcript: one that has nothing unwritten any more.
        """
        self._unwritten.pop(transcript, None)

    def write(
        self, writing: TranscriptWriting, records: list[Any], octets: int, *, closed: bool
    ) -> bool:
        """
        Give the thread something to write.

        :param records: when, which side and the octets of each, in a row.
        :param octets: what it takes in memory.
        :param closed: it is the last of this transcript.
        :return: whether there was room for it.
        """
        writer = self._writer
        if writer is None:
            try:
                writer = self._thread()
            except RuntimeError as error:  # no thread can be started
                self._warnings.lost(str(error))
                return False
        if not writer.hand(octets, self._disk.write, writing, records, octets, closed):
            self._warnings.lost(SLOW)
            self._wake(writer)
            return False
        self._asleep_octets += octets
        if self._closed:
            self._end()
        elif self._asleep_octets > _WAKE_OCTETS:
            self._wake(writer)
        elif self._timer is None:
            self._arm()
        return True

    def cut(self, writing: TranscriptWriting, seconds: float) -> None:
        """
        Have a transcript say that it is not whole.

        :param writing: one of which `write` has taken something before.
        :param seconds: when, on the clock.
        """
        if self._writer is not None:
            self._writer.hand(0, self._disk.cut, writing, seconds)

    def _thread(self) -> Writer:
        if self._writer is None:
            self._writer = Writer(
                self._disk.tidy,
                self._disk.settle,
                self._disk.close,
                _TIDY_SECONDS,
                QUEUE_OCTETS,
                self._previous,
            )
            self._previous = None
        return self._writer

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.end()
            self._previous, self._writer = self._writer, None

    def _wake(self, writer: Writer) -> None:
        self._asleep_octets = 0
        writer.wake()

    def _arm(self) -> None:
        # Not cancelled when all is written before: one idle call costs less than arming and
        # cancelling a timer for each session.
        if not self._closed:
            self._timer = self.clock.callLater(_WAKE_SECONDS, self._look_around)

    def _look_around(self) -> None:
        self._timer = None
        now = self.seconds()
        for transcript, since in list(self._unwritten.items()):
            if now - since < _FOLLOW_SECONDS:
                break
            transcript.hand_over()
        if self._asleep_octets and self._writer is not None:
            self._wake(self._writer)
        if self._unwritten and self._timer is None:
            self._arm()
