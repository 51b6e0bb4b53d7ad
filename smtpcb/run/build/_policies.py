"""Who is asked before the handler: what each ``--policy`` names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from twisted.logger import Logger

from smtpcb.handling import around
from smtpcb.interfaces import ISmtpPolicyPlugin
from smtpcb.policies import POLICIES
from smtpcb.run._meant import nearest
from smtpcb.run._start import one_line
from smtpcb.run._state import State, explained
from smtpcb.run.build._plugins import Plugins
from smtpcb.run.build._python import as_dotted
from smtpcb.run.options import Configuration, ConfigurationError

_log = Logger(namespace="smtpcb")


def guarded(
    handler: object, configuration: Configuration, state: State, *, quiet: bool = False
) -> object:
    """
    Return the handler behind its policies; with none it is itself.

    :param quiet: somebody else logs the warnings.
    :raises ConfigurationError: there is no policy of that name, it cannot be made so, or it is
        none.
    """
    descriptions: Sequence[str] = configuration["policy"]
    if not descriptions:
        return handler
    said = [f"{configuration.where('policy')} {one}" for one in descriptions]
    policies = []
    for description, where in zip(descriptions, said, strict=True):
        policy = POLICY_PLUGINS.make(description, where, state, _another_within)
        try:
            around(_Nobody, policy)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{where}: {one_line(error)}") from None
        policies.append(policy)
        for warning in () if quiet else _warnings_of(policy):
            _log.warn("{where}: {warning}", where=where, warning=" ".join(warning.split()))
    compound = around(handler, *policies)
    compound.start_part = _Explain(dict(zip(map(id, policies), said, strict=True)))
    return compound


def _warnings_of(policy: object) -> list[str]:
    """Return what a policy warns of; your own may have something else by that name."""
    said = getattr(policy, "warnings", ())
    return [one for one in said if isinstance(one, str)] if isinstance(said, (list, tuple)) else []


class _Nobody:
    """In place of the handler, which is looked at in its turn."""

    discards_content = True


class _Explain:
    """Says of which policy it is that cannot start."""

    def __init__(self, said: Mapping[int, str]) -> None:
        self._said = said

    def __call__(self, service: Any) -> None:
        where = self._said.get(id(service))
        if where is None:
            service.startService()
            return
        try:
            with explained(where):
                service.startService()
        except ConfigurationError:
            raise
        except ValueError as error:
            raise ConfigurationError(f"{where}: {one_line(error)}") from None


def _meant(description: str, known: Collection[str]) -> str | None:
    name = description.partition(":")[0]
    found = nearest(name, (*known, "python"))
    return as_dotted(description) if found is None else description.replace(name, found, 1)


def _another_within(argument: str, known: Collection[str]) -> str:
    """Return what is wrong with an argument in whose list another policy stands, or nothing."""
    behind = [one.strip().partition(":")[0] for one in argument.split(",")[1:]]
    among = next((word for word in behind if word in known), None)
    if among is None:
        return ""
    # Taken for a domain or a zone it would be missed by nobody.
    return (
        f"{among} is a policy of its own: --policy once for each, a list in a file, a line for "
        "each in the environment"
    )


POLICY_PLUGINS = Plugins("policy", POLICIES, ISmtpPolicyPlugin, _meant)
