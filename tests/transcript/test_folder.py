"""Nobody who serves a client ever waits for the disk, and what is said is in a file soon."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from smtpcb._ending import CUT_SECONDS, DISK_SECONDS, STOP_SECONDS
from smtpcb.transcript import Transcript, TranscriptFolder, TranscriptSettings, load
from smtpcb.transcript import _file as file_module
from smtpcb.transcript import _folder as folder_module
from smtpcb.transcript._writer import Writer
from tests.transcript.recording import Recording, connection, named, notes, octets_of, os_with
from tests.transcript.test_file import warnings

# Soon


def test_a_transcript_can_be_watched(recording: Recording) -> None:
    """What was said is in the file some second later, by one timer for all connections."""
    first, second = recording.open(1), recording.open(2)
    first.client(b"NOOP\r\n")
    second.client(b"RSET\r\n")
    assert len(recording.clock.getDelayedCalls()) == 1
    recording.clock.pump([0.1] * 12)
    assert recording.folder._unwritten == {}
    assert recording.clock.getDelayedCalls() == []
    assert octets_of("C", recording.lines(1)) == b"NOOP\r\n"
    assert octets_of("C", recording.lines(2)) == b"RSET\r\n"
    second.client(b"QUIT\r\n")
    recording.clock.pump([0.1] * 12)
    assert octets_of("C", recording.lines(2)) == b"RSET\r\nQUIT\r\n"


def test_sessions_that_ended_are_written_together(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many end within a tenth of a second, the thread is woken once."""
    woken: list[Writer] = []
    wake = Writer.wake
    monkeypatch.setattr(Writer, "wake", lambda self: woken.append(self) or wake(self))
    for number in range(100):
        recording.open(number).close("done")
    assert not woken
    recording.clock.advance(0.1)
    assert len(woken) == 1
    assert recording.clock.getDelayedCalls() == []
    assert len(recording.files()) == 100


def test_much_does_not_wait_for_the_timer(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is more than 16 KiB leaves the connection's memory, and a megabyte wakes the thread."""
    woken: list[Writer] = []
    wake = Writer.wake
    monkeypatch.setattr(Writer, "wake", lambda self: woken.append(self) or wake(self))
    transcript = recording.open()
    for _ in range(40):
        transcript.content(b"x" * 20_000)
        assert transcript._records == []
    assert not woken
    for _ in range(20):
        transcript.content(b"x" * 20_000)
    assert len(woken) == 1


def test_a_clock_that_is_set_changes_no_time(tmp_path: Path) -> None:
    """Times in a transcript say how much has passed, whoever sets the clock."""
    wall = Clock()
    wall.seconds = time.time  # type: ignore[method-assign]  # as reactors have it
    passed = Clock()
    folder = TranscriptFolder(TranscriptSettings(tmp_path, sessions="all"), wall)
    assert folder.seconds is time.monotonic
    folder.seconds = passed.seconds
    transcript = folder.open(connection())
    transcript.client(b"NOOP\r\n")
    passed.advance(2.5)
    transcript.close("done")
    assert folder.flush()
    assert [line.seconds for line in load(transcript.path).lines] == [0.0, 2.5]
    folder.close()
    assert folder.flush()


def test_what_is_written_is_forgotten(recording: Recording) -> None:
    """A server that ran for years holds nothing of connections that have ended."""
    transcript = recording.open()
    transcript.client(b"NOOP\r\n")
    assert list(recording.folder._unwritten) == [transcript]
    transcript.close("quit")
    assert not recording.folder._unwritten
    assert recording.folder.flush()
    assert not recording.folder._disk._room._live


# Which sessions


def connect(transcript: Transcript) -> None:
    transcript.server(b"220 hello\r\n")


def hello(transcript: Transcript) -> None:
    connect(transcript)
    transcript.client(b"EHLO probe.example\r\n")
    transcript.server(b"250 hello\r\n")


def refused(transcript: Transcript) -> None:
    hello(transcript)
    transcript.client(b"mail from:<a@b.example>\r\n")
    transcript.server(b"550 no\r\n")


def handshake(transcript: Transcript) -> None:
    transcript.note("TLS TLSv1.3 TLS_AES_256_GCM_SHA384")
    connect(transcript)


def much(transcript: Transcript) -> None:
    for _ in range(200):
        hello(transcript)


def pipelined(transcript: Transcript) -> None:
    connect(transcript)
    transcript.client(b"EHLO x\r\nMAIL FROM:<>\r\n")


@pytest.mark.parametrize(
    ("sessions", "said", "kept"),
    [
        *[("all", said, True) for said in (connect, hello, refused, handshake)],
        *[("commands", said, False) for said in (connect, handshake)],
        *[("commands", said, True) for said in (hello, refused, much)],
        *[("transactions", said, False) for said in (connect, hello, handshake)],
        *[("transactions", said, True) for said in (refused, much, pipelined)],
        *[("transactions", lambda transcript: transcript.content(b"x"), True)],
    ],
)
def test_sessions_that_did_nothing_can_be_left_out(
    make: Callable[..., Recording], sessions: str, said: Callable[..., None], kept: bool
) -> None:
    """A health check leaves no file, and nothing of it is ever given to the disk."""
    recording = make(sessions=sessions)
    transcript = recording.open()
    said(transcript)
    recording.clock.advance(5)
    transcript.close("done")
    assert recording.files() == ([f"{named()}.txt"] if kept else [])
    assert (recording.folder._writer is not None) is kept
    if kept:
        assert notes(recording.lines())[-1] == "closed: done"


@pytest.mark.parametrize("sessions", ["commands", "transactions"])
def test_what_was_said_before_is_kept_with_it(
    make: Callable[..., Recording], sessions: str
) -> None:
    """A transcript is whole, however late it is known that there will be one."""
    recording = make(sessions=sessions)
    transcript = recording.open()
    refused(transcript)
    recording.clock.pump([0.1] * 12)
    assert octets_of("S", recording.lines()) == b"220 hello\r\n250 hello\r\n550 no\r\n"


def test_a_session_that_said_nothing_is_left_out_where_nothing_is_set() -> None:
    """A port scan or a check of a load balancer needs no file; whoever wants one says so."""
    assert TranscriptSettings(Path("x")).sessions == "commands"


# A disk that stalls


class Stalled:
    """A disk whose writes wait until they may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.going = threading.Event()
        monkeypatch.setattr(file_module, "os", os_with(write=self.write))

    def write(self, descriptor: int, octets: bytes) -> int:
        self.reached.set()
        assert self.going.wait(60)
        return os.write(descriptor, octets)


@pytest.fixture
def stalled(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stalled]:
    disk = Stalled(monkeypatch)
    yield disk
    disk.going.set()


def test_nobody_waits_for_a_disk_that_stalls(
    recording: Recording, stalled: Stalled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions go on; what finds no room in memory is dropped, with one warning a minute."""
    monkeypatch.setattr(folder_module, "QUEUE_OCTETS", 100_000)
    live, whole = recording.open(1), recording.open(2)
    live.client(b"NOOP\r\n")
    whole.close("done")
    assert not recording.folder.flush(0.01)
    assert stalled.reached.wait(10)
    with capturedLogs() as captured:
        for number in range(3, 30):
            transcript = recording.open(number)
            transcript.content(b"x" * 30_000)
            transcript.close("done")
        for _ in range(10):
            live.content(b"y" * 20_000)
        live.close("done")
        writer = recording.folder._writer
        assert writer is not None
        assert writer.waiting_octets <= 100_000
        assert live._records == []
        assert warnings(captured) == [
            "A transcript is cut or lost: the disk is too slow (and 0 since the last warning)"
        ]
        stalled.going.set()
        assert recording.folder.flush()
    assert notes(recording.lines(1)) == ["cut: the disk is too slow"]
    assert notes(recording.lines(2)) == ["closed: done"]
    lost = [number for number in range(3, 30) if not recording.path(number).exists()]
    assert 20 <= len(lost) < 27
    for number in set(range(3, 30)) - set(lost):
        assert notes(recording.lines(number))[-1] in ("closed: done", "cut: the disk is too slow")
    recording.open(99).close("done")
    assert notes(recording.lines(99)) == ["closed: done"]


def test_a_disk_that_stalls_keeps_no_server(recording: Recording, stalled: Stalled) -> None:
    """
    Closing takes four seconds at most, and the log says what is not written.

    That is sooner than a supervisor kills the process, clients that linger included.
    """
    recording.open().close("done")
    with capturedLogs() as captured:
        ended = recording.folder.close()
        assert stalled.reached.wait(10)
        recording.clock.pump([0.02] * (round(DISK_SECONDS / 0.02) - 1))
        assert not ended.called
        recording.clock.pump([0.02] * 2)
        assert ended.called
    [said] = warnings(captured)
    assert said.startswith("The disk does not answer: ")
    assert said.endswith(" octets of transcripts are not written")
    assert recording.clock.getDelayedCalls() == []
    assert CUT_SECONDS + DISK_SECONDS < STOP_SECONDS


def test_after_a_stall_everything_is_written_in_its_order(
    recording: Recording, stalled: Stalled
) -> None:
    """A folder that was left and is used again waits for the thread that it had before."""
    transcript = recording.open(1)
    transcript.client(b"NOOP\r\n")
    recording.folder.close()
    assert stalled.reached.wait(10)
    transcript.client(b"QUIT\r\n")
    transcript.close("done")
    stalled.going.set()
    assert octets_of("C", recording.lines(1)) == b"NOOP\r\nQUIT\r\n"


# The end


def until_fired(recording: Recording, ended: Deferred[None]) -> None:
    """Let the clock go on until it has fired, or the time of the disk has passed."""
    for _ in range(400):
        if ended.called:
            return
        recording.folder._previous.wait(1)
        recording.clock.advance(0.02)
    raise AssertionError("it has not")


def test_a_folder_that_closes_writes_everything(recording: Recording) -> None:
    """When the server stops nothing is lost, and no timer and no descriptor is left."""
    transcript = recording.open()
    transcript.client(b"NOOP\r\n")
    ended = recording.folder.close()
    until_fired(recording, ended)
    assert recording.clock.getDelayedCalls() == []
    assert recording.folder._disk._folders._root is None
    assert octets_of("C", recording.lines()) == b"NOOP\r\n"
    transcript.client(b"QUIT\r\n")
    assert recording.clock.getDelayedCalls() == []
    transcript.close("quit")
    until_fired(recording, recording.folder.close())
    assert notes(recording.lines()) == ["closed: quit"]
    assert recording.folder._previous is not None
    assert recording.folder._previous.has_ended


def test_a_folder_that_wrote_nothing_is_closed_at_once(recording: Recording) -> None:
    """No thread is made for nothing."""
    assert recording.folder.close().called
    assert recording.folder.flush()


def test_a_folder_can_be_used_again(recording: Recording) -> None:
    """A service that is stopped and started records as before."""
    recording.open(1).close("done")
    until_fired(recording, recording.folder.close())
    recording.folder.start()
    recording.open(2).close("done")
    assert recording.files() == [f"{named(1)}.txt", f"{named(2)}.txt"]
    assert recording.folder._writer is not None


def test_a_process_may_fork_before_the_first_line(recording: Recording) -> None:
    """The thread is made where something is written, since a fork takes none with it."""
    transcript = recording.open()
    transcript.client(b"NOOP\r\n")
    process = os.fork()
    if not process:  # pragma: no cover - in the child
        transcript.close("in the child")
        os._exit(0 if recording.folder.flush() else 1)
    assert os.waitpid(process, 0)[1] == 0
    assert notes(recording.lines()) == ["closed: in the child"]


def test_where_no_thread_can_be_made_nothing_is_recorded(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a warning, and the session goes on."""

    def start(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, capturedLogs() as captured:
        patch.setattr(threading.Thread, "start", start)
        recording.open().close("done")
        transcript = recording.open(2)
        transcript.client(b"NOOP\r\n")
        recording.clock.pump([0.1] * 12)
        recording.folder.start()
    assert ["can't start new thread" in text for text in warnings(captured)] == [True]
    assert transcript._over


def test_regularly_means_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is looked through at the start, and then whenever its time has come."""
    looked: list[int] = []
    three = threading.Event()

    def regular() -> None:
        looked.append(1)
        if len(looked) == 3:
            three.set()

    writer = Writer(regular, lambda: None, lambda: None, 0.001, 1000)
    assert three.wait(10)
    writer.end()
    assert writer.wait(10)


def test_a_session_that_was_cut_gathers_no_more(
    make: Callable[..., Recording],
) -> None:
    """What will not be written takes no memory."""
    recording = make(max_octets=1000)
    transcript = recording.open()
    for _ in range(1000):
        transcript.client(b"NOOP\r\n")
        assert len(transcript._records) < 3 * 140
    assert notes(recording.lines()) == ["cut: the transcript is too long"]
    transcript.client(b"NOOP\r\n")
    transcript.close("quit")
    assert transcript._over
    assert notes(recording.lines()) == ["cut: the transcript is too long"]


def test_what_came_last_may_be_the_end(make: Callable[..., Recording]) -> None:
    """A transcript whose last line was handed over before is closed all the same."""
    recording = make()
    transcript = recording.open()
    transcript.client(b"NOOP\r\n")
    transcript.close("x" * 20_000)
    assert notes(recording.lines()) == ["closed: " + "x" * 20_000]
    assert not recording.folder._disk._room._live
