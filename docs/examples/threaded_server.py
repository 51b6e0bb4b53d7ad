"""A thread for each connection, and no Twisted: threaded_server.py [PORT [PEMFILE]]."""

import secrets
import socketserver
import ssl
import sys

from inbox import Inbox

from smtpcb.engine import (
    Connection,
    Driver,
    Reason,
    ServerDialogue,
    Settings,
    TlsInformation,
    abilities_of,
    replies,
)

SETTINGS = Settings(hostname="localhost")


class Client(socketserver.BaseRequestHandler):
    """One connection, in a thread of its own, so the handler may block."""

    def handle(self):
        connection = Connection(secrets.token_hex(8), *self.client_address[:2])
        abilities = abilities_of(self.server.handler, tls=self.server.tls is not None)
        self.dialogue = ServerDialogue(connection, SETTINGS, abilities)
        self.driver = Driver(self.dialogue, self.server.handler)
        self.request.settimeout(SETTINGS.limits.idle_seconds)
        try:
            self.converse()
        except OSError:
            pass  # the client has gone in its own way, or could not make a handshake
        finally:
            self.driver.disconnect()  # says nothing new if the dialogue came to its end
            self.request.close()

    def converse(self):
        driver = self.driver
        self.request.sendall(driver.start())
        while not driver.finished:
            if driver.handshaking:
                self.secure()
            try:
                octets = self.request.recv(65536)
            except TimeoutError:
                self.dialogue.close(replies.TIMED_OUT, Reason.TIMEOUT)
                octets = b""
            else:
                if not octets:
                    break
            self.request.sendall(driver.receive(octets))

    def secure(self):
        # What was sent behind STARTTLS in the clear is still in the socket, so it becomes part of
        # the handshake, which fails: it can never become a command.
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        cipher, version, bits = self.request.cipher()
        self.request.sendall(self.driver.secure(TlsInformation(version, cipher, bits)))


class SmtpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self, port, handler, tls):
        super().__init__(("127.0.0.1", port), Client)
        self.handler, self.tls = handler, tls


if __name__ == "__main__":
    tls = None
    if len(sys.argv) > 2:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[2])
    with SmtpServer(int(sys.argv[1]) if len(sys.argv) > 1 else 10025, Inbox(), tls) as server:
        print("listening on", *server.server_address, flush=True)
        server.serve_forever()
