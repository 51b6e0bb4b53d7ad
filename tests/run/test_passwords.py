"""``--auth file:FILE``: who may log in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from smtpcb.run._passwords import CANNOT_TELL, PasswordFile, PasswordFileError
from smtpcb.smtp._errors import Refusal

Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the file of passwords."""

    def write(octets: bytes) -> Path:
        path = tmp_path / "passwords"
        path.touch(0o600)
        path.write_bytes(octets)
        return path

    return write


def outcome(checker: PasswordFile, name: bytes, password: bytes) -> Any:
    """Return the name, or the error that a login fails with."""
    found: list[Any] = []
    asked = checker.requestAvatarId(UsernamePassword(name, password))
    asked.addCallbacks(found.append, lambda failure: found.append(failure.value))
    return found[0]


def cannot_tell(found: Any) -> bool:
    """Whether the client is asked to try again later."""
    return isinstance(found, Refusal) and found.answer is CANNOT_TELL


class TestLines:
    """What a file says."""

    @pytest.mark.parametrize(
        ("line", "name", "password"),
        [
            (b"anne:tim", b"anne", b"tim"),
            (b"anne:tim:rest", b"anne", b"tim:rest"),
            (b"anne::", b"anne", b":"),
            (b"anne: tim ", b"anne", b" tim "),
            (b"anne@example.org:tim\r", b"anne@example.org", b"tim"),
            ("änne:tüm".encode(), "änne".encode(), "tüm".encode()),
            (b"\xef\xbb\xbfanne:tim", b"anne", b"tim"),
        ],
    )
    def test_the_password_is_all_behind_the_first_colon(
        self, write: Write, line: bytes, name: bytes, password: bytes
    ) -> None:
        """To the end of the line, and no part of it lets anybody in."""
        checker = PasswordFile(write(line + b"\n"))
        assert outcome(checker, name, password) == name
        for other in (password.split(b":")[0], password.strip(), b"", password + b":"):
            if other != password:
                assert isinstance(outcome(checker, name, other), UnauthorizedLogin)
        assert isinstance(outcome(checker, name + b"x", password), UnauthorizedLogin)
        assert isinstance(outcome(checker, b"", b""), UnauthorizedLogin)

    def test_what_counts_for_nothing(self, write: Write) -> None:
        """Empty lines and remarks; a name of a remark lets nobody in."""
        checker = PasswordFile(write(b"# who: may\n\n   \nanne:tim\nbob:jim"))
        assert outcome(checker, b"bob", b"jim") == b"bob"
        assert isinstance(outcome(checker, b"# who", b" may"), UnauthorizedLogin)

    @pytest.mark.parametrize(
        ("octets", "says"),
        [
            (b"anne\n", "line 1: NAME:PASSWORD is wanted"),
            (b"anne:tim\nbob:\n", "line 2: NAME:PASSWORD is wanted"),
            (b"anne:tim\n\n:jim\n", "line 3: NAME:PASSWORD is wanted"),
            (b"anne:secret\nbob:x\nanne:y\n", "line 3: 'anne' is named in line 1 already"),
            (b"\xe4nne:secret\n", "line 1: it is no UTF-8"),
        ],
    )
    def test_a_line_that_is_none(self, write: Write, octets: bytes, says: str) -> None:
        """One line that names the place, and no password."""
        path = write(octets)
        with pytest.raises(PasswordFileError) as caught:
            PasswordFile(path)
        assert str(caught.value) == f"{path}: {says}"

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        """It is said at once."""
        with pytest.raises(PasswordFileError, match="none: No such file or directory"):
            PasswordFile(tmp_path / "none")
        with pytest.raises(PasswordFileError, match="is no regular file"):
            PasswordFile(tmp_path)


class TestChanges:
    """While the server runs."""

    def test_a_new_password(self, write: Write) -> None:
        """It holds from the next login on; what did not change is not read again."""
        checker = PasswordFile(write(b"anne:tim\n"))
        known = checker._file.names()
        assert outcome(checker, b"anne", b"tim") == b"anne"
        assert checker._file.names() is known
        write(b"anne:other\n")
        assert outcome(checker, b"anne", b"other") == b"anne"
        assert isinstance(outcome(checker, b"anne", b"tim"), UnauthorizedLogin)

    @pytest.mark.parametrize("broken", [None, b"anne\n"])
    def test_a_file_that_is_gone_or_broken(self, write: Write, broken: bytes | None) -> None:
        """Nobody is told that the password is wrong, the log says it once, and all comes back."""
        path = write(b"anne:tim\n")
        checker = PasswordFile(path)
        for _ in range(2):
            if broken is None:
                path.unlink()
            else:
                write(broken)
            with capturedLogs() as events:
                assert cannot_tell(outcome(checker, b"anne", b"tim"))
                assert cannot_tell(outcome(checker, b"bob", b"jim"))
            [event] = events
            text = formatEvent(event)
            assert text.startswith(f"--auth file: {path}: ")
            assert text.endswith("; nobody can log in")
            write(b"anne:tim\n")
            assert outcome(checker, b"anne", b"tim") == b"anne"

    def test_who_may_read_it(self, write: Write) -> None:
        """Others that may are warned of, now and when it changes."""
        path = write(b"anne:tim\n")
        for mode, says in [(0o600, []), (0o640, ["0640"]), (0o604, ["0604"])]:
            path.chmod(mode)
            with capturedLogs() as events:
                PasswordFile(path)
            assert [formatEvent(event) for event in events] == [
                f"{path}: others may read these passwords (mode {mode})" for mode in says
            ]


def test_it_is_a_checker(write: Write) -> None:
    """Of names and passwords, as twisted.cred knows them; CRAM-MD5 and the like are none."""
    assert verifyObject(ICredentialsChecker, PasswordFile(write(b"")))


class TestFilesOfOthers:
    """What looks like a file of passwords, and would let nobody in."""

    @pytest.mark.parametrize(
        "password",
        [
            b"$2y$05$abcdefghijklmnopqrstuv123456789012345678901234567890123",
            b"$apr1$salt$abcdefghijklmnopqrstuv",
            b"$6$salt$" + b"x" * 86,
            b"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
            b"{SSHA}c2VjcmV0",
            b"{SHA512-CRYPT}$6$salt$x",
            b"x:1000:1000:Anne:/home/anne:/bin/sh",
        ],
    )
    def test_a_hash_is_no_password(self, write: Write, password: bytes) -> None:
        """Who has read it could log in with it, and nobody else; so it stops the start."""
        with pytest.raises(PasswordFileError, match="line 2: this is a hash; passwords stand"):
            PasswordFile(write(b"tim:anne\nanne:" + password + b"\n"))

    @pytest.mark.parametrize("password", [b"$5.99", b"$1$", b"{a}b", b"{}x", b"a:1:2:b:c"])
    def test_a_strange_password_is_one(self, write: Write, password: bytes) -> None:
        """Nobody has to choose another one for it."""
        checker = PasswordFile(write(b"anne:" + password + b"\n"))
        assert outcome(checker, b"anne", password) == b"anne"

    @pytest.mark.parametrize("octets", [b"", b"\n", b"# only this\n"])
    def test_no_names(self, write: Write, octets: bytes) -> None:
        """That nobody can log in is said at the start, and not found out by the first user."""
        with capturedLogs() as events:
            PasswordFile(write(octets))
        [event] = events
        assert formatEvent(event).endswith("/passwords: no names in it; nobody can log in")

    def test_a_pipe(self, tmp_path: Path) -> None:
        """Its end may never come, and the server would never start."""
        os.mkfifo(tmp_path / "passwords")
        with pytest.raises(PasswordFileError, match="is no regular file"):
            PasswordFile(tmp_path / "passwords")
