"""Clients that end lines as their system does, with LF alone."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from ..running import Server, running, wait_until
from .conftest import FROM, TO, program, run


def compose() -> bytes:
    """Return a message as Python makes it when nobody asks for CRLF."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = FROM, TO, "line ends"
    message.set_content("one\ntwo\n")
    octets = message.as_bytes()
    assert b"\r" not in octets
    return octets


def with_smtplib(server: Server) -> None:
    """`sendmail` with octets sends them as they are."""
    with smtplib.SMTP("127.0.0.1", server.port) as client:
        client.sendmail(FROM, TO, compose())


def with_curl(server: Server) -> None:
    """So does --upload-file."""
    path = server.folder / "message"
    path.write_bytes(compose())
    run(
        program("curl"),
        *("--silent", "--show-error", "--mail-from", FROM, "--mail-rcpt", TO),
        *("--upload-file", path, f"smtp://127.0.0.1:{server.port}/client.example.org"),
    )


@pytest.mark.parametrize("send", [with_smtplib, with_curl])
def test_the_capture_server_takes_them(tmp_path: Path, send: Callable[[Server], None]) -> None:
    """
    Without options each LF becomes CRLF: whoever tries out a program wants to see its mail.

    Log and transcript say that a strict server would have refused it.
    """
    with running(tmp_path) as server:
        send(server)
        [kept] = server.messages()
        assert compose().replace(b"\n", b"\r\n").strip() in kept
        wait_until(server.transcripts)
        [transcript] = server.transcripts()
        for said in (transcript.read_text(), server.log):
            assert re.search("bare CR or LF: a strict server would refuse", said), said


def test_a_server_of_ones_own_does_not(tmp_path: Path) -> None:
    """With a handler it is strict: 550, and the handler hears of no message (RFC 5321 §2.3.8)."""
    root = str(Path(__file__).parents[2])
    with running(
        tmp_path,
        *("--handler", "python:tests.process.handlers.Whole"),
        environment={"PYTHONPATH": root},
    ) as server:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            with_smtplib(server)
        assert refused.value.smtp_code == 550
        assert not (tmp_path / "notes").exists()
