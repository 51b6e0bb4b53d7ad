"""A pid file that somebody has left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smtpcb.run._pid_file import clear
from smtpcb.run.options import ConfigurationError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "twistd.pid"


def number_of_nobody() -> int:
    """Return the number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    return ended.pid


@pytest.mark.parametrize("kind", ["none", "empty", "nobody", "we", "another program", "huge"])
def test_what_was_left_behind_is_removed(path: Path, kind: str) -> None:
    """Numbers are used again: at once in a container, and by whatever program after a crash."""
    text = {
        "empty": "",
        "nobody": f"{number_of_nobody()}\n",
        "we": str(os.getpid()),
        "huge": "9" * 30,
    }
    if kind == "another program":
        if not Path("/proc/self").exists():
            pytest.skip("there is no /proc here")
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            path.write_text(str(other.pid))
            clear(path)
            other.communicate(b"\n")
    elif kind != "none":
        path.write_text(text[kind])
        clear(path)
    else:
        clear(path)
    assert not path.exists()


def test_one_that_runs(path: Path) -> None:
    """It keeps its file, and whoever starts a second one is told in one line."""
    command = [sys.executable, "-c", "print(flush=True); input()", "twistd"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as running:
        assert running.stdout is not None
        running.stdout.readline()  # by now it has its name
        path.write_text(str(running.pid))
        with pytest.raises(ConfigurationError) as caught:
            clear(path)
        running.communicate(b"\n")
    assert str(caught.value) == (
        f"--pidfile {path}: process {running.pid} runs already; stop it, or give this one another "
        "pid file (none: --pidfile=)"
    )
    assert path.exists()


def test_one_of_somebody_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a twistd, which is not ours to look at."""

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    path.write_text("4711")
    with pytest.raises(ConfigurationError, match="process 4711 runs already"):
        clear(path)


@pytest.mark.parametrize("text", ["hello", "-1", "0", "12 13", "\u0663"])
def test_what_is_no_pid_file(path: Path, text: str) -> None:
    """It may be anything, and is left alone."""
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match="it is there, and has no process number in it"):
        clear(path)
    assert path.read_text("utf-8") == text


def test_what_cannot_be_read_or_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line."""
    path.mkdir()
    with pytest.raises(ConfigurationError, match=r"--pidfile .*twistd\.pid: Is a directory"):
        clear(path)
    path.rmdir()
    path.write_text("")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ConfigurationError, match=r"--pidfile .*twistd\.pid: Permission denied"):
        clear(path)


def test_a_pipe(path: Path) -> None:
    """Nobody waits for what it may hold."""
    os.mkfifo(path)
    with pytest.raises(ConfigurationError, match=r"--pidfile .*twistd\.pid: is no regular file"):
        clear(path)
