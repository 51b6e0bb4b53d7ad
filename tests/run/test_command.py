"""The ``smtpcb`` command, and ``smtpcb password``."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smtpcb.run import _hashes, _password_lines
from smtpcb.run._hashes import scheme_of
from smtpcb.run.command import main

Say = Callable[..., int]


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hashes, "_LN", 4)


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Call ``smtpcb password``, with a line on standard input."""

    def say(*arguments: object, given: str = "tim\n") -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        return main(["password", *map(str, arguments)])

    return say


def test_without_a_word_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command with a line; the same for --help."""
    assert main([]) == main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "  password  Add or change a line" in said
    assert "`twistd smtpcb`" in said


def test_an_unknown_word_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """And the exit status is 1, as for a mistake behind a word."""
    assert main(["pasword"]) == 1
    assert capsys.readouterr().err == (
        "smtpcb: there is no command 'pasword'; there are password, send\n"
    )
    with pytest.raises(SystemExit) as caught:
        main(["password"])
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("smtpcb password: ")
    assert said.count("\n") == 1


def test_a_password_is_added_and_changed(
    say: Say, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is made, for its owner only; other lines and remarks stay as they are."""
    path = tmp_path / "pw"
    assert say(path, "anne") == 0
    assert capsys.readouterr().out == f"{path}: anne added\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = path.read_text()
    path.write_text(f"\ufeff# who may\n\n{first}# behind")
    assert say(path, "bob", "--scheme", "scram-sha-256", given="grün\r\n") == 0
    assert say(path, "anne", given="other") == 0
    assert capsys.readouterr().out.endswith(f"{path}: anne changed\n")
    mark, blank, anne, behind, bob = path.read_text().splitlines()
    assert (mark, blank, behind) == ("\ufeff# who may", "", "# behind")
    assert anne.startswith("anne:$scrypt$")
    assert scheme_of(anne[5:]).fits(anne[5:], "other")
    assert scheme_of(bob[4:]).fits(bob[4:], "grün")
    assert os.listdir(tmp_path) == ["pw"]


def test_a_file_that_keeps_scram_from_all_says_so(
    say: Say, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has asked for SCRAM is told who else has to change, and of nothing once all have."""
    path = tmp_path / "passwords"
    note = "SCRAM is not offered to anybody: anne cannot use it"
    say(path, "anne")
    assert note not in capsys.readouterr().err
    say(path, "bob", "--scheme", "scram-sha-256")
    assert note in capsys.readouterr().err
    say(path, "carol")
    assert "anne and 1 more cannot use it" in capsys.readouterr().err
    say(path, "carol", "--remove")
    assert note in capsys.readouterr().err
    say(path, "anne", "--scheme", "scram-sha-256")
    assert capsys.readouterr() == (f"{path}: anne changed\n", "")


def test_the_first_name_behind_a_mark_is_changed(say: Say, tmp_path: Path) -> None:
    """Editors on Windows put one before it."""
    path = tmp_path / "pw"
    assert say(path, "anne") == 0
    path.write_text("\ufeff" + path.read_text())
    assert say(path, "anne", given="other") == 0
    [line] = path.read_text().splitlines()
    assert line.startswith("\ufeffanne:")


def test_a_name_is_removed(say: Say, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its line, and no other; who is not there is told."""
    path = tmp_path / "pw"
    assert say(path, "--remove", "anne") == 1
    assert capsys.readouterr().err == f"smtpcb: {path}: No such file or directory\n"
    assert not path.exists()
    say(path, "anne")
    say(path, "bob")
    assert say(path, "anne", "--remove", given="") == 0
    assert path.read_text().startswith("bob:")
    assert say(path, "anne", "--remove") == 1
    assert capsys.readouterr().err == f"smtpcb: {path}: nobody is called 'anne'\n"


@pytest.mark.parametrize("name", ["", "a:b", "#anne", " anne", "an\nne", "an\x1bne", "a\u202eb"])
def test_a_name_that_no_line_can_have(
    say: Say, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """One line says so, and no file is made."""
    assert say(tmp_path / "pw", name) == 1
    assert capsys.readouterr().err.startswith("smtpcb: a name ")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("given", ["", "\n", "a\0b\n"])
def test_a_password_that_nobody_can_say(say: Say, tmp_path: Path, given: str) -> None:
    """An empty one would let anybody in; NUL cannot be sent."""
    assert say(tmp_path / "pw", "anne", given=given) == 1
    assert os.listdir(tmp_path) == []


def test_another_kind_of_file_is_left_alone(
    say: Say, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names the place, and nothing of what stands there."""
    path = tmp_path / "passwd"
    path.write_text("root:x:0:0:secret:/root:/bin/sh\n")
    assert say(path, "anne") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"smtpcb: {path}: line 1: this is no hash of ")
    assert said.count("\n") == 1
    assert "secret" not in said
    assert path.read_text() == "root:x:0:0:secret:/root:/bin/sh\n"
    os.mkfifo(tmp_path / "pipe")
    assert say(tmp_path / "pipe", "anne") == 1
    assert "is no regular file" in capsys.readouterr().err
    assert say(tmp_path, "anne") == 1


def test_a_link_leads_to_the_same_file_still(say: Say, tmp_path: Path) -> None:
    """What the server reads is the file, and so it is that which changes."""
    path, link = tmp_path / "pw", tmp_path / "link"
    say(path, "anne")
    link.symlink_to(path)
    path.chmod(0o644)
    assert say(link, "bob") == 0
    assert link.is_symlink()
    assert len(path.read_text().splitlines()) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_that_was_replaced_meanwhile_is_the_one(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else was quicker, while we waited for the lock."""
    path = tmp_path / "pw"
    say(path, "anne")
    line = path.read_text().replace("anne:", "bob:")
    flock = _password_lines.fcntl.flock
    replaced: list[None] = []

    def lock(descriptor: int, operation: int) -> None:
        flock(descriptor, operation)
        if not replaced:
            replaced.append(None)
            (tmp_path / "new").write_text(line)
            (tmp_path / "new").rename(path)

    monkeypatch.setattr(_password_lines.fcntl, "flock", lock)
    assert say(path, "tim") == 0
    assert [one.partition(":")[0] for one in path.read_text().splitlines()] == ["bob", "tim"]


def test_what_cannot_be_written_changes_nothing(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk, say: the file is as it was, and nothing is left beside it."""
    path = tmp_path / "pw"
    say(path, "anne")
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert say(path, "bob") == 1
    assert capsys.readouterr().err == f"smtpcb: {path}: No space left on device\n"
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["pw"]

    def interrupted(descriptor: int, operation: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_password_lines.fcntl, "flock", interrupted)
    assert say(path, "bob") == 130


def test_at_a_terminal_it_is_asked_for_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody sees what they type."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    typed = iter(["tim", "tim", "tim", "tom"])
    asked: list[str] = []

    def getpass(prompt: str) -> str:
        asked.append(prompt)
        return next(typed)

    monkeypatch.setattr("getpass.getpass", getpass)
    assert main(["password", str(tmp_path / "pw"), "anne"]) == 0
    assert asked == ["Password: ", "Again: "]
    assert main(["password", str(tmp_path / "pw"), "bob"]) == 1
    assert capsys.readouterr().err == "smtpcb: these were two passwords\n"
