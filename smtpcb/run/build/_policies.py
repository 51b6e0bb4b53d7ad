"""Who is asked before the handler: what each ``--policy`` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.plugin import getPlugins

from smtpcb.handling import around
from smtpcb.interfaces import ISmtpPolicyPlugin
from smtpcb.policies import POLICIES
from smtpcb.run._meant import did_you_mean, nearest
from smtpcb.run._start import one_line
from smtpcb.run._state import State, explained
from smtpcb.run.build._python import as_dotted, import_handler
from smtpcb.run.options import Configuration, ConfigurationError


def guarded(handler: object, configuration: Configuration, state: State) -> object:
    """
    Return the handler behind its policies; with none it is itself.

    :raises ConfigurationError: there is no policy of that name, it cannot be made so, or it is
        none.
    """
    descriptions: Sequence[str] = configuration["policy"]
    if not descriptions:
        return handler
    said = [f"{configuration.where('policy')} {one}" for one in descriptions]
    policies = []
    for description, where in zip(descriptions, said, strict=True):
        policy = _policy_of(description, where, state)
        try:
            around(_Nobody, policy)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{where}: {one_line(error)}") from None
        policies.append(policy)
    compound = around(handler, *policies)
    compound.start_part = _Explain(dict(zip(map(id, policies), said, strict=True)))
    return compound


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


def _policy_of(description: str, where: str, state: State) -> object:
    name, _, argument = description.partition(":")
    if name == "python":
        return import_handler(argument, where)
    known = _plugins()
    if name not in known:
        names = ", ".join(sorted({*known, "python"}))
        found = nearest(name, (*known, "python"))
        meant = as_dotted(description) if found is None else description.replace(name, found, 1)
        raise ConfigurationError(f"{where}: no such policy; there are {names}{did_you_mean(meant)}")
    behind = [one.strip().partition(":")[0] for one in argument.split(",")[1:]]
    among = next((word for word in behind if word in known), None)
    if among is not None:
        # Taken for a domain or a zone it would be missed by nobody.
        raise ConfigurationError(
            f"{where}: {among} is a policy of its own: --policy once for each, a list in a file, "
            "a line for each in the environment"
        )
    try:
        return known[name].make(argument, state)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {one_line(error)}") from None
    except Exception as error:  # a plug-in may raise anything, and may be of another edition
        fault = f"{type(error).__name__}: {one_line(error)}"
        raise ConfigurationError(f"{where}: {fault}") from None


def policies_known() -> dict[str, str]:
    """Return what ``--policy`` takes, each with a line that explains it."""
    rows = {getattr(plugin, "usage", plugin.name): plugin.help for _, plugin in _plugins().items()}
    rows["python:MODULE.NAME"] = "Your own: a class, an instance, callbacks(...)."
    return dict(sorted(rows.items()))


def _plugins() -> Mapping[str, Any]:
    """Return ours and those of others, who may well replace one of ours."""
    return {plugin.name: plugin for plugin in (*POLICIES, *getPlugins(ISmtpPolicyPlugin))}
