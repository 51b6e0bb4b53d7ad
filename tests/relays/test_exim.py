"""Exim, which pipelines all it has to say and then closes its sending side."""

from __future__ import annotations

from pathlib import Path

import pytest

from .exim import Exim
from .servers import notes, open_folder, recorded, relayed_to, said

MESSAGES = 3
CONTENT = b"From: anne@example.org\nSubject: %d\n\n.\n..\nhello\n"
RECIPIENTS = [f"bob{number}@example.net" for number in range(3)]


def relay_and_check(folder: Path, handler: str, *, tls: bool = False) -> None:
    """Relay some messages; each must arrive once, at the first attempt."""
    options = () if tls else ("--no-tls",)
    with relayed_to(folder, handler, *options) as server, open_folder() as own:
        exim = Exim(own, server.port, tls=tls)
        for number in range(MESSAGES):
            exim.relay(CONTENT % number, RECIPIENTS)
        assert exim.queued() == 0, exim.log
        assert "defer" not in exim.log, exim.log
        assert exim.log.count(" => ") == MESSAGES, exim.log
        assert exim.log.count("Completed") == MESSAGES, exim.log
        taken = notes(server)
        assert [len(note["to"]) for note in taken] == [len(RECIPIENTS)] * MESSAGES
        for number, note in enumerate(taken):
            assert f"\r\nSubject: {number}\r\n" in note["content"]
            assert note["content"].endswith("\r\n\r\n.\r\n..\r\nhello\r\n")
            assert note["tls"] is tls
        assert (
            len([line for line in said(recorded(server), "C") if line.startswith("BDAT ")])
            == MESSAGES
        )
        assert (
            len([line for line in said(recorded(server), "S") if line.startswith("221 ")])
            == MESSAGES
        )
        assert "not delivered" not in server.log


@pytest.mark.parametrize("handler", ["Plain", "Slow", "Threaded"])
def test_it_is_answered_to_the_end_of_what_it_sent(tmp_path: Path, handler: str) -> None:
    """
    A client may send everything, QUIT included, and close its sending side.

    It hears all replies, however long the handler takes to decide, and each message is delivered
    once, at the first attempt (RFC 2920 §3.1, RFC 3030 §2).
    """
    relay_and_check(tmp_path, handler)


@pytest.mark.parametrize("handler", ["Plain", "Slow", "Threaded"])
def test_the_same_inside_tls(tmp_path: Path, handler: str) -> None:
    """Inside TLS its close_notify is what closes its sending side."""
    relay_and_check(tmp_path, handler, tls=True)


def test_a_large_message(tmp_path: Path) -> None:
    """A message of many chunks arrives whole."""
    line = b"x" * 76 + b"\n"
    with relayed_to(tmp_path, "Plain") as server, open_folder() as own:
        exim = Exim(own, server.port, tls=True)
        exim.relay(b"From: anne@example.org\nSubject: large\n\n" + line * 40_000, RECIPIENTS[:1])
        assert exim.queued() == 0, exim.log
        [note] = notes(server)
        assert note["content"].endswith("x")
        assert len([at for at in said(recorded(server), "C") if at.startswith("BDAT ")]) > 1


@pytest.mark.parametrize(
    "original",
    [
        "rfc822;bob@example.net",
        "utf-8;bob@example.net",
        "utf-8;\u7528\u6237@example.org",
    ],
)
def test_an_address_of_any_script_that_was_another_at_first(tmp_path: Path, original: str) -> None:
    """Notifications and original recipients go on to us as Exim writes them (RFC 6533)."""
    with relayed_to(tmp_path, "Plain") as server, open_folder() as own:
        exim = Exim(own, server.port)
        exim.relay_dialogue(
            (
                "MAIL FROM:<j\u00f6rg@example.org> SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=QQ314159",
                f"RCPT TO:<\u7528\u6237@example.net> NOTIFY=FAILURE,DELAY ORCPT={original}",
            ),
            b"From: x\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nx\r\n",
        )
        assert exim.queued() == 0, exim.log
        assert " == " not in exim.log, exim.log
        [note] = notes(server)
        assert (note["from"], note["to"]) == ("j\u00f6rg@example.org", ["\u7528\u6237@example.net"])
        said_by_exim = said(recorded(server), "C")
        [mail] = [line for line in said_by_exim if line.startswith("MAIL ")]
        [rcpt] = [line for line in said_by_exim if line.startswith("RCPT ")]
        assert "SMTPUTF8" in mail
        assert "RET=HDRS ENVID=QQ314159" in mail
        assert "NOTIFY=FAILURE,DELAY ORCPT=" in rcpt
