"""MailParameters and RcptParameters: what stands behind a path (RFC 5321 §4.1.1.11)."""

from __future__ import annotations

import enum
import re
from collections.abc import ItemsView, Iterator, KeysView, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import CoroutineType, MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from smtpcb.smtp import _delivery as delivery
from smtpcb.smtp import _dsn as dsn
from smtpcb.smtp import _grammar as grammar
from smtpcb.smtp._address import ReversePath, read_mailbox
from smtpcb.smtp._delivery import DeliverBy
from smtpcb.smtp._dsn import OriginalRecipient, Ret
from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._extension import NOTHING, ExtensionFailed, Parameter
from smtpcb.smtp._moment import read_moment, write_moment
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import upper
from smtpcb.smtp._valid_since import ValidSince, read_valid_since, write_valid_since

SYNTAX_OF_PATH = Reply(501, "A blank stands between path and parameters", status="5.5.4")
SYNTAX_OF_PARAMETERS = Reply(501, "Syntax error in parameters", status="5.5.4")
PARAMETER_UNKNOWN = Reply(555, "Parameter not recognised", status="5.5.4")  # RFC 5321 §4.1.1.11

_BLANKS = re.compile("[ \t]++")
_OCTETS = re.compile("[0-9]{1,20}")


class BodyType(enum.StrEnum):
    """What the octets of a message are, as the client declares it."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"  # RFC 6152 §2
    BINARY_MIME = "BINARYMIME"  # RFC 3030 §3


class _Parameters(Mapping[str, Any]):
    """The parameters that were given, by keyword in upper case, and as attributes."""

    __slots__ = ()
    ROWS: ClassVar[Mapping[str, Parameter]]
    FIELDS: ClassVar[Mapping[str, str]]
    APART: ClassVar[tuple[frozenset[str], ...]] = ()
    others: Mapping[str, Any]

    @classmethod
    def read(
        cls, text: str, rows: Mapping[str, Parameter] | None = None, *, utf8: bool = True
    ) -> Self:
        """
        Read what stands behind a path.

        :param text: begins with a blank, unless it is empty.
        :param rows: the parameters that are understood, those of extensions not offered left out;
            by default the standard ones.
        :param utf8: SMTPUTF8 is offered; without it nothing but ASCII is a value (RFC 6533 §3).
        :raises PeerProtocolError: a parameter is unknown or not offered (555, RFC 5321
            §4.1.1.11), stands twice, or has no such value (501).
        :raises ExtensionFailed: what somebody has written to read one has failed.
        """
        if not text:
            return cls._none()
        if text[0] not in " \t":
            raise PeerProtocolError(SYNTAX_OF_PATH)
        rows = cls.ROWS if rows is None else rows
        values: dict[str, Any] = {}
        for word in _BLANKS.split(text.strip(" \t")) if text.strip(" \t") else ():
            match = grammar.PARAMETER.fullmatch(word)
            if match is None:
                raise PeerProtocolError(SYNTAX_OF_PARAMETERS)
            keyword, value = match.group("keyword", "value")
            keyword = keyword.upper()
            row = rows.get(keyword)
            if row is None:
                raise PeerProtocolError(PARAMETER_UNKNOWN)
            if keyword in values:
                raise PeerProtocolError(Reply(501, f"{keyword} given twice", status="5.5.4"))
            try:
                if not (utf8 or word.isascii()):
                    raise ValueError("ASCII")
                values[keyword] = read = row.read(value)
                if isinstance(read, CoroutineType):
                    read.close()
                    raise TypeError("read answers at once: it cannot be async def")
            except ValueError:
                raise PeerProtocolError(
                    Reply(501, f"Bad value of {keyword}", status="5.5.4")
                ) from None
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # sys.exit() in one is its fault, no more
                raise ExtensionFailed(f"read of {keyword}") from error
        for words in cls.APART:
            if words <= values.keys():
                both = " and ".join(sorted(words))
                raise PeerProtocolError(Reply(501, f"{both} exclude each other", status="5.5.4"))
        return cls.of(values)

    def write(self, rows: Mapping[str, Parameter] | None = None) -> str:
        """
        Return what to write behind a path: empty, or with a blank in front of each parameter.

        :raises ValueError: a value cannot be written.
        """
        self._check_apart()
        rows = self.ROWS if rows is None else rows
        words = []
        for keyword, value in self.items():
            row = rows.get(keyword)
            if row is None:
                raise ValueError(f"nobody knows how to write {keyword}")
            words.append(" " + _word(keyword, value, row))
        return "".join(words)

    def check(self) -> None:
        """
        See that the standard ones can be written; of others only their extension knows.

        :raises ValueError: one cannot be.
        """
        self._check_apart()
        for keyword in self:
            if keyword in self.ROWS:
                _word(keyword, self[keyword], self.ROWS[keyword])

    def _check_apart(self) -> None:
        for words in self.APART:
            if words <= self.keys():
                raise ValueError(f"{' and '.join(sorted(words))} exclude each other")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Make parameters of values by keyword in upper case."""
        if not values:
            return cls._none()
        own: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for keyword, value in values.items():
            name = cls.FIELDS.get(keyword)
            if name is not None:
                own[name] = value
            else:
                others[keyword] = value
        return cls(others=MappingProxyType(others) if others else NOTHING, **own)

    if TYPE_CHECKING:

        def __init__(self, *, others: Mapping[str, Any] = ..., **own: Any) -> None: ...

        @classmethod
        def _none(cls) -> Self: ...

    def __hash__(self) -> int:
        return hash(frozenset(self))

    def __getitem__(self, keyword: str) -> Any:
        name = self.FIELDS.get(keyword)
        if name is None:
            return self.others[keyword]
        value = getattr(self, name)
        if value is None or value is False:
            raise KeyError(keyword)
        return value

    def _given(self) -> dict[str, Any]:
        # At once: the views of Mapping ask for one after the other, by three calls each.
        given: dict[str, Any] = {}
        for keyword, name in self.FIELDS.items():
            value = getattr(self, name)
            if value is not None and value is not False:
                given[keyword] = value
        given.update(self.others)
        return given

    def items(self) -> ItemsView[str, Any]:
        """Return keywords and values, as they are."""
        return self._given().items()

    def keys(self) -> KeysView[str]:
        """Return the keywords."""
        return self._given().keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self._given())

    def __len__(self) -> int:
        return len(self._given())


def _word(keyword: str, value: Any, row: Parameter) -> str:
    """Write a parameter; what nobody could read is refused by whoever sends it."""
    try:
        text = row.write(value)
        row.read(text)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{keyword} cannot be written: {value!r:.60} ({error})") from error
    word = keyword if text is None else f"{keyword}={text}"
    if not grammar.PARAMETER.fullmatch(word):
        raise ValueError(f"{keyword} cannot be written: {value!r:.60}")
    return word


def _fields(rows: Mapping[str, Parameter]) -> Mapping[str, str]:
    """Return how the parameters are called as attributes."""
    return {keyword: keyword.lower().replace("-", "_") for keyword in rows}


def _octets(text: str | None) -> int:
    """Read a number of octets (RFC 1870 §3: 1*20DIGIT)."""
    if text is None or not _OCTETS.fullmatch(text):
        raise ValueError("a number of octets")
    return int(text)


def _body_type(text: str | None) -> BodyType:
    return BodyType(upper(text or ""))


def _text_body_type(text: str | None) -> BodyType:
    body = _body_type(text)
    if body is BodyType.BINARY_MIME:
        raise ValueError("lines of text")
    return body


BODY_OF_LINES = Parameter(_text_body_type)
"""BODY where BINARYMIME is not offered (RFC 6152 §2)."""


def _no_value(text: str | None) -> bool:
    """Read a keyword that stands alone."""
    if text is not None:
        raise ValueError("no value")
    return True


def _submitter(text: str | None) -> ReversePath:
    """Read who submitted a message first (RFC 4954 §5)."""
    decoded = dsn.read_xtext(text)
    return ReversePath.NULL if decoded == "<>" else read_mailbox(decoded)


def _write_submitter(path: ReversePath) -> str:
    return "<>" if path == ReversePath.NULL else dsn.write_xtext(path.wire[1:-1])


@dataclass(frozen=True, slots=True, eq=False)
class MailParameters(_Parameters):
    """
    What MAIL says about the message.

    A mapping too: ``parameters["SIZE"]``, ``"SMTPUTF8" in parameters``; it has the keywords that
    were given, in upper case, those of your own extensions among them.

    :ivar size: how long it will be, as the client expects (RFC 1870); ``None``: not given.
    :ivar body: what its octets are (RFC 6152).
    :ivar smtputf8: it needs SMTPUTF8 (RFC 6531).
    :ivar auth: who submitted it first (RFC 4954 §5); `ReversePath.NULL` is ``<>``, nobody who
        could be known, and ``None``: not given.
    :ivar ret: how much of it a report returns (RFC 3461).
    :ivar envid: the envelope's identifier, for reports (RFC 3461).
    :ivar by: until when it is wanted (RFC 2852).
    :ivar holdfor: for how many seconds it is to be held before it goes on (RFC 4865).
    :ivar holduntil: until when, an aware datetime in UTC; never both (RFC 4865).
    :ivar mt_priority: how urgent it is, from -9 to 9; 0 is usual (RFC 6710).
    :ivar requiretls: it may go on inside TLS only (RFC 8689).
    :ivar others: those of your own extensions.
    """

    ROWS: ClassVar[Mapping[str, Parameter]] = {
        "SIZE": Parameter(_octets),  # RFC 1870 §6
        "BODY": Parameter(_body_type),  # RFC 6152 §2
        "SMTPUTF8": Parameter(_no_value),  # RFC 6531 §3.4
        "AUTH": Parameter(_submitter, _write_submitter),  # RFC 4954 §5
        "RET": Parameter(dsn.read_ret),  # RFC 3461 §4.3
        "ENVID": Parameter(dsn.read_envid, dsn.write_xtext),  # RFC 3461 §4.4
        "BY": Parameter(delivery.read_deliver_by, delivery.write_deliver_by),  # RFC 2852 §4
        "HOLDFOR": Parameter(delivery.read_interval, delivery.write_interval),  # RFC 4865 §3
        "HOLDUNTIL": Parameter(read_moment, write_moment),  # RFC 4865 §3
        "MT-PRIORITY": Parameter(delivery.read_priority, delivery.write_priority),  # RFC 6710 §3
        "REQUIRETLS": Parameter(_no_value),  # RFC 8689 §2
    }
    FIELDS: ClassVar[Mapping[str, str]] = _fields(ROWS)
    APART: ClassVar[tuple[frozenset[str], ...]] = (frozenset({"HOLDFOR", "HOLDUNTIL"}),)

    size: int | None = None
    body: BodyType | None = None
    smtputf8: bool = False
    auth: ReversePath | None = None
    ret: Ret | None = None
    envid: str | None = None
    by: DeliverBy | None = None
    holdfor: int | None = None
    holduntil: datetime | None = None
    mt_priority: int | None = None
    requiretls: bool = False
    others: Mapping[str, Any] = field(default_factory=lambda: NOTHING)

    @classmethod
    def _none(cls) -> MailParameters:
        return NO_MAIL_PARAMETERS


@dataclass(frozen=True, slots=True, eq=False)
class RcptParameters(_Parameters):
    """
    What RCPT says about a recipient.

    A mapping too, like `MailParameters`.

    :ivar notify: when to report, `Notify` words (RFC 3461 §4.1); ``None``: not given.
    :ivar orcpt: whom the first client meant (RFC 3461 §4.2).
    :ivar rrvs: since when the mailbox must have been the same person's (RFC 7293).
    :ivar others: those of your own extensions.
    """

    ROWS: ClassVar[Mapping[str, Parameter]] = {
        "NOTIFY": Parameter(dsn.read_notify, dsn.write_notify),  # RFC 3461 §4.1
        "ORCPT": Parameter(dsn.read_original_recipient, dsn.write_original_recipient),  # §4.2
        "RRVS": Parameter(read_valid_since, write_valid_since),  # RFC 7293 §3
    }
    FIELDS: ClassVar[Mapping[str, str]] = _fields(ROWS)

    notify: frozenset[str] | None = None
    orcpt: OriginalRecipient | None = None
    rrvs: ValidSince | None = None
    others: Mapping[str, Any] = field(default_factory=lambda: NOTHING)

    @classmethod
    def _none(cls) -> RcptParameters:
        return NO_RCPT_PARAMETERS


NO_MAIL_PARAMETERS = MailParameters()
NO_RCPT_PARAMETERS = RcptParameters()
