"""Times and sizes are written in one way, wherever they are said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smtpcb import _amounts
from smtpcb.handlers.capture import CapturePlugin
from smtpcb.policies import POLICIES
from smtpcb.run.options import OPTIONS, Option, read_environment, read_file, resolve, written
from smtpcb.run.options._reading import read_text

TIMES = [one for one in OPTIONS if one.metavar == "SECONDS"]
SIZES = [
    one for one in OPTIONS if one.metavar == "OCTETS" and one.name != "content-octets-per-second"
]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("300", 300.0),
        ("0.5", 0.5),
        ("0", 0.0),
        ("90s", 90.0),
        ("5m", 300.0),
        ("5M", 300.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("2d", 172_800.0),
        (" 2d ", 172_800.0),
    ],
)
def test_a_time_is_seconds_or_has_a_letter(text: str, value: float) -> None:
    """Minutes, hours and days are said as such."""
    assert _amounts.seconds(text) == value
    assert _amounts.days(text) == (value if text[-1].isdigit() else value / 86400)


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "-1m", "5w", "5 m m", "nan", "inf", "infd", "1e9", "99999d", "\u0663"]
)
def test_what_is_no_time(text: str) -> None:
    """One line says how it is written."""
    with pytest.raises(ValueError, match="a number of seconds, or 5m, 12h, 36d,"):
        _amounts.seconds(text)
    with pytest.raises(ValueError, match="a number of days"):
        _amounts.days(text)


def test_some_have_no_parts_of_a_second() -> None:
    """What is said to clients in whole seconds."""
    assert [_amounts.whole_seconds(text) for text in ("0", "60", "2d")] == [0, 60, 172_800]
    for text in ("", "0.5", "1.5m", "-1", "x", "9" * 16):
        with pytest.raises(ValueError, match="a whole number of seconds"):
            _amounts.whole_seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("33554432", 1 << 25), ("512k", 1 << 19), ("32M", 1 << 25), (" 1g", 1 << 30)],
)
def test_a_size_is_octets_or_has_a_letter(text: str, value: int) -> None:
    """k is 1024 octets."""
    assert _amounts.octets(text) == value


@pytest.mark.parametrize("text", ["", "M", "-1", "1.5M", "10T", "9" * 16, "9" * 9999, "\u0663"])
def test_what_is_no_size(text: str) -> None:
    """One line says how it is written, however long a number is."""
    with pytest.raises(ValueError, match="a number of octets such as 33554432 or 32M"):
        _amounts.octets(text)


@pytest.mark.parametrize("option", TIMES, ids=lambda option: option.name)
def test_every_option_that_is_a_time_takes_both(option: Option, tmp_path: Path) -> None:
    """On the command line, in the environment and in a file; and what is shown is read again."""
    unit = "1m"  # no longer than a greeting may be held back
    assert read_text(option, "60", "x") == read_text(option, unit, "x") == 60
    assert read_environment({option.variable: unit}) == {option.key: 60}
    file = tmp_path / "settings.toml"
    file.write_text(f'{option.name} = "{unit}"\n')
    assert read_file(file) == {option.key: 60}
    file.write_text(written(resolve({option.key: read_text(option, unit, "x")}, {})))
    assert read_file(file)[option.key] == 60
    assert resolve(read_file(file), {}).limits


def test_there_are_all_of_them() -> None:
    """Whatever has seconds in its name is a time, and shows that in the help."""
    assert {one.name for one in TIMES} == {
        one.name for one in OPTIONS if one.name.endswith("-seconds")
    }
    assert len(SIZES) > 7


@pytest.mark.parametrize("option", SIZES, ids=lambda option: option.name)
def test_every_option_that_is_a_size_takes_both(option: Option) -> None:
    """As octets, or with a letter."""
    assert read_text(option, "1M", "x") == read_text(option, "1048576", "x") == 1 << 20


def test_a_rate_is_no_time() -> None:
    """Octets in a second have no minutes."""
    [option] = [one for one in OPTIONS if one.name == "content-octets-per-second"]
    assert [read_text(option, text, "x") for text in ("12", "0.5", "1k")] == [12, 0.5, 1024]
    for text in ("5d", "1h", "-1", "nan", ""):
        with pytest.raises(ValueError, match="a number of octets a second"):
            read_text(option, text, "x")


def test_days_take_hours_as_well(tmp_path: Path) -> None:
    """Of transcripts and of captured mail: a number alone is days."""
    [option] = [one for one in OPTIONS if one.name == "transcript-days"]
    assert [read_text(option, text, "x") for text in ("30", "2d", "12h")] == [30, 2, 0.5]
    file = tmp_path / "settings.toml"
    file.write_text(written(resolve({"transcript_days": read_text(option, "5m", "x")}, {})))
    assert read_file(file) == {"transcript_days": 300 / 86400}
    setting: Any = SimpleNamespace(reactor=None, state=tmp_path, owners=None, make_state=None)
    for text, kept in (("7", 7), ("2d", 2), ("12h", 0.5)):
        assert CapturePlugin().make(f"mail:keep-days={text}", setting)._keep.days == kept


@pytest.mark.parametrize("text", ["0", "0s", "0.0m"])
def test_greylisting_without_a_delay_is_a_mistake(text: str) -> None:
    """It would look like greylisting, and be none."""
    [plugin] = [one for one in POLICIES if one.name == "greylist"]
    setting: Any = SimpleNamespace(reactor=None)
    with pytest.raises(ValueError, match="who need not wait is not greylisted"):
        plugin.make(f"delay={text}", setting)
    with pytest.raises(ValueError, match="retry=0s: a time above 0 is wanted"):
        plugin.make("retry=0s", setting)
    with pytest.raises(ValueError, match="delay=soon: a number of seconds, or 5m"):
        plugin.make("delay=soon", setting)


def test_how_many_is_a_whole_number() -> None:
    """No unit, no sign, and not so many digits that only a slip can be meant."""
    assert _amounts.number("200") == 200
    for text in ("", "-1", "1k", "1.5", "9" * 16, "\u0661"):
        with pytest.raises(ValueError, match="a whole number"):
            _amounts.number(text)
