"""twisted.mail's ESMTP, which accepts and discards.  Arguments: PORT [CERTIFICATE KEY]."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet import defer, reactor, ssl
from twisted.logger import globalLogBeginner
from twisted.mail import smtp
from zope.interface import implementer


@implementer(smtp.IMessage)
class Discarded:
    def lineReceived(self, line):
        pass

    def eomReceived(self):
        return defer.succeed(None)

    def connectionLost(self):
        pass


@implementer(smtp.IMessageDelivery)
class Delivery:
    def receivedHeader(self, helo, origin, recipients):
        return b"Received: by localhost"

    def validateFrom(self, helo, origin):
        return origin

    def validateTo(self, user):
        return Discarded


class Factory(smtp.SMTPFactory):
    context = None

    def buildProtocol(self, addr):
        protocol = smtp.ESMTP(contextFactory=self.context)
        protocol.factory = self
        protocol.delivery = Delivery()
        return protocol


def main(port: int, certificate: str | None = None, key: str | None = None) -> None:
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    factory = Factory()
    factory.noisy = False
    if certificate and key:
        pem = Path(key).read_text() + Path(certificate).read_text()
        factory.context = ssl.PrivateCertificate.loadPEM(pem).options()
    reactor.listenTCP(port, factory, backlog=511, interface="127.0.0.1")
    reactor.run()


main(int(sys.argv[1]), *sys.argv[2:])
