"""Settings that nobody can mean are refused where they are written, with a sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from smtpcb.transcript import TranscriptSettings


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"content": "some"}, ValueError, "content is full, head or none, not 'some'"),
        ({"content": None}, ValueError, "content is full, head or none, not None"),
        ({"sessions": "x"}, ValueError, "sessions is all, commands or transactions, not 'x'"),
        ({"max_octets": -1}, ValueError, "max_octets cannot be -1"),
        ({"max_octets": None}, TypeError, "max_octets is a whole number, not None"),
        ({"max_octets": "1M"}, TypeError, "max_octets is a whole number, not '1M'"),
        ({"keep_days": -0.5}, ValueError, "keep_days cannot be -0.5"),
        ({"keep_days": float("nan")}, ValueError, "keep_days cannot be nan"),
        ({"keep_days": "30"}, TypeError, "keep_days is a number, not '30'"),
        ({"keep_octets": -1}, ValueError, "keep_octets cannot be -1"),
        ({"keep_octets": 1.5}, TypeError, "keep_octets is a whole number, not 1.5"),
        ({"keep_files": True}, TypeError, "keep_files is a whole number, not True"),
        ({"folder": 3}, TypeError, "folder is a path, not 3"),
        ({"folder": None}, TypeError, "folder is a path, not None"),
        ({"folder": b"x"}, TypeError, "folder is a path, not b'x'"),
        ({"folder": ""}, ValueError, "folder is a path, not ''"),
        ({"folder": "a\0b"}, ValueError, "folder is a path, not 'a\\x00b'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    wrong: dict[str, Any], error: type[Exception], said: str
) -> None:
    """A setting that nobody can mean, or of the wrong type, is an error at once."""
    with pytest.raises(error, match=f"^{re.escape(said)}$"):
        TranscriptSettings(**{"folder": Path("x"), **wrong})


def test_text_is_taken_for_a_path() -> None:
    """Who writes a folder as text means the folder of that name."""
    assert TranscriptSettings("a/b").folder == Path("a/b")


def test_limits_may_be_absent() -> None:
    """None is no limit, and a whole number of days is a number."""
    settings = TranscriptSettings(Path("x"), keep_days=None, keep_octets=None, keep_files=None)
    assert settings.keep_days is settings.keep_octets is settings.keep_files is None
    assert TranscriptSettings(Path("x"), keep_days=2).keep_days == 2
