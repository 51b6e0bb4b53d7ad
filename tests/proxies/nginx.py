"""
A private nginx before one server on loopback: its mail proxy, which names its client by XCLIENT.

It asks a server of HTTP where each client's mail goes, and as whom it may log in; that is itself,
and it says yes to all.
"""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from ..clients.conftest import missing, program
from ..running import DEADLINE_SECONDS, wait_until

MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")

_CONFIGURATION = """\
load_module {module};
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ }}
mail {{
    server_name proxy.example.org;
    auth_http 127.0.0.1:{oracle}/;
    xclient on;
    smtp_auth plain none;
    server {{ listen 127.0.0.1:{inlet}; protocol smtp; }}
}}
http {{
    access_log off;
    client_body_temp_path {folder}/1;
    proxy_temp_path {folder}/2;
    fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4;
    scgi_temp_path {folder}/5;
    server {{
        listen 127.0.0.1:{oracle};
        location / {{
            add_header Auth-Status OK;
            add_header Auth-Server 127.0.0.1;
            add_header Auth-Port {port};
            return 204;
        }}
    }}
}}
"""


class Nginx:
    """
    One process, from its start to `stop`.

    :param folder: of its own.
    :param port: of the server on 127.0.0.1.
    :ivar inlet: the port on which it takes mail.
    """

    def __init__(self, folder: Path, port: int) -> None:
        command = program("nginx")
        if not MODULE.exists():
            missing("nginx has no mail proxy: libnginx-mod-mail is not installed")
        self.inlet, oracle = _free_ports(2)
        text = _CONFIGURATION.format(
            module=MODULE, folder=folder, oracle=oracle, inlet=self.inlet, port=port
        )
        (folder / "nginx.conf").write_text(text)
        log = folder / "nginx.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [command, "-p", folder, "-c", folder / "nginx.conf", "-e", log],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_until(lambda: self._answers() or self._process.poll() is not None)
        assert self._process.poll() is None, log.read_text()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(DEADLINE_SECONDS)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.inlet), DEADLINE_SECONDS).close()
        except ConnectionRefusedError:
            return False
        return True


def _free_ports(number: int) -> list[int]:
    found = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in found]
    for one in found:
        one.close()
    return ports
