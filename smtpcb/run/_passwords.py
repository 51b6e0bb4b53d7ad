"""
``--auth file:FILE``: who may log in, by the lines of a file.

A line is ``NAME:PASSWORD``: the name ends at the first colon, and everything behind it, up to the
end of the line, is the password, further colons and blanks too.  Empty lines count for nothing, nor
do those that begin with ``#``.  It is UTF-8.

Twisted's own reader takes what stands between the first two colons for the password, and refuses
everybody for good when the file cannot be read.
"""

from __future__ import annotations

import hmac
import re
import stat
from pathlib import Path
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply

# RFC 4954 §6: not the client's fault, and it may try the same again.
CANNOT_TELL = Reply(454)

# What crypt(3), htpasswd, Dovecot and LDAP make of a password, and a line of /etc/passwd: taken for
# the password itself it would lock everybody out, and let in who has read the file.
_HASHED = re.compile(
    rb"\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|argon2[di]+|scrypt|pbkdf2[-a-z0-9]*)\$.+\$.+"
    rb"|\{[A-Z][-A-Z0-9.]{2,}\}.+"
    rb"|[^:]*:[0-9]+:[0-9]+:[^:]*:/[^:]*:[^:]*"
)

_log = Logger(namespace="smtpcb")


class PasswordFileError(ValueError):
    """A file of passwords cannot be used; the text is one line that names it, and no password."""


@implementer(ICredentialsChecker)
class PasswordFile:
    """
    A checker of `twisted.cred` for a file of names and passwords, which may change at any time.

    A file that has been removed, or that cannot be read or understood any more, lets nobody in and
    turns nobody away: the client hears `CANNOT_TELL`, and the log says why.

    :param path: of the file, which is read now.
    :raises PasswordFileError: it cannot be used.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._known: dict[bytes, bytes] = {}
        self._fault = ""
        self._read_again()

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """
        Look for a name and its password.

        :return: fires with the name.  It fails with `UnauthorizedLogin` if there is no such name or
            its password is another one, and with a `Refusal` if that cannot be told now.
        """
        try:
            self._read_again()
        except PasswordFileError as error:
            if str(error) != self._fault:  # once, and not for each who tries
                self._fault = str(error)
                _log.error("--auth file: {why}; nobody can log in", why=self._fault)
            return fail(Refusal(CANNOT_TELL))
        self._fault = ""
        known = self._known.get(credentials.username)
        # Compared even so: how long it takes must not tell which names there are.
        same = hmac.compare_digest(known or b"", credentials.password)
        if known is None or not same:
            return fail(UnauthorizedLogin("no such name, or another password"))
        return succeed(credentials.username)

    def _read_again(self) -> None:
        """Read the file, if it is not the one that was read last."""
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if seen == self._seen:
                return
            if not stat.S_ISREG(status.st_mode):  # the end of a pipe may never come
                raise PasswordFileError(f"{self._path}: is no regular file")
            text = self._path.read_bytes()
        except OSError as error:
            raise PasswordFileError(f"{self._path}: {error.strerror}") from None
        self._known = _understood(self._path, text)
        self._seen = seen
        if not self._known:
            _log.warn("{path}: no names in it; nobody can log in", path=self._path)
        mode = stat.S_IMODE(status.st_mode)
        if mode & (stat.S_IRGRP | stat.S_IROTH):
            _log.warn(
                "{path}: others may read these passwords (mode {mode})",
                path=self._path,
                mode=f"{mode:04o}",
            )


def _understood(path: Path, octets: bytes) -> dict[bytes, bytes]:
    known: dict[bytes, bytes] = {}
    at: dict[bytes, int] = {}
    # Editors on Windows put a byte order mark before the first name.
    lines = octets.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines, 1):
        line = line.removesuffix(b"\r")
        if not line.strip() or line.startswith(b"#"):
            continue
        name, colon, password = line.partition(b":")
        if not (name and colon and password):
            raise PasswordFileError(f"{path}: line {number}: NAME:PASSWORD is wanted")
        try:
            line.decode()
        except UnicodeDecodeError:
            raise PasswordFileError(f"{path}: line {number}: it is no UTF-8") from None
        if name in at:
            raise PasswordFileError(
                f"{path}: line {number}: {name.decode()!r} is named in line {at[name]} already"
            )
        if _HASHED.fullmatch(password):
            raise PasswordFileError(
                f"{path}: line {number}: this is a hash; passwords stand here as they are"
            )
        known[name], at[name] = password, number
    return known
