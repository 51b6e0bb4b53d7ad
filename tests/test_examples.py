"""The servers of docs/examples take mail, and say what their handler says."""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from smtpcb.tls import self_signed

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
SERVERS = ("threaded_server.py", "asyncio_server.py")

# Runs a script where Twisted and zope.interface cannot be imported.
WITHOUT_TWISTED = """
import runpy, sys
sys.modules["twisted"] = sys.modules["zope"] = None
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass
class Server:
    """
    An example under way, in a process of its own.

    :ivar line: waits for the next line that it prints.
    """

    address: tuple[str, int]
    line: Callable[[], str]


@pytest.fixture
def run() -> Iterator[Callable[..., Server]]:
    """Start examples, and end them after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(name: str, *arguments: object) -> Server:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                WITHOUT_TWISTED,
                str(EXAMPLES / name),
                "0",
                *map(str, arguments),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline
        words = line().split()
        assert words[:2] == ["listening", "on"]
        return Server((words[2], int(words[3])), lambda: line().rstrip("\n"))

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=10)


def letter(subject: str, to: str = "bob@example.org") -> EmailMessage:
    """Make a message."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "anne@example.org", to, subject
    message.set_content(".a line that begins with a dot\n" * 3)
    return message


@pytest.mark.parametrize("name", SERVERS)
def test_it_is_short(name: str) -> None:
    """An example is read, so it has less than 80 lines."""
    assert len((EXAMPLES / name).read_text().splitlines()) <= 80


@pytest.mark.parametrize("name", SERVERS)
def test_several_messages_by_smtplib(name: str, run: Callable[..., Server]) -> None:
    """One connection sends three messages, and one recipient is refused in the handler's words."""
    server = run(name)
    with smtplib.SMTP(*server.address, timeout=10) as client:
        for number in (1, 2, 3):
            assert client.send_message(letter(f"Number {number}")) == {}
            assert server.line().endswith(" from anne@example.org")
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.send_message(letter("Elsewhere", "carol@example.com"))
        # smtplib sends RSET, which is when the transaction is over.
        assert server.line() == "no message: RSET"
    assert refused.value.recipients == {"carol@example.com": (550, b"5.1.1 No relaying")}


@pytest.mark.parametrize("name", SERVERS)
def test_a_client_that_pipelines(name: str, run: Callable[..., Server]) -> None:
    """Two messages, one by DATA and one by BDAT, sent in one piece, are answered in order."""
    server = run(name)
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall(
            b"EHLO client.example.org\r\n"
            b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<x@example.com>\r\nDATA\r\n"
            b"Subject: one\r\n\r\n..\r\n.\r\n"
            b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nBDAT 16 LAST\r\nSubject: two\r\n\r\n"
            b"QUIT\r\n"
        )
        replies = b"".join(iter(lambda: client.recv(4096), b"")).decode().splitlines()
    assert [line[:3] for line in replies if line[3] == " "] == (
        ["220", "250", "250", "250", "550", "354", "250", "250", "250", "250", "221"]
    )
    assert "250 2.0.0 Message 1 taken" in replies
    assert "250 2.0.0 Message 2 taken" in replies
    assert (server.line(), server.line()) == ("message 19 from ", "message 16 from ")


@pytest.mark.parametrize("name", SERVERS)
def test_a_client_that_leaves_in_the_midst_of_a_message(
    name: str, run: Callable[..., Server]
) -> None:
    """Its message never was; the handler hears so, and the next client is served."""
    server = run(name)
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall(
            b"HELO client.example.org\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
            b"Subject: half\r\n\r\nof a mess"
        )
        while not client.recv(4096).endswith(b"<CRLF>.<CRLF>\r\n"):
            pass
    assert server.line() == "no message: the client has gone"
    with smtplib.SMTP(*server.address, timeout=10) as next_client:
        assert next_client.send_message(letter("whole")) == {}


def test_a_thread_makes_the_handshake_of_its_client(
    run: Callable[..., Server], tmp_path: Path
) -> None:
    """With a certificate the threaded server offers STARTTLS, and takes the message inside it."""
    self_signed(tmp_path, "localhost")
    server = run("threaded_server.py", tmp_path / "identity.pem")
    trust = ssl.create_default_context(cafile=tmp_path / "identity.pem")
    with smtplib.SMTP(*server.address, timeout=10) as client:
        client.starttls(context=trust)
        client.ehlo()
        assert not client.has_extn("starttls")
        assert client.send_message(letter("Secret")) == {}


def test_what_comes_behind_starttls_in_the_clear_is_no_command(
    run: Callable[..., Server], tmp_path: Path
) -> None:
    """It is refused, or spoils the handshake; either way nothing answers it (RFC 3207 §4.2)."""
    self_signed(tmp_path, "localhost")
    server = run("threaded_server.py", tmp_path / "identity.pem")
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall(b"EHLO client.example.org\r\nSTARTTLS\r\nNOOP\r\n")
        replies = b"".join(iter(lambda: client.recv(4096), b"")).splitlines()
    assert replies[-1] == b"554 5.5.1 Data behind STARTTLS"
