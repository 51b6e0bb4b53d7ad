"""A thread for each connection, and no Twisted: threaded_server.py [PORT [PEMFILE]]."""

import secrets
import socketserver
import ssl
import sys

from inbox import Inbox

from smtpcb.engine import Connection, Driver, Settings, TlsInformation

SETTINGS = Settings(hostname="localhost")
INBOX = Inbox()


class Client(socketserver.BaseRequestHandler):
    """One connection, in a thread of its own, so the handler may block."""

    tls: ssl.SSLContext | None = None

    def handle(self) -> None:
        connection = Connection(secrets.token_hex(8), *self.client_address[:2])
        self.driver = Driver(INBOX, SETTINGS, connection, tls=self.tls is not None)
        self.request.settimeout(SETTINGS.limits.idle_seconds)
        try:
            self.converse()
        except OSError:
            pass  # the client has gone in its own way, or could not make a handshake
        finally:
            self.driver.disconnect()  # says nothing new if the dialogue came to its end
            self.request.close()

    def converse(self) -> None:
        driver = self.driver
        self.request.sendall(driver.start())
        while not driver.finished:
            if driver.handshaking:
                self.secure()
            try:
                octets = self.request.recv(65536)
            except TimeoutError:
                self.request.sendall(driver.time_out())
                break
            if not octets:
                break
            self.request.sendall(driver.receive(octets))

    def secure(self) -> None:
        # What was sent behind STARTTLS in the clear is still in the socket, so it becomes part of
        # the handshake, which fails: it can never become a command.
        assert self.tls is not None
        self.request = secured = self.tls.wrap_socket(self.request, server_side=True)
        name, version, bits = secured.cipher() or ("", "", 0)
        self.request.sendall(self.driver.secure(TlsInformation(version, name, bits)))


class SmtpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


if __name__ == "__main__":
    if len(sys.argv) > 2:
        Client.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        Client.tls.load_cert_chain(sys.argv[2])
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 10025
    with SmtpServer(("127.0.0.1", port), Client) as server:
        print("listening on", *server.server_address[:2], flush=True)
        server.serve_forever()
