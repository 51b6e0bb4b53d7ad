"""Handlers that keep a connection's memory busy: ``--handler python:tests.process.hoarders.…``."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from smtpcb import Envelope


class Dropping:
    """Wants no content."""

    discards_content = True


class Whole:
    """Takes messages whole."""

    def message(self, envelope: Envelope) -> None:
        envelope.content.bytes()


class Heading:
    """Looks at header fields."""

    discards_content = True

    def header(self, name: str, value: str, envelope: Envelope) -> None: ...


class Undecided:
    """Never answers MAIL."""

    discards_content = True

    def mail(self, envelope: Envelope) -> Deferred[None]:
        return Deferred()
