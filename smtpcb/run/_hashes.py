"""How a password is stored: a row for each scheme, which makes and checks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from smtpcb.smtp.sasl import ScramSecret

_SCRYPT = re.compile(
    r"\$scrypt\$ln=(?P<ln>[0-9]{1,2}),r=(?P<r>[0-9]{1,2}),p=(?P<p>[0-9]{1,2})"
    r"\$(?P<salt>[A-Za-z0-9+/]{4,})\$(?P<key>[A-Za-z0-9+/]{20,})"
)
_ARGON2 = re.compile(
    r"\$argon2(?:id?|d)\$(?:v=(?:16|19)\$)?m=(?P<m>[0-9]{1,7}),t=(?P<t>[0-9]{1,2}),p=(?P<p>[0-9]{1,2})"
    r"\$(?P<salt>[A-Za-z0-9+/]{11,})\$(?P<key>[A-Za-z0-9+/]{16,})"
)
# 64 MiB and a tenth of a second.
_LN, _R, _P = 16, 8, 1
_MOST_MEMORY = 256 * 1024 * 1024


class HashError(ValueError):
    """A password cannot be stored or looked at so; the words are ours, and quote nothing of it."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """
    One way to store a password.

    :ivar name: as ``smtpcb password --scheme`` says it.
    :ivar form: what is stored looks so.
    :ivar make: makes it.
    :ivar fits: tells whether that is the password.
    :ivar package: what has to be installed; ``""``: nothing.
    """

    name: str
    form: re.Pattern[str]
    make: Callable[[str], str]
    fits: Callable[[str, str], bool]
    package: str = ""

    def require(self) -> None:
        """
        See whether it can be used.

        :raises HashError: what it needs is not installed.
        """
        if self.package:
            try:
                import_module(self.package.partition("-")[0])
            except ImportError:
                raise HashError(
                    f"{self.name} needs {self.package}: pip install 'smtpcb[passwords]'"
                ) from None


def _octets(password: str) -> bytes:
    return password.encode("utf-8", "surrogateescape")


def _plain(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii").rstrip("=")


def _decoded(text: str) -> bytes:
    """
    Return what a salt or a key is in octets.

    :raises HashError: it has been cut off, or a sign in it is another one.
    """
    try:
        octets = binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except binascii.Error:
        octets = b""
    if _plain(octets) != text:
        raise HashError("its salt or key is no base64 to its end")
    return octets


def _scrypt_key(password: str, salt: bytes, ln: int, r: int, p: int, length: int) -> bytes:
    return hashlib.scrypt(
        _octets(password), salt=salt, n=1 << ln, r=r, p=p, maxmem=2 * _MOST_MEMORY, dklen=length
    )


def _make_scrypt(password: str) -> str:
    salt = secrets.token_bytes(16)
    key = _scrypt_key(password, salt, _LN, _R, _P, 32)
    return f"$scrypt$ln={_LN},r={_R},p={_P}${_plain(salt)}${_plain(key)}"


def _fits_scrypt(stored: str, password: str) -> bool:
    match = _SCRYPT.fullmatch(stored)
    assert match is not None
    ln, r, p = (int(match[name]) for name in ("ln", "r", "p"))
    key = _decoded(match["key"])
    found = _scrypt_key(password, _decoded(match["salt"]), ln, r, p, len(key))
    return hmac.compare_digest(found, key)


def _check_scrypt(stored: str) -> None:
    match = _SCRYPT.fullmatch(stored)
    if match is None:
        raise HashError("no $scrypt$ln=…,r=…,p=…$SALT$KEY")
    ln, r, p = (int(match[name]) for name in ("ln", "r", "p"))
    if not (ln >= 1 and r and 1 <= p <= 16 and (128 * r << ln) <= _MOST_MEMORY):
        raise HashError("it would take too long, or too much memory")
    _decoded(match["salt"])
    _decoded(match["key"])


def _check_argon2(stored: str) -> None:
    """Find what its library would find at each login (argon2, the reference implementation)."""
    match = _ARGON2.fullmatch(stored)
    if match is None:
        raise HashError("no $argon2id$v=19$m=…,t=…,p=…$SALT$KEY")
    _decoded(match["salt"])
    _decoded(match["key"])
    m, t, p = (int(match[name]) for name in ("m", "t", "p"))
    if not (t and p and m >= 8 * p):
        raise HashError("its m, t and p are too small")
    if m * 1024 > _MOST_MEMORY:
        raise HashError("it would take too long, or too much memory")


def _make_argon2(password: str) -> str:
    argon2: Any = import_module("argon2")
    return str(argon2.PasswordHasher().hash(_octets(password)))


def _fits_argon2(stored: str, password: str) -> bool:
    argon2: Any = import_module("argon2")
    try:
        return bool(argon2.PasswordHasher().verify(stored, _octets(password)))
    except argon2.exceptions.VerifyMismatchError:
        return False


# bcrypt knows no more of a password than that; htpasswd cuts it as well.
_BCRYPT_OCTETS = 72


def _make_bcrypt(password: str) -> str:
    bcrypt: Any = import_module("bcrypt")
    octets = _octets(password)
    if len(octets) > _BCRYPT_OCTETS:
        raise HashError(f"bcrypt takes passwords of up to {_BCRYPT_OCTETS} octets")
    return str(bcrypt.hashpw(octets, bcrypt.gensalt(12)).decode("ascii"))


def _fits_bcrypt(stored: str, password: str) -> bool:
    bcrypt: Any = import_module("bcrypt")
    octets = _octets(password)[:_BCRYPT_OCTETS]
    return bool(bcrypt.checkpw(octets, stored.encode("ascii")))


def _fits_scram(stored: str, password: str) -> bool:
    return ScramSecret.read(stored).fits(password)


SCHEMES: tuple[Scheme, ...] = (
    Scheme("scrypt", re.compile(r"\$scrypt\$.*"), _make_scrypt, _fits_scrypt),
    Scheme(
        "argon2",
        re.compile(r"\$argon2(?:id?|d)\$.*"),
        _make_argon2,
        _fits_argon2,
        "argon2-cffi",
    ),
    Scheme(
        "bcrypt",
        re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-6])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}"),
        _make_bcrypt,
        _fits_bcrypt,
        "bcrypt",
    ),
    Scheme(
        "scram-sha-256",
        re.compile(r"\{SCRAM-SHA-256\}.*"),
        lambda password: ScramSecret.of(password).write(),
        _fits_scram,
    ),
)


def scheme_of(stored: str) -> Scheme:
    """
    Return how something is stored.

    :raises HashError: in no way that we know, or what it takes is not installed.
    """
    for scheme in SCHEMES:
        if scheme.form.fullmatch(stored):
            scheme.require()
            if scheme.name == "scrypt":
                _check_scrypt(stored)
            elif scheme.name == "argon2":
                _check_argon2(stored)
            elif scheme.name == "scram-sha-256":
                try:
                    ScramSecret.read(stored)
                except ValueError as error:
                    raise HashError(str(error)) from None
            return scheme
    known = ", ".join(scheme.name for scheme in SCHEMES)
    raise HashError(f"this is no hash of {known}; `smtpcb password` makes one")
