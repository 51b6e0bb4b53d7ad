"""``twistd --uid``: bound as root, served as somebody else, who gains nothing by it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running import ANY_PORT, TWISTD, wait_until

USER = 65534

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@contextmanager
def started_as_user(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start a server; it, once it takes mail or has ended, and where it says what it says."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(TWISTD, "-n", "--pidfile=", f"--uid={USER}", f"--gid={USER}", "smtpcb"),
                *options,
            ],
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: process.poll() is not None or "messages: " in log.read_text())
        yield process, log
    finally:
        process.kill()
        process.wait()


def run_as_user(folder: Path, *options: str) -> tuple[str, int | None]:
    """Start a server and stop it once it runs; what it said, and its status if it ended itself."""
    with started_as_user(folder, "--listen", ANY_PORT, *options) as (process, log):
        if process.poll() is None:
            process.terminate()
            assert process.wait(20) == -signal.SIGTERM
            return log.read_text(), None
        return log.read_text(), process.returncode


def as_user(path: Path) -> Path:
    """Give a path to the user."""
    os.chown(path, USER, USER, follow_symlinks=False)
    return path


def victim_of(root: Path) -> dict[Path, tuple[int, int, int, float]]:
    """Make a folder of root's with what somebody would like to have; how all of it is now."""
    victim = root / "victim"
    if not victim.exists():
        for folder in ("", "new", "tmp", "cur", "2026/01/01"):
            (victim / folder).mkdir(parents=True, exist_ok=True)
        for name in ("shadow", "tmp/notes.txt", "identity.pem", "2026/01/01/notes.txt"):
            (victim / name).write_text("secret")
            (victim / name).chmod(0o600)
            os.utime(victim / name, (0, 0))
    found = {}
    for path in (victim, *victim.rglob("*")):
        status = path.lstat()
        found[path] = (status.st_uid, status.st_gid, status.st_mode, status.st_mtime)
    return found


def test_what_is_kept_belongs_to_the_user(root: Path) -> None:
    """The first start makes everything, the next one finds it; root is left behind (P61)."""
    for _ in range(2):
        said, status = run_as_user(root, "--state", str(root / "state"))
        assert status is None, said
        for kept in ("", "identity.pem", "Maildir", "Maildir/new", "transcripts"):
            found = (root / "state" / kept).stat()
            assert (found.st_uid, found.st_gid) == (USER, USER), kept
            assert not found.st_mode & 0o077, kept


@pytest.mark.parametrize(
    "name",
    ["Maildir", "Maildir/new", "Maildir/tmp", "transcripts", "identity.pem", "Maildir/envelopes"],
)
def test_a_link_in_the_state_folder(root: Path, name: str) -> None:
    """Whatever the user puts in the place of what was kept: what it leads to stays root's."""
    state = root / "state"
    said, status = run_as_user(root, "--state", str(state))
    assert status is None, said
    before = victim_of(root)
    path = state / name
    path.unlink() if path.is_file() else shutil.rmtree(path)
    path.symlink_to(root / "victim" / ("identity.pem" if name == "identity.pem" else ""))
    as_user(path)
    said, status = run_as_user(root, "--state", str(state))
    assert status == 1
    line = next(line for line in said.splitlines() if line.startswith("smtpcb: "))
    assert f"{path}: is a symbolic link" in line
    assert "Traceback" not in said
    assert victim_of(root) == before


@pytest.mark.parametrize("target", ["victim", "victim/new", "victim/made"])
def test_a_state_folder_that_is_a_link(root: Path, target: str) -> None:
    """In a folder of theirs they may put a link where the state folder should be."""
    before = victim_of(root)
    home = root / "home"
    home.mkdir()
    (home / "state").symlink_to(root / target)
    as_user(home)
    as_user(home / "state")
    said, status = run_as_user(root, "--state", str(home / "state"))
    assert status == 1
    assert "smtpcb: --state " in said
    assert "Traceback" not in said
    assert victim_of(root) == before


@pytest.mark.parametrize(
    "options", [("--handler", "capture:{}"), ("--transcripts", "{}"), ("--state", "{}")]
)
def test_a_folder_of_root_s_that_is_named(root: Path, options: tuple[str, str]) -> None:
    """One that is there already is given to nobody; the start says that it cannot be used."""
    before = victim_of(root)
    named = (options[0], options[1].format(root / "victim"))
    if options[0] != "--state":
        named += ("--state", str(root / "state"))
    said, status = run_as_user(root, *named)
    assert status == 1, said
    assert "Traceback" not in said
    assert victim_of(root) == before


def test_another_name_of_a_file_of_root_s(root: Path) -> None:
    """A hard link in the place of the identity makes nobody read or own the file."""
    state = root / "state"
    state.mkdir(mode=0o700)
    as_user(state)
    before = victim_of(root)
    os.link(root / "victim/shadow", state / "identity.pem")
    said, status = run_as_user(root, "--state", str(state))
    assert status == 1
    assert f"smtpcb: {state}/identity.pem: Permission denied" in said
    assert victim_of(root) == before


def test_a_check_gives_nothing_away_either(root: Path) -> None:
    """It changes nothing at all, also as root, and what leads elsewhere is refused."""
    state = root / "state"
    state.mkdir(mode=0o700)
    as_user(state)
    before = victim_of(root)
    as_user_link = state / "Maildir"
    as_user_link.symlink_to(root / "victim")
    as_user(as_user_link)
    said, status = run_as_user(root, "--check", "--state", str(state))
    assert status == 1
    assert "is a symbolic link" in said
    as_user_link.unlink()
    said, status = run_as_user(root, "--check", "--state", str(state))
    assert (status, said) == (0, "smtpcb: the settings are good\n")
    assert victim_of(root) == before
    assert not list(state.iterdir())


def test_a_socket_belongs_to_the_user(root: Path) -> None:
    """It is bound as root, and removed by the user in the end."""
    run = root / "run"
    run.mkdir()
    as_user(run)
    options = ("--lmtp", f"unix:{run}/lmtp:mode=660", "--state", str(root / "state"))
    with started_as_user(root, *options) as (process, log):
        assert process.poll() is None, log.read_text()
        found = (run / "lmtp").stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (USER, USER, 0o660)
        assert f"mail is taken on unix:{run}/lmtp (LMTP, STARTTLS)" in log.read_text()
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM
        assert list(run.iterdir()) == []
        assert "Traceback" not in log.read_text()
