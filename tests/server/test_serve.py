"""A server in one call, in a process of its own."""

from __future__ import annotations

import signal
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

from smtpcb import serve

PROGRAM = """
import smtpcb
from twisted.internet import reactor

class Inbox:
    def message(self, envelope):
        envelope.content.save("kept.eml")

service = smtpcb.serve(REACTOR, "tcp:0:interface=127.0.0.1", Inbox)
print(service.ports[0].getHost().port, flush=True)
reactor.run()
"""


@pytest.mark.parametrize("reactor", ["reactor", "None"])
def test_a_first_program(reactor: str, tmp_path: Path) -> None:
    """It takes mail, and stops when the reactor does, which need not be named."""
    program = PROGRAM.replace("REACTOR", reactor)
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            client.sendmail("a@example.org", "b@example.org", b"Subject: x\r\n\r\ny\r\n")
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert (tmp_path / "kept.eml").read_bytes() == b"Subject: x\r\n\r\ny\r\n"


BROKEN = PROGRAM.replace("REACTOR", "reactor").replace(
    'envelope.content.save("kept.eml")', 'raise KeyError("no such shelf")'
)


def test_a_program_without_a_log_hears_of_a_handler_that_fails() -> None:
    """Twisted keeps what is logged before anybody listens; a fault is seen on stderr at once."""
    with subprocess.Popen(
        [sys.executable, "-c", BROKEN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(process.stdout.readline())
        with (
            smtplib.SMTP("127.0.0.1", port, timeout=30) as client,
            pytest.raises(smtplib.SMTPDataError) as caught,
        ):
            client.sendmail("a@example.org", "b@example.org", b"Subject: x\r\n\r\ny\r\n")
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        process.wait(30)
    incident = caught.value.smtp_error.decode().partition("incident ")[2].rstrip(")")
    assert f"message of Inbox failed: incident {incident} on " in said
    assert "KeyError: 'no such shelf'" in said


def test_a_description_that_means_nothing() -> None:
    """A mistake is said at once, and nothing is started."""
    from twisted.internet import reactor

    class Inbox:
        def message(self, envelope: object) -> None: ...

    with pytest.raises(ValueError, match="nonsense"):
        serve(reactor, "nonsense:25", Inbox)
