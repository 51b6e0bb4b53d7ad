"""
IdentityFiles: all that an operator has named, read as a whole and as often as wanted.

Each of them stands for itself.  One that is broken when it is read again keeps what it was, and
does not keep the others from being renewed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twisted.logger import Logger

from smtpcb.tls._choice import serves
from smtpcb.tls._folder import pairs_in
from smtpcb.tls._identity import Identity, IdentityError
from smtpcb.tls._reading import load_pem, load_pkcs12, read_passphrase

_log = Logger(namespace="smtpcb.tls")


class IdentityFiles:
    """
    Reads identities from files; it is what `ServerTls` takes.

    The first that is named is the first there is; those of folders come last.

    :param pairs: PEM files with certificate and chain, each with that of its key; ``None``: that
        is in the same file.
    :param archive: a PKCS#12 file.
    :param folder: where there are several, as certbot keeps them, or PEM files with key and chain
        each; what else is there does not matter.  At first a broken one is left out, and the log
        says so.
    :param passphrase_file: its first line opens the keys.
    :param hostname: of all in the folder, the one for it comes first.
    :param before: what is used in place of those that cannot be read the first time.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path | None]] = (),
        *,
        archive: Path | None = None,
        folder: Path | None = None,
        passphrase_file: Path | None = None,
        hostname: str = "",
        before: Sequence[Identity] = (),
    ) -> None:
        self._pairs = tuple(pairs)
        self._archive = archive
        self._folder = folder
        self._passphrase_file = passphrase_file
        self._hostname = hostname
        self._before: Sequence[Identity] = tuple(before)
        self._begun = False

    def __call__(self) -> Sequence[Identity]:
        """
        Read all of them.

        :return: each as it is in its file, or, where that is broken, as it was before.
        :raises IdentityError: a file that was named cannot be used and never could; or none can.
        """
        try:
            identities = self._read()
        except IdentityError as error:
            if self._begun or not self._before:
                raise
            _say_used(str(error))
            identities = self._before
        self._begun = True
        self._before = identities
        return identities

    def files(self) -> list[Path]:
        """Return the files that are read: who looks at them knows whether to read them again."""
        files = [file for pair in self._all_pairs() for file in pair if file is not None]
        return [*files, *filter(None, (self._archive, self._folder, self._passphrase_file))]

    def _all_pairs(self) -> list[tuple[Path, Path | None]]:
        try:
            return [*self._pairs, *(pairs_in(self._folder) if self._folder else ())]
        except IdentityError:
            return [*self._pairs]

    def _read(self) -> Sequence[Identity]:
        secret = None
        if self._passphrase_file is not None:
            secret = read_passphrase(self._passphrase_file)
        reading = _Reading(secret, {one.source: one for one in self._before})
        for pair in self._pairs:
            reading.take(*pair)
        if self._archive is not None:
            reading.take(self._archive, None, archive=True)
        named = len(reading.found)
        if self._folder is not None:
            for pair in pairs_in(self._folder):
                reading.take(*pair, may_lack=True)
        if reading.fresh:
            for fault in reading.faults:
                _log.error("{fault}", fault=fault)
            first, others = reading.found[:named], reading.found[named:]
            # In a folder nothing else says which of them is for clients that ask for no name.
            others.sort(key=lambda one: not serves(one, self._hostname))
            return [*first, *others]
        if not reading.first_fault:
            raise IdentityError(
                f"{self._folder}: no certificates: neither NAME/fullchain.pem and "
                "NAME/privkey.pem, nor NAME.pem with key and chain"
            )
        raise IdentityError(reading.first_fault)


class _Reading:
    """
    One time that all of them are read.

    :ivar found: the identities, in the order of their files.
    :ivar fresh: whether any of them has been read now.
    :ivar faults: what there is to say of those that have not.
    :ivar first_fault: what is wrong with the first of them.
    """

    def __init__(self, passphrase: bytes | None, before: dict[str, Identity]) -> None:
        self.found: list[Identity] = []
        self.fresh = False
        self.faults: list[str] = []
        self.first_fault = ""
        self._passphrase = passphrase
        self._before = before

    def take(
        self, path: Path, key: Path | None, *, archive: bool = False, may_lack: bool = False
    ) -> None:
        """
        Read one.

        :param may_lack: one that cannot be used, and never could, is left out.
        """
        try:
            if archive:
                identity = load_pkcs12(path, self._passphrase)
            else:
                identity = load_pem(path, key, self._passphrase)
        except IdentityError as error:
            self.first_fault = self.first_fault or str(error)
            before = self._before.get(str(path))
            if before is not None:
                self.found.append(before)
                self.faults.append(_used(str(error)))
            elif may_lack:
                self.faults.append(f"{error}; it is left out")
            else:
                raise
        else:
            self.found.append(identity)
            self.fresh = True


def _used(fault: str) -> str:
    return f"{fault}; what was read before is used"


def _say_used(fault: str) -> None:
    _log.warn("{fault}", fault=_used(fault))
