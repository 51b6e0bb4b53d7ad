"""
``--auth file:FILE``: who may log in, by the lines of a file.

A line is ``NAME:PASSWORD``: everything behind the first colon, up to the end of the line, is the
password, further colons and blanks too.

Twisted's own reader takes what stands between the first two colons for the password, and refuses
everybody for good when the file cannot be read.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from smtpcb.engine._connection import Connection
from smtpcb.interfaces import ISecretKeeper
from smtpcb.run._named_lines import CANNOT_TELL, PasswordFileError, Watched, named_lines
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Credentials

# What crypt(3), htpasswd, Dovecot and LDAP make of a password, and a line of /etc/passwd: taken for
# the password itself it would lock everybody out, and let in who has read the file.
_HASHED = re.compile(
    rb"\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|argon2[di]+|scrypt|pbkdf2[-a-z0-9]*)\$.+\$.+"
    rb"|\{[A-Z][-A-Z0-9.]{2,}\}.+"
    rb"|[^:]*:[0-9]+:[0-9]+:[^:]*:/[^:]*:[^:]*"
)


@implementer(ICredentialsChecker, ISecretKeeper)
class PasswordFile:
    """
    Who is in a file of names and passwords, which may change at any time.

    A file that has been removed, or that cannot be read or understood any more, lets nobody in and
    turns nobody away: the client hears `CANNOT_TELL`, and the log says why.

    :param path: of the file, which is read now.
    :param owners: who may own it.
    :raises PasswordFileError: it cannot be used.
    """

    credentialInterfaces = (IUsernamePassword,)
    mechanisms = None  # all that a name and its password will do for

    def __init__(self, path: Path, owners: Collection[int] | None = None) -> None:
        self._file = Watched(path, _understood, kind="file", private=True, owners=owners)
        self._file.names()

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """
        Look for a name and its password.

        :return: fires with the name.  It fails with `UnauthorizedLogin` if there is no such name or
            its password is another one, and with a `Refusal` if that cannot be told now.
        """
        names = self._file.names_or_none()
        if names is None:
            return fail(Refusal(CANNOT_TELL))
        known = names.get(credentials.username)
        # Compared even so: how long it takes must not tell which names there are.
        same = hmac.compare_digest(known or b"", credentials.password)
        if known is None or not same:
            return fail(UnauthorizedLogin("no such name, or another password"))
        return succeed(credentials.username)

    def authenticate(self, credentials: Credentials, connection: Connection) -> bool | Reply:
        """Look for a name and its password, or only for the name if the password is proven."""
        if credentials.authorization_id not in ("", credentials.username):
            return False  # a password says nothing of acting for somebody else (RFC 4616 §2)
        names = self._file.names_or_none()
        if names is None:
            return CANNOT_TELL
        known = names.get(credentials.username.encode())
        if credentials.proven:
            return known is not None
        password = credentials.password.encode("utf-8", "surrogateescape")
        return hmac.compare_digest(known or b"", password) and known is not None

    def stored_secret(
        self, username: str, mechanism: str, connection: Connection
    ) -> bytes | Reply | None:
        """Look for the password that belongs to a name."""
        names = self._file.names_or_none()
        return CANNOT_TELL if names is None else names.get(username.encode())


def _understood(path: Path, octets: bytes) -> Mapping[bytes, bytes]:
    known: dict[bytes, bytes] = {}
    for number, name, password in named_lines(path, octets, "NAME:PASSWORD"):
        if _HASHED.fullmatch(password):
            raise PasswordFileError(
                f"{path}: line {number}: this is a hash; passwords stand here as they are, and "
                "hashes in a file of --auth htpasswd:FILE"
            )
        known[name] = password
    return known


__all__ = ["CANNOT_TELL", "PasswordFile", "PasswordFileError"]
