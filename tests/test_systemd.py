"""The units in docs/examples are ones that systemd takes, and what they start would start."""

from __future__ import annotations

import os
import shlex
import shutil
import smtplib
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from smtpcb.run.options import OPTIONS
from tests.running import TWISTD, running

EXAMPLES = Path(__file__).parent.parent / "docs/examples"
UNITS = ("smtpcb.service", "smtpcb.socket")
PLACE = "/opt/smtpcb/bin/twistd"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    program = shutil.which("systemd-analyze")
    if program is None and os.environ.get("SMTPCB_REQUIRE_CLIENTS") != "1":
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    assert program is not None
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)


def settings(unit: str) -> list[tuple[str, str]]:
    """Return what a unit says, in its order."""
    lines = (EXAMPLES / unit).read_text().splitlines()
    said = [line.partition("=") for line in lines if line and line[0] not in "#["]
    assert all(equals for _, equals, _ in said)
    return [(name, value) for name, _, value in said]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of units, as they stand on a machine; with the twistd that is here."""
    shutil.copytree(EXAMPLES, tmp_path / "units")
    unit = tmp_path / "units/smtpcb.service"
    text = unit.read_text()
    assert text.count(PLACE) == 2
    unit.write_text(text.replace(PLACE, str(TWISTD)))
    return tmp_path / "units"


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("drop_ins", [True, False])
def test_systemd_takes_them(unit: str, drop_ins: bool, installed: Path) -> None:
    """With what can be dropped in and without."""
    if not drop_ins:
        shutil.rmtree(installed / "smtpcb.service.d")
    verified = analyze("verify", "--man=no", str(installed / unit))
    ours = [line for line in verified.stderr.splitlines() if "smtpcb" in line]
    assert (verified.returncode, ours) == (0, [])


def test_a_mistake_in_one_would_be_seen(installed: Path) -> None:
    """Or the test above would show nothing."""
    unit = installed / "smtpcb.service"
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHouse="))
    verified = analyze("verify", "--man=no", str(unit))
    assert "'ProtectHouse'" in verified.stderr


def test_little_is_exposed(installed: Path) -> None:
    """On the scale of systemd, from 0 (nothing) to 10, what a mistake of ours could reach."""
    scored = analyze(
        "security", "--offline=yes", "--threshold=20", "--no-pager", str(installed / UNITS[0])
    )
    assert scored.returncode == 0, scored.stdout


def test_what_they_start_would_start(tmp_path: Path) -> None:
    """With the environment that the unit and each drop-in gives."""
    lines = [value for name, value in settings(UNITS[0]) if name in ("ExecStart", "ExecStartPre")]
    assert len(lines) == 2
    (tmp_path / "smtpcb.toml").write_text("recipients = 100\n")
    for line in lines:
        _, *words = shlex.split(line.replace("/etc/", f"{tmp_path}/"))
        words = [word for word in words if word != "--check"]
        checked = subprocess.run(
            [TWISTD, *words, "--check"],
            env={**os.environ, **environment(UNITS[0]), "SMTPCB_STATE": str(tmp_path / "state")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert checked.returncode == 0, checked.stderr


def environment(unit: str) -> dict[str, str]:
    """Return what a unit puts into the environment."""
    said = [value.partition("=") for name, value in settings(unit) if name == "Environment"]
    return {name: value for name, _, value in said}


@pytest.mark.parametrize(
    "unit", ["smtpcb.service", "smtpcb.service.d/certbot.conf", "smtpcb.service.d/socket.conf"]
)
def test_the_environment_is_understood(unit: str) -> None:
    """The names are settings."""
    said = environment(unit)
    assert said
    assert set(said) <= {option.variable for option in OPTIONS}


def test_keys_are_handed_over() -> None:
    """Each that the drop-in names is loaded, and is used."""
    drop_in = "smtpcb.service.d/certbot.conf"
    loaded = [
        value.partition(":")[0] for name, value in settings(drop_in) if name == "LoadCredential"
    ]
    used = [value.rpartition("/")[2] for value in environment(drop_in).values()]
    assert loaded == used == ["fullchain.pem", "privkey.pem"]


def test_the_socket_has_the_name_that_is_listened_on() -> None:
    """As the drop-in says it."""
    (name,) = [value for key, value in settings("smtpcb.socket") if key == "FileDescriptorName"]
    listen = environment("smtpcb.service.d/socket.conf")["SMTPCB_LISTEN"]
    assert listen.endswith(f":name={name}")


def test_a_stop_has_the_time_that_it_may_take() -> None:
    """Fifteen seconds more than transactions have."""
    grace = next(option.default for option in OPTIONS if option.name == "grace-seconds")
    (stop,) = [value for name, value in settings(UNITS[0]) if name == "TimeoutStopSec"]
    assert int(stop) >= grace + 15


# What MemoryDenyWriteExecute= does, which some libraries that call back from C do not survive.
LAUNCHER = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_tls_works_without_memory_that_is_written_and_executed(tmp_path: Path) -> None:
    """The unit forbids it."""
    tried = subprocess.run([sys.executable, "-c", LAUNCHER, "/bin/true"], timeout=60)
    if tried.returncode == 77:
        pytest.skip("this system cannot forbid it to a process (Linux 6.3 can)")
    with running(tmp_path, through=(sys.executable, "-c", LAUNCHER)) as server:
        context = ssl.create_default_context(cafile=str(server.identity))
        with smtplib.SMTP("127.0.0.1", server.port, timeout=10) as client:
            client.starttls(context=context)
            client.sendmail("a@example.org", "b@example.org", "Subject: x\n\nx")
        assert len(server.messages()) == 1
