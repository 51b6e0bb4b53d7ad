"""The real client, towards a server that trusts us: XCLIENT, XFORWARD, or a PROXY header."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address

from smtpcb.client._protocol import ClientProtocol
from smtpcb.engine import Cause, ClientFailure, Envelope, Stage
from smtpcb.engine._connection import Connection
from smtpcb.smtp import Command, Verb, XClient, XForward
from smtpcb.smtp._xclient import XFORWARD, write_attributes

PASS_ON = ("xclient", "xforward", "proxy", "proxy-v1")
"""How the next server may be told who the client is."""

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_PROXY = 0x21
_TCP = {4: 0x11, 6: 0x21}  # family and transport


def as_xclient(connection: Connection) -> XClient:
    """Return a client as XCLIENT names it; what is not known is said to be so."""
    known = connection.xclient or XClient()
    identity = connection.identity
    return XClient(
        name=known.name or "",
        address=_address(connection.peer_address),
        port=connection.peer_port,
        protocol="ESMTP" if connection.extended else "SMTP",
        hello=connection.hello or "",
        login=identity if isinstance(identity, str) else "",
        destination_address=_address(connection.host_address),
        destination_port=connection.host_port,
    )


def as_xforward(envelope: Envelope) -> XForward:
    """Return a client as XFORWARD names it: the one before our client's, if that has said so."""
    client = as_xclient(envelope.connection)
    own = XForward(
        name=client.name,
        address=client.address,
        port=client.port,
        protocol=client.protocol,
        hello=client.hello,
        identifier=envelope.id,
        source="REMOTE",
    )
    said = envelope.forwarded
    return own if said is None else replace(said, identifier=said.identifier or envelope.id)


async def introduce(envelope: Envelope, session: ClientProtocol) -> None:
    """
    Say by XFORWARD whose the next message is.

    :raises ClientFailure: the server does not take that from us, or not so.
    """
    assert session.dialogue is not None
    if session.dialogue.unfinished:
        # A server forgets by RSET what XFORWARD has said, and takes none within a transaction.
        await session.ask(Command(Verb.RSET))
    offered = session.dialogue.offers.get("XFORWARD", "").upper().split()
    said = write_attributes(as_xforward(envelope), XFORWARD, offered)
    if not said:
        text = "the server does not take XFORWARD from us"
        raise ClientFailure(Stage.COMMAND, Cause.REFUSED, text, temporary=True)
    reply = await session.ask(Command(Verb.XFORWARD, said))
    if reply is not None and reply.code >= 400:
        raise ClientFailure(Stage.COMMAND, Cause.REFUSED, "XFORWARD", reply)


def proxy_header(connection: Connection, version: int) -> bytes:
    """Return what HAProxy would say of a client, ahead of everything else."""
    try:
        source = ip_address(connection.peer_address)
        destination = ip_address(connection.host_address)
    except ValueError:  # a UNIX socket, or nobody knows
        return _unknown(version)
    if source.version != destination.version:
        return _unknown(version)
    ports = connection.peer_port, connection.host_port
    if version == 1:
        text = f"PROXY TCP{source.version} {source} {destination} {ports[0]} {ports[1]}\r\n"
        return text.encode("ascii")
    block = source.packed + destination.packed + struct.pack("!HH", *ports)
    head = struct.pack("!BBH", _V2_PROXY, _TCP[source.version], len(block))
    return _SIGNATURE + head + block


def _unknown(version: int) -> bytes:
    if version == 1:
        return b"PROXY UNKNOWN\r\n"
    return _SIGNATURE + struct.pack("!BBH", _V2_PROXY, 0, 0)


def _address(text: str) -> str:
    """Return an address, or nothing: a socket's path is none, and nor is a link."""
    try:
        return str(ip_address(text.partition("%")[0]))
    except ValueError:
        return ""
