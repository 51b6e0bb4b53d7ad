"""
The least that a server on Twisted can cost: canned replies, nothing parsed, sent at once.

Arguments: PORT [ours].  With ``ours`` it has smtpcb's transport, else Twisted's.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.protocol import Factory
from twisted.logger import globalLogBeginner
from twisted.protocols.basic import LineReceiver

from smtpcb.server._direct import DirectReactor

REPLIES = {
    b"EHLO": b"250-localhost\r\n250 PIPELINING\r\n",
    b"HELO": b"250 localhost\r\n",
    b"MAIL": b"250 2.1.0 Sender ok\r\n",
    b"RCPT": b"250 2.1.5 Recipient ok\r\n",
    b"DATA": b"354 Go ahead\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
END = b"\r\n.\r\n"
OURS = "ours" in sys.argv[2:]


class Canned(LineReceiver):
    """Looks at the first four octets of a line, and for the end of content."""

    transport: Any
    _tail = b""

    def connectionMade(self) -> None:
        self.say = self.transport.write if OURS else self._say_at_once
        self.say(b"220 localhost ESMTP\r\n")

    def _say_at_once(self, octets: bytes) -> None:
        transport = self.transport
        if not transport.dataBuffer and not transport._tempDataBuffer:
            with suppress(OSError):  # the transport finds out why
                octets = octets[transport.socket.send(octets) :]
        if octets:
            transport.write(octets)

    def lineReceived(self, line: bytes) -> None:
        verb = line[:4].upper()
        self.say(REPLIES.get(verb, b"250 2.0.0 Ok\r\n"))
        if verb == b"DATA":
            self._tail = b"\r\n"
            self.setRawMode()
        elif verb == b"QUIT":
            self.transport.loseConnection()

    def rawDataReceived(self, data: bytes) -> None:
        data = self._tail + data
        end = data.find(END)
        if end < 0:
            self._tail = data[-4:]
            return
        self.say(b"250 2.0.0 Ok\r\n")
        self.setLineMode(data[end + 5 :])


def main(port: int) -> None:
    """Serve until a signal comes."""
    reactor: Any = installed
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    factory = Factory.forProtocol(Canned)
    factory.noisy = False
    listening = DirectReactor(reactor) if OURS else reactor
    listening.listenTCP(port, factory, backlog=511, interface="127.0.0.1")
    reactor.run()


main(int(sys.argv[1]))
