"""The message itself: an `EmailMessage` whose methods do not raise for what a stranger wrote."""

from __future__ import annotations

import quopri
from collections.abc import Mapping
from email.contentmanager import ContentManager, raw_data_manager
from email.errors import (
    InvalidBase64CharactersDefect,
    MessageDefect,
)
from email.generator import BytesGenerator
from email.message import EmailMessage, Message
from email.policy import EmailPolicy, Policy
from io import BytesIO
from typing import Any

from smtpcb.smtp._mime._charsets import clean, codec_of, decode, from_base64, from_uuencode
from smtpcb.smtp._mime._fields import Told
from smtpcb.smtp._mime._parameters import parameterized

_UUENCODE = frozenset({"x-uuencode", "uuencode", "uue", "x-uue"})


class ReadPolicy(EmailPolicy):
    """
    How a stranger's fields are read, and written again: as they came.

    What a program sets is understood and folded by `email`, as with every other policy.
    """

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """Return the header object; see `smtpcb.smtp._mime._fields`."""
        if isinstance(value, Told):
            return value.understood(name)
        return super().header_fetch_parse(name, value)

    def fold(self, name: str, value: str) -> str:
        """Return the lines of a field as text."""
        if isinstance(value, Told):
            return clean(self._as_it_came(value).decode("utf-8", "surrogateescape"))
        folded: str = super().fold(name, value)
        return folded

    def fold_binary(self, name: str, value: str) -> bytes:
        """Return the lines of a field."""
        if isinstance(value, Told):
            return self._as_it_came(value)
        return super().fold_binary(name, value)

    def _as_it_came(self, value: Told) -> bytes:
        linesep: str = self.linesep
        return (value.source + b"\r\n").replace(b"\r\n", linesep.encode("ascii"))


class ReadMessage(EmailMessage):
    """
    A message, or a part of one, that a stranger wrote.

    It is an `email.message.EmailMessage`; what differs is said in the documentation, on the page
    Reading mail.
    """

    def __init__(self, policy: Policy[Any] | None = None) -> None:
        super().__init__(READING if policy is None else policy)

    # What Content-Type and Content-Disposition say.

    def _field(self, name: str) -> Any:
        # Not `get`: that asks the policy, and a program may set another one.
        for known, value in self.raw_items():
            if known.lower() == name:
                return READING.header_fetch_parse(known, value)
        return None

    def get_content_type(self) -> str:
        """See `email`; comments are not part of it."""
        value = self._field("content-type")
        return self.get_default_type() if value is None else str(value.content_type)

    def get_content_disposition(self) -> str | None:
        """See `email`; comments are not part of it."""
        value = self._field("content-disposition")
        return None if value is None else value.content_disposition

    def is_attachment(self) -> bool:
        """See `email`."""
        return self.get_content_disposition() == "attachment"

    def get_param(
        self, param: str, failobj: Any = None, header: str = "content-type", unquote: bool = True
    ) -> Any:
        """See `email`; it is always decoded, and never a tuple."""
        value = self._parameters(header).get(param.lower())
        if value is None:
            return failobj
        return value if unquote else _quoted(value)

    def get_params(
        self, failobj: Any = None, header: str = "content-type", unquote: bool = True
    ) -> Any:
        """See `email`; they are always decoded, and never tuples."""
        value = self._field(header.lower())
        if value is None:
            return failobj
        first = str(value).partition(";")[0].strip()
        params = self._parameters(header).items()
        return [(first, ""), *((k, v if unquote else _quoted(v)) for k, v in params)]

    def _get_params_preserve(self, failobj: Any, header: str) -> Any:
        # Here `email` takes a value apart in quadratic time, for all that changes parameters.
        return self.get_params(failobj, header, unquote=False)

    def _parameters(self, header: str) -> Mapping[str, str]:
        value = self._field(header.lower())
        if value is None:
            return {}
        try:
            params: Mapping[str, str] = value.params
        except AttributeError:  # a field that has none, by its name
            return parameterized(str(value)).parameters
        return params

    def get_filename(self, failobj: Any = None) -> Any:
        """See `email`; it may hold slashes, control characters, and anything else."""
        for header, param in (("content-disposition", "filename"), ("content-type", "name")):
            value = self._parameters(header).get(param)
            if value is not None:
                return value.strip()
        return failobj

    def get_boundary(self, failobj: Any = None) -> Any:
        """See `email`."""
        value = self._parameters("content-type").get("boundary")
        return failobj if value is None else value.rstrip()

    def get_content_charset(self, failobj: Any = None) -> Any:
        """Return a charset that `bytes.decode` knows; one that it does not is as if not given."""
        charset = codec_of(self._parameters("content-type").get("charset", ""))
        return failobj if charset is None else charset

    # The body.

    def get_payload(self, i: int | None = None, decode: bool = False) -> Any:
        """See `email`; octets that a charset or encoding does not fit come as they are."""
        # `email` keeps it there, and has no other way to it that leaves it as it is.
        payload: Any = self._payload  # type: ignore[attr-defined]
        # The stubs have one signature for each pair of arguments, and none for all of them.
        if i is not None or not isinstance(payload, str):
            return super().get_payload(i, decode)  # type: ignore[call-overload]
        try:
            octets = payload.encode("ascii", "surrogateescape")
        except UnicodeEncodeError:  # a program has set it
            return super().get_payload(None, decode)  # type: ignore[call-overload]
        if decode:
            return self._decoded(octets)
        return payload if payload.isascii() else self.text_of(octets)

    def text_of(self, octets: bytes, errors: str = "replace") -> str:
        """Return octets as text, in the charset of this part."""
        return decode(octets, self._parameters("content-type").get("charset", ""), errors)

    def _decoded(self, octets: bytes) -> bytes:
        encoding = self._field("content-transfer-encoding")
        cte = "" if encoding is None else encoding.cte
        if cte == "quoted-printable":
            return quopri.decodestring(octets)
        if cte == "base64":
            data, well = from_base64(octets)
            if not well:
                self.note(InvalidBase64CharactersDefect())
            return data
        if cte in _UUENCODE:
            return from_uuencode(octets)
        return octets

    def note(self, defect: MessageDefect) -> None:
        """Add a defect, unless there is one of its kind."""
        if not any(type(known) is type(defect) for known in self.defects):
            self.policy.handle_defect(self, defect)

    # Written again.

    def as_bytes(self, unixfrom: bool = False, policy: Policy[Any] | None = None) -> bytes:
        """See `email`; a policy that was made to write says how lines end, and no more."""
        given = self.policy if policy is None else policy
        if not isinstance(given, ReadPolicy):
            given = READING.clone(linesep=given.linesep)
        file = BytesIO()
        _Writer(file, mangle_from_=False, policy=given).flatten(self, unixfrom=unixfrom)
        return file.getvalue()

    def as_string(
        self,
        unixfrom: bool = False,
        maxheaderlen: int | None = None,
        policy: Policy[Any] | None = None,
    ) -> str:
        """See `email`; octets that are no UTF-8 are replaced, and nothing is encoded."""
        return self.as_bytes(unixfrom, policy).decode("utf-8", "replace")


class _Writer(BytesGenerator):
    """Writes also what says that it has parts, and was not taken apart."""

    def _dispatch(self, msg: Message) -> None:
        # `email.generator` chooses its writer here, by methods that the stubs do not have.
        write = super()._dispatch if msg.is_multipart() else self._handle_text  # type: ignore[misc,attr-defined]
        write(msg)


class _Contents(ContentManager):
    """What ``get_content`` returns."""

    def get_content(self, msg: Message, *args: Any, **kw: Any) -> Any:
        """Return text as text, a message in a message as it is, anything else as octets."""
        assert isinstance(msg, ReadMessage)
        if msg.is_multipart():
            if msg.get_content_type() in ("message/rfc822", "message/external-body"):
                return msg.get_payload(0)
            return b"".join(bytes(part) for part in msg.get_payload())
        octets = msg.get_payload(decode=True)
        if msg.get_content_maintype() == "text":
            return msg.text_of(octets or b"", *args, **kw)
        return octets or b""

    def set_content(self, msg: Message, obj: Any, *args: Any, **kw: Any) -> None:
        """See `email.contentmanager`."""
        raw_data_manager.set_content(msg, obj, *args, **kw)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


READING = ReadPolicy(linesep="\r\n", content_manager=_Contents(), message_factory=ReadMessage)
