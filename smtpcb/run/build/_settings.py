"""How dialogues are led: what the user said, then what the handler would like."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from smtpcb.engine._settings import Settings
from smtpcb.run.build._endpoints import is_of_this_machine
from smtpcb.run.build._extensions import extensions_of
from smtpcb.run.options import Configuration, ConfigurationError
from smtpcb.smtp._extension import Extension
from smtpcb.smtp._text import printable


def settings_of(configuration: Configuration, wishes: Any) -> Settings:
    """
    Return the settings of the server's dialogues.

    :param wishes: of the handler: an `smtpcb.interfaces.IReadyMadeHandler`.
    :raises ConfigurationError: the name or the banner cannot be said, a limit is none, an
        extension cannot be had, or nobody could use them so.
    """
    settings = _settings_of(configuration, wishes, extensions_of(configuration))
    _refuse_what_nobody_could_use(configuration, settings)
    return settings


def _settings_of(configuration: Configuration, wishes: Any, own: tuple[Extension, ...]) -> Settings:
    hostname = configuration["hostname"]
    try:
        if hostname is None:
            try:
                return _with_hostname(configuration, wishes, own, socket.gethostname())
            except ValueError:
                hostname = "localhost"  # a machine whose name is no domain
        return _with_hostname(configuration, wishes, own, hostname)
    except ValueError as error:
        # The sentence begins with the name of what is wrong, which the option has as well.
        key = str(error).partition(" ")[0]
        where = configuration.where(key)
        if key == "hostname":
            where += f" {printable(hostname)}"
        raise ConfigurationError(f"{where}: {error}") from None


def _mechanisms(said: Iterable[str]) -> tuple[str, ...] | None:
    """Return them one by one; it may be said ``PLAIN,LOGIN``, and several times."""
    return tuple(name for names in said for name in names.split(",")) or None


def _with_hostname(
    configuration: Configuration, wishes: Any, own: tuple[Extension, ...], hostname: str
) -> Settings:
    def said(key: str, otherwise: Any) -> Any:
        return configuration[key] if key in configuration.given else otherwise

    # Where --auth says who may log in, there are passwords to protect.
    harmless = (
        wishes.takes_any_login
        and not configuration["auth"]
        and is_of_this_machine((*configuration["listen"], *configuration["lmtp"]))
        # Whose clients come from anywhere.
        and not configuration["proxy_from"]
        and not configuration["xclient_from"]
    )
    settings = Settings(
        hostname=hostname,
        banner=configuration["banner"],
        bare_newline=said("bare_newline", wishes.bare_newline),
        lenient_addresses=said("lenient_addresses", wishes.lenient_addresses),
        allow_insecure_auth=said("allow_insecure_auth", harmless),
        mechanisms=_mechanisms(configuration["mechanisms"]),
        xclient_from=configuration["xclient_from"],
        xforward_from=configuration["xforward_from"],
        require_auth=configuration["require_auth"],
        require_tls=configuration["require_tls"],
        require_client_certificate=configuration["require_client_certificate"],
        extensions=own,
        without=configuration["without"],
        priority_profile=configuration["priority_profile"] or "",
        limits=configuration.limits,
    )
    if configuration["lmtp"]:
        replace(settings, lmtp=True)  # it may want what is switched off
    return settings


def _refuse_what_nobody_could_use(configuration: Configuration, settings: Settings) -> None:
    """Refuse ports that want TLS, or a login inside it, and do not offer STARTTLS."""
    if "STARTTLS" not in settings.without or not configuration["listen"]:
        return
    wants = "require_tls" if settings.require_tls else "require_auth"
    if settings.require_tls or (settings.require_auth and not settings.allow_insecure_auth):
        raise ConfigurationError(
            f"{configuration.where(wants)} beside {configuration.where('without')} STARTTLS: "
            f"nobody could send mail to {configuration['listen'][0]}; --smtps is a port with TLS"
        )
