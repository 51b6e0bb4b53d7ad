"""Composed: what a dialogue sees of several handlers on one connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smtpcb.engine._handler import EVENTS, Method, content_too, methods_of, name_of
from smtpcb.engine._questions import KIND_OF, MAIL
from smtpcb.handling._joined import (
    first_no,
    first_no_of_a_transaction,
    first_word,
    told,
    worst,
)
from smtpcb.smtp._command import Command, Verb
from smtpcb.smtp.sasl import BY_PASSWORD

TOLD = frozenset({"aborted", "disconnected"})
"""Events that nobody decides."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """
    One of those of whom a handler is composed, on one connection.

    :ivar handler: what is called.
    :ivar methods: of it, by event.
    :ivar takes_mail: it has to take the mail; a policy need not.
    :ivar blocking: its methods are plain functions that run in threads.
    :ivar decides: whether what it answers counts.
    """

    handler: object
    methods: Mapping[str, Method]
    takes_mail: bool
    blocking: bool = False
    decides: bool = True


def part_of(handler: object, *, takes_mail: bool, blocking: bool = False) -> Part:
    """Look at a handler as a part; see `Part`."""
    return Part(handler, methods_of(handler), takes_mail, blocking)


class Composer:
    """What makes a `Composed` for each connection."""


class Composed:
    """
    A handler whose methods are those of its parts, joined.

    :ivar parts: the handlers, in the order in which they are asked.
    :ivar renew: makes what takes its place, if the last part is exchanged for another handler.
    """

    def __init__(self, name: str, parts: Sequence[Part]) -> None:
        self.__name__ = name  # what logs call it
        self.parts = tuple(parts)
        self.renew: Callable[[Sequence[Part], object], object] | None = None

    def __repr__(self) -> str:
        return self.__name__

    def behind_policies(self, handler: object) -> object:
        """
        Return what takes its place when somebody puts another handler into that of the last part.

        :param handler: what a server takes; or what stood there before, with the same policies.
        """
        policies = self.parts[:-1]
        same = isinstance(handler, Composed) and handler.parts[:-1] == policies
        return handler if self.renew is None or same else self.renew(policies, handler)

    def take(self, methods: Mapping[str, Method]) -> None:
        """Have these methods, and keep the content if one of the parts reads it."""
        if "chunk" in methods and any(
            ("message" in part.methods and "chunk" not in part.methods)
            or getattr(part.methods.get("chunk"), "content_too", False)
            for part in self.parts
        ):
            methods = {**methods, "chunk": content_too(methods["chunk"])}
        self.__dict__.update(methods)

    def declare(self, decided_by: Sequence[Part]) -> None:
        """Say of itself what those say whose word it is."""
        say: dict[str, Any] = self.__dict__
        handlers = [part.handler for part in decided_by]
        say["extensions"] = frozenset.intersection(
            *(frozenset(getattr(one, "extensions", ())) for one in handlers)
        )
        say["discards_content"] = all(
            getattr(one, "discards_content", False) is True for one in handlers
        )
        say["concurrent_recipients"] = all(
            getattr(part.handler, "concurrent_recipients", False) is True
            for part in self.parts
            if part.decides and not {"rcpt", "command"}.isdisjoint(part.methods)
        )
        logins = [part for part in self.parts if part.decides and "authenticate" in part.methods]
        # Of several, whoever answers first may know another password than whoever has the secret.
        say["mechanisms"] = (
            getattr(logins[0].handler, "mechanisms", None) if len(logins) == 1 else BY_PASSWORD
        )
        masks = [mask_of(part) for part in self.parts if "command" in part.methods]
        say["command_mask"] = Verb(0)
        if masks and all(masks):
            for mask in masks:
                say["command_mask"] |= mask


def mask_of(part: Part) -> Verb:
    """Return the commands that a part wants to be told of."""
    mask = getattr(part.handler, "command_mask", Verb(0))
    return mask if isinstance(mask, Verb) else Verb(0)


def policies_first(name: str, parts: Sequence[Part]) -> Composed:
    """
    Compose policies and, behind them, the handler that they guard.

    :raises TypeError: a policy says that it honours extensions.
    """
    for part in parts[:-1]:
        if getattr(part.handler, "extensions", ()):
            raise TypeError(
                f"{name_of(part.handler)}.extensions would never be looked at: what is offered is "
                "the handler's to honour, behind its policies"
            )
    composed = Composed(name, parts)
    methods: dict[str, Method] = {}
    for event in EVENTS:
        having = [at for at, part in enumerate(parts) if event in part.methods]
        listening = [parts[at].methods[event] for at in having]
        if not having:
            continue
        if event == "command":
            methods[event] = commands([parts[at] for at in having])
        elif event in ("mail", "message"):
            methods[event] = _of_a_transaction(event, parts, having)
        elif len(having) == 1:
            methods[event] = listening[0]
        elif event in TOLD:
            methods[event] = told(listening)
        elif event == "authenticate":
            methods[event] = first_word(listening)
        else:
            methods[event] = first_no(listening, KIND_OF[event])
    composed.take(methods)
    composed.declare(parts[-1:])
    return composed


def _of_a_transaction(event: str, parts: Sequence[Part], having: Sequence[int]) -> Method:
    listening = [parts[at].methods[event] for at in having]

    def unheard(place: int) -> list[Method]:
        at = having[place]
        # Of MAIL those before it have said yes; of a message those behind it are not asked.
        whom = parts[:at] if event == "mail" else parts[at + 1 :]
        return [part.methods["aborted"] for part in whom if "aborted" in part.methods]

    if any(unheard(place) for place in range(len(having))):
        return first_no_of_a_transaction(listening, KIND_OF[event], unheard)
    return listening[0] if len(having) == 1 else first_no(listening, KIND_OF[event])


def all_together(name: str, parts: Sequence[Part]) -> Composed:
    """Compose handlers that all get the mail."""
    composed = Composed(name, parts)
    methods: dict[str, Method] = {}
    for event in EVENTS:
        having = [part for part in parts if event in part.methods]
        listening = [part.methods[event] for part in having]
        if not having:
            continue
        if event == "command":
            methods[event] = commands(having)
        elif event == "mail":
            methods[event] = _begun_by_all(parts)
        elif len(having) == 1:
            methods[event] = listening[0]
        else:
            methods[event] = told(listening) if event in TOLD else worst(listening, KIND_OF[event])
    composed.take(methods)
    composed.declare(parts)
    return composed


def _begun_by_all(parts: Sequence[Part]) -> Method:
    """Return what asks all; who has no `mail` has said yes, and hears of the end too."""
    aborted = {
        at: part.methods["aborted"] for at, part in enumerate(parts) if "aborted" in part.methods
    }
    return worst([part.methods.get("mail", _yes) for part in parts], MAIL, aborted)


def _yes(*arguments: object) -> None:
    """Accept, as what is absent does."""


def commands(having: Sequence[Part]) -> Method:
    """Tell of a command whoever wants that one."""
    if len(having) == 1:
        return having[0].methods["command"]
    tellers = [_of_its_mask(part) for part in having]
    return told(tellers)


def _of_its_mask(part: Part) -> Method:
    mask, method = mask_of(part), part.methods["command"]
    if not mask:
        return method

    def tell(command: Command, connection: object) -> object:
        return method(command, connection) if command.verb & mask else None

    return tell
