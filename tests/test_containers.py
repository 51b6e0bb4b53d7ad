"""The container file in docs/examples holds together, and what it runs would run."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from smtpcb.run.options import OPTIONS, read_environment, resolve
from smtpcb.run.options._environment import FILE
from tests.running import running

DOCS = Path(__file__).parent.parent / "docs"
# Of Dockerfiles; those of Podman are the same.
KNOWN = frozenset(
    [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ]
)
PORT = 2525


def instructions() -> list[tuple[str, str]]:
    """Return what the file says, in its order: the instruction, and what stands behind it."""
    text = (DOCS / "examples/Containerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    whole = [line for line in re.sub(r" *\\\n *", " ", lines).splitlines() if line]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in whole)]


def the(instruction: str) -> str:
    """Return what stands behind an instruction that is there once."""
    (rest,) = [rest for word, rest in instructions() if word == instruction]
    return rest


def environment() -> dict[str, str]:
    """Return the settings that the image has."""
    pairs = [pair.partition("=") for pair in the("ENV").split()]
    return {name: value for name, _, value in pairs if name.startswith("SMTPCB_")}


def test_each_instruction_is_one() -> None:
    """And the file begins with what it is made from."""
    words = [word for word, _ in instructions()]
    assert words[0] == "FROM"
    assert set(words) <= KNOWN
    # What changes the image as root stands above the line that leaves root.
    assert not set(words[words.index("USER") :]) & {"RUN", "COPY", "ADD"}


def test_it_runs_the_server() -> None:
    """As a process of its own, so that it gets the signals, and not as root."""
    assert json.loads(the("ENTRYPOINT")) == ["twistd", "-n", "--pidfile=", "smtpcb"]
    assert the("USER") == "smtpcb"
    assert "useradd --uid 10001 " in the("RUN")


def test_its_settings_are_settings() -> None:
    """They fit the ports and the volume that the image has."""
    configuration = resolve({}, {}, None, read_environment(environment()))
    assert [f"tcp:{port}" for port in the("EXPOSE").split()] == list(configuration["listen"])
    assert configuration["state"].is_relative_to(the("VOLUME"))
    assert str(PORT) == the("EXPOSE").split()[0]


def test_its_health_is_looked_at_without_leaving_a_trace(tmp_path: Path) -> None:
    """It is well if it greets, and a look is no session."""
    _, _, command = the("HEALTHCHECK").partition("CMD ")
    program, *arguments = json.loads(command)
    assert program == "python"

    def look(port: int) -> int:
        words = [word.replace(str(PORT), str(port)) for word in arguments]
        return subprocess.run(
            [sys.executable, *words], stderr=subprocess.DEVNULL, timeout=60
        ).returncode

    with running(tmp_path) as server:
        assert look(server.port) == 0
        server.stop()
        assert server.transcripts() == []
    with socket.create_server(("127.0.0.1", 0)) as other:
        nobody = other.getsockname()[1]
    assert look(nobody) != 0


@pytest.mark.parametrize(
    "page",
    [*DOCS.glob("*.rst"), *(path for path in (DOCS / "examples").rglob("*") if path.is_file())],
    ids=lambda path: path.name,
)
def test_each_variable_that_is_named_is_one(page: Path) -> None:
    """A page that named one that is none would stop its reader's server."""
    if page.suffix == ".pyc":
        return
    named = set(re.findall(r"\bSMTPCB_[A-Z0-9_]+", page.read_text()))
    of_others = {"SMTPCB_SERVICE_HOST", "SMTPCB_PORT_25_TCP"}
    assert named - of_others <= {FILE, *(option.variable for option in OPTIONS)}


def test_what_is_shown_of_print_config_is_what_it_prints(tmp_path: Path) -> None:
    """Each line that the page has."""
    page = (DOCS / "configuration.rst").read_text()
    at = page.index("    SMTPCB_MESSAGE_OCTETS=10M twistd -n --pidfile= smtpcb --recipients")
    line, _, rest = page[at:].partition("\n")
    (shown,) = re.findall(r"code-block:: toml\n\n(.*?)\n\n\(", rest, re.DOTALL)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    printed = subprocess.run(
        ["sh", "-c", line],
        env={**os.environ, "PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.splitlines()
    lines = [one.strip() for one in shown.splitlines()]
    assert len(lines) == 6
    assert [one for one in printed if one in lines] == lines
