"""A folder of transcripts that leaves no thread behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.transcript.recording import Recording


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Recording]]:
    """Make recordings with other settings."""
    made: list[Recording] = []

    def one(**settings: Any) -> Recording:
        made.append(Recording(tmp_path, **settings))
        return made[-1]

    yield one
    for recording in made:
        recording.clear_up()


@pytest.fixture
def recording(make: Callable[..., Recording]) -> Recording:
    return make()
