"""smtplib, of the standard library."""

from __future__ import annotations

import smtplib

import load


def send(sessions: int, messages: int) -> None:
    for _ in range(sessions):
        with smtplib.SMTP("127.0.0.1", load.PORT) as server:
            for _ in range(messages):
                server.sendmail(load.SENDER, [load.RECIPIENT], load.CONTENT)


send(*load.WARM)
cost = load.Cost()
send(load.SESSIONS, load.MESSAGES)
cost.tell()
