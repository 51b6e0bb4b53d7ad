"""smtplib, which comes with Python."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage

from .conftest import FROM, PASSWORD, TO, USER, Mailbox
from .messages import message


def test_plain(mailbox: Mailbox) -> None:
    """A message without any TLS arrives byte for byte."""
    sent = message()
    with smtplib.SMTP("127.0.0.1", mailbox.server.port) as client:
        client.sendmail(FROM, TO, sent, mail_options=["BODY=8BITMIME"])
    mailbox.expect(sent)
    mailbox.connections(1)


def test_several_messages_in_one_connection(mailbox: Mailbox) -> None:
    """Several messages in one connection are several files and one transcript."""
    sent = [message(), message()]
    with smtplib.SMTP("127.0.0.1", mailbox.server.port) as client:
        for one in sent:
            client.sendmail(FROM, [TO, "carol@example.net"], one)
    mailbox.expect(*sent)
    mailbox.connections(1)


def test_line_ends_are_what_smtplib_makes_of_them(mailbox: Mailbox) -> None:
    """smtplib sends text with CRLF, whatever line ends it has."""
    sent = message(eight_bit=False)
    with smtplib.SMTP("127.0.0.1", mailbox.server.port) as client:
        client.sendmail(FROM, TO, sent.decode().replace("\r\n", "\n"))
    mailbox.expect(sent)


def test_starttls_and_login(mailbox: Mailbox) -> None:
    """Any password is accepted: inside TLS, and in the clear on ports of this machine alone."""
    sent = message()
    context = ssl.create_default_context(cafile=mailbox.server.identity)
    with smtplib.SMTP("localhost", mailbox.server.port) as client:
        client.ehlo()
        assert client.has_extn("auth")
        client.starttls(context=context)
        client.ehlo()
        assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
        client.login(USER, PASSWORD)
        client.sendmail(FROM, TO, sent)
    mailbox.expect(sent)
    mailbox.connections(1)


def test_login_without_an_initial_response(mailbox: Mailbox) -> None:
    """PLAIN and LOGIN work with the response asked for, too."""
    context = ssl.create_default_context(cafile=mailbox.server.identity)
    for mechanism in ("PLAIN", "LOGIN"):
        with smtplib.SMTP("127.0.0.1", mailbox.server.port) as client:
            client.starttls(context=context)
            client.ehlo()
            client.user, client.password = USER, PASSWORD
            method = client.auth_plain if mechanism == "PLAIN" else client.auth_login
            code, _ = client.auth(mechanism, method, initial_response_ok=False)
            assert code == 235
    mailbox.connections(2)


def test_implicit_tls(mailbox: Mailbox) -> None:
    """The ports of --smtps speak TLS from the first octet."""
    sent = message()
    context = ssl.create_default_context(cafile=mailbox.server.identity)
    [port] = mailbox.server.smtps_ports
    with smtplib.SMTP_SSL("localhost", port, context=context) as client:
        client.login(USER, PASSWORD)
        client.sendmail(FROM, TO, sent)
    mailbox.expect(sent)
    mailbox.connections(1)


def test_addresses_and_headers_in_utf8(mailbox: Mailbox) -> None:
    """SMTPUTF8: an address may have any letters."""
    composed = EmailMessage()
    composed["From"], composed["To"] = "gr\u00fc\u00dfe@example.org", TO
    composed["Subject"] = "\u65e5\u672c\u8a9e"
    composed.set_content("x\n")
    with smtplib.SMTP("127.0.0.1", mailbox.server.port) as client:
        client.send_message(composed)
    [kept] = mailbox.new()
    assert "gr\u00fc\u00dfe@example.org".encode() in kept
    assert "Subject: \u65e5\u672c\u8a9e\r\n".encode() in kept
