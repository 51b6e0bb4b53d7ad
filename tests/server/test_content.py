"""What a handler gets as ``envelope.content``, from a server."""

from __future__ import annotations

from typing import Any

from .test_conversation import HELLO, MAIL, RCPT, Connect, Recorder

TEXT = b"Subject: hi\r\n\r\nbody\r\n"
DATA = HELLO + MAIL + RCPT + b"DATA\r\n" + TEXT + b".\r\n"


def test_content_can_be_read_after_the_reply(connect: Connect) -> None:
    """A handler puts the envelope into a queue: what got a 250 is there later."""
    queue: list[Any] = []
    client = connect(Recorder(message=queue.append))
    client.send(DATA)
    client.send(b"QUIT\r\n")
    (envelope,) = queue
    assert envelope.content.bytes() == TEXT
    assert envelope.content.mime()["subject"] == "hi"


def test_mime_has_the_fields_that_header_was_told(connect: Connect) -> None:
    """A first line that is no field hides nothing from either."""
    told: list[tuple[str, str]] = []
    queue: list[Any] = []

    class Filter(Recorder):
        def header(self, name: str, value: str, envelope: Any) -> None:
            told.append((name, value))

    client = connect(Filter(message=queue.append))
    client.send(DATA.replace(b"Subject: hi", b" x\r\nSubject : hi\r\n: y\r\nTo:z"))
    assert told == [("Subject", "hi"), ("To", "z")]
    assert list(queue[0].content.mime().raw_items()) == told
