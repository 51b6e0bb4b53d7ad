"""Who we are under TLS: what ``--tls-certificate`` and its kin name, or what we make ourselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from smtpcb import tls
from smtpcb._files import read_all
from smtpcb.engine._settings import Settings
from smtpcb.run._state import State, explained
from smtpcb.run.options import OPTIONS, Configuration, ConfigurationError

_log = Logger(namespace="smtpcb")


class SelfSigned:
    """
    The identity that is kept in the state folder.

    Until the service is started there is another one in its place, which is kept nowhere: nothing
    is touched there while we may still be root.
    """

    def __init__(self, state: State, hostname: str) -> None:
        self.path = state.state / "identity.pem"
        self._state = state
        self._hostname = hostname
        self._may_touch = False

    def read(self) -> tls.Identity:
        """Return what is shown now; IdentityError: it cannot be used."""
        if not self._may_touch:
            return tls.make_self_signed(self._hostname, str(self.path))
        return tls.self_signed(self._state.state, self._hostname)

    def look_at(self) -> None:
        """Find out whether what is there could be used, and change nothing."""
        try:
            tls.look_at_self_signed(self._state.state, self._state.owners)
        except tls.IdentityError as error:
            raise ConfigurationError(str(error)) from None

    def prepare(self) -> None:
        """Use what is kept from now on; it is read, or made, when it is read next."""
        with explained(f"{self._state.where} {self._state.state}"):
            self._state.make_state()
        self._may_touch = True


@dataclass(frozen=True, slots=True)
class Identities:
    """
    What a server shows under TLS.

    :ivar server: makes the connections; ``None``: there is no TLS.
    :ivar first: what was read at the start, from files that perhaps only root may read; ``None``
        for an identity that we keep ourselves.
    :ivar kept: where we keep it, if we do.
    """

    server: tls.ServerTls | None = None
    first: tls.Identity | None = None
    kept: SelfSigned | None = None


def identities_of(
    configuration: Configuration, settings: Settings, state: State, handed: tuple[bytes, str] | None
) -> Identities:
    """
    Return them.

    :param settings: of the dialogues; the name in them is that of a certificate that we make.
    :param handed: key and chain in PEM and where they are from, if we cannot read them there.
    :raises ConfigurationError: two settings contradict each other, or a file cannot be used.
    """
    certificate, key = configuration["tls_certificate"], configuration["tls_key"]
    archive = configuration["tls_pkcs12"]
    if configuration["no_tls"]:
        no_tls_alone(configuration, settings)
        return Identities()
    if certificate and archive:
        both = f"{configuration.where('tls_certificate')} and {configuration.where('tls_pkcs12')}"
        raise ConfigurationError(f"{both} exclude each other")
    if key and not certificate:
        raise ConfigurationError(f"{configuration.where('tls_key')} needs --tls-certificate")
    kept = None if certificate or archive else SelfSigned(state, settings.hostname)
    loaded: list[tls.Identity] = []

    def read() -> tls.Identity:
        if kept is not None:
            return kept.read()
        passphrase = _passphrase(configuration["tls_passphrase_file"])
        if archive:
            return tls.load_pkcs12(archive, passphrase)
        return tls.load_pem(certificate, key, passphrase)

    def load() -> list[tls.Identity]:
        try:
            identity = read()
        except tls.IdentityError as error:
            if loaded or handed is None:
                raise
            _log.warn("{error}; what was read before is used", error=str(error))
            identity = tls.from_pem(*handed)
        loaded[:] = [identity]
        return [identity]

    try:
        made = tls.ServerTls(load, client_authorities=configuration["tls_client_authorities"])
    except tls.IdentityError as error:
        raise ConfigurationError(_with_setting(configuration, str(error))) from None
    return Identities(made, loaded[0] if kept is None else None, kept)


def no_tls_alone(configuration: Configuration, settings: Settings) -> None:
    """ConfigurationError: something is said beside ``--no-tls`` that wants TLS."""
    beside = [
        configuration.where(option.key)
        for option in OPTIONS
        if (option.name in ("smtps", "require-tls") or option.name.startswith("tls-"))
        and configuration[option.key]
    ]
    if beside:
        raise ConfigurationError(f"{configuration.where('no_tls')} cannot stand beside {beside[0]}")
    if settings.require_auth and not settings.allow_insecure_auth:
        raise ConfigurationError(
            f"{configuration.where('require_auth')} beside {configuration.where('no_tls')} needs "
            "--allow-insecure-auth: nobody could log in"
        )


def _with_setting(configuration: Configuration, fault: str) -> str:
    """Put before what is wrong with a file how the file was named."""
    for option in OPTIONS:
        if option.name.startswith("tls-") and fault.startswith(f"{configuration[option.key]}: "):
            return f"{configuration.where(option.key)} {fault}"
    return fault


def _passphrase(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return read_all(file).split(b"\n")[0].removesuffix(b"\r")
    except OSError as error:
        raise tls.IdentityError(f"{path}: {error.strerror}") from None
