"""Identities are read from PEM and PKCS#12 files."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from twisted.logger import Logger

from smtpcb._files import read_all
from smtpcb.tls._identity import Identity, IdentityError, put_together

# RFC 7468 §11 and, for the traditional form, RFC 1421 §4.6.1.1.
_ENCRYPTED = re.compile(rb"^(-----BEGIN ENCRYPTED |Proc-Type: 4,ENCRYPTED)", re.MULTILINE)
_PFX_VERSION = b"\x02\x01\x03"  # INTEGER 3, first thing in every PKCS#12 file: RFC 7292 §4

_log = Logger(namespace="smtpcb.tls")


def load_pem(
    certificates: Path, private_key: Path | None = None, passphrase: bytes | None = None
) -> Identity:
    """
    Read an identity from PEM files (RFC 7468).

    :param certificates: the certificate and its issuers, in any order.
    :param private_key: ``None`` where the key is in the same file.
    :param passphrase: of the private key; not looked at when the key is not encrypted.
    :raises IdentityError: a file is missing, unreadable or not PEM; the passphrase is missing or
        wrong; the key is of no use for TLS or belongs to no certificate of the file.
    """
    key_path = private_key or certificates
    data = _read(key_path, secret=True)
    key = _private_key(data, key_path, passphrase)
    return put_together(certificates, key, read_certificates(certificates))


def read_pem(data: bytes, path: Path) -> Identity:
    """
    Return the identity in the content of a PEM file, as `load_pem` does.

    :param path: where it is from.
    :raises IdentityError: as `load_pem`.
    """
    return put_together(path, _private_key(data, path, None), _certificates(data, path))


def load_pkcs12(path: Path, passphrase: bytes | None) -> Identity:
    """
    Read an identity from a PKCS#12 file, often named ``.p12`` or ``.pfx`` (RFC 7292).

    :param passphrase: of the file; ``None`` where it is not encrypted.
    :raises IdentityError: the file is missing, unreadable or not PKCS#12; the passphrase is
        missing or wrong; the file lacks a key usable for TLS or its certificate.
    """
    data = _read(path, secret=True)
    if _PFX_VERSION not in data[:16]:
        raise IdentityError(f"{path}: not a PKCS#12 file")
    try:
        content = pkcs12.load_pkcs12(data, passphrase)
    except (ValueError, UnsupportedAlgorithm) as error:
        fault = "it needs a passphrase" if passphrase is None else "the passphrase is wrong"
        raise IdentityError(f"{path}: {fault}, or the file is damaged") from error
    if content.key is None:
        raise IdentityError(f"{path}: holds no private key")
    # Which of them belongs to the key is told by the key, not by the file's attributes.
    own = [] if content.cert is None else [content.cert]
    certificates = [entry.certificate for entry in (*own, *content.additional_certs)]
    if not certificates:
        raise IdentityError(f"{path}: holds no certificate")
    return put_together(path, content.key, certificates)


def read_certificates(path: Path) -> Sequence[x509.Certificate]:
    """
    Return the certificates in a PEM file, at least one.

    :raises IdentityError: it cannot be read, or has none.
    """
    return _certificates(_read(path), path)


def read_passphrase(path: Path) -> bytes:
    """
    Return the first line of a file.

    :raises IdentityError: it cannot be read.
    """
    return _read(path).split(b"\n")[0].removesuffix(b"\r")


def warn_of_readers(path: Path, mode: int, owner: int | None = None) -> None:
    """
    Say so if others may read the file of a private key.

    :param owner: where it is somebody else's than ours, it is by its group that we read it, as
        with certbot's keys and the credentials of systemd.
    """
    others = stat.S_IROTH
    if owner is None or owner == os.geteuid():
        others |= stat.S_IRGRP
    if mode & others:
        _log.warn(
            "{path}: others may read this private key (mode {mode})",
            path=path,
            mode=f"{stat.S_IMODE(mode):04o}",
        )


def _private_key(data: bytes, key_path: Path, passphrase: bytes | None) -> object:
    encrypted = _ENCRYPTED.search(data) is not None
    if encrypted and not passphrase:
        raise IdentityError(f"{key_path}: the private key is encrypted, no passphrase was given")
    try:
        return serialization.load_pem_private_key(data, passphrase if encrypted else None)
    except (ValueError, UnsupportedAlgorithm) as error:
        fault = "the passphrase is wrong" if encrypted else "no private key in PEM format"
        raise IdentityError(f"{key_path}: {fault}") from error


def _certificates(data: bytes, path: Path) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise IdentityError(f"{path}: no certificate in PEM format") from error


def _read(path: Path, *, secret: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = read_all(file)
    except OSError as error:
        raise IdentityError(f"{path}: {error.strerror}") from error
    if secret:
        warn_of_readers(path, status.st_mode, status.st_uid)
    return data
