"""
Which identities a folder holds: certbot's, or PEM files with key and chain each.

certbot keeps ``live/NAME/fullchain.pem`` and ``privkey.pem`` below ``/etc/letsencrypt``, where each
is a link that it exchanges when it renews.  Any of the three folders on that way may be named.
"""

from __future__ import annotations

from pathlib import Path

from smtpcb.tls._identity import IdentityError

CHAIN, KEY = "fullchain.pem", "privkey.pem"
# What certbot has beside them: the parts of the first.
_PARTS = ("cert.pem", "chain.pem")


def pairs_in(folder: Path) -> list[tuple[Path, Path | None]]:
    """
    Return the files of certificates, each with that of its key (``None``: it is the same).

    They are in the order of their names.  Whether they are any good is not looked at; a folder of a
    pair of which one is missing is a pair too.  Nothing else in the folder matters.

    :raises IdentityError: it cannot be listed.
    """
    entries = _listed(folder)
    if any(entry.name == "live" for entry in entries) and (folder / "live").is_dir():
        return pairs_in(folder / "live")
    found: list[tuple[Path, Path | None]] = []
    names = {entry.name for entry in entries}
    if CHAIN in names and KEY in names:
        found.append((folder / CHAIN, folder / KEY))
        entries = [entry for entry in entries if entry.name not in (CHAIN, KEY, *_PARTS)]
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            chain, key = entry / CHAIN, entry / KEY
            if _is_there(chain) or _is_there(key):
                found.append((chain, key))
        elif entry.suffix == ".pem":
            found.append((entry, None))
    return found


def _is_there(path: Path) -> bool:
    """Whether it is, or may be: what we may not look at is found out when it is read."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise IdentityError(f"{folder}: {error.strerror}") from error
