"""
A private Exim that relays to one port on loopback.

It has no daemon: each message is handed to the program, which delivers it before it ends.  Debian's
exim4 packages cannot be installed beside Postfix's, so the program may lie unpacked in
``.cache/exim`` (`.ci/run` does that).
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..clients.conftest import missing, program

UNPACKED = Path(__file__).parents[2] / ".cache/exim/usr/sbin/exim4"
# The user that Debian's Exim is built for; without it the program does nothing at all.
USER = "Debian-exim"

_CONFIGURATION = """\
exim_path = {program}
primary_hostname = relay.example.org
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
log_selector = +pipelining +smtp_confirmation
disable_ipv6
keep_environment =
trusted_users = root
qualify_domain = example.org
# The empty item is whoever speaks SMTP to it through a pipe.
smtputf8_advertise_hosts = : *
dsn_advertise_hosts = : *
acl_smtp_rcpt = accept
message_size_limit = 50M

begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1 byname
  self = send
  transport = smtp

begin transports
smtp:
  driver = smtp
  port = {port}
  allow_localhost
  hosts_try_chunking = *
  hosts_{tls}_tls = *
  tls_verify_certificates =
  tls_try_verify_hosts =
  tls_verify_hosts =

begin retry
* * F,1h,1m
"""


class Exim:
    """
    One configuration and one queue.

    :param folder: of its own, where Exim's user may go.
    :param port: of the server on 127.0.0.1.
    :param tls: whether it insists on STARTTLS, or does without.
    """

    def __init__(self, folder: Path, port: int, *, tls: bool = False) -> None:
        self._program = find()
        self._folder = folder
        user = pwd.getpwnam(USER)
        (folder / "spool").mkdir()
        for path in (folder, folder / "spool"):
            os.chown(path, user.pw_uid, user.pw_gid)
        self._configuration = folder / "exim.conf"
        self._configuration.write_text(
            _CONFIGURATION.format(
                program=self._program,
                folder=folder,
                port=port,
                tls="require" if tls else "avoid",
            )
        )

    def relay(self, content: bytes, recipients: Sequence[str], *options: str) -> None:
        """Take a message and try once to deliver it, before this returns."""
        ended = self._run(
            "-odf", "-oi", *options, "-f", "anne@example.org", *recipients, given=content
        )
        assert ended.returncode == 0, ended.stdout

    def relay_dialogue(self, commands: Sequence[str], content: bytes) -> None:
        """Do the same with a message whose sender speaks SMTP."""
        lines = ["EHLO client.example.org", *commands, "DATA"]
        given = "".join(line + "\r\n" for line in lines).encode() + content + b".\r\nQUIT\r\n"
        ended = self._run("-odf", "-bs", given=given)
        said = ended.stdout.decode().splitlines()
        assert not [line for line in said if line[:1] in "45"], ended.stdout

    def serves(self, connection: socket.socket) -> subprocess.Popen[bytes]:
        """Let it take mail on a connection, as inetd does, and deliver what it takes at once."""
        return subprocess.Popen(
            [self._program, "-C", str(self._configuration), "-odf", "-bs"],
            stdin=connection,
            stdout=connection,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
        )

    @property
    def log(self) -> str:
        """What it has said of its deliveries."""
        path = self._folder / "mainlog"
        return path.read_text() if path.exists() else ""

    def queued(self) -> int:
        """Return how many messages wait for another attempt."""
        return int(self._run("-bpc").stdout)

    def _run(self, *options: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self._program, "-C", str(self._configuration), *options],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            timeout=60,
            check=False,
        )


def find() -> str:
    """Return where the program is; the test is skipped, or fails, when it cannot be used."""
    if os.getuid() != 0:
        missing("only root can run an Exim of its own")
    try:
        pwd.getpwnam(USER)
    except KeyError:
        missing(f"there is no user {USER}, which Exim needs")
    found = shutil.which(UNPACKED)
    return found if found is not None else program("exim4")
