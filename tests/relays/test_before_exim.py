"""Our relay in front of Exim, which delivers to a server of ours."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from ..running import running, wait_until
from .exim import Exim
from .servers import notes, open_folder, recorded, relayed_to, said

TEXT = b"From: anne@example.org\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n\r\n.dots\r\n..\r\n"


@contextmanager
def listening(exim: Exim) -> Iterator[int]:
    """Have Exim serve whoever connects; return the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        processes = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    processes.append(exim.serves(connection))

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    for process in processes:
        process.wait(20)


def test_what_goes_on_by_way_of_exim(tmp_path: Path) -> None:
    """Messages of several clients, as they were, with what their senders asked for."""
    with (
        relayed_to(tmp_path / "behind", "Plain") as behind,
        open_folder() as own,
        listening(Exim(own, behind.port)) as port,
        running(tmp_path / "front", "--handler", f"relay:127.0.0.1:{port}") as front,
    ):
        for number in range(3):
            with smtplib.SMTP("127.0.0.1", front.port, timeout=20) as client:
                client.ehlo("client.example.org")
                client.command_encoding = "utf-8"
                mail = "SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=QQ314159"
                assert client.docmd(f"MAIL FROM:<j\u00f6rg@example.org> {mail}")[0] == 250
                rcpt = "NOTIFY=FAILURE ORCPT=rfc822;b@example.net"
                assert client.docmd(f"RCPT TO:<b{number}@example.net> {rcpt}")[0] == 250
                code, text = client.data(TEXT)
                assert (code, b"OK id=" in text) == (250, True), text
        wait_until(lambda: len(notes(behind)) == 3)
        assert sorted(note["to"][0] for note in notes(behind)) == [
            f"b{number}@example.net" for number in range(3)
        ]
        for note in notes(behind):
            assert note["content"].encode().endswith(TEXT)
            assert note["from"] == "j\u00f6rg@example.org"
        mails = [line for line in said(recorded(behind), "C") if line.startswith("MAIL ")]
        assert all("RET=HDRS ENVID=QQ314159" in line for line in mails)
        front.stop()
