"""
Mail comes in on one port and is shown on another: smtpcb and twisted.web in one process.

``twistd -ny inbox_and_web.py``
"""

from html import escape

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Site

from smtpcb import SmtpServerFactory, SmtpService

subjects = []


class Inbox:
    def rcpt(self, recipient, envelope):
        return recipient.domain == "example.org" or recipient.is_postmaster

    async def message(self, envelope):
        message = await envelope.content.parsed()  # in a thread: the web site goes on
        subjects.append(str(message["Subject"] or "(no subject)"))
        return 250, f"Message {len(subjects)} taken"


class Page(Resource):
    isLeaf = True

    def render_GET(self, request):
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        rows = "".join(f"<li>{escape(subject)}</li>" for subject in subjects)
        return f"<!doctype html><title>Inbox</title><ol>{rows}</ol>".encode()


application = Application("inbox")

mail = SmtpService(
    serverFromString(reactor, "tcp:10025:interface=127.0.0.1"),
    SmtpServerFactory(Inbox),
)
mail.setServiceParent(application)

web = StreamServerEndpointService(
    serverFromString(reactor, "tcp:10080:interface=127.0.0.1"),
    Site(Page()),
)
web.setServiceParent(application)
