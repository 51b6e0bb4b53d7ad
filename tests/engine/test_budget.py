"""What one connection may still use."""

from __future__ import annotations

from smtpcb.engine._budget import Budget
from smtpcb.smtp._limits import Limits


def test_a_new_connection_may_go_on() -> None:
    """Nothing has been used yet."""
    assert Budget().exhausted is None


def test_each_count_has_its_limit_and_its_words() -> None:
    """Errors, failed logins and refusals end it when reached, idle commands when passed."""
    limits = Limits(errors=2, auth_failures=2, idle_commands=2, refusals=2)
    budget = Budget(limits)
    budget.charge_error()
    assert budget.exhausted is None
    budget.charge_error(1)
    assert budget.exhausted == "Too many errors"
    assert Budget(limits, auth_failures=1).exhausted is None
    assert Budget(limits, auth_failures=2).exhausted == "Too many failed logins"
    assert Budget(limits, commands=2).exhausted is None
    assert Budget(limits, commands=3).exhausted == "Too many commands without a message"
    assert Budget(limits, refusals=1).exhausted is None
    assert Budget(limits, refusals=2).exhausted == "Too many refusals"


def test_none_is_no_limit() -> None:
    """A trusted network may be let alone."""
    limits = Limits(errors=None, auth_failures=None, idle_commands=None, refusals=None)
    many = Budget(limits, commands=10**6, errors=10**6, auth_failures=10**6, refusals=10**6)
    assert many.exhausted is None


def test_a_message_pays_back_all_but_failed_logins() -> None:
    """Whoever has found a password may not go on guessing others."""
    budget = Budget(commands=5, errors=5, refusals=5, auth_failures=3, messages=2, logins=4)
    budget.forgive()
    assert (budget.commands, budget.errors, budget.refusals) == (0, 0, 0)
    assert (budget.auth_failures, budget.messages, budget.logins) == (3, 2, 4)
