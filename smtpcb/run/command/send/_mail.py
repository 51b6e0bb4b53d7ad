"""What is sent, from whom and to whom: put together of options, or a whole message from a file."""

from __future__ import annotations

import mimetypes
import os
import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP
from pathlib import Path
from typing import Any, BinaryIO

from smtpcb.client import HeaderRules
from smtpcb.client._field import written_field
from smtpcb.run.command.send._mistake import MistakeError, unreadable

_IN_MEMORY_OCTETS = 1_048_576
_MOST_HEADER_OCTETS = 1_048_576
_REGISTRY: Any = HeaderRegistry()
_RECEIPT = "Disposition-Notification-To"  # RFC 8098 §2.1


@dataclass(frozen=True, slots=True)
class Mail:
    """
    One message.

    :ivar source: as `smtpcb.client.Outgoing` takes it; it can be read again.
    :ivar downgrade: whether it may be written anew in 7 bits.
    """

    reverse_path: str
    recipients: tuple[str, ...]
    source: object
    rules: HeaderRules
    downgrade: bool


def mail_of(said: Namespace) -> Mail:
    """
    Return the message that the options mean.

    :raises MistakeError: they mean none, or a file cannot be read.
    """
    rules = _rules(said)
    mail = _composed(said, rules) if said.file is None else _whole(said, rules)
    if said.receipt and _RECEIPT.lower() not in rules.fields:
        if not mail.reverse_path:
            raise MistakeError(f"--receipt: nobody has sent it: say --header '{_RECEIPT}: ADDRESS'")
        rules.set(_RECEIPT, mail.reverse_path, override=True)
    return mail


def _whole(said: Namespace, rules: HeaderRules) -> Mail:
    if said.body is not None or said.attach:
        raise MistakeError("FILE is a whole message: --body and --attach go without it")
    source = _opened(said.file)
    named = _fields(source)
    recipients = _recipients(said) or _of_fields(named, "to", "cc", "bcc")
    if not recipients:
        raise MistakeError("nobody is to get it: say --to ADDRESS, or give FILE a To field")
    if said.sender is None:
        senders = _of_fields(named, "sender") or _of_fields(named, "from")
        if len(senders) != 1:
            raise MistakeError("it is not known from whom it is: say --from ADDRESS")
        reverse_path = senders[0]
    else:
        reverse_path = _sender(said.sender)
    return Mail(reverse_path, recipients, source, rules, said.downgrade)


def _composed(said: Namespace, rules: HeaderRules) -> Mail:
    if said.body is None and not (said.attach or said.headers) and said.subject is None:
        raise MistakeError(
            "there is nothing to send: say --subject, --body or --attach, or give FILE (- is "
            "standard input)"
        )
    recipients = _recipients(said)
    if not recipients:
        raise MistakeError("nobody is to get it: say --to ADDRESS")
    if said.sender is None:
        raise MistakeError("it is not known from whom it is: say --from ADDRESS")
    reverse_path = _sender(said.sender)
    values = {"From": [said.sender] if reverse_path else [], "To": said.to, "Cc": said.cc}
    for name, texts in values.items():
        if name.lower() not in rules.fields:
            for text in texts:
                rules.set(name, text)
    if "from" not in rules.fields:
        raise MistakeError("nobody has sent it: say --header 'From: ADDRESS' as well")
    message = EmailMessage(policy=SMTP)
    try:
        message.set_content(f"{said.body or ''}\n")
    except UnicodeError:
        raise MistakeError("--body is no text in the charset of the locale") from None
    for path in said.attach:
        _attach(message, path)
    return Mail(reverse_path, recipients, message, rules, downgrade=True)


def _attach(message: EmailMessage, path: Path) -> None:
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None
    kind, packed = mimetypes.guess_type(path.name)
    main, _, sub = (kind or "").partition("/")
    if packed or main not in ("application", "audio", "image", "text", "video"):
        # A message that is attached as one could not be in base64 (RFC 2046 §5.2.1).
        main, sub = "application", "octet-stream"
    if not path.name.isprintable():
        raise MistakeError(f"--attach {path}: a name with a control character")
    message.add_attachment(octets, maintype=main, subtype=sub, filename=path.name)


def _rules(said: Namespace) -> HeaderRules:
    rules = HeaderRules()
    try:
        for header in said.headers:
            name, colon, value = header.partition(":")
            if not colon:
                raise MistakeError(f"--header is 'Name: value', not {header!r:.60}")
            rules.set(name, value.strip(" \t"), override=True)
        if said.subject is not None:
            rules.set("Subject", said.subject, override=True)
    except ValueError as error:
        raise MistakeError(str(error)) from None
    return rules


def _recipients(said: Namespace) -> tuple[str, ...]:
    """Return everybody who was named, once."""
    rows = (("To", said.to), ("Cc", said.cc), ("Bcc", said.bcc))
    found = (one for name, texts in rows for text in texts for one in _addresses(name, text))
    return tuple(dict.fromkeys(found))


def _sender(text: str) -> str:
    if text in ("", "<>"):
        return ""
    found = _addresses("From", text)
    if len(found) != 1:
        raise MistakeError(f"--from is one address, not {len(found)}")
    return found[0]


def _addresses(name: str, text: str) -> list[str]:
    try:
        written_field(name, text)  # which tells what is wrong
    except ValueError as error:
        raise MistakeError(str(error)) from None
    return [one.addr_spec for one in _REGISTRY(name, text).addresses]


def _opened(name: str) -> BinaryIO:
    """Open a message so that it can be read again; a pipe is read to its end now."""
    if name == "-":
        return _kept(sys.stdin.buffer)
    try:
        file = open(name, "rb")  # noqa: SIM115 - it is open as long as it is sent
        if file.seekable():
            file.peek(1)  # a folder can be opened, and not read
            return file
        with file:
            return _kept(file)
    except OSError as error:
        raise unreadable(name, error) from None


def _kept(pipe: BinaryIO) -> BinaryIO:
    kept: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY_OCTETS)  # noqa: SIM115 - as above
    try:
        shutil.copyfileobj(pipe, kept)
    except OSError as error:
        raise unreadable("standard input", error) from None
    kept.seek(0)
    return kept  # type: ignore[no-any-return]


def _fields(file: BinaryIO) -> Any:
    """Read the header section; the file stands at its beginning again."""
    lines: list[bytes] = []
    octets = 0
    while octets < _MOST_HEADER_OCTETS:
        line = file.readline(_MOST_HEADER_OCTETS)
        if line in (b"", b"\n", b"\r\n"):
            break
        lines.append(line)
        octets += len(line)
    file.seek(0)
    if not lines:
        raise MistakeError("the message has no header section", os.EX_DATAERR)
    return BytesParser(policy=SMTP).parsebytes(b"".join(lines), headersonly=True)


def _of_fields(message: Any, *names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_in_fields(message, names)))


def _in_fields(message: Any, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        try:
            fields = message.get_all(name) or []
            for one in (one for field in fields for one in field.addresses):
                if not (one.username and one.domain):
                    raise ValueError(str(one))
                yield one.addr_spec
        except Exception as error:  # `email` trips over a few fields
            text = f"the {name.title()} field cannot be read: {error}"
            raise MistakeError(text, os.EX_DATAERR) from None
