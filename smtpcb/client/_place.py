"""A place is where a session may go: it tells its hosts, and the addresses of each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.interfaces import IStreamClientEndpoint

from smtpcb.engine import ClientSettings


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """
    One address that may have a session.

    :ivar name: the host and the address, for errors.
    :ivar endpoint: connects to it, and makes TLS where the connection begins with it.
    :ivar creator: makes TLS of this one connection, and may say in ``failed`` which check of a
        certificate has failed; ``None``: there can be no TLS.
    """

    name: str
    endpoint: IStreamClientEndpoint
    creator: Any = None


class Place(Protocol):
    """
    Where a session may go; `Server` is one.

    :ivar name: what errors call it.
    """

    name: str

    def candidates(
        self, settings: ClientSettings, seconds: float, reactor: Any
    ) -> AsyncGenerator[Sequence[Candidate], None]:
        """
        Tell the hosts, the best one first: of each one its addresses, in their order.

        They are connected to in a race, and the next host is asked for when none of them has a
        session (RFC 8305 §5).

        :param settings: how the dialogue will be led.
        :param seconds: how long whoever is asked for addresses may take.
        :raises ClientFailure: it cannot be told, or there are none.
        """
        ...
