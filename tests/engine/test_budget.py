"""What one connection may still use."""

from __future__ import annotations

from smtpcb.engine._budget import Budget
from smtpcb.smtp._limits import Limits


def test_a_new_connection_may_go_on() -> None:
    """Nothing has been used yet."""
    assert Budget().exhausted is None


def test_each_count_has_its_limit_and_its_words() -> None:
    """Errors and failed logins end it when reached, idle commands when passed (P15, P29)."""
    limits = Limits(errors=2, auth_failures=2, idle_commands=2)
    budget = Budget(limits)
    budget.charge_error()
    assert budget.exhausted is None
    budget.charge_error(1)
    assert budget.exhausted == "Too many errors"
    assert Budget(limits, auth_failures=1).exhausted is None
    assert Budget(limits, auth_failures=2).exhausted == "Too many failed logins"
    assert Budget(limits, commands=2).exhausted is None
    assert Budget(limits, commands=3).exhausted == "Too many commands without a message"


def test_none_is_no_limit() -> None:
    """A trusted network may be let alone."""
    limits = Limits(errors=None, auth_failures=None, idle_commands=None)
    assert Budget(limits, commands=10**6, errors=10**6, auth_failures=10**6).exhausted is None
