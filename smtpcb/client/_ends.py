"""Both ends of a connection: who we say we are, and how an observer sees it."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from smtpcb._ids import Ids
from smtpcb.engine import Connection
from smtpcb.engine._client._settings import is_hostname

_ids = Ids()


def own_name(host: object) -> str:
    """
    Return who says EHLO: this machine's name with its domain, or else the address of our end.

    Nobody is asked for a name: that may take minutes where a resolver is away.  An address is
    what RFC 5321 §4.1.4 has for a machine without a name, and servers that refuse ``localhost``
    take it.

    :param host: our end of the connection.
    """
    name = socket.gethostname()
    if "." in name and not name.lower().startswith("localhost.") and is_hostname(name):
        return name
    if isinstance(host, IPv4Address):
        return f"[{host.host}]"
    if isinstance(host, IPv6Address):
        return f"[IPv6:{host.host.partition('%')[0]}]"
    return "localhost"


def seen(transport: Any, where: str) -> Connection:
    """
    Return what an observer is told of a connection.

    It is the same as its server sees it, so that both write the same record: the peer is we.

    :param where: what errors call the server.
    """
    now = datetime.now(UTC)
    peer_address, peer_port = _address(transport.getHost())
    host_address, host_port = _address(transport.getPeer())
    return Connection(
        _ids.at(now),
        peer_address,
        peer_port,
        host_address,
        host_port,
        started=now,
        hostname=where,
    )


def _address(address: Any) -> tuple[str, int]:
    if isinstance(address, IPv4Address | IPv6Address):
        return address.host, address.port
    name = getattr(address, "name", None)
    return (name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else ""), 0
