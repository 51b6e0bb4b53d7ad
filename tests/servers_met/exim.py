"""
A private Exim that takes mail on a port of loopback and delivers it into folders.

It refuses by name, at the stage that the name says: a sender ``data4-x`` at DATA and for now.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.relays.exim import USER, find
from tests.servers_met.sending import free_port, listens, started
from tests.servers_met.trusted import PASSWORD, Trusted
from tests.servers_met.trusted import USER as LOGIN

_CONFIGURATION = """\
exim_path = {program}
primary_hostname = mail.example.org
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/pid
disable_ipv6
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port} : {smtps}
tls_on_connect_ports = {smtps}
tls_advertise_hosts = *
tls_certificate = {trusted.certificate}
tls_privatekey = {trusted.key}
auth_advertise_hosts = ${{if def:tls_in_cipher {{*}}}}
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
message_size_limit = 1M
smtp_accept_queue_per_connection = 100
acl_smtp_mail = by_sender_mail
acl_smtp_rcpt = by_recipient
acl_smtp_predata = by_sender_data
acl_smtp_data = by_sender_message

begin acl
by_sender_mail:
  deny senders = ^mail5- : message = 550 5.7.1 Not from you
  defer senders = ^mail4-
  drop senders = ^drop-
  accept
by_recipient:
  deny local_parts = unknown
    message = 550 5.1.1 Unknown
  defer local_parts = later
    message = 450 4.2.1 Later
  drop local_parts = closing
    message = 550 5.7.1 Enough of you
  accept
by_sender_data:
  deny senders = ^data5-
  defer senders = ^data4-
  accept
by_sender_message:
  deny senders = ^dot5-
  defer senders = ^dot4-
  drop senders = ^gone-
  accept

begin routers
all:
  driver = accept
  local_parts = bob : carl
  transport = folder

begin transports
folder:
  driver = appendfile
  directory = {folder}/mail/$local_part_data
  maildir_format
  user = {user}

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and {{{{eq{{$auth2}}{{{login}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and {{{{eq{{$auth1}}{{{login}}}}}{{eq{{$auth2}}{{{password}}}}}}}}}
  server_set_id = $auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{{login}}}{{{password}}}fail}}
  server_set_id = $auth1
"""


@dataclass
class EximServer:
    """
    One daemon.

    :ivar port: in the clear, with STARTTLS; and `smtps`, with implicit TLS.
    """

    folder: Path
    port: int
    smtps: int

    @property
    def log(self) -> str:
        """What it has said."""
        path = self.folder / "mainlog"
        return path.read_text() if path.exists() else ""

    def inbox(self, name: str) -> list[bytes]:
        """Return the messages that somebody has."""
        folder = self.folder / "mail" / name / "new"
        return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.exists() else []


@contextmanager
def exim(folder: Path, trusted: Trusted) -> Iterator[EximServer]:
    """
    Run one.

    :param folder: of its own, where its user may go.
    """
    program = find()
    user = pwd.getpwnam(USER)
    for name in ("spool", "mail"):
        (folder / name).mkdir()
    for path in (folder, folder / "spool", folder / "mail"):
        os.chown(path, user.pw_uid, user.pw_gid)
    one = EximServer(folder, free_port(), free_port())
    configuration = folder / "exim.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            program=program,
            folder=folder,
            port=one.port,
            smtps=one.smtps,
            trusted=trusted,
            user=USER,
            login=LOGIN,
            password=PASSWORD,
        )
    )
    command = (program, "-C", configuration, "-bdf")
    with started(command, folder / "said", lambda: listens(one.port), cwd=folder):
        yield one
