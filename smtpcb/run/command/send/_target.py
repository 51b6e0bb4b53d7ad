"""Where it goes, with which TLS, and who logs in."""

from __future__ import annotations

import getpass
import os
import re
import stat
import sys
from argparse import Namespace
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import clientFromString

from smtpcb.client import CertificateChecks, ClientTimes, MailExchangers, Server
from smtpcb.client._addresses import is_address, is_loopback
from smtpcb.engine import ClientSettings
from smtpcb.run.command.send._mistake import MistakeError, unreadable
from smtpcb.run.command.send._told import complain
from smtpcb.smtp._text import CONTROL
from smtpcb.smtp.sasl import Credentials
from smtpcb.tls import Identity, IdentityError, load_pem

_HOST = re.compile(r"[^\s/@:\\\[\]=]+")
_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::(.*))?")
# A host may be called mx, and have a port.
_EXCHANGERS = re.compile(r"mx:(?![0-9]+\Z)(\[[^\[\]]*\]|[^\[\]:]+)(?::(.*))?", re.IGNORECASE)
_TOKENS = ("OAUTHBEARER", "XOAUTH2")
_SMTP, _LMTP, _SMTPS, _SUBMISSION = 25, 24, 465, 587


@dataclass(frozen=True, slots=True)
class Place:
    """
    What --server says.

    :ivar host: a name, an address, or the description of an endpoint.
    :ivar port: ``None``: it was not said.
    :ivar local: nobody is on the way, it is this machine.
    :ivar exchangers: it is those of the domain that ``host`` is.
    """

    host: str
    port: int | None = None
    described: bool = False
    local: bool = False
    exchangers: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """
    A server, and how it is spoken to.

    :ivar secured: there is to be TLS.
    """

    server: Server | MailExchangers
    settings: ClientSettings
    times: ClientTimes
    secured: bool
    secret: str
    user: str | None

    def give(self, mechanism: str) -> Credentials | None:
        """Say who logs in."""
        if self.user is None and mechanism != "EXTERNAL":
            return None
        if mechanism in _TOKENS:
            # A password is no token; it is one only if that mechanism was asked for by name.
            asked = self.settings.mechanisms is not None
            return Credentials(mechanism, self.user or "", "", token=self.secret) if asked else None
        if mechanism == "EXTERNAL":
            return Credentials(mechanism, "", "", authorization_id=self.user or "")
        return Credentials(mechanism, self.user or "", self.secret)


def target_of(said: Namespace, reactor: Any) -> Target:
    """
    Return the server that the options mean; the password is asked for if there is a terminal.

    :raises MistakeError: they mean none, or contradict each other.
    """
    place = place_of(said.server)
    secured = said.ca or said.tls_hostname or said.certificate or said.insecure_tls
    mode = said.tls or _usual_tls(place, secured)
    if mode == "off" and secured:
        raise MistakeError(
            "--tls off: --ca, --tls-hostname, --certificate and --insecure-tls are of no use"
        )
    if said.insecure_tls and (said.ca or said.tls_hostname):
        raise MistakeError("--insecure-tls: --ca and --tls-hostname are of no use")
    if said.key and not said.certificate:
        raise MistakeError("--key is that of --certificate, which is not said")
    checks = None if mode == "off" or place.exchangers else _checks(said, place)
    try:
        if place.described:
            clientFromString(reactor, place.host)
        port = place.port or _usual_port(said, mode)
        server: Server | MailExchangers
        if place.exchangers:
            server = _exchangers(said, place, mode)
        else:
            server = Server(place.host, port, implicit_tls=mode == "implicit", creator=checks)
        settings = ClientSettings(
            hostname=said.ehlo,
            lmtp=said.lmtp,
            starttls={"starttls": "required", "opportunistic": "opportunistic"}.get(mode, "off"),  # type: ignore[arg-type]
            login="off" if said.user is None and said.auth != "EXTERNAL" else "required",
            mechanisms=None if said.auth is None else (said.auth,),
            allow_insecure_auth=place.local,
        )
    except IdentityError as error:
        raise MistakeError(str(error), os.EX_NOINPUT) from None
    except (ValueError, TypeError) as error:
        raise MistakeError(str(error).replace("hostname is", "--ehlo is", 1)) from None
    secret = _secret(said)
    return Target(server, settings, _times(said.timeout), mode != "off", secret, said.user)


def _usual_tls(place: Place, secured: object) -> str:
    if place.exchangers:
        # Of their names nobody knows but the DNS, and many have a certificate of no name.
        return "starttls" if secured else "opportunistic"
    return "off" if place.local and not secured else "starttls"


def _exchangers(said: Namespace, place: Place, mode: str) -> MailExchangers:
    if said.user or said.auth:
        raise MistakeError("nobody logs in at the exchangers of a domain: --user has no place")
    if said.lmtp or mode == "implicit" or said.tls_hostname or said.insecure_tls:
        raise MistakeError(
            "--server mx:DOMAIN goes without --lmtp, --tls implicit, --tls-hostname, --insecure-tls"
        )
    # Of an address in brackets the user knows where it is.
    literal = place.host.startswith("[")
    return MailExchangers(
        place.host,
        place.port or _SMTP,
        allow_literals=True,
        allow_local=literal,
        trust=said.ca,
        certificate=_identity(said),
    )


def _identity(said: Namespace) -> Identity | None:
    if not said.certificate:
        return None
    identity = load_pem(said.certificate, said.key)
    _warn_of_readers(said.key or said.certificate, "private key")
    return identity


def _usual_port(said: Namespace, mode: str) -> int:
    if said.lmtp:
        return _LMTP
    if mode == "implicit":
        return _SMTPS
    # Of this machine it is the mail server's, as sendmail would have it.
    return _SMTP if said.server is None else _SUBMISSION


def place_of(text: str | None) -> Place:
    """
    Read --server.

    :raises MistakeError: it is none.
    """
    if text is None:
        return Place("localhost", local=True)
    exchangers = _EXCHANGERS.fullmatch(text)
    if exchangers is not None:
        domain, port = exchangers.groups()
        return Place(domain, _port(text, port), exchangers=True)
    bracketed = _BRACKETS.fullmatch(text)
    host, colon, rest = text.partition(":")
    if bracketed is not None and is_address(bracketed[1]):
        host, port = bracketed[1], bracketed[2]
    elif is_address(text):
        host, port = text, None
    elif not colon or rest.isdecimal() or not rest:
        host, port = host, rest if colon else None
        if not _HOST.fullmatch(host) or not host.isprintable():
            raise MistakeError(f"--server is HOST[:PORT] or an endpoint, not {text!r:.80}")
    else:
        return Place(text, described=True, local=host == "unix")
    return Place(host, _port(text, port), local=is_loopback(host))


def _port(text: str, port: str | None) -> int | None:
    if port is None:
        return None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise MistakeError(f"--server {text!r:.80}: no port")
    return int(port)


def _checks(said: Namespace, place: Place) -> CertificateChecks:
    hostname = said.tls_hostname or ("" if place.described else place.host)
    if not hostname:
        raise MistakeError(f"{place.host}: TLS needs --tls-hostname, or say --tls off")
    try:
        return CertificateChecks(
            hostname,
            trust=said.ca,
            certificate=_identity(said),
            insecure_unverified=said.insecure_tls,
        )
    except IdentityError as error:
        raise MistakeError(str(error), os.EX_NOINPUT) from None
    except ValueError as error:
        raise MistakeError(str(error)) from None


def _times(seconds: float | None) -> ClientTimes:
    if seconds is None:
        return ClientTimes()
    times = dict.fromkeys((row.name for row in fields(ClientTimes)), seconds)
    return ClientTimes(**{**times, "quit": min(seconds, ClientTimes().quit)})


def _secret(said: Namespace) -> str:
    """Return the password or token of who logs in."""
    if CONTROL.search(said.user or ""):
        raise MistakeError("--user: a control character in the name of who logs in")
    if said.user is None:
        if said.password_file or said.auth not in (None, "EXTERNAL"):
            raise MistakeError("it is not known who logs in: say --user NAME")
        return ""
    if said.auth == "EXTERNAL":
        return ""
    secret = _from_file(said) if said.password_file else _asked(said.user)
    if not secret or any(char in secret for char in "\0\r\n"):
        raise MistakeError("a password is one line, not empty, and has no NUL in it")
    if said.auth in _TOKENS and not (secret.isascii() and secret.isprintable()):
        raise MistakeError("a token is printable ASCII (RFC 6750 §2.1)")
    return secret


def _from_file(said: Namespace) -> str:
    try:
        if said.password_file == "-":  # noqa: S105 - a place
            if said.file == "-":
                raise MistakeError("standard input is the message: the password is somewhere else")
            line = sys.stdin.buffer.readline()
        else:
            with Path(said.password_file).open("rb") as file:
                _warn_of_readers(file.fileno(), "password", said.password_file)
                line = file.readline()
    except OSError as error:
        raise unreadable(said.password_file, error) from None
    return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")


def _warn_of_readers(file: int | Path, what: str, name: object = None) -> None:
    mode = os.stat(file).st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        complain(f"{name or file}: others may read this {what}")


def _asked(user: str) -> str:
    try:
        # Where there is none, getpass would take the message for the password.
        with open("/dev/tty", "rb"):
            pass
    except OSError:
        text = "there is no terminal to ask for the password on: say --password-file FILE"
        raise MistakeError(text) from None
    try:
        return getpass.getpass(f"Password of {user}: ")
    except EOFError:
        raise MistakeError("no password was given") from None
