"""What a server keeps on disk: made when it starts, refused where it is not ours."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from smtpcb import _folders as folders
from smtpcb.handlers._maildir import prepare
from smtpcb.run.tap import Options
from smtpcb.tls import self_signed
from tests.running import ANY_PORT, TWISTD, Client, run_twistd, running, wait_until

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
SOMEBODY = 65534


def refusal(folder: Path, *more: str) -> str:
    """Start a server that must not start; return the one line that it says."""
    command = ("--state", str(folder / "state"), "--listen", ANY_PORT, *more)
    process = run_twistd(folder, *command, errors=subprocess.PIPE)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert b"Traceback" not in output
    [line] = errors.decode().splitlines()
    # It is the same, whoever finds it.
    assert found_by_a_check(folder, *more) == line
    return line


def found_by_a_check(folder: Path, *more: str) -> str:
    """Return the line that ``--check`` ends with."""
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(["--state", str(folder / "state"), *more, "--check"])
    line = caught.value.code
    assert isinstance(line, str)
    assert "\n" not in line
    return line


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """What a server has kept."""
    self_signed(tmp_path / "state", socket.gethostname())
    prepare(tmp_path / "state/Maildir")
    (tmp_path / "state/transcripts").mkdir(mode=0o700)
    return tmp_path / "state"


@pytest.mark.parametrize("name", ["", "Maildir", "Maildir/new", "transcripts", "identity.pem"])
def test_where_others_may_write(tmp_path: Path, state: Path, name: str) -> None:
    """They decide what is there: nothing is served, nothing is kept."""
    path = state / name
    path.chmod(0o777)
    line = (refusal if name == "identity.pem" else found_by_a_check)(tmp_path)
    assert f"{path}: others may write there (mode 0777; chmod go-w)" in line


@ROOT_ONLY
@pytest.mark.parametrize("name", ["", "Maildir", "Maildir/tmp", "transcripts", "identity.pem"])
def test_what_belongs_to_somebody_else(tmp_path: Path, state: Path, name: str) -> None:
    """A stranger's certificate is not served, and mail not kept where a stranger may read it."""
    path = state / name
    os.chown(path, SOMEBODY, SOMEBODY)
    assert f"{path}: belongs to somebody else (user 65534)" in found_by_a_check(tmp_path)


@ROOT_ONLY
def test_a_whole_state_folder_of_a_stranger(tmp_path: Path) -> None:
    """Whatever is in it, and whoever may write there."""
    state = tmp_path / "state"
    self_signed(state, "localhost")
    for path in (state, state / "identity.pem"):
        os.chown(path, SOMEBODY, SOMEBODY)
    state.chmod(0o777)
    before = sorted(state.rglob("*"))
    assert refusal(tmp_path, "--workers=2").startswith(
        f"smtpcb: --state {state}: {state}: belongs to somebody else"
    )
    assert sorted(state.rglob("*")) == before


@pytest.mark.parametrize("name", ["Maildir", "transcripts"])
def test_others_may_look_if_the_owner_lets_them(tmp_path: Path, state: Path, name: str) -> None:
    """A group that reads the mail is no danger to it."""
    for path in (state, state / name):
        path.chmod(0o2750)
    with running(tmp_path) as server, Client(server.port) as client:
        assert client.send(b"Subject: x\r\n\r\n").startswith(b"250 ")
    assert (state / name).stat().st_mode & 0o7777 == 0o2750


def test_a_handler_of_one_s_own_needs_no_state_folder(tmp_path: Path, state: Path) -> None:
    """Where nothing is kept there, it does not matter whose it is."""
    state.chmod(0o777)
    (tmp_path / "inbox.py").write_text("class Inbox:\n    def message(self, e): pass\n")
    options = ("--no-tls", "--handler", "python:inbox.Inbox")
    with running(tmp_path, *options) as server, Client(server.port) as client:
        assert client.say("NOOP").startswith(b"250 ")


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
def test_a_lock_that_somebody_else_holds(
    tmp_path: Path, state: Path, more: tuple[str, ...]
) -> None:
    """Whoever may look into the state folder can lock it: the start ends with one line."""
    state.chmod(0o755)
    descriptor = os.open(state, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        options = ("--listen", ANY_PORT, "--state", str(state), *more)
        process = run_twistd(tmp_path, *options, errors=subprocess.PIPE)
        _, errors = process.communicate(timeout=60)
    finally:
        os.close(descriptor)
    assert process.returncode == 1
    [line] = errors.decode().splitlines()
    assert f"{state}: somebody else has locked it, and still after 5 seconds" in line
    assert folders.LOCK_SECONDS == 5.0


def test_the_identity_stays(tmp_path: Path, state: Path) -> None:
    """Clients that trust it trust it after a restart, and it is not the one of before the start."""
    kept = (state / "identity.pem").read_bytes()
    with running(tmp_path) as server:
        context = ssl.create_default_context(cafile=server.identity)
        with smtplib.SMTP("localhost", server.port, timeout=10) as client:
            client.starttls(context=context)
    assert (state / "identity.pem").read_bytes() == kept


def test_a_maildir_that_is_removed_while_it_runs(tmp_path: Path) -> None:
    """It is made anew with the next message, and the whole state folder too."""
    with running(tmp_path) as server, Client(server.port) as client:
        for gone in ("Maildir", "Maildir/new", ""):
            shutil.rmtree(server.state / gone)
            assert client.send(b"Subject: x\r\n\r\n").startswith(b"250 ")
            [message] = (server.state / "Maildir/new").iterdir()
            message.unlink()
        assert server.state.stat().st_mode & 0o7777 == 0o700


STALLED = """
import os, sys, threading
from pathlib import Path
from smtpcb.handlers._maildir import MARK

fsync = os.fsync

def stalls(descriptor):
    if Path("stall").exists() and "Maildir" in os.readlink(f"/proc/self/fd/{descriptor}"):
        Path("stalled").touch()
        threading.Event().wait()
    fsync(descriptor)

os.fsync = stalls
sys.argv = sys.argv[1:]
from twisted.scripts.twistd import run
run()
"""


def test_a_disk_that_stalls_stops_neither_greetings_nor_the_end(tmp_path: Path) -> None:
    """Other clients are greeted, and SIGTERM ends the server in the time that was said."""
    script = tmp_path / "stalled.py"
    script.write_text(STALLED)
    log = tmp_path / "log"
    options = ("--listen", ANY_PORT, "--state", "state", "--no-tls", "--grace-seconds", "0.5")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, script, TWISTD, "-n", "--pidfile=", "smtpcb", *options],
            cwd=tmp_path,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: "messages: " in log.read_text() or process.poll() is not None)
        line = next(line for line in log.read_text().splitlines() if "mail is taken on" in line)
        port = int(line.removesuffix(" (no TLS)").rpartition(":")[2])
        (tmp_path / "stall").touch()
        waiting = Client(port)
        waiting.begin()
        waiting.socket.sendall(b"Subject: x\r\n\r\n.\r\n")
        wait_until((tmp_path / "stalled").exists)
        with Client(port) as other:
            assert other.say("NOOP").startswith(b"250 ")
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM
        assert not waiting.reply().startswith(b"250 ")
        waiting.close()
        assert "is not waited for any longer: the disk has not done 1 tasks" in log.read_text()
    finally:
        process.kill()
        process.wait()
