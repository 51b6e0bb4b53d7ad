"""Files of names while somebody writes them: nobody is turned away for it, and nobody let in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smtpcb._reread import Reread
from smtpcb.policies._watched import WatchedFile
from smtpcb.run._htpasswd import HashedFile
from smtpcb.run._named_lines import PasswordFileError
from smtpcb.run._passwords import PasswordFile
from smtpcb.smtp.sasl import Credentials

WHOLE = "anne@example.org\nbob@example.org\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that nobody is writing."""
    path = tmp_path / "names"
    path.write_text(WHOLE)
    path.chmod(0o600)
    return path


@pytest.fixture
def watched(file: Path) -> WatchedFile[list[str]]:
    """What a policy makes of it."""
    return WatchedFile(file, lambda lines: [line for _, line in lines])


def age(path: Path, seconds: float) -> None:
    """Have a file be written so long ago."""
    at = path.stat().st_mtime - seconds
    os.utime(path, (at, at))


@pytest.mark.parametrize("part", ["", "anne@exam", "bob@example.org\nanne@example.or"])
def test_a_file_that_is_being_written_is_as_it_was(
    file: Path, watched: WatchedFile[list[str]], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stands in it is neither refused nor unknown while another program is at work."""
    monkeypatch.setattr("smtpcb._reread.SETTLED_SECONDS", 1000.0)
    file.write_text(part)
    assert watched.now() == WHOLE.split()
    age(file, 2000)
    assert watched.now() is None


def test_a_long_file_that_becomes_shorter_may_become_longer(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written in pieces may end with a line in each; a short one comes in one piece."""
    monkeypatch.setattr("smtpcb._reread.SETTLED_SECONDS", 1000.0)
    file.write_text("".join(f"{at:04}@example.org\n" for at in range(1000)))
    long = WatchedFile(file, lambda lines: [line for _, line in lines])
    file.write_text("0001@example.org\n")
    assert len(long.now() or ()) == 1000
    age(file, 2000)
    assert long.now() == ["0001@example.org"]
    file.write_text("2@example.org\n")
    assert long.now() == ["2@example.org"]


@pytest.mark.parametrize("part", ["", "anne@exam"])
def test_a_file_that_stays_cut_turns_nobody_away(
    file: Path, watched: WatchedFile[list[str]], part: str
) -> None:
    """The disk was full, or the program died: clients are asked to come again."""
    file.write_text(part)
    assert watched.now() is None
    file.write_text("# nobody, on purpose\n")
    assert watched.now() == []


def test_a_last_line_that_never_had_an_end_needs_none(
    file: Path, watched: WatchedFile[list[str]]
) -> None:
    """Some editors write none; then nothing is told by it."""
    file.write_text("anne@example.org")
    other = WatchedFile(file, lambda lines: [line for _, line in lines])
    file.write_text("bob@example.org")
    assert other.now() == ["bob@example.org"]
    assert watched.now() is None


def test_half_a_password_lets_nobody_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while the file is written, nor where it was cut off for good."""
    file.write_text("bob:other\nanne:long secret\n")
    passwords = PasswordFile(file)

    def outcome(password: str) -> object:
        found = passwords.authenticate(Credentials("PLAIN", "anne", password), None)  # type: ignore[arg-type]
        return found if isinstance(found, bool) else found.code

    file.write_text("bob:other\nanne:long")
    assert [outcome("long"), outcome("long secret")] == [454, 454]
    file.write_text("")
    assert outcome("long secret") == 454
    monkeypatch.setattr("smtpcb._reread.SETTLED_SECONDS", 1000.0)
    # What was gone or broken is not taken up in the middle either.
    file.write_text("bob:other\nanne:long secret\n")
    assert outcome("long secret") is True
    file.unlink()
    assert outcome("long secret") == 454
    file.write_text("bob:other\nanne:lo")
    assert [outcome("lo"), outcome("long secret")] == [454, 454]


def test_hashes_likewise(file: Path) -> None:
    """Nobody hears that a password is wrong whose line is not written yet."""
    file.write_text("anne:$scrypt$ln=1,r=1,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAA\n")
    hashed = HashedFile(file)
    file.write_text("")
    with pytest.raises(PasswordFileError, match="has become empty; if nobody is to be in it"):
        hashed._file.names()
    file.write_text("# nobody\n")
    assert not hashed._file.names()


def test_a_file_that_changes_while_it_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read may be half old and half new: it is read again later."""
    reread = Reread(file, limited=True)
    first = reread.look()
    assert first is not None
    reread.take(first)
    file.write_text("carol@example.org\n")
    real = os.fstat

    def changed_meanwhile(descriptor: int) -> os.stat_result:
        with file.open("a") as more:
            more.write("dora@example.org\n")
        return real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("smtpcb._reread.os.fstat", changed_meanwhile)
        assert reread.look() is None
    found = reread.look()
    assert found is not None
    assert found.octets == b"carol@example.org\ndora@example.org\n"


def test_a_file_that_was_put_in_the_place_counts_at_once(
    file: Path, watched: WatchedFile[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is whole from the first on; so is one whose time was set when it had been copied."""
    monkeypatch.setattr("smtpcb._reread.SETTLED_SECONDS", 1000.0)
    new = file.with_name("new")
    new.write_text("carol@example.org\n")
    age(new, 1)
    new.replace(file)
    assert watched.now() == ["carol@example.org"]
