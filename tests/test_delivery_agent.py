"""The delivery agent of docs/examples, spoken to by programs that know LMTP."""

from __future__ import annotations

import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clients.conftest import missing, program
from .running import ANY_PORT, Server, running, wait_until

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


@pytest.fixture
def agent(root: Path) -> Iterator[Server]:
    """It knows anne and bob, and what is in the way of bob's mail is a file."""
    for name in ("anne", "bob"):
        (root / "mailboxes" / name).mkdir(parents=True)
    options = (
        *("--listen", ANY_PORT, "--lmtp", ANY_PORT, "--lmtp", f"unix:{root}/lmtp:mode=660"),
        *("--handler", "python:delivery_agent.Delivery", "--no-tls"),
    )
    environment = {"PYTHONPATH": str(EXAMPLES), "MAILBOXES": str(root / "mailboxes")}
    with running(root / "server", *options, environment=environment) as server:
        yield server


def kept(root: Path, name: str) -> list[bytes]:
    """Return what is in a mailbox."""
    return [path.read_bytes() for path in (root / "mailboxes" / name).iterdir()]


def lmtp_port(server: Server) -> int:
    """Return the port on which LMTP is spoken."""
    assert "(LMTP, no TLS), unix:" in server.log
    return server.ports[1]


def test_each_recipient_is_answered(agent: Server, root: Path) -> None:
    """smtplib speaks LMTP over TCP and over a socket; it reads one reply, and the test the rest."""
    for where in (("127.0.0.1", lmtp_port(agent)), (str(root / "lmtp"), 0)):
        with smtplib.LMTP(*where) as client:
            assert client.sendmail("a@example.org", ["anne@example.org"], MESSAGE) == {}
            client.mail("a@example.org")
            codes = [client.rcpt(f"{name}@example.org")[0] for name in ("anne", "nobody", "Bob")]
            assert codes == [250, 550, 250]
            shutil.rmtree(root / "mailboxes" / "bob")
            first = client.data(MESSAGE)
            second = client.getreply()
            assert (first[0], second) == (250, (451, b"4.2.0 Mailbox cannot be used now"))
            assert client.noop()[0] == 250
            (root / "mailboxes" / "bob").mkdir()
    assert kept(root, "anne") == [MESSAGE] * 4
    assert kept(root, "bob") == []
    wait_until(lambda: agent.log.count("(1 of 2 taken)") == 2)


def test_names_of_strangers_lead_nowhere(agent: Server, root: Path) -> None:
    """An address is no path."""
    with smtplib.LMTP(str(root / "lmtp")) as client:
        client.ehlo("x")
        client.mail("a@example.org")
        for name in ('".."', '"../mailboxes/anne"', '"anne/"', '"anne\\\\0"', "."):
            code, _ = client.docmd(f"RCPT TO:<{name}@example.org>")
            assert code in (501, 550), name


def test_mailboxes_that_are_gone_bounce_nothing(agent: Server, root: Path) -> None:
    """A disk that is not mounted: the queue keeps the mail, also of whoever has a mailbox."""
    (root / "mailboxes").rename(root / "elsewhere")
    with smtplib.LMTP(str(root / "lmtp")) as client:
        client.ehlo("x")
        client.mail("a@example.org")
        assert client.rcpt("anne@example.org") == (451, b"4.2.0 Mailboxes cannot be reached now")


def test_swaks_speaks_lmtp(agent: Server, root: Path) -> None:
    """Over TCP, and over a socket."""
    swaks = program("swaks")
    common = ("--protocol", "LMTP", "--from", "a@example.org", "--to", "anne@example.org")
    for where in (
        ("--server", "127.0.0.1", "--port", str(lmtp_port(agent))),
        ("--socket", str(root / "lmtp")),
    ):
        ended = subprocess.run(
            [swaks, *common, *where], capture_output=True, text=True, timeout=30, check=False
        )
        if "No module" in ended.stderr or "cannot be loaded" in ended.stderr:
            missing(f"swaks lacks something: {ended.stderr}")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "250 2.1.5 Delivered as" in ended.stdout
        assert "-> LHLO" in ended.stdout
    assert len(kept(root, "anne")) == 2
