"""What the package says of itself can be run."""

from __future__ import annotations

import textwrap
from typing import Any

from smtpcb import engine
from smtpcb.engine import ClientState, Connection, Driver, Envelope, Outcome, Settings, _client

CONTENT = b"Subject: hi\r\n\r\n.dot\r\n"


class Line:
    """A connection with a server of ours; also the context that makes TLS of it."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.driver = Driver(self, Settings(), Connection("x"), tls=True)
        self.said = self.driver.start()

    def message(self, envelope: Envelope) -> None:
        self.taken.append(envelope.content.bytes())

    def sendall(self, octets: bytes) -> None:
        if octets:
            self.said += self.driver.receive(octets)

    def recv(self, most: int) -> bytes:
        said, self.said = self.said, b""
        return said

    def wrap_socket(self, connection: Line, server_hostname: str) -> Line:
        assert server_hostname == "mail.example.org"
        self.said += self.driver.secure(engine.TlsInformation("TLSv1.3", "any", 256))
        return connection

    def version(self) -> str:
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        return "TLS_AES_256_GCM_SHA384", "TLSv1.3", 256


def test_the_example_sends_a_message() -> None:
    """From the greeting over TLS to QUIT, as an owner that has a socket would do it."""
    assert _client.__doc__ is not None
    example = textwrap.dedent(_client.__doc__.rpartition("::\n")[2])
    line = Line()
    names: dict[str, Any] = {**vars(engine), "connection": line, "context": line}
    names.update(content=CONTENT, host="mail.example.org")
    exec(compile(example, "the example", "exec"), names)
    assert line.taken == [CONTENT]
    assert names["dialogue"].state is ClientState.OVER
    assert names["dialogue"].failure is None
    assert names["transaction"].destinations[0].outcome is Outcome.DELIVERED
