"""Shows ``htpasswd:FILE`` to every server that has ``--auth``; imports ours only when used."""

from typing import Any

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import ICheckerFactory
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(ICheckerFactory, IPlugin)
class _Htpasswd:
    authType = "htpasswd"
    argStringFormat = "FILE: lines of NAME:HASH"
    credentialInterfaces = (IUsernamePassword,)
    authHelp = (
        "Names and hashes of passwords, a line each: scrypt, SCRAM-SHA-256, and, where bcrypt\n"
        "and argon2-cffi are installed, theirs (htpasswd -B).  `smtpcb password FILE NAME`\n"
        "writes them.\n"
    )

    def generateChecker(self, argstring: str = "") -> Any:
        """Return the checker of a file."""
        from pathlib import Path

        from smtpcb.run._htpasswd import HashedFile

        if not argstring:
            raise ValueError("htpasswd:FILE is wanted")
        return HashedFile(Path(argstring).absolute())


htpasswd = _Htpasswd()
