"""A message that was answered 250 is in the Maildir, whole; one that was not is not there."""

from __future__ import annotations

import errno
import json
import os
import resource
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from smtpcb._ending import DISK_SECONDS
from smtpcb.engine._envelope import Recipient
from smtpcb.engine._keeping import MailData
from smtpcb.handlers import READY_MADE
from smtpcb.handlers import capture as capture_module
from smtpcb.handlers._clearing import Keep
from smtpcb.handlers._maildir import MARK, prepare
from smtpcb.handlers.capture import CLEAR_SECONDS, KEEP_OF_STATE, Capture
from smtpcb.interfaces import IReadyMadeHandler, ISmtpHandlerPlugin
from smtpcb.smtp._address import ForwardPath

from .layers import MESSAGE, ORDER, FailingLayer, GatedLayer, contents, envelope_of, files


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    folder = tmp_path / "mail"
    prepare(folder)
    return folder


@pytest.fixture
def layer() -> FailingLayer:
    return FailingLayer()


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor as installed

    return installed


@pytest.fixture
def capture(maildir: Path, reactor: Any) -> Iterator[Capture]:
    capture = Capture(maildir, reactor)
    yield capture
    pytest_twisted.blockon(capture.stopService())


@pytest.fixture
def failing(maildir: Path, reactor: Any, layer: FailingLayer) -> Iterator[Capture]:
    capture = Capture(maildir, reactor, os_layer=layer)
    yield capture
    pytest_twisted.blockon(capture.stopService())


@pytest_twisted.ensureDeferred
async def test_the_reply_names_the_file(capture: Capture, maildir: Path) -> None:
    """Whoever has the reply finds the message."""
    reply = await capture.message(envelope_of())
    (path,) = files(maildir, "new")
    assert reply.text == f"250 2.0.0 Kept as {path.name}"
    assert path.name.endswith(f",S={len(MESSAGE)}")
    assert contents(maildir) == [MESSAGE]


@pytest_twisted.ensureDeferred
async def test_content_in_a_file_is_kept_too(capture: Capture, maildir: Path) -> None:
    """A message too long for memory is kept as exactly as a short one."""
    content = MailData(1000)
    envelope = envelope_of(MESSAGE * 20, content)
    reply = await capture.message(envelope)
    content.close()
    assert reply.code == 250
    assert contents(maildir) == [MESSAGE * 20]


@pytest_twisted.ensureDeferred
async def test_messages_of_many_connections_at_once(capture: Capture, maildir: Path) -> None:
    """Twenty clients that send at the same time get twenty messages kept."""
    messages = [b"%d\r\n" % number + secrets.token_bytes(50_000) for number in range(20)]
    replies = await gatherResults([capture.message(envelope_of(octets)) for octets in messages])
    assert [reply.code for reply in replies] == [250] * 20
    assert sorted(contents(maildir)) == sorted(messages)
    for reply, octets in zip(replies, messages, strict=True):
        name = reply.lines[0].removeprefix("Kept as ")
        assert (maildir / "new" / name).read_bytes() == octets


@pytest_twisted.ensureDeferred
async def test_the_client_waits_for_the_disk(maildir: Path, reactor: Any) -> None:
    """No client reads 250 before its message is on disk; the server does not stand still (P44)."""
    layer = GatedLayer()
    capture = Capture(maildir, reactor, os_layer=layer)
    answer = capture.message(envelope_of())
    assert layer.is_syncing.wait(30)
    await deferLater(reactor, 0)
    assert not answer.called
    assert files(maildir, "new") == []
    layer.may_sync.set()
    assert (await answer).code == 250
    await capture.stopService()


@pytest_twisted.ensureDeferred
async def test_stop_finishes_what_was_begun(maildir: Path, reactor: Any) -> None:
    """A server that is stopped keeps all mail it was given, also what had to queue."""
    capture = Capture(maildir, reactor)
    answers = [capture.message(envelope_of()) for _ in range(10)]
    await capture.stopService()
    assert contents(maildir) == [MESSAGE] * 10
    assert [reply.code for reply in await gatherResults(answers)] == [250] * 10
    await capture.stopService()
    assert (await capture.message(envelope_of())).code == 250
    await capture.stopService()


@pytest_twisted.ensureDeferred
async def test_content_may_be_closed_at_once(capture: Capture, maildir: Path) -> None:
    """The server need not know when a handler is done with the content."""
    content = MailData()
    envelope = envelope_of(MESSAGE, content)
    answer = capture.message(envelope)
    content.close()
    assert (await answer).code == 250
    assert contents(maildir) == [MESSAGE]


@pytest.mark.parametrize("error", [None, OSError(errno.ENOSPC, "No space left on device")])
@pytest_twisted.ensureDeferred
async def test_cancelling_leaves_all_or_nothing(
    maildir: Path, reactor: Any, error: OSError | None
) -> None:
    """If nobody wants the reply any more, the message is still kept whole or not at all."""
    layer = GatedLayer()
    layer.error = error
    capture = Capture(maildir, reactor, os_layer=layer)
    answer = capture.message(envelope_of())
    assert layer.is_syncing.wait(30)
    answer.cancel()
    with pytest.raises(CancelledError):
        await answer
    layer.may_sync.set()
    with capturedLogs() as events:
        await capture.stopService()
    assert contents(maildir) == ([MESSAGE] if error is None else [])
    assert len([event for event in events if event["log_level"] is LogLevel.warn]) == (
        0 if error is None else 1
    )


@pytest_twisted.ensureDeferred
async def test_what_nobody_waits_for_is_not_begun(maildir: Path, reactor: Any) -> None:
    """A client that was told to try again while its message had to queue does not get it twice."""
    layer = GatedLayer()
    capture = Capture(maildir, reactor, os_layer=layer)
    answers = [capture.message(envelope_of()) for _ in range(10)]
    assert layer.is_syncing.wait(30)
    answers[-1].cancel()
    layer.may_sync.set()
    replies = await gatherResults(answers[:-1])
    with pytest.raises(CancelledError):
        await answers[-1]
    await capture.stopService()
    assert [reply.code for reply in replies] == [250] * 9
    assert contents(maildir) == [MESSAGE] * 9


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "452 4.3.1 Not enough storage, try again later"),
        (errno.EDQUOT, "452 4.3.1 Not enough storage, try again later"),
        (errno.EFBIG, "452 4.3.1 Not enough storage, try again later"),
        (errno.EIO, "451 4.3.0 Message could not be stored, try again later"),
        (errno.EROFS, "451 4.3.0 Message could not be stored, try again later"),
        (errno.EMFILE, "451 4.3.0 Message could not be stored, try again later"),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if isinstance(value, int) else "",
)
@pytest_twisted.ensureDeferred
async def test_a_disk_that_fails_at_any_call(
    failing: Capture, layer: FailingLayer, maildir: Path, number: int, text: str
) -> None:
    """Whatever call fails: the client is asked to try again, nothing is left, mail goes on."""
    layer.error = OSError(number, os.strerror(number))
    open_before = len(os.listdir("/proc/self/fd"))
    for fails_at, call in enumerate(ORDER):
        layer.calls.clear()
        layer.fails_at = fails_at
        with capturedLogs() as events:
            reply = await failing.message(envelope_of())
        assert layer.calls[: fails_at + 1] == ORDER[: fails_at + 1]
        assert reply.text == text, call
        assert files(maildir, "new", "tmp", "envelopes") == []
        (event,) = (event for event in events if event["log_level"] is LogLevel.warn)
        assert event["path"].parent == maildir / "new"
        assert event["error"] is layer.error
        layer.fails_at = None
        assert (await failing.message(envelope_of())).code == 250
        assert contents(maildir) == [MESSAGE]
        for path in files(maildir, "new", "envelopes"):
            path.unlink()
        assert len(os.listdir("/proc/self/fd")) == open_before


@pytest_twisted.ensureDeferred
async def test_a_disk_that_fails_for_good(
    failing: Capture, layer: FailingLayer, maildir: Path
) -> None:
    """If not even clearing away works, the client is asked to try again all the same."""
    layer.fails_again = True
    for fails_at, call in enumerate(ORDER):
        layer.calls.clear()
        layer.fails_at = fails_at
        with capturedLogs() as events:
            assert (await failing.message(envelope_of())).code == 451
        assert len([event for event in events if event["log_level"] is LogLevel.warn]) == 1
        for path in files(maildir, "new"):
            assert call == "fsync new"
            assert path.read_bytes() == MESSAGE


@pytest_twisted.ensureDeferred
async def test_a_mistake_of_ours_is_not_taken_for_a_full_disk(
    failing: Capture, layer: FailingLayer, maildir: Path
) -> None:
    """What is no error of the disk goes to the server, which logs it and answers 451."""
    layer.error, layer.fails_at = RuntimeError("a bug"), 3
    with pytest.raises(RuntimeError, match="a bug"):
        await failing.message(envelope_of())
    assert contents(maildir) == []


@pytest_twisted.ensureDeferred
async def test_content_that_cannot_be_opened(capture: Capture, maildir: Path) -> None:
    """Too many open files is a reason to try again later, like any error of the disk."""

    class NoDescriptors(MailData):
        def open(self) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

    envelope = envelope_of(b"", NoDescriptors())
    with capturedLogs() as events:
        assert (await capture.message(envelope)).code == 451
    assert [event["log_level"] for event in events] == [LogLevel.warn]
    assert contents(maildir) == []


@pytest.mark.parametrize("gone", ["mail", "mail/new", "mail/tmp", "mail/envelopes", ""])
@pytest_twisted.ensureDeferred
async def test_a_maildir_that_was_removed(tmp_path: Path, reactor: Any, gone: str) -> None:
    """Whoever clears up by hand while it runs loses no mail: what is missing is made anew."""
    maildir = tmp_path / "above/mail"
    capture = Capture(maildir, reactor)
    capture.startService()
    shutil.rmtree(tmp_path / "above" / gone)
    replies = await gatherResults([capture.message(envelope_of()) for _ in range(8)])
    assert [reply.code for reply in replies] == [250] * 8
    assert contents(maildir) == [MESSAGE] * 8
    assert (maildir / MARK).is_file()
    await capture.stopService()


@pytest_twisted.ensureDeferred
async def test_a_maildir_that_cannot_be_made_anew(
    tmp_path: Path, capture: Capture, maildir: Path
) -> None:
    """Then clients are asked to try again, until it can."""
    shutil.rmtree(maildir)
    maildir.write_text("in the way")
    assert (await capture.message(envelope_of())).code == 451
    maildir.unlink()
    assert (await capture.message(envelope_of())).code == 250
    assert contents(maildir) == [MESSAGE]


@pytest_twisted.ensureDeferred
async def test_no_room_to_make_it_anew(
    capture: Capture, maildir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is a full disk like any other."""
    shutil.rmtree(maildir)

    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", no_room)
        assert (await capture.message(envelope_of())).code == 452
    assert (await capture.message(envelope_of())).code == 250


@pytest_twisted.ensureDeferred
async def test_the_folder_above_is_somebody_else_s_business(tmp_path: Path, reactor: Any) -> None:
    """Where a server has its state folder, it makes that itself, each time."""
    made = []
    above = tmp_path / "state"

    def make() -> None:
        made.append(above)
        above.mkdir(exist_ok=True)

    capture = Capture(above / "mail", reactor, make_parent=make)
    assert not above.exists()
    capture.startService()
    shutil.rmtree(above)
    assert (await capture.message(envelope_of())).code == 250
    assert made == [above] * 2
    await capture.stopService()


@pytest_twisted.ensureDeferred
async def test_a_limit_on_the_size_of_files(capture: Capture, maildir: Path) -> None:
    """A message larger than the process may write is asked for again later."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(MESSAGE) - 1, hard))
    try:
        assert (await capture.message(envelope_of())).code == 452
        assert contents(maildir) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (await capture.message(envelope_of())).code == 250
    assert contents(maildir) == [MESSAGE]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k", "smtpcb-test", str(folder)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system can be mounted by root only: {error}")
    yield folder
    # Lazily: a test that fails with a file still open must not leave the file system behind.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest_twisted.ensureDeferred
async def test_a_full_disk(small_disk: Path, reactor: Any) -> None:
    """When the disk is full clients are asked to try again, and need only wait for room."""
    maildir, filler = small_disk / "mail", small_disk / "filler"
    prepare(maildir)
    filler.write_bytes(bytes(200_000))
    capture = Capture(maildir, reactor)
    for _ in range(3):
        assert (await capture.message(envelope_of())).code == 452
        assert contents(maildir) == []
    filler.unlink()
    assert (await capture.message(envelope_of())).code == 250
    assert contents(maildir) == [MESSAGE]
    await capture.stopService()


def test_a_program_that_does_not_stop_it_ends_nevertheless(tmp_path: Path) -> None:
    """Forgetting to stop a capture does not keep the program from ending."""
    script = """if True:
        import sys
        from pathlib import Path
        from twisted.internet.task import react
        from smtpcb.handlers.capture import Capture
        from smtpcb.engine._connection import Connection
        from smtpcb.engine._envelope import Envelope
        from smtpcb.engine._keeping import MailData
        from smtpcb.smtp._address import ReversePath

        async def main(reactor, folder):
            envelope = Envelope(Connection("x"), ReversePath.NULL)
            envelope.kept = MailData()
            envelope.kept.write(b"kept")
            print((await Capture(Path(folder), reactor).message(envelope)).code)

        react(main, sys.argv[1:])
    """
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, tmp_path / "mail"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.stdout, result.stderr, result.returncode) == ("250\n", "", 0)
    assert contents(tmp_path / "mail") == [b"kept"]


@pytest_twisted.ensureDeferred
async def test_the_envelope_is_beside_it(capture: Capture, maildir: Path) -> None:
    """Sender and recipients can be read, also those that the message does not name."""
    envelope = envelope_of(b"To: <anne@example.org>\r\n\r\nhello\r\n")
    envelope.recipients += [Recipient(ForwardPath(name, "example.org")) for name in ("anne", "tim")]
    await capture.message(envelope)
    [message], [about] = files(maildir, "new"), files(maildir, "envelopes")
    assert about.name == f"{message.name}.json"
    told = json.loads(about.read_bytes())
    assert told["reverse_path"] == ""
    assert [(one["forward_path"], one["bcc"]) for one in told["recipients"]] == [
        ("anne@example.org", False),
        ("tim@example.org", True),
    ]


@pytest_twisted.ensureDeferred
async def test_a_disk_that_stalls_keeps_nobody(maildir: Path, reactor: Any) -> None:
    """The reactor goes on, and stopping has an end, which says what was not done."""

    class Both(Clock):
        callFromThread = reactor.callFromThread

    layer, clock = GatedLayer(), Both()
    capture = Capture(maildir, clock, os_layer=layer)
    answers = [capture.message(envelope_of()) for _ in range(20)]
    assert layer.is_syncing.wait(30)
    await deferLater(reactor, 0)
    assert not any(answer.called for answer in answers)
    stopped = capture.stopService()
    with capturedLogs() as events:
        clock.advance(DISK_SECONDS)
    await stopped
    [said] = [formatEvent(event) for event in events]
    assert said == f"{maildir} is not waited for any longer: the disk has not done 20 tasks"
    layer.may_sync.set()
    assert [reply.code for reply in await gatherResults(answers)] == [250] * 20


class Counted:
    """A capture whose clearings are counted, and done when they are asked for."""

    def __init__(self, maildir: Path, reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        class Both(Clock):
            callFromThread = reactor.callFromThread

        self.reactor = reactor
        self.clock = Both()
        self.clearings = 0
        self.finished = 0
        self.capture = Capture(maildir, self.clock, keep=Keep(messages=10))
        clear = capture_module.clear

        def counted(*arguments: Any) -> Any:
            self.clearings += 1
            return clear(*arguments)

        monkeypatch.setattr(capture_module, "clear", counted)

    async def settled(self, number: int) -> None:
        """Wait until so many clearings have been done, and the capture knows."""
        while self.clearings < number or self.capture._threads._unfinished:
            await deferLater(self.reactor, 0.001)


@pytest_twisted.ensureDeferred
async def test_old_mail_goes_when_there_is_too_much(
    maildir: Path, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for at the start, every hour, and when the limit is passed; not each time."""
    counted = Counted(maildir, reactor, monkeypatch)
    capture = counted.capture
    capture.startService()
    await counted.settled(1)
    for _ in range(10):
        await capture.message(envelope_of(b"x"))
    assert counted.clearings == 1
    await capture.message(envelope_of(b"x"))
    await counted.settled(2)
    assert len(contents(maildir)) == 9
    await capture.message(envelope_of(b"x"))
    assert (len(contents(maildir)), counted.clearings) == (10, 2)
    counted.clock.advance(CLEAR_SECONDS)
    await counted.settled(3)
    stopped = capture.stopService()
    await stopped
    assert not counted.clock.getDelayedCalls()


@pytest_twisted.ensureDeferred
async def test_nothing_is_counted_where_nothing_is_removed(
    tmp_path: Path, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was there before us keeps all, and a warning says so at the start."""
    (tmp_path / "home/letters").mkdir(parents=True)
    counted = Counted(tmp_path / "home", reactor, monkeypatch)
    capture = counted.capture
    assert capture.check() == [
        f"{tmp_path}/home was there before us: nothing in it is removed, whatever is kept"
    ]
    capture.startService()
    await counted.settled(1)
    for _ in range(12):
        await capture.message(envelope_of(b"x"))
    assert (len(contents(tmp_path / "home")), counted.clearings) == (12, 1)
    await capture.stopService()


@pytest_twisted.ensureDeferred
async def test_clearing_that_fails(
    maildir: Path, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and tried again an hour later; mail goes on."""
    counted = Counted(maildir, reactor, monkeypatch)
    counted.capture.startService()
    await counted.settled(1)
    (maildir / "new").chmod(0o777)
    with capturedLogs() as events:
        counted.clock.advance(CLEAR_SECONDS)
        await counted.settled(2)
    [said] = [formatEvent(event) for event in events]
    assert said.startswith(f"old mail is not removed from {maildir}: ")
    shutil.rmtree(maildir)
    with capturedLogs() as events:
        counted.clock.advance(CLEAR_SECONDS)
        await counted.settled(3)
    assert not events
    await counted.capture.stopService()


class Setting:
    """What a server lends it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.reactor = Clock()
        self.owners = frozenset({0, os.geteuid()})

    def make_state(self) -> None:
        self.state.mkdir()


class TestPlugin:
    """What ``--handler capture`` makes."""

    def made(self, argument: str, state: Path) -> Capture:
        [plugin] = [one for one in READY_MADE if one.name == "capture"]
        verifyObject(ISmtpHandlerPlugin, plugin)
        capture = plugin.make(argument, Setting(state))
        assert isinstance(capture, Capture)
        verifyObject(IReadyMadeHandler, capture)
        return capture

    def test_below_the_state_folder_old_mail_is_removed(self, tmp_path: Path) -> None:
        """Nobody has chosen it, so nobody looks after it; nothing is made before the start."""
        capture = self.made("", tmp_path / "state")
        assert capture.maildir == tmp_path / "state/Maildir"
        assert capture._keep == KEEP_OF_STATE
        assert capture.check() == []
        assert not list(tmp_path.iterdir())

    def test_a_folder_of_yours_keeps_all(self, tmp_path: Path) -> None:
        """Unless you say what is kept."""
        state = tmp_path / "state"
        for argument, folder, keep in [
            ("mail", "mail", Keep()),
            ("a:b", "a:b", Keep()),
            ("mail:keep-days=7", "mail", Keep(days=7)),
            ("mail:keep-octets=2M:keep-messages=5", "mail", Keep(messages=5, octets=2 << 20)),
            (":keep-days=none", state / "Maildir", Keep(None, 100_000, 4 << 30)),
        ]:
            capture = self.made(argument, state)
            assert capture.maildir == Path.cwd() / folder
            assert capture._keep == keep

    @pytest.mark.parametrize(
        ("argument", "says"),
        [
            ("mail:keep-day=3", "no such setting: keep-day; there are keep-days"),
            ("mail:keep_days=3", "no such setting: keep_days; there are keep-days"),
            ("days=3", "no such setting: days; there are keep-days"),
            ("mail:KEEP-DAYS=3", "no such setting: KEEP-DAYS; there are keep-days"),
            ("mail:keep-days", "a setting is written as in keep-days=7"),
            ("keep-days:7", "a setting is written as in keep-days=7"),
        ],
    )
    def test_what_was_meant_for_a_setting(self, tmp_path: Path, argument: str, says: str) -> None:
        """It is no folder with a strange name, in which everything would be kept."""
        with pytest.raises(ValueError, match=says):
            self.made(argument, tmp_path / "state")

    def test_what_it_says_of_itself(self, tmp_path: Path) -> None:
        """It is there to be sent to: the server takes what it can, and records it."""
        capture = self.made("", tmp_path / "state")
        assert capture.lenient_addresses
        assert capture.bare_newline == "normalize"
        assert capture.transcripts
        assert capture.takes_any_login
        assert capture.report == (f"messages: {tmp_path}/state/Maildir/new",)
        assert capture.folders == (tmp_path / "state/Maildir",)
        assert capture.authenticate(None)  # type: ignore[arg-type]  # whoever it is
