"""What is written down of the envelope of a captured message, which does not have it itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from smtpcb.engine._envelope import Envelope
from smtpcb.smtp._address import ForwardPath, ReversePath
from smtpcb.smtp._header import HeaderReader

_HEADER_OCTETS = 1_048_576
# Who stands in one of these sees who else was written to (RFC 5322 §3.6.3, §3.6.6).
_TOLD = frozenset({"to", "cc", "resent-to", "resent-cc"})
# Between addresses.  One with a quoted local-part is cut, and looked for as it stands.
_BETWEEN = re.compile(r"[\s<>(),;\"]+")
_QUOTED_OCTETS = 65_536


class CapturedEnvelope:
    """
    The envelope of one message, as a file of JSON.

    ::

        {"id": "...", "reverse_path": "anne@example.org", "parameters": {"SIZE": 310},
         "recipients": [{"forward_path": "tim@example.org", "parameters": {}, "bcc": true}],
         "connection": {"id": "...", "peer_address": "127.0.0.1", "hello": "client.example.org",
         "tls": null, "identity": null}, "received": "2026-11-27T08:14:50.123456+00:00"}

    ``id`` is that of the envelope, which stands in the log too.  ``reverse_path`` is ``""`` for the
    ``<>`` of a bounce.  ``bcc`` is true of a recipient who stands in no To, Cc, Resent-To or
    Resent-Cc field of the message.

    What the envelope and its connection say is taken down at once, since they go on to change.
    """

    def __init__(self, envelope: Envelope) -> None:
        connection = envelope.connection
        self._told = {
            "id": envelope.id,
            "reverse_path": str(envelope.reverse_path),
            "parameters": _plain(envelope.parameters),
        }
        self._recipients = [
            (recipient.forward_path, _plain(recipient.parameters))
            for recipient in envelope.recipients
        ]
        self._about = {
            "connection": {
                "id": connection.id,
                "peer_address": connection.peer_address,
                "peer_port": connection.peer_port,
                "hello": connection.hello,
                "tls": None if connection.tls is None else connection.tls.version,
                "identity": None if connection.identity is None else str(connection.identity),
            },
            "received": datetime.now(UTC).isoformat(timespec="microseconds"),
        }
        self._fields: list[str] = []

    def reading(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on the pieces of the message, and see on the way who stands in its header."""
        reader = HeaderReader(_HEADER_OCTETS)
        for piece in pieces:
            if not reader.done:
                self._look_at(reader.read(piece))
            yield piece
        if not reader.done:
            self._look_at(reader.finish())

    def as_json(self) -> bytes:
        """Return the file, once the message has been read."""
        text = "\n".join(self._fields)
        seen = {_folded(word) for word in _addresses(text)}
        recipients = [
            {
                "forward_path": str(path),
                "parameters": parameters,
                "bcc": _folded(str(path)) not in seen
                and not ('"' in str(path) and str(path) in text[:_QUOTED_OCTETS]),
            }
            for path, parameters in self._recipients
        ]
        told = {**self._told, "recipients": recipients, **self._about}
        return (json.dumps(told, indent=1) + "\n").encode()

    def _look_at(self, found: Iterable[tuple[str, str]]) -> None:
        self._fields += [value for name, value in found if name.lower() in _TOLD]


def _addresses(text: str) -> Iterator[str]:
    """Find what may be an address, in a time that is linear in the text."""
    for word in _BETWEEN.split(text):
        if "@" in word:
            # What stands before a colon is the name of a group, but for an address literal.
            yield word if "@[" in word else word.rpartition(":")[2]


def _folded(address: str) -> str:
    """Local-parts in other capitals are other mailboxes by the letter, and the same in life."""
    return address.casefold()


def _plain(value: Any) -> Any:
    """Return what JSON has for a decoded value."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, ReversePath | ForwardPath):
        return str(value)
    if is_dataclass(value):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: _plain(one) for name, one in named.items() if one is not None}
    return str(value)
