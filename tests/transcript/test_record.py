"""One connection becomes one file, whatever the client sends and whatever the disk does."""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs

from smtpcb.engine._connection import Connection
from smtpcb.transcript import _record as record
from smtpcb.transcript._record import Transcript, TranscriptFolder, TranscriptSettings, prune
from smtpcb.transcript._replay import Line, load, read

STARTED = datetime(2026, 11, 20, 8, 14, 50, 123456, tzinfo=UTC)
DAY = 86400.0


def connection(name: str = "x-1", **other: Any) -> Connection:
    return Connection(name, "127.0.0.1", 51234, "127.0.0.1", 10025, STARTED, **other)


class Recording:
    """A folder, its clock, and what is in the file of one connection."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.settings = TranscriptSettings(path / "transcripts", **settings)
        self.folder = TranscriptFolder(self.settings, self.clock)

    def open(self, name: str = "x-1") -> Transcript:
        return self.folder.open(connection(name))

    def path(self, name: str = "x-1") -> Path:
        return self.settings.folder / f"2026/11/20/{name}.txt"

    def text(self, name: str = "x-1") -> str:
        """What stands below the header."""
        text = self.path(name).read_text(encoding="utf-8")
        return "".join(line for line in text.splitlines(True) if not line.startswith("# "))

    def lines(self, name: str = "x-1") -> list[Line]:
        return list(load(self.path(name)).lines)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


def octets_of(side: str, lines: list[Line]) -> bytes:
    """Everything one side said."""
    return b"".join(
        line.octets + (b"\r\n" if line.ended else b"") for line in lines if line.side == side
    )


def notes(lines: list[Line]) -> list[str]:
    return [line.octets.decode() for line in lines if line.side == "*"]


def os_with(**functions: Callable[..., Any]) -> SimpleNamespace:
    """The os module as the transcripts see it, some calls replaced."""
    return SimpleNamespace(**{**vars(os), **functions})


def recorded(record_all: Callable[[Transcript], None]) -> str:
    """The text of a transcript that is kept in memory, without its header."""
    written: list[bytes] = []

    def write(descriptor: int, octets: bytes) -> int:
        written.append(octets)
        return len(octets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            record,
            "os",
            os_with(open=lambda *_: 99, write=write, close=lambda _: None),
        )
        settings = TranscriptSettings(Path("/nowhere"), max_octets=1 << 40)
        transcript = TranscriptFolder(settings, Clock()).open(connection())
        record_all(transcript)
        transcript.close("done")
    return b"".join(written).decode().partition("Z\n")[2]


# What is written, and that it reads back

# Octets that mean something to somebody, more often than chance would have them.
wire = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from(
            [
                *(b"\r", b"\n", b"\r\n", b"\r\n.\r\n", b"\\", b"\\\r\n", b"\\x41", b"\0", b"\t"),
                *(b" ", b"S: 250 ok", b"0.0 S: 250 ok\r\n", b"\xe2\x80\xa8", b"\xe2\x80"),
                *(b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc3", b"\xa4", b"# x\r\n"),
            ]
        ),
    ),
    max_size=12,
).map(b"".join)


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[start:stop] for start, stop in pairwise(edges)]


@given(wire, st.lists(st.integers(min_value=0), max_size=6))
def test_content_reads_back_octet_by_octet(octets: bytes, places: list[int]) -> None:
    """Whatever a client sends as content, and however the network cuts it, it reads back."""

    def record_all(transcript: Transcript) -> None:
        for piece in cut(octets, places):
            transcript.content(piece)
        transcript.end_of_content()

    assert octets_of("C", list(read(recorded(record_all)))) == octets


@given(wire, st.lists(st.integers(min_value=0), max_size=6))
def test_the_text_does_not_depend_on_the_network(octets: bytes, places: list[int]) -> None:
    """The same octets give the same text, also one by one, however they were cut."""

    def record_as(pieces: list[bytes]) -> str:
        def record_all(transcript: Transcript) -> None:
            for piece in pieces:
                transcript.content(piece)

        # The clock stands still: only the time before each piece may differ.
        return recorded(record_all).replace("    0.000", " " * 9)

    whole = record_as([octets])
    assert record_as(cut(octets, places)) == whole
    assert record_as([octets[i : i + 1] for i in range(len(octets))]) == whole


@given(st.lists(st.tuples(st.sampled_from("CS*"), wire), max_size=8))
@example([("C", b"a\r"), ("S", b"\nb\r\n"), ("C", b"\nc\r\n")])
@example([("C", "ä".encode()[:1]), ("S", b"b\r\n"), ("C", "ä".encode()[1:])])
def test_both_sides_read_back(records: list[tuple[str, bytes]]) -> None:
    """Each side's octets read back, also when one speaks while the other is in mid-line."""

    def record_all(transcript: Transcript) -> None:
        for side, octets in records:
            if side == "*":
                transcript.note(octets.decode("latin-1"))
            else:
                {"C": transcript.client, "S": transcript.server}[side](octets)

    lines = list(read(recorded(record_all)))
    for side in "CS":
        said = b"".join(octets for one, octets in records if one == side)
        assert octets_of(side, lines) == said


@given(wire)
def test_nothing_raw_is_written(octets: bytes) -> None:
    """No control, bidirectional or line-breaking character of a client's reaches a terminal."""

    def record_all(transcript: Transcript) -> None:
        transcript.client(octets + b"\r\n")
        transcript.content(octets)
        transcript.note(octets.decode("utf-8", "surrogateescape"))

    text = recorded(record_all).replace("\n", "")
    bidirectional = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for character in text:
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(character) not in bidirectional
        assert character not in "\u061c\u200e\u200f"


@pytest.mark.parametrize(
    "forged",
    [
        b"EHLO x\n    0.0 S: 250 ok",
        b"EHLO x\r    0.0 S: 250 ok",
        "EHLO x\u2028S: 250 ok".encode(),
        "EHLO x\u0085S: 250 ok".encode(),
        b"EHLO x\x0bS: 250 ok\x0c\x1c\x1d\x1e",
        b"EHLO x\\",
    ],
)
def test_a_client_cannot_write_a_line_of_the_servers(recording: Recording, forged: bytes) -> None:
    """One line of a client's is one line of the transcript, for Python and for an editor."""
    transcript = recording.open()
    transcript.client(forged + b"\r\n")
    transcript.close("done")
    assert len(recording.text().splitlines()) == 2
    assert recording.lines()[0] == Line("C", forged, True, 0.0)


def test_several_lines_of_a_client_stay_its_own(recording: Recording) -> None:
    """Pipelined commands are lines of the client, whatever they pretend to be."""
    transcript = recording.open()
    transcript.client(b"NOOP\r\n    0.000 S: 250 ok\r\n")
    transcript.close("done")
    assert [line.side for line in recording.lines()] == ["C", "C", "*"]


def test_a_transcript_reads_by_eye(recording: Recording) -> None:
    """A transcript looks like a dialogue of RFC 5321 Appendix D, with times."""
    transcript = recording.open()
    transcript.server(b"220 mail.example.org ESMTP\r\n")
    recording.clock.advance(0.0014)
    transcript.client(b"EHLO client.example.org\r\n")
    transcript.server(b"250-mail.example.org\r\n250 SIZE 1000\r\n")
    transcript.note("TLS TLSv1.3")
    recording.clock.advance(1)
    transcript.content(b"Subject: hello\r\n\r\nZo\xc3")
    transcript.content(b"\xab\r\n..\r\n.\r\n")
    transcript.end_of_content()
    transcript.client(b"QU")
    transcript.note("nothing came for 300 s")
    transcript.close("timeout")
    assert recording.path().read_text(encoding="utf-8") == (
        "# smtpcb transcript 1\n"
        "# connection x-1\n"
        "# peer 127.0.0.1:51234\n"
        "# host 127.0.0.1:10025\n"
        "# started 2026-11-20T08:14:50.123456Z\n"
        "    0.000 S: 220 mail.example.org ESMTP\n"
        "    0.001 C: EHLO client.example.org\n"
        "    0.001 S: 250-mail.example.org\n"
        "          S: 250 SIZE 1000\n"
        "    0.001 *: TLS TLSv1.3\n"
        "    1.001 C: Subject: hello\n"
        "          C: \n"
        "          C: Zoë\n"
        "          C: ..\n"
        "          C: .\n"
        "    1.001 C: QU\\\n"
        "    1.001 *: nothing came for 300 s\n"
        "    1.001 *: closed: timeout\n"
    )


@pytest.mark.parametrize(
    ("peer", "port", "written"),
    [
        ("192.0.2.1", 25, "192.0.2.1:25"),
        ("2001:db8::1", 25, "[2001:db8::1]:25"),
        ("/run/a\nb", 0, "/run/a\\x0ab"),
        ("", 0, "-"),
    ],
)
def test_the_header_says_who_was_connected(
    recording: Recording, peer: str, port: int, written: str
) -> None:
    """Addresses of every family are written so that the port can be told from them."""
    who = connection()
    who.peer_address, who.peer_port = peer, port
    recording.folder.open(who).close("done")
    assert load(recording.path()).fields["peer"] == written


def test_the_day_is_that_of_utc(recording: Recording) -> None:
    """A connection is filed under the day it began, whatever zone its time is in."""
    who = connection()
    who.started = datetime(2026, 11, 21, 1, tzinfo=timezone(timedelta(hours=3)))
    recording.folder.open(who).close("done")
    assert load(recording.path()).fields["started"] == "2026-11-20T22:00:00.000000Z"


def test_nothing_is_recorded_after_the_end(recording: Recording) -> None:
    """A transcript closes once, and its last line is why."""
    transcript = recording.open()
    transcript.close("first")
    transcript.close("second")
    transcript.client(b"NOOP\r\n")
    transcript.content(b"x")
    assert notes(recording.lines()) == ["closed: first"]


# How much of the content is kept


@given(st.lists(st.integers(min_value=0), max_size=6), st.sampled_from([b"\r\n", b"\n"]))
def test_head_keeps_the_header_section(places: list[int], newline: bytes) -> None:
    """With ``head`` the body is never written, however the end of the head was cut."""
    head = newline.join([b"Subject: a", b"To: b", b"", b""])
    body = b"secret body\r\n\r\n.\r\n"
    with pytest.MonkeyPatch.context() as patch:
        written: list[bytes] = []
        patch.setattr(
            record,
            "os",
            os_with(
                open=lambda *_: 99,
                write=lambda _, octets: written.append(octets) or len(octets),
                close=lambda _: None,
            ),
        )
        settings = TranscriptSettings(Path("/nowhere"), content="head")
        transcript = TranscriptFolder(settings, Clock()).open(connection())
        for _ in range(2):
            for piece in cut(head + body, places):
                transcript.content(piece)
            transcript.end_of_content()
        transcript.close("done")
    lines = list(read(b"".join(written).decode()))
    assert octets_of("C", lines) == 2 * head
    left_out = f"content: {len(body)} octets left out"
    assert notes(lines) == [left_out, left_out, "closed: done"]


def test_head_of_a_message_that_has_none(tmp_path: Path) -> None:
    """A message that begins with an empty line has no header section."""
    recording = Recording(tmp_path, content="head")
    transcript = recording.open()
    transcript.content(b"\r\nsecret\r\n.\r\n")
    transcript.close("done")
    assert octets_of("C", recording.lines()) == b"\r\n"


def test_head_of_a_message_without_body(tmp_path: Path) -> None:
    """A message that is all head is kept whole, and nothing is said to be left out."""
    recording = Recording(tmp_path, content="head")
    transcript = recording.open()
    transcript.content(b"Subject: a\r\n.\r\n")
    transcript.end_of_content()
    transcript.close("done")
    assert octets_of("C", recording.lines()) == b"Subject: a\r\n.\r\n"
    assert notes(recording.lines()) == ["closed: done"]


def test_none_keeps_the_size(tmp_path: Path) -> None:
    """With ``none`` the content is a number, also when the client leaves in the middle."""
    recording = Recording(tmp_path, content="none")
    transcript = recording.open()
    transcript.content(b"secret")
    transcript.content(b" body")
    transcript.close("lost")
    assert notes(recording.lines()) == ["content: 11 octets left out", "closed: lost"]


def test_long_content_is_counted(tmp_path: Path) -> None:
    """Beyond ``max_octets`` content is counted only, and the dialogue goes on."""
    recording = Recording(tmp_path, max_octets=100_000)
    transcript = recording.open()
    line = b"x" * 98 + b"\r\n"
    for _ in range(20):
        transcript.content(line * 100)
    transcript.end_of_content()
    transcript.client(b"QUIT\r\n")
    transcript.close("quit")
    lines = recording.lines()
    kept = len(octets_of("C", lines)) - len(b"QUIT\r\n")
    assert notes(lines) == [f"content: {200_000 - kept} octets left out", "closed: quit"]
    assert 100_000 <= recording.path().stat().st_size < 130_000


def test_a_transcript_does_not_outgrow_its_limit(tmp_path: Path) -> None:
    """Content that takes much room in a transcript is cut off sooner."""
    recording = Recording(tmp_path, max_octets=200_000)
    transcript = recording.open()
    transcript.content(b"\r\n" * 1_000_000)
    transcript.close("quit")
    assert recording.path().stat().st_size < 330_000
    assert notes(recording.lines())[1:] == ["closed: quit"]


def test_a_long_dialogue_is_cut(tmp_path: Path) -> None:
    """A dialogue of twice ``max_octets`` ends with a line that says so."""
    recording = Recording(tmp_path, max_octets=1000)
    transcript = recording.open()
    for _ in range(1000):
        transcript.client(b"NOOP\r\n")
    transcript.client(b"NO")
    transcript.close("quit")
    assert notes(recording.lines()) == ["cut: the transcript is too long"]
    assert 2000 <= recording.path().stat().st_size < 2200


# The file


def test_names_that_are_no_names_are_refused(recording: Recording) -> None:
    """A connection whose id could leave the folder gets no transcript."""
    for name in ("", ".", "..", ".x", "../x", "/etc/x", "a/b", "a\0", "a\n", "ä", "x" * 65):
        with pytest.raises(ValueError, match="cannot name a file"):
            recording.open(name)


def test_others_cannot_read_it(recording: Recording) -> None:
    """Folders are made with mode 0700 and files with 0600, whatever the umask allows."""
    before = os.umask(0)
    try:
        recording.open().close("done")
    finally:
        os.umask(before)
    path = recording.path()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in list(path.parents)[:4]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_that_exists_is_left_alone(recording: Recording) -> None:
    """A second connection of the same name does not write over the first one's transcript."""
    recording.open().close("first")
    with capturedLogs() as captured:
        recording.open().close("second")
    assert notes(recording.lines()) == ["closed: first"]
    assert len(captured) == 1


def test_a_link_is_not_followed(recording: Recording, tmp_path: Path) -> None:
    """A symbolic link in the place of a transcript is not written through, now or later."""
    target = tmp_path / "target"
    target.write_text("precious")
    recording.path().parent.mkdir(parents=True)
    recording.path("x-2").symlink_to(target)
    recording.open("x-2").close("done")
    transcript = recording.open("x-3")
    transcript.write_out()
    recording.path("x-3").unlink()
    recording.path("x-3").symlink_to(target)
    with capturedLogs():
        transcript.close("done")
    assert target.read_text() == "precious"


def test_one_short_session_is_one_write(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session of a few lines costs one open, one write and one close."""
    recording.open("x-0").close("the folder exists now")
    calls: list[str] = []

    def counting(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            calls.append(name)
            return getattr(os, name)(*arguments, **keywords)

        return call

    names = ("open", "write", "close", "makedirs")
    monkeypatch.setattr(record, "os", os_with(**{name: counting(name) for name in names}))
    transcript = recording.open()
    transcript.server(b"220 hello\r\n")
    transcript.client(b"QUIT\r\n")
    transcript.close("quit")
    assert calls == ["open", "write", "close"]


def test_much_is_written_at_once(recording: Recording) -> None:
    """What does not fit into 16 KiB of memory does not wait for the timer."""
    transcript = recording.open()
    transcript.content(b"x" * 20_000)
    assert recording.path().stat().st_size > 20_000


# The timer


def test_a_transcript_can_be_watched(recording: Recording) -> None:
    """What was said is in the file a second later, by one timer for all connections."""
    first, second = recording.open("x-1"), recording.open("x-2")
    first.client(b"NOOP\r\n")
    second.client(b"RSET\r\n")
    assert len(recording.clock.getDelayedCalls()) == 1
    recording.clock.advance(1)
    assert octets_of("C", recording.lines("x-1")) == b"NOOP\r\n"
    assert octets_of("C", recording.lines("x-2")) == b"RSET\r\n"
    assert recording.clock.getDelayedCalls() == []
    second.client(b"QUIT\r\n")
    recording.clock.advance(1)
    assert octets_of("C", recording.lines("x-2")) == b"RSET\r\nQUIT\r\n"


def test_a_folder_that_closes_writes_everything(recording: Recording) -> None:
    """When the server stops nothing is lost and no timer is left."""
    transcript = recording.open()
    recording.folder.close()
    assert recording.clock.getDelayedCalls() == []
    assert recording.path().exists()
    transcript.client(b"QUIT\r\n")
    assert recording.clock.getDelayedCalls() == []
    transcript.close("quit")
    recording.folder.close()
    assert notes(recording.lines()) == ["closed: quit"]


def test_what_is_written_is_forgotten(recording: Recording) -> None:
    """A server that ran for years holds nothing of connections that have ended."""
    transcript = recording.open()
    assert list(recording.folder.unwritten) == [transcript]
    transcript.close("quit")
    assert not recording.folder.unwritten


# A disk that fails


class FailingDisk:
    """The os layer, of which one call and all after it fail until it is repaired."""

    def __init__(self, fail_at: int) -> None:
        self.fail_at = fail_at
        self.calls = 0
        names = ("open", "write", "close", "makedirs", "ftruncate")
        self.os = os_with(**{name: self._wrapped(name) for name in names})

    def _wrapped(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            self.calls += 1
            if name == "close":  # it frees the descriptor even when it fails
                os.close(*arguments)
            if self.calls > self.fail_at:
                raise OSError(errno.ENOSPC, "No space left on device")
            return None if name == "close" else getattr(os, name)(*arguments, **keywords)

        return call


def warnings(captured: list[LogEvent]) -> list[str]:
    return [event["log_format"].format(**event) for event in captured]


def session(recording: Recording, name: str) -> None:
    transcript = recording.open(name)
    transcript.server(b"220 hello\r\n")
    recording.clock.advance(1)
    transcript.content(b"x" * 20_000)
    transcript.end_of_content()
    transcript.client(b"QUIT\r\n")
    transcript.close("quit")


@pytest.mark.parametrize("fail_at", range(16))
def test_a_full_disk_does_not_hurt_the_session(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    """Whichever call finds the disk full, the session goes on, and the next is recorded again."""
    disk = FailingDisk(fail_at)
    monkeypatch.setattr(record, "os", disk.os)
    with capturedLogs() as captured:
        session(recording, "x-1")
        assert len(captured) == (disk.calls > fail_at)
        disk.fail_at = 1_000_000
        session(recording, "x-2")
    assert notes(recording.lines("x-2")) == ["closed: quit"]
    if recording.path("x-1").exists():
        recording.lines("x-1")  # whatever arrived can be read


def test_a_disk_that_fills_up_leaves_a_readable_file(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrived of a write that failed is taken back, and the transcript says it is cut."""
    room = 0

    def write(descriptor: int, octets: bytes) -> int:
        nonlocal room
        if not room:
            room = 100  # ftruncate gives some back
            raise OSError(errno.ENOSPC, "No space left on device")
        written = os.write(descriptor, octets[:room])
        room -= written
        return written

    monkeypatch.setattr(record, "os", os_with(write=write))
    room = 1000
    transcript = recording.open()
    transcript.client(b"MAIL FR")
    transcript.write_out()
    room = 5
    with capturedLogs():
        transcript.client(b"OM:<\xff>\r\n")
        transcript.close("quit")
    assert recording.lines() == [
        Line("C", b"MAIL FR", ended=False, seconds=0.0),
        Line("*", b"cut: No space left on device", True, 0.0),
    ]


def test_a_write_may_take_two(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes a part is continued."""
    write = os.write
    monkeypatch.setattr(
        record, "os", os_with(write=lambda descriptor, octets: write(descriptor, octets[:7]))
    )
    recording.open().close("quit")
    assert notes(recording.lines()) == ["closed: quit"]


def test_a_full_disk_is_one_warning_a_minute(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred sessions on a full disk are one line in the log, and a count in the next."""
    monkeypatch.setattr(record, "os", FailingDisk(0).os)
    with capturedLogs() as captured:
        for number in range(100):
            recording.open(f"x-{number}").close("quit")
        recording.clock.advance(59.9)
        recording.open("y").close("quit")
        assert warnings(captured) == [
            "A transcript is cut or lost: [Errno 28] No space left on device"
            " (and 0 since the last warning)"
        ]
        recording.clock.advance(0.1)
        recording.open("z").close("quit")
    assert "(and 100 since the last warning)" in warnings(captured)[1]
    assert len(captured) == 2


# What is removed


def put(path: Path, age_days: float, octets: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * octets)
    os.utime(path, (1e9 - age_days * DAY,) * 2)
    return path


@pytest.fixture
def kept(tmp_path: Path) -> TranscriptSettings:
    return TranscriptSettings(tmp_path, keep_days=None, keep_octets=None, keep_files=None)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.txt")}


def test_everything_is_kept_where_nothing_is_said(kept: TranscriptSettings) -> None:
    """Without limits nothing is removed."""
    put(kept.folder / "2001/09/01/a.txt", 10_000)
    assert prune(kept, 1e9) == 0
    assert names(kept.folder) == {"a.txt"}


def test_old_transcripts_are_removed(kept: TranscriptSettings) -> None:
    """Transcripts older than ``keep_days`` go, and the folders they leave empty."""
    put(kept.folder / "2001/08/01/a.txt", 31)
    put(kept.folder / "2001/08/31/b.txt", 29)
    put(kept.folder / "2000/08/31/c.txt", 400)
    assert prune(replace(kept, keep_days=30), 1e9) == 2
    assert names(kept.folder) == {"b.txt"}
    assert {path.name for path in kept.folder.iterdir()} == {"2001"}
    assert {path.name for path in (kept.folder / "2001/08").iterdir()} == {"31"}


def test_the_oldest_go_until_the_rest_fits(kept: TranscriptSettings) -> None:
    """``keep_octets`` and ``keep_files`` are met by removing the oldest first."""
    for age in range(9):
        put(kept.folder / f"2001/09/{9 - age:02}/{age}.txt", age, octets=100)
    assert prune(replace(kept, keep_octets=750), 1e9) == 2
    assert names(kept.folder) == {f"{age}.txt" for age in range(7)}
    assert prune(replace(kept, keep_files=3), 1e9) == 4
    assert names(kept.folder) == {"0.txt", "1.txt", "2.txt"}
    assert prune(replace(kept, keep_files=0), 1e9) == 3
    assert list(kept.folder.iterdir()) == []


def test_what_is_not_ours_is_not_touched(kept: TranscriptSettings, tmp_path: Path) -> None:
    """Only transcripts in dated folders are removed; other files and links are left alone."""
    elsewhere = tmp_path.with_name(tmp_path.name + "-elsewhere")
    outside = put(elsewhere / "01/01/outside.txt", 999)
    foreign = [
        put(kept.folder / "notes.txt", 999),
        put(kept.folder / "2001/a.txt", 999),
        put(kept.folder / "2001/09/a.txt", 999),
        put(kept.folder / "2001/09/01/a.log", 999),
        put(kept.folder / "2001/09/01/.a.txt", 999),
        put(kept.folder / "2001/09/01/a b.txt", 999),
        put(kept.folder / "2001/09/x1/a.txt", 999),
        put(kept.folder / "20010/09/01/a.txt", 999),
        put(kept.folder / "2001/09/01/folder.txt/a.txt", 999),
    ]
    (kept.folder / "1999").symlink_to(elsewhere)
    link = kept.folder / "2001/09/01/link.txt"
    link.symlink_to(outside)
    ours = put(kept.folder / "2001/09/01/ours.txt", 999)
    (kept.folder / "2002/01/01").mkdir(parents=True)
    assert prune(replace(kept, keep_days=1), 1e9) == 1
    assert not ours.exists()
    assert not (kept.folder / "2002").exists()
    assert link.is_symlink()
    assert all(path.exists() for path in [outside, *foreign])


def test_a_folder_that_is_not_there_is_empty(kept: TranscriptSettings) -> None:
    """Before the first connection there is nothing to remove."""
    assert prune(replace(kept, folder=kept.folder / "none"), 1e9) == 0


def test_others_may_remove_transcripts_too(
    kept: TranscriptSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transcript that vanishes while the folder is read or emptied is no mistake."""
    for age in range(4):
        put(kept.folder / f"2001/09/01/{age}.txt", age)

    @contextmanager
    def scandir(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with os.scandir(folder) as entries:
            found = list(entries)
        for entry in found:
            if entry.name == "3.txt":
                os.unlink(entry.path)
        yield iter(found)

    def unlink(path: str) -> None:
        os.unlink(path)
        if path.endswith("2.txt"):
            raise FileNotFoundError(path)

    monkeypatch.setattr(record, "os", os_with(scandir=scandir, unlink=unlink))
    assert prune(replace(kept, keep_files=1), 1e9) == 1
    assert names(kept.folder) == {"0.txt"}


def test_a_transcript_that_cannot_be_removed_is_passed_over(
    kept: TranscriptSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file that stays does not keep the others."""
    for age in range(3):
        put(kept.folder / f"2001/09/01/{age}.txt", age)

    def unlink(path: str) -> None:
        if path.endswith("2.txt"):
            raise PermissionError(path)
        os.unlink(path)

    monkeypatch.setattr(record, "os", os_with(unlink=unlink))
    assert prune(replace(kept, keep_files=2), 1e9) == 1
    assert names(kept.folder) == {"0.txt", "2.txt"}


@pytest.mark.parametrize(
    "wrong",
    [{"content": "some"}, {"max_octets": -1}, {"keep_days": -0.5}, {"keep_octets": -1}],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    """A setting that nobody can mean is an error at once."""
    with pytest.raises(ValueError, match=re.escape(str(next(iter(wrong))))):
        TranscriptSettings(Path("x"), **wrong)
