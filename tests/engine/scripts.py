"""How dialogues begin, so that a test shows only what it is about."""

from __future__ import annotations

from smtpcb.engine._connection import Connection
from smtpcb.testing._play import TLS

HELO = "C: HELO client\nS: 250\n"
MAIL = HELO + "C: MAIL FROM:<anne@example.org>\nS: 250\n"
RCPT = MAIL + "C: RCPT TO:<bob@example.org>\nS: 250\n"
DATA = RCPT + "C: DATA\nS: 354\n"

SECURE = Connection("secure", tls=TLS)
