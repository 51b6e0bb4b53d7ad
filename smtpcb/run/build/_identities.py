"""Who we are under TLS: what ``--tls-certificate`` and its kin name, or what we make ourselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from OpenSSL import SSL
from twisted.logger import Logger

from smtpcb import tls
from smtpcb.engine._settings import Settings
from smtpcb.run._state import State, explained
from smtpcb.run.build._share import Share
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
    :ivar first: what was read at the start, from files that perhaps only root may read; none are
        there of an identity that we keep ourselves.
    :ivar kept: where we keep it, if we do.
    """

    server: tls.ServerTls | None = None
    first: tuple[tls.Identity, ...] = ()
    kept: SelfSigned | None = None


def identities_of(
    configuration: Configuration, settings: Settings, state: State, share: Share | None
) -> Identities:
    """
    Return them.

    :param settings: of the dialogues; the name in them is that of a certificate that we make.
    :param share: of the worker that it is for, if it is one: what we cannot read has been handed
        to it.
    :raises ConfigurationError: two settings contradict each other, or a file cannot be used.
    """
    if configuration["no_tls"]:
        no_tls_alone(configuration, settings)
        return Identities()
    named = _NAMED & {key for key in configuration.values if configuration[key]}
    handed = () if share is None else share.identities
    files = tls.IdentityFiles(
        _pairs(configuration),
        archive=configuration["tls_pkcs12"],
        folder=configuration["tls_folder"],
        passphrase_file=configuration["tls_passphrase_file"],
        hostname=settings.hostname,
        before=[tls.from_pem(*one) for one in handed],
    )
    kept = None if named else SelfSigned(state, settings.hostname)
    server = _server(configuration, files if kept is None else lambda: [kept.read()])
    if kept is not None:
        return Identities(server, kept=kept)
    if share is None and not any(tls.serves(one, settings.hostname) for one in server.identities):
        _log.warn(
            "no certificate is for {name}, which is what we call ourselves ({where})",
            name=settings.hostname,
            where=configuration.where("hostname"),
        )
    return Identities(server, tuple(server.identities))


_NAMED = frozenset({"tls_certificate", "tls_pkcs12", "tls_folder"})


def _server(
    configuration: Configuration, load: Callable[[], Sequence[tls.Identity]]
) -> tls.ServerTls:
    authorities = configuration["tls_client_authorities"]
    for door in configuration.doors:
        if door["require_client_certificate"] and authorities is None:
            where = door.where("require_client_certificate")
            raise ConfigurationError(
                f"{where} needs --tls-client-authorities: who vouches for them?"
            )
    try:
        return tls.ServerTls(
            load,
            minimum=_VERSIONS[configuration["tls_minimum"]],
            ciphers=configuration["tls_ciphers"],
            client_authorities=authorities,
        )
    except tls.IdentityError as error:
        raise ConfigurationError(_with_setting(configuration, str(error))) from None
    except ValueError as error:
        raise ConfigurationError(f"{configuration.where('tls_ciphers')}: {error}") from None


_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


def _pairs(configuration: Configuration) -> list[tuple[Path, Path | None]]:
    """Return the files of each certificate that was named, and of its key."""
    certificates, keys = configuration["tls_certificate"], configuration["tls_key"]
    said, said_key = configuration.where("tls_certificate"), configuration.where("tls_key")
    if certificates and configuration["tls_pkcs12"]:
        both = f"{said} and {configuration.where('tls_pkcs12')}"
        raise ConfigurationError(f"{both} exclude each other")
    if keys and not certificates:
        raise ConfigurationError(f"{said_key} needs --tls-certificate")
    twice = next((one for one in certificates if certificates.count(one) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"{said} {twice} is given twice")
    if not keys:
        return [(certificate, None) for certificate in certificates]
    if len(keys) != len(certificates):
        raise ConfigurationError(
            f"{said_key} is wanted for each of {len(certificates)} certificates, in their order, "
            f"or for none; there are {len(keys)}"
        )
    return list(zip(certificates, keys, strict=True))


_OF_TLS = ("smtps", "require-tls", "require-client-certificate")


def no_tls_alone(configuration: Configuration, settings: Settings) -> None:
    """ConfigurationError: something is said beside ``--no-tls`` that wants TLS."""
    beside = [
        configuration.where(option.key)
        for option in OPTIONS
        if (option.name in _OF_TLS or option.name.startswith("tls-"))
        and configuration[option.key] not in (None, (), False, option.default)
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
        if not option.name.startswith("tls-"):
            continue
        value = configuration[option.key]
        for path in value if isinstance(value, tuple) else (value,):
            if fault.startswith(f"{path}: ") or (
                option.name == "tls-folder" and fault.startswith(f"{path}/")
            ):
                return f"{configuration.where(option.key)} {fault}"
    return fault
