"""The certificate that a server without one makes for itself, and keeps."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.logger import Logger

from smtpcb import _folders as folders
from smtpcb.tls._identity import Identity, IdentityError, alternatives, from_pem
from smtpcb.tls._reading import read_pem, warn_of_readers

SELF_SIGNED_LIFETIME = timedelta(days=3652)
_FILE_NAME = "identity.pem"

_PEM = serialization.Encoding.PEM

_log = Logger(namespace="smtpcb.tls")


def self_signed(folder: Path, hostname: str) -> Identity:
    """
    Return the identity kept in ``identity.pem`` below a folder; make it if there is none yet.

    It is valid for ten years, for `hostname`, ``localhost``, 127.0.0.1 and ::1, and clients
    can trust it by that very file (``curl --cacert``).  One that has expired or is for another
    host is replaced; one that cannot be read is not, since it may be yours.

    :param folder: made with mode 0700 if missing; the file has mode 0600.
    :param hostname: a DNS name, also an international one, or an IP address.
    :raises IdentityError: the folder or the file is somebody else's, others may write there, or
        somebody else keeps it locked; it cannot be written; the kept file is broken; or
        `hostname` can stand in no certificate.
    """
    path = folder.absolute() / _FILE_NAME
    subject = _general_name(hostname, path)
    try:
        descriptor, _ = folders.make_folder(path.parent)
        try:
            # Of several processes starting at once, one writes and the others read what it wrote.
            folders.lock(descriptor, path.parent)
            identity = _kept(path, descriptor)
            if identity is None or not _serves(identity, subject):
                identity = read_pem(_replace(path, descriptor, _make(subject)), path)
                _log.info(
                    "{path}: made a self-signed certificate for {name}", path=path, name=hostname
                )
            return identity
        finally:
            os.close(descriptor)
    except OSError as error:
        raise IdentityError(f"{Path(folder, error.filename or '')}: {error.strerror}") from error


def make_self_signed(hostname: str, source: str = "self-signed") -> Identity:
    """
    Make such an identity, and keep it nowhere.

    :raises IdentityError: `hostname` can stand in no certificate.
    """
    return from_pem(_make(_general_name(hostname, source)), source)


def look_at_self_signed(folder: Path, owners: frozenset[int] | None = None) -> None:
    """
    Find out whether `self_signed` could use what is there, and change nothing.

    :param owners: the users that may have made it; by default root and us.
    :raises IdentityError: it could not.
    """
    path = folder.absolute() / _FILE_NAME
    try:
        with suppress(FileNotFoundError):
            descriptor = folders.open_folder(path.parent, owners=owners)
            try:
                _kept(path, descriptor, owners)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise IdentityError(f"{Path(folder, error.filename or '')}: {error.strerror}") from error


def _kept(path: Path, folder: int, owners: frozenset[int] | None = None) -> Identity | None:
    try:
        descriptor = folders.open_file(path, dir_fd=folder, owners=owners)
    except FileNotFoundError:
        return None
    except folders.NotOursError:
        if path.is_symlink() and not path.exists():
            return None  # it leads nowhere: nothing of anybody's is lost
        raise
    with open(descriptor, "rb") as file:
        warn_of_readers(path, os.fstat(descriptor).st_mode)
        return read_pem(file.read(), path)


def _replace(path: Path, folder: int, content: bytes) -> bytes:
    """Write the file, and return what it has."""
    new = path.with_suffix(".new").name
    with suppress(FileNotFoundError):
        os.unlink(new, dir_fd=folder)  # a crash left it: whoever holds the lock is alone here
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(new, flags, 0o600, dir_fd=folder)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.rename(new, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)  # the new name lasts, not only the file's content
    return content


def _general_name(hostname: str, source: object) -> x509.DNSName | x509.IPAddress:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(hostname))
    # IDNA also refuses labels that are empty or longer than 63 octets (RFC 1034 §3.1).
    with suppress(UnicodeError):
        if name := hostname.lower().rstrip(".").encode("idna").decode("ascii"):
            return x509.DNSName(name)
    raise IdentityError(f"{source}: {hostname!r} can stand in no certificate")


def _serves(identity: Identity, name: x509.GeneralName) -> bool:
    return name in (alternatives(identity.chain[0]) or ()) and datetime.now(UTC) < identity.expires


def _make(subject: x509.DNSName | x509.IPAddress) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    # At most 64 characters: RFC 5280 appendix A.1, ub-common-name.  Clients read the others.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(subject.value)[:64])])
    own_host = map(ip_address, ("127.0.0.1", "::1"))
    names = (subject, x509.DNSName("localhost"), *map(x509.IPAddress, own_host))
    now = datetime.now(UTC)
    # No authority: Firefox, Thunderbird and rustls object to a server whose certificate says it
    # is one; OpenSSL trusts a certificate it is given even if it does not.
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clients whose clocks are behind
        .not_valid_after(now + SELF_SIGNED_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(dict.fromkeys(names)), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        _PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(_PEM)
