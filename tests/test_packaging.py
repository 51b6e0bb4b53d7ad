"""What is shipped, and what README says about it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
README = (CHECKOUT / "README.md").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy of what it is made of, with a used checkout's rubbish in it."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, copy)
    for name in ("smtpcb", "twisted"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "twisted" / "plugins" / "dropin.cache").write_bytes(b"as any twistd leaves it")
    result = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(copy / "dist")],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    [path] = (copy / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


def commands(heading: str) -> list[list[str]]:
    """Find the fenced blocks of one section of README, each as its lines."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert section.count("```") == 2 * len(blocks), "a fence that is no ```sh block"
    return [block.splitlines() for block in blocks]


def test_the_wheel_has_the_package_and_the_plug_in(wheel: zipfile.ZipFile) -> None:
    """twistd finds the plug-in, and type checkers find the types."""
    names = wheel.namelist()
    assert "twisted/plugins/smtpcb_plugin.py" in names
    assert "smtpcb/py.typed" in names
    for path in (CHECKOUT / "smtpcb").rglob("*.py"):
        assert str(path.relative_to(CHECKOUT)) in names


def test_the_wheel_leaves_twisted_alone(wheel: zipfile.ZipFile) -> None:
    """An __init__.py of ours would overwrite Twisted's own, and take it along when we go."""
    below_twisted = [name for name in wheel.namelist() if name.startswith("twisted/")]
    assert sorted(below_twisted) == [
        "twisted/plugins/smtpcb_htpasswd.py",
        "twisted/plugins/smtpcb_plugin.py",
    ]
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"smtpcb", "twisted", f"smtpcb-{PROJECT['version']}.dist-info"}


def test_the_checkout_does_not_hide_twisted() -> None:
    """With an __init__.py below twisted/ nothing that uses Twisted runs in the checkout."""
    assert [*(CHECKOUT / "twisted").rglob("__init__.py")] == []


def test_the_core_needs_few_packages(wheel: zipfile.ZipFile) -> None:
    """twisted[tls] is Twisted with pyOpenSSL, service-identity and idna; nothing else comes in."""
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    required = HeaderParser().parsestr(wheel.read(name).decode()).get_all("Requires-Dist", [])
    core = [one for one in required if "extra ==" not in one]
    assert {re.split(r"[<>=!~; ]", one)[0] for one in core} == {
        "twisted[tls]",
        "service-identity",
        "zope-interface",
    }


def test_one_command_runs_it() -> None:
    """A newcomer copies one line."""
    [[command]] = commands("Run it")
    assert command == "sh .ci/setup && .venv/bin/twistd -n --pidfile= smtpcb"


def test_one_command_tests_it() -> None:
    """A newcomer copies one line, and so does .ci/run."""
    [[command]] = commands("Test it")
    assert command == "sh .ci/setup test && .venv/bin/python -m pytest"


def test_the_version_is_told_once() -> None:
    """What is installed is what pyproject.toml says, and the changes tell what it brought."""
    assert metadata.version("smtpcb") == PROJECT["version"]
    headings = re.findall(r"^## (\S+)", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == PROJECT["version"]


def test_readme_links_lead_somewhere() -> None:
    """Every file that README links to is there."""
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert targets
    for target in targets:
        assert target.startswith("https://") or (CHECKOUT / target).is_file(), target
