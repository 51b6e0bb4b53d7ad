"""A mail backend as Django has it: EMAIL_BACKEND = "mail_backend.EmailBackend"."""

from email.utils import parseaddr
from threading import Lock, Thread

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import blockingCallFromThread

from smtpcb.client import NoSession, Server, SubmissionSession
from smtpcb.engine import ClientSettings

SERVER = Server("localhost", 10025)
SETTINGS = ClientSettings(starttls="off")

_starting = Lock()
_threads = []


def _start():
    """Run the reactor in this process, once: behind the fork of a worker."""
    with _starting:
        if not _threads:
            _threads.append(Thread(target=reactor.run, args=(False,), daemon=True))
            _threads[0].start()


class EmailBackend:
    """Sends what it is given over one connection; what was refused does not count as sent."""

    def __init__(self, fail_silently=False, **_):
        self.fail_silently = fail_silently

    def open(self):
        """Do nothing: each call of `send_messages` has a connection of its own."""

    close = open

    def send_messages(self, email_messages):
        """Return how many everybody gets."""
        _start()
        session = SubmissionSession(SERVER, settings=SETTINGS, reactor=reactor)
        for one in email_messages:
            if one.recipients():
                added = session.add_message(parseaddr(one.from_email)[1], one.message())
                for recipient in one.recipients():
                    added.add_recipient(parseaddr(recipient)[1])
        if not session.messages:
            return 0
        try:
            result = blockingCallFromThread(reactor, lambda: ensureDeferred(session.run()))
        except NoSession:
            if self.fail_silently:
                return 0
            raise
        return sum(message.is_delivered for message in result.messages)
