"""
A private Dovecot: LMTP on a UNIX socket and a port, and the logins of a Postfix.

Debian's own instance is neither started nor asked.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.conftest import missing, program
from tests.servers_met.sending import free_port, listens, started
from tests.servers_met.trusted import PASSWORD

OWNER = "nobody"  # whose the mail is


# `full` may have no more than its messages so far, and where `broken` is to have a folder, is none.
_CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
instance_name = tests
protocols = lmtp
log_path = {folder}/dovecot.log
ssl = no
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
mail_location = maildir:~/mail
mail_home = {folder}/mail/%n
hostname = delivery.example.org
postmaster_address = postmaster@example.org
auth_mechanisms = plain login cram-md5 scram-sha-256
auth_username_format = %n
auth_failure_delay = 0
mail_plugins = quota
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=100M
}}
protocol lmtp {{
  mail_plugins = quota
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
  inet_listener {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
"""
# A row of a passwd-file: password, ids, name, home, shell, and more of the user.
_USER = "{name}:{{plain}}x:{uid}:{gid}::{folder}/mail/{name}::{more}\n"
_USERS = {
    "bob": "",
    "carl": "",
    "full": "userdb_quota_rule=*:bytes=1000",
    "broken": "userdb_mail=maildir:/dev/null/mail",
}


@dataclass
class Dovecot:
    """
    One instance.

    :ivar lmtp: its UNIX socket.
    :ivar port: of its LMTP on loopback.
    :ivar auth: the socket on which a Postfix asks who may log in.
    """

    folder: Path
    port: int

    @property
    def lmtp(self) -> Path:
        """See the class."""
        return self.folder / "lmtp"

    @property
    def auth(self) -> Path:
        """See the class."""
        return self.folder / "auth"

    def inbox(self, name: str) -> list[bytes]:
        """Return the messages that somebody has."""
        folder = self.folder / "mail" / name / "mail" / "new"
        return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.exists() else []


@contextmanager
def dovecot(folder: Path) -> Iterator[Dovecot]:
    """
    Run one.

    :param folder: of its own, where its users may go.
    """
    if os.getuid() != 0:
        missing("only root can run a Dovecot of its own")
    command = program("dovecot")
    one = Dovecot(folder, free_port())
    user = pwd.getpwnam(OWNER)
    for name in ("run", "state", "mail"):
        (folder / name).mkdir()
    os.chown(folder / "mail", user.pw_uid, user.pw_gid)
    rows = (
        _USER.format(name=name, uid=user.pw_uid, gid=user.pw_gid, folder=folder, more=more)
        for name, more in _USERS.items()
    )
    (folder / "users").write_text("".join(rows))
    configuration = folder / "dovecot.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=one.port, password=PASSWORD))
    with started((command, "-F", "-c", configuration), folder / "said", lambda: listens(one.lmtp)):
        yield one
