"""The servers: how each is started, what it can do, and which version it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.clients import find

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
#: Everything that `install` makes, other than node_modules; nothing of it is in the repository.
INSTALLED = CHECKOUT / ".venv-benchmarks"
PYTHON = INSTALLED / "bin" / "python"
GO_SMTP = INSTALLED / "go-smtp"
LIBESMTP = INSTALLED / "libesmtp-sender"
NODE = HERE / "node"

INSTALL = "installed (--install)"
HANDLERS = "tests.benchmarks.servers.handlers"
#: Our client, among those that send.
CLIENT = "smtpcb-client"


@dataclass(frozen=True)
class Demand:
    """
    What a workload wants of a server.

    :ivar port: where it must listen.
    :ivar folder: where it may write.
    :ivar identity: PEM files of certificate and key, for STARTTLS; without, there is none.
    :ivar handler: in the place of the one that smtpcb would run.
    :ivar options: for ``twistd smtpcb``.
    """

    port: int
    folder: Path
    identity: tuple[Path, Path] | None = None
    handler: str | None = None
    options: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """What all programs of ours take: PORT [CERTIFICATE KEY]."""
        return [str(self.port), *map(str, self.identity or ())]


@dataclass(frozen=True)
class Peer:
    """
    One row of the table.

    :ivar command: starts it.
    :ivar missing: says why it cannot be started, or nothing.
    :ivar version: of what is measured.
    :ivar ours: it is smtpcb.
    :ivar tls: it can do STARTTLS.
    :ivar directory: its current folder, if that matters.
    :ivar environment: in addition to ours.
    :ivar sender: what is measured sends; then `command` starts whom it sends to.
    """

    name: str
    command: Callable[[Demand], Sequence[str]]
    missing: Callable[[], str | None]
    version: Callable[[], str]
    ours: bool = False
    tls: bool = True
    directory: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    sender: Sequence[str] | None = None


def said(*command: str | Path) -> str:
    """Return the first line that a program prints, or nothing."""
    try:
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.partition("\n")[0].strip()


def debian_version(package: str) -> str:
    """Return the version of an installed Debian package, or nothing."""
    return said("dpkg-query", "-W", "-f", "${Version}", package)


@cache
def python_version_of(distribution: str) -> str:
    """Return the version of a distribution in the environment of the peers, or nothing."""
    code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
    return said(PYTHON, "-c", code, distribution)


def _smtpcb(handler: str, *options: str) -> Callable[[Demand], Sequence[str]]:
    def command(demand: Demand) -> Sequence[str]:
        tls = ["--no-tls"]
        if demand.identity:
            tls = ["--tls-certificate", str(demand.identity[0])]
            tls += ["--tls-key", str(demand.identity[1])]
        return [
            *(str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile="),
            *("--logfile", str(demand.folder / "twistd.log"), "smtpcb"),
            *("--listen", f"tcp:{demand.port}:interface=127.0.0.1"),
            *("--handler", f"python:{HANDLERS}.{demand.handler or handler}"),
            *("--state", str(demand.folder / "state")),
            # What a client of ours does within a minute is more than most do in a day.
            *("--message-octets", "1G", "--connections", "none"),
            *("--messages", "none", "--idle-commands", "none"),
            *tls,
            *(option.format(folder=demand.folder) for option in options),
            *demand.options,
        ]

    return command


def _smtpcb_version() -> str:
    commit = said("git", "-C", CHECKOUT, "describe", "--always", "--dirty", "--abbrev=12")
    return f"{metadata.version('smtpcb')} ({commit or 'not from a repository'})"


_PLAIN = Peer(
    name="smtpcb",
    command=_smtpcb("Plain"),
    missing=lambda: None,
    version=_smtpcb_version,
    ours=True,
    directory=CHECKOUT,
    environment={"PYTHONPATH": str(HERE / "servers" / "pure")},  # without stringzilla
)
_FAST = replace(
    _PLAIN,
    name="smtpcb-fast",
    missing=lambda: None if fast() else "stringzilla is not installed (pip install smtpcb[fast])",
    environment={},
)


def _python(name: str, distribution: str, script: str) -> Peer:
    def missing() -> str | None:
        return None if python_version_of(distribution) else f"{distribution} is not {INSTALL}"

    return Peer(
        name=name,
        command=lambda demand: [str(PYTHON), str(HERE / "servers" / script), *demand.arguments],
        missing=missing,
        version=lambda: f"{distribution} {python_version_of(distribution)}",
    )


def _canned(name: str, transport: str, *options: str) -> Peer:
    script = "tests.benchmarks.servers.canned_server"
    return Peer(
        name=name,
        command=lambda demand: [sys.executable, "-m", script, str(demand.port), *options],
        missing=lambda: None,
        version=lambda: f"a LineReceiver with canned replies, on {transport}",
        tls=False,
        directory=CHECKOUT,
    )


def _node_package(name: str) -> Path:
    return NODE / "node_modules" / name / "package.json"


def _node_missing(name: str = "smtp-server") -> str | None:
    if shutil.which("node") is None:
        return f"node is not {INSTALL}"
    return None if _node_package(name).exists() else f"{name} is not {INSTALL}"


def _node_version(name: str = "smtp-server") -> str:
    version = json.loads(_node_package(name).read_text())["version"]
    return f"{name} {version}, Node.js {said('node', '--version').lstrip('v')}"


def _go_version() -> str:
    version = debian_version("golang-github-emersion-go-smtp-dev")
    return f"go-smtp {version}, {said('go', 'version').removeprefix('go version ')}"


def _sink(demand: Demand) -> Sequence[str]:
    return [
        *(find("smtp-sink") or "smtp-sink", "-m", "20000"),
        *(() if os.geteuid() else ("-u", "nobody")),  # it will not be root
        *(f"127.0.0.1:{demand.port}", "511"),
    ]


def _sink_missing() -> str | None:
    return None if find("smtp-sink") else f"smtp-sink is not {INSTALL}"


def _client(name: str, script: str, python: Path = PYTHON, distribution: str = "") -> Peer:
    """Return a client that is measured while it sends to smtp-sink."""

    def missing() -> str | None:
        if distribution and not python_version_of(distribution):
            return f"{distribution} is not {INSTALL}"
        return _sink_missing()

    def version() -> str:
        if distribution:
            return f"{distribution} {python_version_of(distribution)}"
        return _smtpcb_version() if name == CLIENT else "of the standard library"

    return Peer(
        name=name,
        command=_sink,
        missing=missing,
        version=version,
        ours=name == CLIENT,
        tls=False,
        sender=(str(python), str(HERE / "senders" / script)),
    )


_OWN_PYTHON = Path(sys.executable)
_NO_LIBESMTP = f"a program with libESMTP is not {INSTALL}"

PEERS: tuple[Peer, ...] = (
    _PLAIN,
    replace(_PLAIN, name="smtpcb-async", command=_smtpcb("Async")),
    replace(
        _PLAIN,
        name="smtpcb-transcripts",
        command=_smtpcb("Plain", "--transcripts", "{folder}/transcripts"),
    ),
    replace(_PLAIN, name="smtpcb-chunk", command=_smtpcb("Streaming")),
    _FAST,
    replace(_FAST, name="smtpcb-chunk-fast", command=_smtpcb("Streaming")),
    _canned("canned", "Twisted's transport"),
    _canned("canned-ours", "smtpcb's transport", "ours"),
    _python("aiosmtpd", "aiosmtpd", "aiosmtpd_server.py"),
    _python("twisted.mail", "twisted", "twisted_mail_server.py"),
    Peer(
        name="nodemailer",
        command=lambda demand: ["node", str(NODE / "server.js"), *demand.arguments],
        missing=_node_missing,
        version=_node_version,
        environment={"NODE_ENV": "production"},
    ),
    Peer(
        name="go-smtp",
        command=lambda demand: [str(GO_SMTP), *demand.arguments],
        missing=lambda: None if os.access(GO_SMTP, os.X_OK) else f"go-smtp is not {INSTALL}",
        version=_go_version,
    ),
    Peer(
        name="smtp-sink",
        command=_sink,
        missing=_sink_missing,
        version=lambda: f"Postfix {debian_version('postfix')}",
        tls=False,
    ),
    _client(CLIENT, "smtpcb_sender.py", _OWN_PYTHON),
    _client("smtplib", "smtplib_sender.py", _OWN_PYTHON),
    _client("aiosmtplib", "aiosmtplib_sender.py", distribution="aiosmtplib"),
    _client("twisted.mail-client", "twisted_mail_sender.py", distribution="twisted"),
    Peer(
        name="nodemailer-client",
        command=_sink,
        missing=lambda: _node_missing("nodemailer") or _sink_missing(),
        version=lambda: _node_version("nodemailer"),
        tls=False,
        sender=("node", str(NODE / "sender.js")),
    ),
    Peer(
        name="libesmtp",
        command=_sink,
        missing=lambda: _sink_missing() if os.access(LIBESMTP, os.X_OK) else _NO_LIBESMTP,
        version=lambda: f"libESMTP {debian_version('libesmtp-dev')}, a program in C",
        tls=False,
        sender=(str(LIBESMTP),),
    ),
)

NAMES = tuple(peer.name for peer in PEERS)


def fast() -> bool:
    """Say whether smtpcb can be run with the extra ``smtpcb[fast]``."""
    return find_spec("stringzilla") is not None
