"""
XCLIENT and XFORWARD: a proxy says for whom it speaks (Postfix's XCLIENT_README, XFORWARD_README).

Whoever may say so can be anybody, so both are known to the peers only that `Settings` names; to all
others they are commands like any that does not exist.

XCLIENT means that the connection is another client's from here on, and the session begins again at
the greeting.  Nothing that was said before may count for that one: so its conversation ends, its
handler hears so, and a new conversation with a new `Connection` begins over the same transport;
limits, transcripts and logs see two connections.  Only TLS stays, which cannot be taken back.

A proxy that has named its client passes on what that one says, often without a look at it.  So from
the first EHLO or HELO behind it, which is the client's, neither command is known any more.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from smtpcb.engine import _replies as replies
from smtpcb.engine._budget import Budget
from smtpcb.engine._connection import Connection
from smtpcb.smtp._command import Command, Verb
from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._networks import networks_of
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import read_text
from smtpcb.smtp._xclient import XCLIENT, XFORWARD, Attribute, XClient, XForward, read_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from smtpcb.engine._server import ServerDialogue
    from smtpcb.engine._settings import Settings

NOBODY: frozenset[str] = frozenset()

UNKNOWN = "unknown"
"""The address of a client whose proxy does not know it: in no network, nor on a UNIX socket."""


def trusted_with(settings: Settings, connection: Connection) -> frozenset[str]:
    """Return which of the two commands a peer may use."""
    client = connection.xclient
    address = connection.peer_address if client is None else client.proxy_address
    named = {"XCLIENT": settings.xclient_from, "XFORWARD": settings.xforward_from}
    return frozenset([word for word in named if address in networks_of(named[word])])


def as_known(command: Command, trusted: frozenset[str]) -> Command:
    """Return a command as its peer has it: to who is not trusted with these two, they are none."""
    verb = command.verb
    if verb in (Verb.XCLIENT, Verb.XFORWARD) and verb.name not in trusted:
        return replace(command, verb=Verb.UNKNOWN)
    return command


def xclient(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """XCLIENT: somebody else is the client from here on."""
    connection = dialogue.connection
    said = connection.xclient or XClient(connection.peer_address)
    client = replace(said, **_attributes(argument, XCLIENT))
    refusal = dialogue.owner.start_over(client)
    if refusal is None:
        dialogue.move(Verb.XCLIENT)
    return refusal


def xforward(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """XFORWARD: from whom the next message is."""
    said = dialogue.forwarded or XForward()
    dialogue.forwarded = replace(said, **_attributes(argument, XFORWARD))
    return replies.OK


def _attributes(argument: bytes, known: Mapping[str, Attribute]) -> dict[str, Any]:
    try:
        text = read_text(argument)
    except ValueError:
        raise PeerProtocolError(replies.LINE_NOT_TEXT) from None
    return read_attributes(text, known)


def address_of(old: Connection, client: XClient) -> str:
    """Return the address of the client that a proxy has named; what is not said is as it was."""
    return old.peer_address if client.address is None else client.address or UNKNOWN


def successor(old: Connection, client: XClient, identifier: str, started: datetime) -> Connection:
    """
    Return the connection of the client that a proxy has named.

    What is not said of it is as it was.

    :param identifier: its id.
    :param started: when it begins.
    """
    address, port = client.destination_address, client.destination_port
    return Connection(
        id=identifier,
        peer_address=address_of(old, client),
        peer_port=old.peer_port if client.port is None else client.port,
        host_address=old.host_address if address is None else address,
        host_port=old.host_port if port is None else port,
        hostname=old.hostname,
        started=started,
        tls=old.tls,
        identity=client.login or None,
        budget=Budget(old.budget.limits, circumstances=old.budget.circumstances),
        lmtp=old.lmtp,
        worker=old.worker,
        proxy=old.proxy,
        xclient=client,
    )
