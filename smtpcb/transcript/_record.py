"""
Record: one connection becomes one file, and a full disk never becomes the session's problem.

The notation is that of RFC 5321 Appendix D, with the seconds since the start before it::

    # smtpcb transcript 1
    # connection 20261120T081450.123456Z-4711-1-9f3a2c
    # peer 127.0.0.1:51234
    # host 127.0.0.1:10025
    # started 2026-11-20T08:14:50.123456Z
        0.000 S: 220 mail.example.org ESMTP
        0.001 C: EHLO client.example.org
        0.002 S: 250-mail.example.org
              S: 250 SIZE 33554432
        0.009 *: closed: the client has quit

``C:`` is the client, ``S:`` the server, ``*:`` a remark of ours.  Every C and S line is one line
that ended in CRLF.  One that did not ends in a lone backslash.  Text stands as it is, a backslash
is doubled, and an octet that would not print, or would print as something else, is ``\\xNN``:
reading gives back the exact octets, and nothing a client sends can look like a second line.

The text is a function of the octets, however the network cut them: a character or a CRLF that
ends in the next piece is held back until it comes.  Content is escaped in bulk, never by line.

A transcript keeps no descriptor between two writes; a server at its limit of connections would
need twice as many.  A short session is one open, one write, one close.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Literal, get_args

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from smtpcb.engine._connection import Connection

Content = Literal["full", "head", "none"]


@dataclass(frozen=True, slots=True)
class TranscriptSettings:
    """
    What is recorded, and how much of it is kept.

    :ivar folder: where the dated folders are; made at the first write if it is missing.
    :ivar content: how much of each message: all of it, its header section, or its size only.
    :ivar max_octets: size of a transcript beyond which content is only counted.  At twice that,
        the transcript says that it is cut and ends.
    :ivar keep_days: age at which `prune` removes a transcript; ``None`` is never.
    :ivar keep_octets: what `prune` leaves in the folder at most; ``None`` is no limit.
    :ivar keep_files: the same as a number of transcripts.
    """

    folder: Path
    content: Content = "full"
    max_octets: int = 1_048_576
    keep_days: float | None = 30
    keep_octets: int | None = 1_073_741_824
    keep_files: int | None = 100_000

    def __post_init__(self) -> None:
        """Refuse what nobody can mean."""
        if self.content not in get_args(Content):
            raise ValueError(f"content is full, head or none, not {self.content!r}")
        for name in ("max_octets", "keep_days", "keep_octets", "keep_files"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} cannot be {value}")


# Octets that stand for themselves; a backslash does not.
_PLAIN = bytes(octet for octet in range(0x20, 0x7F) if octet != ord("\\"))

# Controls; then what breaks, reorders or hides text in an editor or a terminal: line and paragraph
# separators, bidirectional controls, characters without a width.  The two joiners are left alone:
# Persian and Indic words are spelled with them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]+"
)

# Stands for a CRLF while all other CR and LF are escaped.  Decoding never gives a surrogate.
_CRLF = "\udc0d"

# What the next piece may complete: a CRLF, or a character in UTF-8 (RFC 3629 §4).
_INCOMPLETE = re.compile(
    rb"(?:\r|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})?\Z"
)


def _hexadecimal(match: re.Match[str]) -> str:
    return "\\x" + match[0].encode().hex("\\").replace("\\", "\\x")


def escape(octets: bytes, crlf: str = "\\x0d\\x0a") -> str:
    """
    Write any octets as printable text; `smtpcb.transcript._replay.unescape` reads it.

    :param crlf: what is written for CRLF.  CR or LF alone is escaped like all that does not print.
    """
    # Three ways to one result, the first two for speed: a line of text in any language, many
    # lines of ASCII, and the rest.
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        pass
    else:
        if text.isprintable() and "\\" not in text:
            return text
    # Without what stands for itself, nothing but whole CRLFs is left.  Then two replacements of
    # one octet each take a fifth of the time that one of two octets does.
    if len(octets.translate(None, _PLAIN)) == 2 * octets.count(b"\r\n"):
        return octets.replace(b"\r", b"").replace(b"\n", crlf.encode()).decode()
    # The doubling comes first: decoding adds backslashes of its own, for what is not UTF-8.
    text = octets.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return _UNSAFE.sub(_hexadecimal, text.replace("\r\n", _CRLF)).replace(_CRLF, crlf)


_CLIENT, _SERVER, _NOTE = " C: ", " S: ", " *: "
_NEXT_LINE = "\n" + " " * 9  # as wide as the time
_WRITE_OUT_AT = 16_384
_WRITE_OUT_SECONDS = 1.0
_WARNING_SECONDS = 60.0

# Content is taken in steps that cannot outgrow what is left of ``max_octets``: the worst is an
# empty line, whose two octets become a line of fourteen.
_GROWTH = 8
_LEAST_STEP = 4096

# With or without CR: BDAT content may have lines that end in LF alone (RFC 3030 §3).
_END_OF_HEAD = re.compile(rb"\n\r?\n")

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_FILE_NAME = re.compile(_NAME.pattern + r"\.txt")


class Transcript:
    """
    The record of one connection.  Nothing here raises: what cannot be written is dropped.

    Secrets are masked by the caller, before they come here.

    :ivar path: where the file is, or will be once something has been written.
    """

    __slots__ = (
        "_content",
        "_folder",
        "_gathered",
        "_head_end",
        "_held",
        "_in_line",
        "_left_out",
        "_max_octets",
        "_milliseconds",
        "_over",
        "_seconds",
        "_start",
        "_time_text",
        "_unended",
        "_waiting",
        "_write_out_at",
        "_written",
        "path",
    )

    def __init__(
        self, folder: TranscriptFolder, settings: TranscriptSettings, path: str, header: str
    ) -> None:
        self.path = path
        self._folder = folder
        self._seconds = folder.clock.seconds
        self._start = self._seconds()
        self._content = settings.content
        self._max_octets = settings.max_octets
        self._milliseconds = -1
        self._time_text = ""
        self._gathered: list[str] = []
        self._waiting = 0  # characters gathered, and how many are enough for a write
        self._write_out_at = min(_WRITE_OUT_AT, 2 * settings.max_octets)
        self._written = 0  # octets in the file, and
        self._in_line = False  # whether it ends inside a line
        self._unended = ""  # whose line is not at its end yet, and
        self._held = b""  # the end of it, which the next piece may complete
        self._head_end: bytes | None = b"\n"  # what the search goes on from; None: found
        self._left_out = 0
        self._over = False
        self._gather(header)

    def client(self, octets: bytes) -> None:
        """
        Record command lines, secrets already masked.

        :param octets: as received, with CRLF.
        """
        self._record(_CLIENT, octets)

    def server(self, octets: bytes) -> None:
        """
        Record replies.

        :param octets: as sent, with CRLF.
        """
        self._record(_SERVER, octets)

    def content(self, octets: bytes) -> None:
        """
        Record a piece of mail data, or count it, as the settings say.

        :param octets: as on the wire, dots still stuffed; cut anywhere.
        """
        kept = len(octets)
        if self._over or self._content == "none":
            kept = 0
        elif self._content == "head":
            kept = self._head_of(octets)
        start = 0
        while start < kept and (room := self._max_octets - self._written - self._waiting) > 0:
            stop = min(kept, start + max(room // _GROWTH, _LEAST_STEP))
            self._record(_CLIENT, octets[start:stop])
            start = stop
        self._left_out += len(octets) - start

    def end_of_content(self) -> None:
        """Say that the mail data is complete; what comes next belongs to another message."""
        left_out, self._left_out, self._head_end = self._left_out, 0, b"\n"
        if left_out:
            self.note(f"content: {left_out} octets left out")

    def note(self, text: str) -> None:
        """
        Record a remark of the server's.

        :param text: anything; what does not print is escaped.
        """
        self._record(_NOTE, text.encode("utf-8", "backslashreplace") + b"\r\n")

    def close(self, reason: str) -> None:
        """
        Write the last line and the file; later records are ignored.

        :param reason: why the connection ended.
        """
        self.end_of_content()
        self.note(f"closed: {reason}")
        self._over = True
        self.write_out()

    def write_out(self) -> None:
        """Write what has been gathered, so that others see it."""
        if not self._gathered:
            return
        octets = "".join(self._gathered).encode()
        self._gathered.clear()
        self._waiting = 0
        self._folder.unwritten.pop(self, None)
        left = 2 * self._max_octets - self._written - len(octets)
        if left < 0 and not self._over:
            octets += f"{self._beginning(_NOTE)}cut: the transcript is too long\n".encode()
            self._over = True
        self._write_out_at = min(_WRITE_OUT_AT, left)
        try:
            self._write(octets)
        except OSError as error:
            self._over = True
            self._folder.lost(error)

    def _head_of(self, octets: bytes) -> int:
        if self._head_end is None:
            return 0
        known = len(self._head_end)
        around = self._head_end + octets
        end = _END_OF_HEAD.search(around)
        self._head_end = None if end else around[-2:]
        return end.end() - known if end else len(octets)

    def _record(self, side: str, octets: bytes) -> None:
        if self._over:
            return
        if self._unended or octets[-2:] != b"\r\n":
            self._record_part(side, octets)
        else:
            self._gather(f"{self._time()}{side}{escape(octets[:-2], _NEXT_LINE + side)}\n")

    def _record_part(self, side: str, octets: bytes) -> None:
        if not octets:
            return
        beginning = ""
        if self._unended == side:
            octets = self._held + octets
        else:
            beginning = self._beginning(side)
        if octets.endswith(b"\r\n"):
            self._unended, self._held = "", b""
            octets, end = octets[:-2], "\n"
        else:
            incomplete = _INCOMPLETE.search(octets, max(0, len(octets) - 3))
            assert incomplete is not None  # it may be empty
            self._unended, self._held = side, incomplete[0]
            octets, end = octets[: incomplete.start()], ""
        self._gather(beginning + escape(octets, _NEXT_LINE + side) + end)

    def _beginning(self, side: str) -> str:
        time = f"{self._time()}{side}"
        return f"{escape(self._held)}\\\n{time}" if self._unended else time

    def _time(self) -> str:
        # Much is said within one millisecond, and writing the number is most of the work.
        milliseconds = int((self._seconds() - self._start) * 1000 + 0.5)
        if milliseconds != self._milliseconds:
            self._milliseconds = milliseconds
            self._time_text = f"{milliseconds / 1000:9.3f}"
        return self._time_text

    def _gather(self, text: str) -> None:
        if not self._gathered:
            self._folder.remember(self)
        self._gathered.append(text)
        self._waiting += len(text)
        if self._waiting > self._write_out_at:
            self.write_out()

    def _write(self, octets: bytes) -> None:
        descriptor = self._open_file()
        try:
            rest = octets
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError as error:
            # What arrived of the last write may end inside a character or an escape.  The blocks
            # given back are often enough for the line that says so.
            mark = f"{self._time()} *: cut: {error.strerror}\n"
            with suppress(OSError):
                os.ftruncate(descriptor, self._written)
                os.write(descriptor, (f"\\\n{mark}" if self._in_line else mark).encode())
            raise
        finally:
            os.close(descriptor)
        self._written += len(octets)
        self._in_line = not octets.endswith(b"\n")

    def _open_file(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        if self._written:
            return os.open(self.path, flags)
        flags |= os.O_CREAT | os.O_EXCL
        try:
            return os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            day = Path(self.path).parent
            # One by one: a folder made on the way to another gets no mode of its own.
            for folder in (*reversed(day.parents[:3]), day):
                os.makedirs(folder, mode=0o700, exist_ok=True)
            return os.open(self.path, flags, 0o600)


class TranscriptFolder:
    """
    Where transcripts are written, and the timer that they share.

    :ivar clock: what times are taken from.
    :ivar unwritten: transcripts with something in memory, in the order they got it.
    """

    _log = Logger()

    def __init__(self, settings: TranscriptSettings, clock: IReactorTime) -> None:
        self.clock = clock
        self.unwritten: dict[Transcript, None] = {}
        self._settings = settings
        self._root = os.fspath(settings.folder)
        self._timer: IDelayedCall | None = None
        self._closed = False
        self._warned: float | None = None
        self._unreported = 0

    def open(self, connection: Connection) -> Transcript:
        """
        Begin the transcript of a connection.

        :param connection: its ``id`` names the file.
        :return: a transcript, whether or not it can be written.
        :raises ValueError: the id is no safe file name.
        """
        if not _NAME.fullmatch(connection.id):
            raise ValueError(f"{connection.id!r} cannot name a file")
        started = connection.started.astimezone(UTC).isoformat(timespec="microseconds")[:26]
        header = (
            "# smtpcb transcript 1\n"
            f"# connection {connection.id}\n"
            f"# peer {_endpoint(connection.peer_address, connection.peer_port)}\n"
            f"# host {_endpoint(connection.host_address, connection.host_port)}\n"
            f"# started {started}Z\n"
        )
        path = f"{self._root}/{started[:10].replace('-', '/')}/{connection.id}.txt"
        return Transcript(self, self._settings, path, header)

    def close(self) -> None:
        """Write out everything and stop the timer; open transcripts write when they close."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._write_out()

    def remember(self, transcript: Transcript) -> None:
        """
        Write this transcript out within a second.

        :param transcript: one that has just got something unwritten.
        """
        self.unwritten[transcript] = None
        if self._timer is None and not self._closed:
            # Not cancelled when all is written before: one idle call a second costs less than
            # arming and cancelling a timer for each session.
            self._timer = self.clock.callLater(_WRITE_OUT_SECONDS, self._write_out)

    def lost(self, error: OSError) -> None:
        """
        Say that a transcript could not be written, at most once a minute.

        :param error: why.
        """
        now = self.clock.seconds()
        if self._warned is not None and now - self._warned < _WARNING_SECONDS:
            self._unreported += 1
            return
        self._log.warn(
            "A transcript is cut or lost: {error} (and {unreported} since the last warning)",
            error=error,
            unreported=self._unreported,
        )
        self._warned = now
        self._unreported = 0

    def _write_out(self) -> None:
        self._timer = None
        for transcript in list(self.unwritten):
            transcript.write_out()


def _endpoint(address: str, port: int) -> str:
    printable = escape(address.encode("utf-8", "surrogateescape")) or "-"
    if not port:
        return printable
    return f"[{printable}]:{port}" if ":" in printable else f"{printable}:{port}"


def prune(settings: TranscriptSettings, now: float) -> int:
    """
    Remove transcripts that are too old, then the oldest until the rest is small enough.

    It blocks: run it in a thread.  Only files and folders named as ours are touched, and no
    symbolic link is followed.

    :param now: seconds since the epoch.
    :return: how many were removed.
    """
    folders = [settings.folder]
    dated: list[Path] = []
    for name in (r"[0-9]{4}", r"[0-9]{2}", r"[0-9]{2}"):
        folders = [
            Path(entry.path)
            for folder in folders
            for entry in _entries(folder, name)
            if entry.is_dir(follow_symlinks=False)
        ]
        dated += folders
    found: list[tuple[float, str, int]] = []
    for day in folders:
        for entry in _entries(day, _FILE_NAME.pattern):
            if entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, entry.path, status.st_size))
    removed = _remove_oldest(sorted(found), settings, now)
    for folder in reversed(dated):
        with suppress(OSError):  # not empty, most of the time
            folder.rmdir()
    return removed


def _entries(folder: Path, name: str) -> Iterator[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if re.fullmatch(name, entry.name):
                yield entry


def _remove_oldest(
    found: list[tuple[float, str, int]], settings: TranscriptSettings, now: float
) -> int:
    number = len(found)
    octets = sum(size for _, _, size in found)
    removed = 0
    for modified, path, size in found:
        too_old = settings.keep_days is not None and now - modified > settings.keep_days * 86400
        too_large = settings.keep_octets is not None and octets > settings.keep_octets
        too_many = settings.keep_files is not None and number > settings.keep_files
        if not (too_old or too_large or too_many):
            break
        try:
            os.unlink(path)
            removed += 1
        except FileNotFoundError:
            pass  # somebody else removed it: it counts no longer
        except OSError:
            continue
        number -= 1
        octets -= size
    return removed
