"""``--handler relay:…``: what stands behind the colon."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import quoteStringArgument
from zope.interface import implementer

from smtpcb._words import no_words, one_of, path, read_words, seconds, switch, whole_number
from smtpcb.client import CertificateChecks, Server
from smtpcb.client._addresses import is_address, is_loopback
from smtpcb.engine import ClientSettings
from smtpcb.handlers.relay._client import PASS_ON
from smtpcb.handlers.relay._mx import MxRelay
from smtpcb.handlers.relay._relay import Relay
from smtpcb.interfaces import ISmtpHandlerPlugin, ISmtpHandlerSetting
from smtpcb.smtp._networks import UNIX, read_network
from smtpcb.smtp.sasl import Credentials

_SMTP, _LMTP, _SMTPS = 25, 24, 465
_HOST = re.compile(r"[^\s/@:\\\[\]=]+")
_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::(.*))?")
_WANTED = (
    "relay:HOST[:PORT], relay:unix:PATH or relay:mx is wanted, such as relay:mail.example.org:25"
)
_TLS = ("opportunistic", "starttls", "implicit", "off")


def _text(text: str) -> str:
    if not text:
        raise ValueError("something is wanted behind it")
    return text


def _network(text: str) -> str:
    if text != UNIX:
        read_network(text)
    return text


_SETTINGS = {
    "tls": one_of(*_TLS),
    "tls-hostname": _text,
    "ca": path,
    "user": _text,
    "password-file": path,
    "lmtp": switch,
    "pass-on": one_of(*PASS_ON),
    "ehlo": _text,
    "sessions": whole_number,
    "wait": seconds,
}
_OF_MX = {"tls", "ehlo", "sessions", "wait"}


@dataclass(frozen=True, slots=True)
class _Where:
    """
    What stands before the settings.

    :ivar host: a name or an address, or the path of a socket.
    :ivar port: ``None``: it was not said.
    """

    host: str
    port: int | None = None
    is_socket: bool = False

    @property
    def local(self) -> bool:
        """Whether nobody is on the way."""
        return self.is_socket or is_loopback(self.host)


@implementer(ISmtpHandlerPlugin)
class RelayPlugin:
    """``--handler relay:HOST[:PORT]|unix:PATH|mx[,NAME=VALUE…]``."""

    name = "relay"
    usage = "relay:HOST[:PORT][,NAME=VALUE...]"
    help = (
        "Passes every message on to a server (unix:PATH: a socket; mx: those of its domain) while "
        "the client waits, and keeps none."
    )

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> Relay:
        """
        Return a `Relay`, or for ``mx`` an `MxRelay`.

        :raises ValueError: it is not said where to, or a setting is none.
        """
        where, _, rest = argument.partition(",")
        if where.strip() == "mx":
            return _mx_relay(rest, setting.reactor)
        place = _where(where.strip())
        words, said = read_words(rest, _SETTINGS)
        no_words(words)
        return _relay(place, said, setting.reactor)


def _where(text: str) -> _Where:
    if text.startswith("unix:") and text[5:]:
        return _Where(str(Path(text[5:]).expanduser().absolute()), is_socket=True)
    bracketed = _BRACKETS.fullmatch(text)
    if bracketed is not None and is_address(bracketed[1]):
        host, port = bracketed[1], bracketed[2]
    elif is_address(text):
        host, port = text, None
    else:
        host, colon, number = text.partition(":")
        port = number if colon else None
        if not _HOST.fullmatch(host):
            raise ValueError(_WANTED)
    if port is None:
        return _Where(host)
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        raise ValueError(_WANTED)
    return _Where(host, int(port))


def _relay(place: _Where, said: dict[str, Any], reactor: Any) -> Relay:
    user, mode = said.get("user"), said.get("tls")
    if user is None and "password_file" in said:
        raise ValueError("password-file= is that of user=, which is not said")
    if user is not None and "password_file" not in said:
        raise ValueError("user= needs password-file=FILE, whose first line is the password")
    secured = "ca" in said or "tls_hostname" in said
    if mode is None:
        # A password is not said to whoever takes STARTTLS out of the offer.
        strict = user is not None or secured
        mode = "starttls" if strict and not place.local else "off" if place.local else _TLS[0]
        mode = "starttls" if secured else mode
    if mode == "off" and secured:
        raise ValueError("tls=off: ca= and tls-hostname= are of no use")
    lmtp = said.get("lmtp", False)
    settings = _settings(said, mode, lmtp=lmtp, login=user is not None, local=place.local)
    port = place.port or (_LMTP if lmtp else _SMTPS if mode == "implicit" else _SMTP)
    hostname = said.get("tls_hostname") or ("" if place.is_socket else place.host)
    creator = CertificateChecks(hostname, trust=said.get("ca")) if hostname else None
    if creator is None and mode != "off":
        raise ValueError(f"tls={mode} on a socket needs tls-hostname=")
    host = place.host
    if place.is_socket:
        host = f"unix:{quoteStringArgument(host)}"
    server = Server(host, port, implicit_tls=mode == "implicit", creator=creator)
    options = _options(said, reactor)
    if user is not None:
        password = _password(said["password_file"])
        options["give"] = lambda mechanism: Credentials(mechanism, user, password)
    relay = Relay(server, settings, pass_on=said.get("pass_on"), **options)
    if place.is_socket:
        relay.goes_to = (place.host, None)
    return relay


def _mx_relay(rest: str, reactor: Any) -> MxRelay:
    known = {name: kind for name, kind in _SETTINGS.items() if name in _OF_MX}
    words, said = read_words(rest, {**known, "relay-from": _network}, frozenset({"relay-from"}))
    no_words(words)
    mode = said.get("tls", _TLS[0])
    if mode == "implicit":
        raise ValueError("tls=implicit: no exchanger of a domain has that")
    settings = _settings(said, mode)
    networks = said.get("relay_from", ())
    return MxRelay(settings, relay_from=networks, **_options(said, reactor))


def _settings(
    said: dict[str, Any], mode: str, *, lmtp: bool = False, login: bool = False, local: bool = False
) -> ClientSettings:
    starttls: Any = {"opportunistic": "opportunistic", "starttls": "required"}.get(mode, "off")
    name = said.get("ehlo")
    try:
        return ClientSettings(
            hostname=name,
            lmtp=lmtp,
            starttls=starttls,
            login="required" if login else "off",
            allow_insecure_auth=local,
        )
    except ValueError as error:
        raise ValueError(f"ehlo={name}: {error}") from None


def _options(said: dict[str, Any], reactor: Any) -> dict[str, Any]:
    options = {"size": said.get("sessions"), "wait_seconds": said.get("wait")}
    return {
        "reactor": reactor,
        **{name: value for name, value in options.items() if value is not None},
    }


def _password(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            line = opened.readline(4096).removesuffix(b"\n").removesuffix(b"\r")
    except OSError as error:
        raise ValueError(f"password-file={file}: {error.strerror}") from None
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        raise ValueError(f"password-file={file}: others may read it: chmod o-r {file}")
    if not line or b"\0" in line:
        raise ValueError(f"password-file={file}: its first line is no password")
    return line.decode("utf-8", "surrogateescape")
