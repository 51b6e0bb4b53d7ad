"""Postfix, which delivers by LMTP to a UNIX socket and hears of each recipient."""

from __future__ import annotations

import smtplib
from pathlib import Path

from ..running import wait_until
from .postfix import Postfix
from .servers import notes, open_folder, recorded, relayed_to, said

DOMAIN = "delivered.example"
MESSAGE = b"From: <anne@example.org>\r\nSubject: x\r\n\r\nhello\r\n"


def test_postfix_hears_of_each_recipient(tmp_path: Path) -> None:
    """One is refused at RCPT, one behind the dot, one has to be tried again; the others have it."""
    with open_folder() as own:
        socket = own / "lmtp"
        at = f"unix:{socket}:mode=666"
        with relayed_to(tmp_path, "Delivers", "--lmtp", at) as server:
            postfix = Postfix(own, server.port)
            try:
                names = ("bob", "unknown", "full", "spam", "carol")
                with smtplib.SMTP("127.0.0.1", postfix.inlet) as client:
                    to = [f"{name}@{DOMAIN}" for name in names]
                    assert not client.sendmail("anne@example.org", to, MESSAGE)
                outcomes = {
                    "bob": "dsn=2.0.0, status=sent (250 2.0.0 Message accepted)",
                    "carol": "dsn=2.0.0, status=sent (250 2.0.0 Message accepted)",
                    "unknown": "dsn=5.1.1, status=bounced",
                    "spam": "dsn=5.7.1, status=bounced",
                    "full": "dsn=4.2.2, status=deferred",
                }
                wait_until(lambda: all(line_of(postfix, name) for name in names))
                for name, outcome in outcomes.items():
                    assert outcome in line_of(postfix, name)
                (tmp_path / "emptied").touch()
                # The report on the two others has gone, and this one waits.
                wait_until(lambda: postfix.queued() == 1)
                postfix.forget()
                wait_until(lambda: postfix.try_again() or line_of(postfix, "full"))
                assert "status=sent" in line_of(postfix, "full")
                wait_until(lambda: not postfix.queued())
            finally:
                postfix.stop()
            reports = [note["to"] for note in notes(server) if not note["lmtp"]]
            assert reports == [["anne@example.org"]]
            taken = [note["to"] for note in notes(server) if note["lmtp"]]
            together = sorted(f"{name}@{DOMAIN}" for name in names if name != "unknown")
            assert taken == [together, [f"full@{DOMAIN}"]]
            replies = said(recorded(server), "S")
            assert "452 4.2.2 Mailbox full" in replies
            assert f"recipient <full@{DOMAIN}> not taken: 452 4.2.2 Mailbox full" in server.log
            assert "(2 of 4 taken)" in server.log
            server.stop()
        assert not list(own.glob("lmtp*"))


def line_of(postfix: Postfix, name: str) -> str:
    """Return what the log says of a recipient, or nothing yet."""
    lines = [line for line in postfix.log.splitlines() if f"to=<{name}@{DOMAIN}>" in line]
    return lines[0] if lines else ""
