"""A spam gateway: every message is looked at before it goes on to the mail server behind."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet import reactor
from twisted.web.client import Agent, FileBodyProducer, readBody
from twisted.web.http_headers import Headers

from smtpcb import Envelope
from smtpcb.client import Server
from smtpcb.handlers.relay import Relay, changes

HOST, _, PORT = os.environ.get("MAIL_SERVER", "127.0.0.1:2525").rpartition(":")
# Such as http://127.0.0.1:11333; without one only a word that stands for spam is found.
RSPAMD = os.environ.get("RSPAMD", "")
# Who gets spam, in place of those for whom it is; without one it is refused.
QUARANTINE = os.environ.get("QUARANTINE", "")

SECONDS = 60
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


class SpamFilter:
    """Has each message scanned when it is complete; nothing of it has gone on before."""

    async def message(self, envelope: Envelope) -> object:
        action, score = await (rspamd(envelope) if RSPAMD else gtube(envelope))
        change = changes(envelope)
        change.remove_field("X-Spam")  # a stranger's own
        if action in ("soft reject", "greylist"):
            return 451, "4.7.1", "Try again later"
        if action == "reject" and not QUARANTINE:
            return 550, "5.7.1", "This looks like spam"
        if action == "reject":
            for recipient in envelope.recipients:
                change.add_field("X-Envelope-To", str(recipient))
            change.redirect(QUARANTINE)
        if action != "no action":
            change.add_field("X-Spam", f"yes, score {score:g}")
        return None


async def rspamd(envelope: Envelope) -> tuple[str, float]:
    """Ask rspamd; where it does not answer the client hears 451, and comes again."""
    connection = envelope.connection
    headers = Headers({"From": [str(envelope.reverse_path)], "IP": [connection.peer_address]})
    headers.setRawHeaders("Rcpt", [str(recipient) for recipient in envelope.recipients])
    # A client may call itself anything, and a header of HTTP has no line ends and no UTF-8.
    headers.addRawHeader("Helo", (connection.hello or "").encode("ascii", "replace"))
    producer: Any = FileBodyProducer
    body = producer(envelope.content.open())
    agent: Any = Agent
    asking = agent(reactor, connectTimeout=5).request(
        b"POST", f"{RSPAMD}/checkv2".encode(), headers, body
    )
    response = await asking.addTimeout(SECONDS, reactor)
    text = await readBody(response).addTimeout(SECONDS, reactor)
    if response.code != 200:
        raise RuntimeError(f"rspamd says {response.code}: {text[:200]!r}")
    said = json.loads(text)
    return said["action"], float(said["score"])


async def gtube(envelope: Envelope) -> tuple[str, float]:
    """Find the word that every scanner takes for spam."""
    return ("reject", 1000.0) if GTUBE in envelope.content.bytes() else ("no action", 0.0)


gateway = Relay(
    Server(HOST, PORT),
    filter=SpamFilter,
    pass_on=os.environ.get("PASS_ON"),  # "xclient", if the mail server trusts this machine
)
