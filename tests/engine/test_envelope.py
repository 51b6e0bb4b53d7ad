"""What a transaction has gathered."""

from __future__ import annotations

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._keeping import MailData
from smtpcb.smtp._address import ForwardPath, ReversePath
from smtpcb.smtp._dsn import OriginalRecipient
from smtpcb.smtp._parameter import NO_RCPT_PARAMETERS, RcptParameters

ANNE = ForwardPath("anne", "example.org")


def test_an_envelope_is_empty_at_first() -> None:
    """No recipients, no parameters, no content."""
    envelope = Envelope(Connection("x"), ReversePath.NULL)
    assert (envelope.forward_paths, envelope.size_octets) == ([], 0)
    assert (envelope.parameters.size, envelope.parameters.smtputf8) == (None, False)
    with pytest.raises(LookupError, match="chunk"):
        assert envelope.content


def test_an_envelope_has_a_name_of_its_own() -> None:
    """That of its connection, and which transaction on it."""
    envelope = Envelope(Connection("x"), ReversePath("bob", "example.org"), number=3)
    envelope.recipients.append(Recipient(ANNE))
    assert envelope.id == "x-3"
    assert repr(envelope) == "<Envelope x-3 from <bob@example.org> to 1>"
    assert envelope.forward_paths == [ANNE]


def test_a_recipient_is_an_address_with_parameters() -> None:
    """Its parts are at hand; it is told from others by both."""
    recipient = Recipient(ANNE)
    assert (recipient.local_part, recipient.domain) == ("anne", "example.org")
    assert str(recipient) == "anne@example.org"
    assert not recipient.is_postmaster
    assert recipient.parameters is NO_RCPT_PARAMETERS
    assert repr(recipient).startswith("Recipient(ForwardPath(")
    assert recipient == Recipient(ForwardPath("anne", "example.org"))
    assert hash(recipient) == hash(Recipient(ForwardPath("anne", "example.org")))
    assert recipient != Recipient(ForwardPath("tim", "example.org"))
    assert recipient != Recipient(ANNE, RcptParameters(orcpt=OriginalRecipient("rfc822", "anne")))
    assert recipient != ANNE


def test_only_postmaster_without_a_domain_is_everybodys() -> None:
    """§4.5.1: a server takes mail for it; the postmaster of a domain is a mailbox like others."""
    assert Recipient(ForwardPath("Postmaster", "")).is_postmaster
    assert not Recipient(ForwardPath("postmaster", "example.org")).is_postmaster


def test_content_that_was_kept_is_there() -> None:
    """Whole, as a file, in pieces, or parsed."""
    envelope = Envelope(Connection("x"), ReversePath.NULL)
    kept = MailData()
    kept.write(b"Subject: hi\r\n\r\nbody\r\n")
    envelope.kept = kept
    content = envelope.content
    assert content.size_octets == len(content.bytes()) == 21
    assert content.open().read() == b"".join(content.pieces(4)) == content.bytes()
    assert content.mime()["Subject"] == "hi"
