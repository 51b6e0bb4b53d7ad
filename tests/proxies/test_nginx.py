"""nginx, whose mail proxy says by XCLIENT for whom it speaks; and swaks, which can play one."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtpcb.transcript._replay import TranscriptFile, load

from ..clients.conftest import program, run
from ..running import Server, running, wait_until
from .nginx import MODULE, Nginx

ROOT = Path(__file__).parents[2]
# The client's own address, which is not the proxy's.
CLIENT = "127.0.0.5"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that trusts a proxy on this machine."""
    folder = tmp_path_factory.mktemp("named")
    with running(folder, "--xclient-from", "127.0.0.1") as server:
        yield server


@pytest.fixture(scope="module")
def nginx(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """The nginx before it."""
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), server.port)
    try:
        yield nginx
    finally:
        nginx.stop()


def transcript(server: Server, said: str) -> TranscriptFile:
    """Return the one in which a client has said something, once it is closed."""

    def found() -> list[Path]:
        texts = {path: path.read_text() for path in server.transcripts()}
        return [path for path, text in texts.items() if said in text and "closed: " in text]

    wait_until(found)
    (path,) = found()
    return load(path)


@pytest.mark.parametrize("login", [False, True])
def test_the_client_of_nginx(server: Server, nginx: Nginx, login: bool) -> None:
    """Its address, and as whom it has logged in at nginx, are what we see (P34)."""
    mark = f"nginx-{login}.example"
    with smtplib.SMTP("127.0.0.1", nginx.inlet, mark, source_address=(CLIENT, 0)) as client:
        if login:
            client.login("anne@example.org", "anything")
        assert client.sendmail(f"a@{mark}", [f"b@{mark}"], "Subject: x\r\n\r\nA text\r\n") == {}
        # What it says is passed on as it is; it cannot name itself another.
        assert client.docmd("XCLIENT ADDR=198.51.100.1")[0] == 500
    recorded = transcript(server, f"FROM:<a@{mark}>")
    assert recorded.fields["peer"].startswith(CLIENT)
    also = ", login anne@example.org" if login else ""
    assert recorded.fields["proxy"] == f"127.0.0.1 by XCLIENT{also}"
    assert any(line.octets == f"EHLO {mark}".encode() for line in recorded.lines)


def test_swaks_plays_a_proxy(server: Server) -> None:
    """Whoever sets one up can try it without one."""
    run(
        program("swaks"),
        *("--server", "127.0.0.1", "--port", str(server.port), "--helo", "swaks.example"),
        *("--xclient", "ADDR=IPV6:2001:db8::7 NAME=client.example LOGIN=anne"),
        *("--from", "a@swaks.example", "--to", "b@swaks.example"),
    )
    recorded = transcript(server, "FROM:<a@swaks.example>")
    assert recorded.fields["peer"].startswith("[2001:db8::7]:")
    assert recorded.fields["proxy"] == "127.0.0.1 by XCLIENT, login anne"


def test_the_configuration_that_is_shown_is_one(nginx: Nginx, tmp_path: Path) -> None:
    """nginx takes the file of the documentation."""
    text = (ROOT / "docs/examples/nginx-mail.conf").read_text()
    text = text.replace("modules/ngx_mail_module.so", str(MODULE))
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\n{text}")
    run(program("nginx"), "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", "stderr")
