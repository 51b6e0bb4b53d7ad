"""
A private HAProxy before one server on loopback.

Each way of the PROXY protocol is a frontend of its own, and so are the checks: a backend says by
its name which it is.
"""

from __future__ import annotations

import csv
import socket
import subprocess
from pathlib import Path

from ..clients.conftest import program
from ..running import DEADLINE_SECONDS, wait_until

# How each frontend binds, and how its backend speaks to the server; `{port}` is in the clear,
# `{smtps}` has TLS of its own.
WAYS = {
    "v1": ("", "127.0.0.1:{port} send-proxy"),
    "v2": ("", "127.0.0.1:{port} send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    "through": ("", "127.0.0.1:{smtps} send-proxy-v2"),
    "ends-tls": (
        "ssl crt {folder}/server.pem ca-file {folder}/authority.pem verify optional",
        "127.0.0.1:{port} send-proxy-v2-ssl-cn proxy-v2-options ssl,cert-cn,ssl-cipher,authority",
    ),
    "none": ("", "127.0.0.1:{port}"),
}
CHECKS = {
    "smtpchk-v1": ("option smtpchk EHLO check.example.org", "{port} send-proxy check inter 100"),
    "smtpchk-v2": ("option smtpchk", "{port} send-proxy-v2 check inter 100"),
    "connect-v1": ("option tcp-check", "{port} send-proxy check inter 100"),
    "connect-bare": ("option tcp-check", "{port} check inter 100"),
    "connect-smtps": ("option tcp-check", "{smtps} send-proxy-v2 check inter 100"),
    "greeting": (
        "option tcp-check\n    tcp-check connect send-proxy\n    tcp-check expect rstring ^220",
        "{port} send-proxy-v2 check inter 100",
    ),
}

_HEAD = """\
global
    stats socket {folder}/stats level user
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""


class HAProxy:
    """
    One process, from its start to `stop`.

    :param folder: has its configuration, and the certificates.
    :ivar ports: where clients reach it, by the way that it goes.
    """

    def __init__(self, folder: Path, port: int, smtps: int) -> None:
        self._folder = folder
        names = {"folder": folder, "port": port, "smtps": smtps}
        text = _HEAD.format(**names)
        listening = {}
        for way, (bind, server) in WAYS.items():
            # It inherits the socket, so that no other program takes the port meanwhile.
            listening[way] = socket.create_server(("127.0.0.1", 0))
            text += (
                f"listen {way}\n    bind fd@{listening[way].fileno()} {bind.format(**names)}\n"
                "    unique-id-format smtp-%pid-%rt\n"
                f"    server smtpcb {server.format(**names)}\n"
            )
        for check, (option, server) in CHECKS.items():
            text += (
                f"backend {check}\n    {option}\n"
                f"    server smtpcb 127.0.0.1:{server.format(**names)}\n"
            )
        (folder / "haproxy.cfg").write_text(text)
        self.ports = {way: one.getsockname()[1] for way, one in listening.items()}
        self._log = folder / "haproxy.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [program("haproxy"), "-db", "-f", folder / "haproxy.cfg"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[one.fileno() for one in listening.values()],
            )
        for one in listening.values():
            one.close()
        wait_until(lambda: (folder / "stats").exists() or self._process.poll() is not None)
        assert self._process.poll() is None, self._log.read_text()

    def checks(self) -> dict[str, dict[str, str]]:
        """Return what it knows of its servers, by the name of the backend."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.settimeout(DEADLINE_SECONDS)
            stats.connect(str(self._folder / "stats"))
            stats.sendall(b"show stat\n")
            with stats.makefile() as file:
                lines = file.read().removeprefix("# ").splitlines()
        rows = csv.DictReader(line for line in lines if line)
        return {row["pxname"]: row for row in rows if row["svname"] == "smtpcb"}

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(DEADLINE_SECONDS)
