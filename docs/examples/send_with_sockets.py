"""A client without Twisted: a socket that blocks, TLS and a login."""

import socket
import ssl
import sys

from smtpcb.engine import (
    ClientDialogue,
    ClientSettings,
    ClientWants,
    TlsInformation,
    Transaction,
)
from smtpcb.smtp import Credentials


def submit(transaction, content, host, port, settings, trust, credentials):
    """Send a message; return why the session ended early, or ``None``."""
    dialogue = ClientDialogue(settings)
    connection = socket.create_connection((host, port), timeout=300)
    try:
        while dialogue.wants is not ClientWants.NOTHING:
            connection.sendall(dialogue.take_output())
            match dialogue.wants:
                case ClientWants.REPLY:
                    octets = connection.recv(65536)
                    dialogue.receive(octets) if octets else dialogue.lost()
                case ClientWants.HANDSHAKE:
                    connection = trust.wrap_socket(connection, server_hostname=host)
                    version, (cipher, _, bits) = connection.version(), connection.cipher()
                    dialogue.secured(TlsInformation(version, cipher, bits))
                case ClientWants.CREDENTIALS:
                    dialogue.give(Credentials(dialogue.mechanism, *credentials))
                case ClientWants.CONTENT:
                    dialogue.content(content)
                    dialogue.end_content()
                case ClientWants.WORK if transaction.mail_reply is None:
                    dialogue.send(transaction)
                case ClientWants.WORK:
                    dialogue.quit()
    except TimeoutError:
        dialogue.time_out()
    except OSError as error:  # and whatever TLS says
        if dialogue.wants is ClientWants.HANDSHAKE:
            dialogue.handshake_failed(str(error))
        else:
            dialogue.lost(str(error))
    finally:
        connection.close()
    return dialogue.failure


def main(host, port, authority, *mailboxes):
    """Send a message to some, and say what became of it."""
    content = b"From: anne@example.org\r\nSubject: Hello\r\n\r\nHello!\r\n"
    transaction = Transaction("anne@example.org", mailboxes, size_octets=len(content))
    settings = ClientSettings(hostname="client.example.org", login="required")
    trust = ssl.create_default_context(cafile=authority)
    failure = submit(transaction, content, host, port, settings, trust, ("anne", "tim"))
    for one in transaction.destinations:
        print(one.forward_path, one.outcome.value, one.reply.text if one.reply else one.failure)
    if failure is not None:
        print("it ended early:", failure)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
