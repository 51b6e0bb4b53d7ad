"""Servers that several files send to: each is started once, if its program is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.relays.servers import open_folder
from tests.servers_met.dovecot import Dovecot, dovecot
from tests.servers_met.trusted import Trusted


@pytest.fixture(scope="session")
def delivery() -> Iterator[Dovecot]:
    """A Dovecot that delivers."""
    with open_folder() as own, dovecot(own) as one:
        yield one


@pytest.fixture(scope="session")
def trusted() -> Iterator[Trusted]:
    """An authority, and a certificate of it for all servers here."""
    with open_folder() as own:
        yield Trusted(own)
