"""What a transaction has gathered."""

from __future__ import annotations

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._plain import MemoryContent
from smtpcb.smtp._address import ForwardPath, ReversePath


def test_an_envelope_is_empty_at_first() -> None:
    """No recipients, no parameters, no content."""
    envelope = Envelope(Connection("x"), ReversePath.NULL)
    assert (envelope.forward_paths, dict(envelope.parameters), envelope.size_octets) == ([], {}, 0)
    with pytest.raises(LookupError, match="chunk"):
        assert envelope.content


def test_recipients_keep_their_parameters() -> None:
    """Addresses alone are what most ask for."""
    anne = ForwardPath("anne", "example.org")
    envelope = Envelope(Connection("x"), ReversePath.NULL, recipients=[Recipient(anne)])
    assert envelope.forward_paths == [anne]
    assert dict(envelope.recipients[0].parameters) == {}


def test_content_that_was_kept_is_there() -> None:
    """Whole, as a file, in pieces, or parsed."""
    envelope = Envelope(Connection("x"), ReversePath.NULL)
    envelope.kept = MemoryContent(b"Subject: hi\r\n\r\nbody\r\n")
    content = envelope.content
    assert content.size_octets == len(content.bytes()) == 21
    assert content.open().read() == b"".join(content.pieces(4)) == content.bytes()
    assert content.mime()["Subject"] == "hi"
