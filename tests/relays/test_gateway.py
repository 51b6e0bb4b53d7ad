"""Our gateway in front of Postfix: the example of the documentation, and what Postfix sees."""

from __future__ import annotations

import json
import smtplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ..running import Server, running, wait_until
from .postfix import Postfix
from .servers import ROOT, notes, open_folder, relayed_to

EXAMPLES = ROOT / "docs/examples"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
# Postfix adds what is missing.
CLEAN = (
    b"From: anne@example.org\r\nX-Spam: no\r\nTo: bob@clear.example\r\nSubject: x\r\n"
    b"Date: Sat, 28 Nov 2026 04:42:33 +0000\r\nMessage-ID: <1@example.org>\r\n"
    b"\r\nGr\xc3\xbc\xc3\x9fe\r\n..\r\n"
)
SPAM = b"From: anne@example.org\r\nSubject: x\r\n\r\n" + GTUBE.encode() + b"\r\n"
SETTINGS = """\
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_authorized_xforward_hosts = 127.0.0.1
smtpd_recipient_restrictions = check_recipient_access inline:{
    { unknown@clear.example = 550 5.1.1 No such user }
    { busy@clear.example = 450 4.2.1 Later } }, permit
"""


@dataclass
class Site:
    """
    What stands behind the gateway.

    :ivar behind: the server to which Postfix delivers.
    """

    behind: Server
    postfix: Postfix

    def arrived(self, number: int) -> list[dict[str, Any]]:
        """Return what has arrived behind Postfix, once it is so many messages."""
        wait_until(lambda: len(notes(self.behind)) >= number)
        wait_until(lambda: not self.postfix.queued())
        return notes(self.behind)[number - 1 :]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Postfix, and a server behind it."""
    folder = tmp_path_factory.mktemp("behind")
    with (
        relayed_to(folder, "Plain", "--xforward-from", "127.0.0.1") as behind,
        open_folder() as own,
    ):
        postfix = Postfix(own, behind.port, main=SETTINGS)
        try:
            yield Site(behind, postfix)
        finally:
            postfix.stop()


@contextmanager
def gateway(folder: Path, site: Site, handler: str = "", **environment: str) -> Iterator[Server]:
    """Run the example, or another relay to Postfix."""
    environment = {
        "PYTHONPATH": str(EXAMPLES),
        "MAIL_SERVER": f"127.0.0.1:{site.postfix.inlet}",
        **environment,
    }
    handler = handler or "python:gateway.gateway"
    with running(folder, "--handler", handler, environment=environment) as server:
        yield server


def send(server: Server, content: bytes, *recipients: str) -> tuple[list[int], tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as client:
        client.ehlo("client.example.org")
        client.mail("anne@example.org", ["BODY=8BITMIME"])
        said = [client.rcpt(one)[0] for one in recipients]
        return said, client.data(content)


def test_a_spam_gateway_before_a_real_mail_server(tmp_path: Path, site: Site) -> None:
    """
    Spam is refused to the client's face, and whom Postfix refuses is refused here.

    What is no spam arrives as it was, but for a mark that a stranger has put on it.
    """
    before = len(notes(site.behind))
    with gateway(tmp_path, site) as server:
        to = ("bob@clear.example", "unknown@clear.example", "busy@clear.example")
        said, (code, text) = send(server, CLEAN, *to)
        assert said == [250, 550, 450]
        assert (code, text[:10]) == (250, b"2.0.0 Ok: ")
        _, refused = send(server, SPAM, "bob@clear.example")
        assert refused == (550, b"5.7.1 This looks like spam")
    [note] = site.arrived(before + 1)
    assert note["to"] == ["bob@clear.example"]
    as_it_was = CLEAN.replace(b"X-Spam: no\r\n", b"").decode()
    assert note["content"].endswith("\r\n" + as_it_was), note["content"]


def test_spam_in_quarantine(tmp_path: Path, site: Site) -> None:
    """It goes to one mailbox, with whom it was for, and the client does not know."""
    before = len(notes(site.behind))
    with gateway(tmp_path, site, QUARANTINE="spam@clear.example") as server:
        said, (code, _) = send(server, SPAM, "bob@clear.example", "carol@clear.example")
        assert (said, code) == ([250, 250], 250)
    [note] = site.arrived(before + 1)
    assert note["to"] == ["spam@clear.example"]
    assert "\r\nX-Envelope-To: bob@clear.example\r\nX-Envelope-To: carol@" in note["content"]
    assert "\r\nX-Spam: yes, score 1000\r\n" in note["content"]


@pytest.mark.parametrize("how", ["xclient", "xforward"])
def test_postfix_sees_the_real_client(tmp_path: Path, site: Site, how: str) -> None:
    """By XCLIENT it is Postfix's own client, by XFORWARD it stands in its log and goes on."""
    site.postfix.forget()
    before = len(notes(site.behind))
    handler = f"relay:127.0.0.1:{site.postfix.inlet},pass-on={how}"
    with gateway(tmp_path, site, handler) as server:
        for _ in range(2):
            assert send(server, CLEAN, "bob@clear.example")[1][0] == 250
    first, _ = site.arrived(before + 1), site.arrived(before + 2)
    assert first[0]["forwarded"]["hello"] == "client.example.org"
    if how == "xclient":
        assert "from client.example.org (" in first[0]["content"].partition("\r\nReceived")[2]
    else:
        assert "orig_client=unknown[127.0.0.1]" in site.postfix.log


class Rspamd(BaseHTTPRequestHandler):
    """Says of a message what stands in its subject."""

    asked: list[dict[str, list[str]]] = []

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append({name.lower(): self.headers.get_all(name, []) for name in self.headers})
        action = content.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()
        status = 500 if action == "broken" else 200
        said = json.dumps({"action": action, "score": 7.5, "required_score": 15}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def rspamd() -> Iterator[str]:
    """Serve what speaks as rspamd does."""
    Rspamd.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Rspamd) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


ACTIONS = {
    "no action": 250,
    "add header": 250,
    "greylist": 451,
    "soft reject": 451,
    "reject": 550,
    "broken": 451,
}


def test_what_a_scanner_says(tmp_path: Path, site: Site, rspamd: str) -> None:
    """It is done; one that fails makes the client come again, and lets nothing through."""
    before = len(notes(site.behind))
    to = ("bob@clear.example", "carol@clear.example")
    with gateway(tmp_path, site, RSPAMD=rspamd) as server:
        for action, code in ACTIONS.items():
            content = b"Subject: " + action.encode() + b"\r\n\r\nHi\r\n"
            assert send(server, content, *to)[1][0] == code, action
            asked = Rspamd.asked.pop()
            assert (asked["from"], asked["rcpt"]) == (["anne@example.org"], list(to))
            assert (asked["ip"], asked["helo"]) == (["127.0.0.1"], ["client.example.org"])
        assert "rspamd says 500" in server.log
        server.abandon()  # whose log has a traceback, as it should
    arrived = [*site.arrived(before + 2), *notes(site.behind)[before : before + 1]]
    marked = ["\r\nX-Spam: yes, score 7.5\r\n" in note["content"] for note in arrived]
    assert sorted(marked) == [False, True]


def test_rspamd_itself(tmp_path: Path, site: Site) -> None:
    """The real one, where it is installed and runs on its usual port."""
    try:
        socket.create_connection(("127.0.0.1", 11333), 1).close()
    except OSError:
        pytest.skip("no rspamd runs here")
    with gateway(tmp_path, site, RSPAMD="http://127.0.0.1:11333") as server:
        _, (code, text) = send(server, SPAM, "bob@clear.example")
        assert code == 550, (text, server.log)
