"""Servers that mail servers relay to, and what became of the mail."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..running import Server, running, wait_until
from .handlers import CAME, NOTES, WENT

ROOT = Path(__file__).parents[2]


@contextmanager
def relayed_to(folder: Path, handler: str, *options: str) -> Iterator[Server]:
    """Run a server with one of the handlers of this package; all of it is recorded."""
    name = f"python:tests.relays.handlers.{handler}"
    options = ("--handler", name, "--transcripts", "state/transcripts", *options)
    with running(folder, *options, environment={"PYTHONPATH": str(ROOT)}) as server:
        yield server


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that other users may enter, as they may not pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="smtpcb-relay-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def recorded(server: Server) -> list[Path]:
    """Return all transcripts, once everybody who has come has gone and stands in one."""

    def ids(name: str) -> set[str]:
        path = server.folder / name
        return set(path.read_text().splitlines()) if path.exists() else set()

    def finished() -> set[str]:
        return {path.stem for path in server.transcripts() if ": closed: " in path.read_text()}

    wait_until(lambda: ids(CAME) == ids(WENT) == finished())
    return server.transcripts()


def notes(server: Server) -> list[dict[str, Any]]:
    """Return what became of each message, in the order in which they were taken."""
    path = server.folder / NOTES
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def said(transcripts: Iterable[Path], side: str) -> list[str]:
    """Return all lines that they have of the client, ``C``, or of the server, ``S``."""
    found = []
    for path in transcripts:
        for line in path.read_text().splitlines():
            _, mark, rest = line.partition(f" {side}: ")
            if mark:
                found.append(rest)
    return found
