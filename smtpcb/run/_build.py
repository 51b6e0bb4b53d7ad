"""Settings become a running service."""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.service import IService, Service
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import InvalidAuthType, findCheckerFactory
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    serverFromString,
    wrapServerTLS,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.plugin import getPlugins

from smtpcb import tls
from smtpcb.engine._settings import Settings
from smtpcb.handlers.capture import Capture, prepare
from smtpcb.handling import authenticator as adapt_authenticator
from smtpcb.interfaces import ISmtpHandlerPlugin
from smtpcb.run._options import OPTIONS, Configuration, ConfigurationError
from smtpcb.server import _transport as transport
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._service import SmtpService
from smtpcb.smtp.sasl import Credentials
from smtpcb.transcript._record import TranscriptFolder, TranscriptSettings, prune

PRUNE_SECONDS = 3600.0
RELOAD_SECONDS = 86400.0

_PORT = re.compile(r"tcp6?:(?:port=)?([0-9]{1,5})(?::|\Z)")

_log = Logger(namespace="smtpcb")


@dataclass(frozen=True, slots=True)
class Share:
    """
    What is one worker's, of all that ``--workers`` run.

    :ivar number: of this worker, from 1.
    :ivar workers: how many there are.
    :ivar sockets: descriptor and address family of those that all listen on, in the order of
        ``--listen`` and ``--smtps``.
    :ivar identity: key and chain in PEM and where they are from, for a worker that cannot read
        them there: twistd is not root any more, or they are just being exchanged.
    """

    number: int
    workers: int
    sockets: tuple[tuple[int, int], ...]
    identity: tuple[bytes, str] | None = field(default=None, repr=False)


def on_second_signal(reactor: Any, act: Callable[[], None]) -> dict[int, Any]:
    """Have whoever asks twice to stop not wait; return what the signals did before."""

    def come(*_: object) -> None:
        reactor.callFromThread(act)

    before: dict[int, Any] = {}
    with suppress(ValueError):  # not in the main thread: signals are somebody else's
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, come)
    return before


class ServerService(Service):
    """
    Everything that ``twistd smtpcb`` runs, in its order: handler, ports, and back.

    :param smtp: the ports.
    :param clear: how many of them, the first ones, are without implicit TLS.
    :param handler: started before them and stopped after them, if it is a service.
    :param identities: reloaded on SIGHUP and daily.
    :param transcripts: closed at the end, and cleared up every hour.
    :param report: what else to say once the ports are open; ``None``: say nothing at all.
    :param identity: what the identities were at first.
    """

    name = "smtpcb"

    def __init__(
        self,
        reactor: Any,
        smtp: SmtpService,
        clear: int,
        handler: object,
        identities: tls.ServerTls | None,
        transcripts: TranscriptFolder | None,
        transcript_settings: TranscriptSettings | None,
        report: Sequence[str] | None,
        identity: tls.Identity | None = None,
    ) -> None:
        self._reactor = reactor
        self.smtp = smtp
        self._clear = clear
        self._handler = handler if IService.providedBy(handler) else None
        self._identities = identities
        self._transcripts = transcripts
        self._transcript_settings = transcript_settings
        self.report = report
        self.identity = identity
        self._loops: list[LoopingCall] = []
        self._old_signal: Any = None

    def privilegedStartService(self) -> None:
        """
        Bind the ports.

        :raises StartError: one cannot be bound; a line on standard error says why, and nothing
            else does.
        """
        super().privilegedStartService()
        try:
            self.smtp.privilegedStartService()
        except Exception as error:  # an endpoint of a plug-in may raise anything
            cannot_listen(error)

    def startService(self) -> None:
        """Start all of it."""
        if self.running:
            return
        super().startService()
        if self._handler is not None:
            self._handler.startService()
        self.smtp.startService()
        if self._identities is not None:
            self._every(RELOAD_SECONDS, self.reload)
        # Without TLS as well: who sends it to every server does not mean to end this one.
        with suppress(ValueError):  # not in the main thread: signals are somebody else's
            self._old_signal = signal.signal(
                signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.reload)
            )
        if self._transcript_settings is not None:
            self._every(PRUNE_SECONDS, self._prune, now=True)
        if self.report is not None:
            announce([port.getHost() for port in self.smtp.ports], self._clear, self.report)

    @inlineCallbacks
    def stopService(self) -> Any:
        """Stop all of it: no message that was accepted is lost."""
        super().stopService()
        for loop in self._loops:
            loop.stop()
        self._loops.clear()
        if self._old_signal is not None:
            signal.signal(signal.SIGHUP, self._old_signal)
            self._old_signal = None
        again = on_second_signal(self._reactor, self.smtp.factory.cut)
        yield self.smtp.stopService()
        for number, handler in again.items():
            signal.signal(number, handler)
        if self._handler is not None:
            yield maybeDeferred(self._handler.stopService)
        if self._transcripts is not None:
            self._transcripts.close()

    def reload(self) -> None:
        """Read keys and certificates again; a pair that is broken leaves the old one in force."""
        if self._identities is None:
            return
        try:
            self._identities.reload()
        except tls.IdentityError as error:
            _log.error("certificates not reloaded: {error}", error=str(error))
        else:
            _log.info("certificates reloaded")

    def _every(self, seconds: float, work: Callable[[], Any], *, now: bool = False) -> None:
        def once() -> Deferred[Any]:
            # An error here would end the loop.
            return maybeDeferred(work).addErrback(
                lambda failure: _log.failure("a regular task failed", failure)
            )

        loop = LoopingCall(once)
        loop.clock = self._reactor
        loop.start(seconds, now=now)
        self._loops.append(loop)

    def _prune(self) -> Deferred[Any]:
        assert self._transcript_settings is not None
        return deferToThread(prune, self._transcript_settings, time.time())


class StartError(Exception):
    """The server cannot start; the text is one line, and has been said."""


def announce(addresses: Sequence[object], clear: int, report: Sequence[str], by: str = "") -> None:
    """
    Say where mail is taken, how to send a first message, and what else there is to say.

    :param clear: how many of the addresses, the first ones, are without implicit TLS.
    :param by: who takes it, if that is not this process.
    """
    places, first = [], None
    for at, address in enumerate(addresses):
        implicit = at >= clear
        if isinstance(address, (IPv4Address, IPv6Address)):
            host = f"[{address.host}]" if ":" in address.host else address.host
            place = f"{host}:{address.port}"
            first = first or (None if implicit else (address.host, address.port))
        else:
            place = str(address)
        places.append(f"{place} (implicit TLS)" if implicit else place)
    lines = [f"mail is taken on {', '.join(places)}{by}"]
    if first is not None:
        host, number = _reached_by(first[0]), first[1]
        lines.append(
            f"a first message: python3 -c \"import smtplib; smtplib.SMTP('{host}', {number})"
            ".sendmail('me@example.org', 'you@example.org', "
            "'Subject: hello\\n\\nIt works.')\""
        )
    for line in [*lines, *report]:
        _log.info("{line}", line=line)


def cannot_listen(error: Exception) -> NoReturn:
    """Give up, since a port could not be bound; this is the error of its endpoint."""
    if not isinstance(error, CannotListenError):
        give_up(f"cannot listen: {one_line(error)}")
    cause = getattr(error.socketError, "strerror", None) or error.socketError
    if isinstance(error.port, int):
        where = f"{error.interface or '*'}:{error.port}"
    else:
        where = str(error.port)
    give_up(f"cannot listen on {where}: {cause}")


def give_up(why: str) -> NoReturn:
    """Say one line on standard error and in the log, and raise `StartError`."""
    # twistd has redirected sys.stderr into its log by now.
    print(f"smtpcb: {why}", file=sys.__stderr__, flush=True)
    _log.error("{why}", why=why)
    # Not SystemExit: twistd would leave its pid file behind, and the parent of a daemon would
    # wait for ever.  It must end as an uncaught exception does, but without the traceback.
    others = sys.excepthook
    sys.excepthook = lambda kind, error, trace: (
        None if kind is StartError else others(kind, error, trace)
    )
    raise StartError(why)


def make_service(
    configuration: Configuration,
    reactor: Any = None,
    *,
    owner: tuple[int, int] | None = None,
    share: Share | None = None,
) -> ServerService:
    """
    Build everything, and bind nothing.

    :param owner: user and group that the process will run as once its ports are bound, if it is
        started as root; what is kept below ``--state`` becomes theirs (-1: as it is).
    :param share: of the worker that this process is, if it is one.
    :raises ConfigurationError: a setting is wrong or a file cannot be used; one line says which.
    """
    if reactor is None:
        from twisted.internet import reactor
    settings = _settings(configuration)
    if share is None:
        # Under TLS what we write is not what goes to the socket: nothing could be sent at once.
        direct = transport.DirectReactor(reactor) if _at_once(configuration) else reactor
        endpoints = endpoints_of(configuration, direct, reactor)
    else:
        settings = _part_of(settings, share)
        endpoints = _adopted(configuration, reactor, share)
    checkers = [_checker(description) for description in configuration["auth"]]
    handler = _handler(configuration, reactor)
    handed = None if share is None else share.identity
    identities, identity, certificate = _identities(configuration, settings.hostname, handed)
    recorded = _transcript_settings(configuration, capturing=isinstance(handler, Capture))
    transcripts = TranscriptFolder(recorded, reactor) if recorded is not None else None
    try:
        factory = SmtpServerFactory(
            handler,
            settings,
            reactor=reactor,
            tls=identities,
            authenticator=_AnyOf(checkers) if checkers else None,
            transcripts=transcripts,
            worker=0 if share is None else share.number,
        )
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"--handler {configuration['handler']}: {one_line(error)}"
        ) from None
    clear = len(configuration["listen"])
    smtp = SmtpService(
        [
            *endpoints[:clear],
            *(
                wrapServerTLS(identities, endpoint, reactor)
                for endpoint in endpoints[clear:]
                if identities is not None
            ),
        ],
        factory,
    )
    if owner is not None:
        kept = [handler.maildir] if isinstance(handler, Capture) else []
        kept += [recorded.folder] if recorded is not None else []
        kept += [certificate] if certificate is not None else []
        # The folder above them has mode 0700.
        state = configuration["state"]
        kept += [state] if any(path.parent == state for path in kept) else []
        _give_away(kept, owner)
    report = []
    if isinstance(handler, Capture):
        report.append(f"messages: {handler.maildir / 'new'}")
    if recorded is not None:
        report.append(f"transcripts: {recorded.folder}")
    if certificate is not None:
        report.append(f"certificate: {certificate}")
    if share is not None and share.number != 1:
        recorded = None  # one of them clears up
    return ServerService(
        reactor,
        smtp,
        clear,
        handler,
        identities,
        transcripts,
        recorded,
        report if share is None else None,  # the supervisor says it, once
        identity,
    )


def _reached_by(host: str) -> str:
    """Return an address that a client on this machine can use for one we listen on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound


def _settings(configuration: Configuration) -> Settings:
    hostname = configuration["hostname"]
    try:
        if hostname is None:
            try:
                return _with_hostname(configuration, socket.gethostname())
            except ValueError:
                hostname = "localhost"  # a machine whose name is no domain
        return _with_hostname(configuration, hostname)
    except ValueError as error:
        ours = str(error).startswith("hostname")
        where = f"--hostname {hostname}" if ours else "--banner"
        raise ConfigurationError(f"{where}: {error}") from None


def _with_hostname(configuration: Configuration, hostname: str) -> Settings:
    return Settings(
        hostname=hostname,
        banner=configuration["banner"],
        bare_newline=configuration["bare_newline"],
        lenient_addresses=configuration["lenient_addresses"],
        allow_insecure_auth=configuration["allow_insecure_auth"],
        limits=configuration.limits,
    )


def _part_of(settings: Settings, share: Share) -> Settings:
    """Return the settings with the part of each limit over all connections that is a worker's."""
    connections = settings.limits.connections
    if connections is None:
        return settings
    part = -(-connections // share.workers)
    return replace(settings, limits=replace(settings.limits, connections=part))


def _at_once(configuration: Configuration) -> bool:
    return transport.is_supported() and not configuration["no_direct_writes"]


def _adopted(
    configuration: Configuration, reactor: Any, share: Share
) -> list[IStreamServerEndpoint]:
    """Return endpoints for the sockets that a worker shares."""
    clear = sharing = reactor
    if transport.is_supported():
        clear = transport.SharingReactor(reactor, direct=_at_once(configuration))
        sharing = transport.SharingReactor(reactor, direct=False)
    number = len(configuration["listen"])
    return [
        AdoptedStreamServerEndpoint(clear if at < number else sharing, descriptor, family)
        for at, (descriptor, family) in enumerate(share.sockets)
    ]


def endpoints_of(
    configuration: Configuration, clear: Any, implicit: Any
) -> list[IStreamServerEndpoint]:
    """
    Return the endpoints that ``--listen`` and ``--smtps`` name.

    :param clear: the reactor for those without implicit TLS.
    :param implicit: the reactor for the others.
    :raises ConfigurationError: one of them is none.
    """
    made = []
    for name in ("listen", "smtps"):
        for description in configuration[name]:
            kind = description.partition(":")[0]
            full = description
            if configuration["workers"] is not None and kind not in ("tcp", "tcp6"):
                raise ConfigurationError(
                    f"--{name} {description}: --workers can serve tcp: and tcp6: only"
                )
            if kind in ("tcp", "tcp6"):
                number = _PORT.match(description)
                if number is None or int(number[1]) > 65535:
                    raise ConfigurationError(
                        f"--{name} {description}: no endpoint: a port number is wanted, as in "
                        f"{kind}:10025"
                    )
                if "backlog=" not in description:
                    full += ":backlog=511"  # Twisted's 50 is little for a burst of mail
            try:
                made.append(serverFromString(clear if name == "listen" else implicit, full))
            except Exception as error:  # a parser of a plug-in may raise anything
                raise ConfigurationError(
                    f"--{name} {description}: no endpoint: {one_line(error)}"
                ) from None
    return made


def _plugins() -> dict[str, Any]:
    return {plugin.name: plugin for plugin in getPlugins(ISmtpHandlerPlugin)}


def handlers_known() -> dict[str, str]:
    """Return what ``--handler`` takes, each with a line that explains it."""
    return {
        "capture[:FOLDER]": "Keeps every message in a Maildir.",
        "python:MODULE.NAME": "Your own: a class, an instance, callbacks(...).",
        **{name: plugin.help for name, plugin in sorted(_plugins().items())},
    }


def _handler(configuration: Configuration, reactor: Any) -> object:
    description = configuration["handler"]
    name, _, argument = description.partition(":")
    where = f"--handler {description}"
    if name == "python":
        return import_handler(argument, where)
    if name == "capture":
        if argument:
            folder = Path(argument).expanduser().absolute()
        else:
            folder, where = configuration["state"] / "Maildir", _state_of(configuration)
        _make_folder(folder.parent, where)
        try:
            prepare(folder)
        except OSError as error:
            raise ConfigurationError(f"{where}: {error.strerror}") from None
        return Capture(folder, reactor)
    known = _plugins()
    if name not in known:
        names = ", ".join(["capture", "python", *sorted(known)])
        raise ConfigurationError(f"{where}: no such handler; there are {names}")
    try:
        return known[name].make(argument)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {one_line(error)}") from None


def _checker(description: str) -> object:
    """Return the twisted.cred checker that ``--auth`` describes."""
    # Never the whole description: it may hold passwords.
    name, _, argument = description.partition(":")
    where = f"--auth {name}"
    try:
        if name == "file" and argument:
            # Twisted only warns of one that cannot be read, and then refuses every login.
            argument = os.path.abspath(argument)
            with open(argument, "rb"):
                pass
        checker = findCheckerFactory(name).generateChecker(argument)
    except InvalidAuthType:
        raise ConfigurationError(f"{where}: no such method; --help-auth lists them") from None
    except OSError as error:
        raise ConfigurationError(f"{where}: {error.filename}: {error.strerror}") from None
    except Exception as error:  # a plug-in may raise anything
        raise ConfigurationError(f"{where}: {one_line(error)}") from None
    if IUsernamePassword not in checker.credentialInterfaces:
        raise ConfigurationError(f"{where}: does not check names and passwords")
    if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
        # Twisted 26.10 puts text into it, and compares that with octets.
        checker.users = {_octets(user): _octets(word) for user, word in checker.users.items()}
    return checker


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def import_handler(path: str, where: str) -> object:
    """
    Return what a dotted path names, looked for in the current folder too.

    :raises ConfigurationError: it cannot be imported; the line says where it failed.
    """
    module_name, _, attribute = path.rpartition(".")
    if not module_name:
        raise ConfigurationError(f"{where}: MODULE.NAME is wanted, such as python:inbox.Inbox")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}: " if len(frames) > 1 else ""
        if place.startswith("<frozen importlib"):
            place = ""
        raise ConfigurationError(
            f"{where}: cannot import {module_name}: {place}{type(error).__name__}: "
            f"{one_line(error)}"
        ) from None
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigurationError(f"{where}: {module_name} has no {attribute}") from None


def _identities(
    configuration: Configuration, hostname: str, kept: tuple[bytes, str] | None
) -> tuple[tls.ServerTls | None, tls.Identity | None, Path | None]:
    certificate, key = configuration["tls_certificate"], configuration["tls_key"]
    archive = configuration["tls_pkcs12"]
    if configuration["no_tls"]:
        beside = [
            option.name
            for option in OPTIONS
            if (option.name == "smtps" or option.name.startswith("tls-"))
            and configuration[option.key]
        ]
        if beside:
            raise ConfigurationError(f"--no-tls cannot stand beside --{beside[0]}")
        return None, None, None
    if certificate and archive:
        raise ConfigurationError("--tls-certificate and --tls-pkcs12 exclude each other")
    if key and not certificate:
        raise ConfigurationError("--tls-key needs --tls-certificate")

    loaded: list[tls.Identity] = []

    def load() -> list[tls.Identity]:
        try:
            identity = read()
        except tls.IdentityError as error:
            if loaded or kept is None:
                raise
            _log.warn("{error}; what was read before is used", error=str(error))
            identity = tls.from_pem(*kept)
        loaded[:] = [identity]
        return [identity]

    def read() -> tls.Identity:
        passphrase = _passphrase(configuration["tls_passphrase_file"])
        if archive:
            return tls.load_pkcs12(archive, passphrase)
        if certificate:
            return tls.load_pem(certificate, key, passphrase)
        _make_folder(configuration["state"], _state_of(configuration))
        return tls.self_signed(configuration["state"], hostname)

    try:
        identities = tls.ServerTls(load, client_authorities=configuration["tls_client_authorities"])
    except tls.IdentityError as error:
        raise ConfigurationError(str(error)) from None
    self_signed = not certificate and not archive
    made = configuration["state"] / "identity.pem" if self_signed else None
    return identities, loaded[0], made


def _passphrase(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes().split(b"\n")[0].removesuffix(b"\r")
    except OSError as error:
        raise tls.IdentityError(f"{path}: {error.strerror}") from None


def _transcript_settings(
    configuration: Configuration, *, capturing: bool
) -> TranscriptSettings | None:
    folder = configuration["transcripts"]
    if configuration["no_transcripts"]:
        if folder is not None:
            raise ConfigurationError("--transcripts and --no-transcripts exclude each other")
        return None
    where = f"--transcripts {folder}"
    if folder is None:
        if not capturing:
            return None
        folder, where = configuration["state"] / "transcripts", _state_of(configuration)
    _make_folder(folder, where)
    return TranscriptSettings(
        folder,
        content=configuration["transcript_content"],
        keep_days=configuration["transcript_days"],
    )


def _state_of(configuration: Configuration) -> str:
    return f"--state {configuration['state']}"


def _make_folder(folder: Path, where: str) -> None:
    """Make a folder that nobody else can look into."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigurationError(f"{where}: {error.filename}: a file is in the way") from None
    except OSError as error:
        raise ConfigurationError(f"{where}: {error.filename}: {error.strerror}") from None


def _give_away(paths: Sequence[Path], owner: tuple[int, int]) -> None:
    """Make somebody else the owner of folders that we have made, and of the folders in them."""
    try:
        for path in paths:
            os.chown(path, *owner, follow_symlinks=False)
            if path.is_dir():
                for inside in path.iterdir():
                    os.chown(inside, *owner, follow_symlinks=False)
    except OSError as error:
        raise ConfigurationError(f"--uid: {error.filename}: {error.strerror}") from None


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


class _AnyOf:
    """Several checkers of ``--auth``: whom one of them knows may log in."""

    def __init__(self, checkers: Sequence[object]) -> None:
        self._logins = [adapt_authenticator(checker) for checker in checkers]

    @inlineCallbacks
    def authenticate(self, credentials: Credentials) -> Any:
        """Ask one after the other."""
        for login in self._logins:
            answer: Any = yield maybeDeferred(login, credentials)
            if answer is not False:
                return answer
        return False
