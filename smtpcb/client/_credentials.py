"""Who logs in: whoever knows it is asked, and the dialogue is told what came of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from smtpcb.engine import AskedMechanism, ClientDialogue, ClientSettings, ClientWants
from smtpcb.handling._coroutines import begin
from smtpcb.smtp.sasl import Credentials

GiveCredentials = Callable[[AskedMechanism], Any]
"""
Called with the name of a mechanism, returns `Credentials` or None, now or later.

The name is a str that knows more: ``mechanism.in_the_clear`` tells whether whoever is on the way
could learn the secret.
"""


def nobody(mechanism: str) -> Credentials | None:
    """Log in as nobody."""
    return None


def settings_for(settings: ClientSettings | None, give: GiveCredentials) -> ClientSettings:
    """
    Return the settings of a session in which somebody logs in, or nobody does.

    :param settings: ``None``: whoever says who logs in wants that.
    :raises ValueError: it is said who logs in, and that nobody does.
    """
    if settings is None:
        return ClientSettings(login="off" if give is nobody else "required")
    if settings.login == "off" and give is not nobody:
        raise ValueError(
            "it is said who logs in, and settings have login='off', so that nobody does: say"
            " ClientSettings(login='required')"
        )
    return settings


def tell_who(dialogue: ClientDialogue, give: GiveCredentials, with_asyncio: bool) -> Deferred[None]:
    """
    Find out who logs in by the mechanism that a dialogue wants to use, and tell it.

    :param with_asyncio: whether asyncio's awaitables can be waited for.
    :return: fires when it was told; cancelling it asks no more.
    """
    mechanism = dialogue.mechanism
    assert mechanism is not None

    def given(credentials: object) -> None:
        if dialogue.wants is not ClientWants.CREDENTIALS:
            return
        if not isinstance(credentials, Credentials | None):
            kind = type(credentials).__name__
            dialogue.fail_credentials(
                f"no credentials: {kind} was given for {mechanism}, not Credentials or None"
            )
            return
        try:
            dialogue.give(credentials)
        except ValueError as error:
            dialogue.fail_credentials(f"no credentials that can be said for {mechanism}: {error}")

    def failed(reason: Failure) -> None:
        if dialogue.wants is ClientWants.CREDENTIALS:
            # Its type only: its text may quote a secret.
            kind = type(reason.value).__name__
            dialogue.fail_credentials(f"no credentials: {kind} was raised for {mechanism}")
            if dialogue.failure is not None:
                dialogue.failure.__cause__ = reason.value

    asking = maybeDeferred(lambda: begin(give(mechanism), with_asyncio))
    return asking.addCallback(given).addErrback(failed)
