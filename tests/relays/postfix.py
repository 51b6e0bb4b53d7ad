"""
A private Postfix that relays to one port on loopback.

Only configuration, queue and data are its own; the programs are Debian's, whose own instance is
neither started nor asked.  The domain of a recipient says how it goes on: ``secured.example`` over
STARTTLS, ``delivered.example`` by LMTP to a UNIX socket, anything else in the clear.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

from ..clients.conftest import missing, program
from ..running import DEADLINE_SECONDS, wait_until

DAEMONS = Path("/usr/lib/postfix/sbin")
USER = "postfix"

_MAIN = """\
compatibility_level = 3.6
config_directory = {folder}/etc
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {daemons}
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.example.org
myorigin = relay.example.org
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.1/32
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_host_lookup = native
smtputf8_enable = yes
smtp_send_xforward_command = yes
relayhost = [127.0.0.1]:{port}
transport_maps = inline:{{
    {{ secured.example = secured:[127.0.0.1]:{port} }}
    {{ delivered.example = lmtp:unix:{folder}/lmtp }} }}
message_size_limit = 52428800
# No pause before the first attempt, and none of its own between two of them.
in_flow_delay = 0
minimal_backoff_time = 1000s
# A connection for each delivery, so that each has a transcript of its own.
smtp_connection_cache_on_demand = no
"""

_MASTER = """\
127.0.0.1:{inlet} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp -o smtp_tls_security_level=none
lmtp unix - - n - - lmtp
secured unix - - n - - smtp -o smtp_tls_security_level=encrypt
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """
    One instance, from its start to `stop`.

    :param folder: of its own, where Postfix's user may go.
    :param port: of the server on 127.0.0.1.
    :param main: more of ``main.cf``; and `master`, of ``master.cf``.
    :ivar inlet: the port on which it takes mail.
    """

    def __init__(self, folder: Path, port: int, *, main: str = "", master: str = "") -> None:
        if os.getuid() != 0:
            missing("only root can run a Postfix of its own")
        program("postfix")
        user = pwd.getpwnam(USER)
        self._log = folder / "log"
        self._forgotten = 0
        self._etc = folder / "etc"
        for path in (self._etc, folder / "queue", folder / "data"):
            path.mkdir()
        os.chown(folder / "data", user.pw_uid, user.pw_gid)
        self.inlet = _free_port()
        usual = _MAIN.format(folder=folder, port=port, daemons=DAEMONS)
        (self._etc / "main.cf").write_text(usual + main)
        (self._etc / "master.cf").write_text(_MASTER.format(inlet=self.inlet) + master)
        for name in ("postfix-files", "dynamicmaps.cf"):
            shutil.copy(Path("/etc/postfix") / name, self._etc)
        self._say("postfix", "check")  # it makes the folders of the queue
        self._master = subprocess.Popen(
            [DAEMONS / "master", "-c", self._etc, "-d"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # at its end it ends its whole process group
        )
        try:
            wait_until(lambda: _answers(self.inlet) or self._master.poll() is not None)
            assert self._master.poll() is None, self.log
        except BaseException:
            self.stop()
            raise

    @property
    def log(self) -> str:
        """What it has said so far, or since `forget`."""
        return self._log.read_text()[self._forgotten :] if self._log.exists() else ""

    def forget(self) -> None:
        """Leave out of `log` what it has said until now."""
        self._forgotten += len(self.log)

    def queued(self) -> int:
        """Return how many messages wait for another attempt, or are under way."""
        return len(self._say("postqueue", "-j").splitlines())

    def try_again(self) -> None:
        """Deliver what waits, now."""
        self._say("postqueue", "-f")

    def stop(self) -> None:
        """End it and all its daemons."""
        self._master.terminate()
        self._master.wait(DEADLINE_SECONDS)

    def _say(self, name: str, *arguments: str) -> str:
        ended = subprocess.run(
            [program(name), "-c", self._etc, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + self.log
        return ended.stdout


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as connection:
            return connection.recv(4).startswith(b"220")
    except ConnectionRefusedError:
        return False
