"""Mail from a program that has its own main loop: any thread may send, and waits for it."""

from threading import Thread

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import blockingCallFromThread

from smtpcb.client import NotDelivered, send

# Once, before the first message; the other way round is `deferToThread`.
Thread(target=reactor.run, args=(False,), daemon=True).start()


def send_now(message, **options):
    """Send a message; return when its outcome is known."""
    return blockingCallFromThread(
        reactor, lambda: ensureDeferred(send(message, reactor=reactor, **options))
    )


def main():
    report = b"From: anne@example.org\nSubject: Report\n\nAll is well.\n"
    told = {"host": "localhost", "port": 10025, "tls": "off", "sender": "anne@example.org"}
    print(send_now(report, to=["bob@example.org"], **told).is_delivered)
    try:
        send_now(report, to=["nobody@example.org"], **told)
    except NotDelivered as error:
        print(error)


if __name__ == "__main__":
    main()
