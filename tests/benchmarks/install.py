"""How a peer gets here: Debian's packages, a virtual environment, npm, and the Go compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from tests.benchmarks.clients import find
from tests.benchmarks.peers import (
    GO_SMTP,
    HERE,
    INSTALLED,
    LIBESMTP,
    NODE,
    PYTHON,
    debian_version,
)

AIOSMTPD = "aiosmtpd==1.4.6"
AIOSMTPLIB = "aiosmtplib==5.1.0"
GOCODE = "/usr/share/gocode"
_POLICY = Path("/usr/sbin/policy-rc.d")

#: Debian package, how to see that it is there, and what it is for.
DEBIAN: tuple[tuple[str, Callable[[], object], str], ...] = (
    ("postfix", lambda: find("smtp-source"), "smtp-source, which sends, and smtp-sink"),
    ("postal", lambda: find("postal"), "the workload postal"),
    ("golang-go", lambda: shutil.which("go"), "go-smtp"),
    (
        "golang-github-emersion-go-smtp-dev",
        lambda: debian_version("golang-github-emersion-go-smtp-dev"),
        "go-smtp",
    ),
    (
        "golang-github-emersion-go-sasl-dev",
        lambda: debian_version("golang-github-emersion-go-sasl-dev"),
        "go-smtp",
    ),
    ("nodejs", lambda: shutil.which("node"), "nodemailer"),
    ("npm", lambda: shutil.which("npm"), "nodemailer"),
    ("gcc", lambda: shutil.which("cc"), "libESMTP"),
    ("libc6-dev", lambda: debian_version("libc6-dev"), "libESMTP"),
    ("libesmtp-dev", lambda: debian_version("libesmtp-dev"), "libESMTP"),
)


def install() -> bool:
    """Install what is missing; say what could not be, and return whether all is there."""
    good = True
    for step in (_debian, _python, _node, _go, _c):
        try:
            step()
        except (OSError, subprocess.CalledProcessError, LookupError) as error:
            good = False
            print(f"install: {step.__name__.strip('_')}: {error}", file=sys.stderr)
    return good


def _debian() -> None:
    missing = [(package, use) for package, there, use in DEBIAN if not there()]
    if not missing:
        return
    for package, use in missing:
        print(f"install: the Debian package {package} is missing (for {use})")
    names = [package for package, _ in missing]
    if os.geteuid() or shutil.which("apt-get") is None:
        raise LookupError(f"as root: apt-get install --no-install-recommends {' '.join(names)}")
    # Nothing that is installed here may start: Postfix lends us two programs only.
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", *names]):
            subprocess.run(["apt-get", "-q", *arguments], env=environment, check=True)
    finally:
        if ours:
            _POLICY.unlink()


def _python() -> None:
    if not PYTHON.exists():
        venv.create(INSTALLED, with_pip=True)
        (INSTALLED / ".gitignore").write_text("*\n")
    # The same Twisted as ours, or the comparison would be one of its versions.
    twisted = f"twisted[tls]=={metadata.version('twisted')}"
    pip = [PYTHON, "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check"]
    subprocess.run([*pip, AIOSMTPD, AIOSMTPLIB, twisted], check=True)


def _node() -> None:
    # A lock file would hold the addresses of whatever registry is in use.
    npm = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(npm, cwd=NODE, check=True)


def _go() -> None:
    INSTALLED.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": GOCODE,
        "GOFLAGS": "",
        "GOCACHE": str(INSTALLED / "go-cache"),
    }
    build = ["go", "build", "-o", str(GO_SMTP), "."]
    subprocess.run(build, cwd=HERE / "go", env=environment, check=True)


def _c() -> None:
    INSTALLED.mkdir(exist_ok=True)
    source = HERE / "senders" / "libesmtp_sender.c"
    subprocess.run(["cc", "-O2", "-o", str(LIBESMTP), str(source), "-lesmtp"], check=True)
