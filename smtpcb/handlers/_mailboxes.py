"""
Which folder is a recipient's mailbox: its address, written so that it can be nothing but a name.

A client chooses addresses, and must choose no path.  So what is not a letter of a few is written as
its octets in hexadecimal, and a folder is only looked for, never made: who may receive mail is for
whoever owns the disk to say.
"""

from __future__ import annotations

import hashlib
import re

from smtpcb.smtp._address import ForwardPath

# The file systems there are take 255 octets.
_LONGEST = 200
_NOT_PLAIN = re.compile(rb"[^a-z0-9@._+=-]|\A[.]")


def folder_name(path: ForwardPath) -> str:
    """
    Return the name of a recipient's folder, such as ``anne@example.org``.

    Capitals of ASCII are small letters there.  ``%`` and two digits stand for any octet of its
    UTF-8 that is no letter, digit, ``@``, ``.``, ``_``, ``+``, ``=`` or ``-``, and for a dot at the
    beginning; so two addresses have one name only if they differ in such capitals.  A name that
    would be too long ends in ``%%`` and a digest of the address.
    """
    # Of octets only ASCII has capitals: the Kelvin sign is no K, and whose it is is another's mail.
    octets = str(path).encode("utf-8", "surrogatepass").lower()
    name = _NOT_PLAIN.sub(lambda found: b"%%%02x" % found[0][0], octets).decode("ascii")
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 66]}%%{hashlib.sha256(octets).hexdigest()}"
