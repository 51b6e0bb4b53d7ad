"""A limit that is none is told when it is written down."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from smtpcb.smtp._limits import Limits


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"recipients": -1}, "recipients is at least 1, not -1"),
        ({"recipients": 0}, "recipients is at least 1, not 0"),
        ({"message_octets": 0}, "message_octets is at least 1"),
        ({"command_octets": 100}, "command_octets is at least 512"),
        ({"errors": -5}, "errors is at least 0"),
        ({"idle_seconds": 0}, "idle_seconds is more than 0"),
        ({"decision_seconds": -0.5}, "decision_seconds is at least 0"),
        ({"message_seconds": float("nan")}, "message_seconds cannot be nan"),
        ({"session_seconds": float("inf")}, "session_seconds cannot be inf"),
    ],
)
def test_a_number_that_nobody_can_mean(wrong: Any, complaint: str) -> None:
    """It is refused when the limits are made, and not by the first client who waits for ever."""
    with pytest.raises(ValueError, match=complaint):
        Limits(**wrong)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"recipients": "100"}, "recipients is a whole number, or None, not '100'"),
        ({"recipients": 100.0}, "recipients is a whole number"),
        ({"recipients": True}, "recipients is a whole number"),
        ({"command_octets": None}, "command_octets is a whole number, not None"),
        ({"idle_seconds": None}, "idle_seconds is a number, not None"),
        ({"idle_seconds": "300"}, "idle_seconds is a number"),
        ({"grace_seconds": False}, "grace_seconds is a number"),
    ],
)
def test_what_is_no_number(wrong: Any, complaint: str) -> None:
    """A text, a truth, or nothing where there has to be a limit."""
    with pytest.raises(TypeError, match=complaint):
        Limits(**wrong)


def test_every_limit_is_looked_at() -> None:
    """Also one that is added later."""
    for field in fields(Limits):
        for wrong in ("x", -1, True, [], -1.5):
            with pytest.raises((TypeError, ValueError), match=field.name):
                Limits(**{field.name: wrong})


def test_what_may_be_none_or_whole() -> None:
    """No limit, seconds without a fraction, and numbers of any size."""
    assert Limits(recipients=None, session_seconds=None).recipients is None
    assert Limits(idle_seconds=10, grace_seconds=0, connections=0).idle_seconds == 10
    assert Limits(message_octets=10**400).message_octets == 10**400


def test_every_limit_is_described() -> None:
    """Limits has a row for each, in words, and says of which one can be lifted."""
    page = (Path(__file__).parents[2] / "docs" / "limits.rst").read_text()
    rows = re.findall(r"^   \* - ``(\w+)``(, or none)?\n     - (.*)$", page, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(field.name for field in fields(Limits))
    for name, lifted, default in rows:
        if name != "commands_per_verb":
            kind = str(Limits.__dataclass_fields__[name].type)
            assert bool(lifted) == kind.endswith("None"), name
            assert default == f":limit:`{name}`"
