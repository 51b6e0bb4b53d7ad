"""
An extension of one's own: a shop's tickets in EHLO, in MAIL, and as a command.

``python own_extension.py``, and then, on port 10025::

    EHLO me                             250-XTICKET 3 open
    XTICKETS open                       250-T1 Printer on fire ...
    MAIL FROM:<> XTICKET=T1             the handler finds it as envelope.parameters["XTICKET"]
"""

import re
from dataclasses import dataclass

from twisted.internet import reactor
from twisted.internet.task import deferLater

import smtpcb
from smtpcb import Extension, Parameter, Refusal, Reply, Settings


@dataclass(frozen=True)
class Ticket:
    number: int


OPEN = {
    Ticket(1): "Printer on fire",
    Ticket(2): "Cable too short",
    Ticket(3): "Mail does not come",
}


def read_ticket(text):
    match = re.fullmatch("T([0-9]{1,9})", text or "", re.IGNORECASE)
    if match is None:
        raise ValueError("a ticket is T and a number")  # 501: it makes no sense
    ticket = Ticket(int(match[1]))
    if ticket not in OPEN:
        raise Refusal(550, f"T{ticket.number} is closed")  # it does, and the answer is no
    return ticket


def write_ticket(ticket):
    return f"T{ticket.number}"


def say_how_many(situation):
    return f"{len(OPEN)} open"


async def tickets(argument, connection):
    """XTICKETS: a line for each, when the database has answered."""
    if argument.lower() not in ("", "open"):
        return 504, "Only open tickets can be listed"
    rows = await deferLater(reactor, 0.05, OPEN.items)
    return Reply(250, [f"{write_ticket(ticket)} {title}" for ticket, title in rows] or "None")


TICKETS = Extension(
    "XTICKET",
    offer=say_how_many,
    changes=True,  # asked for each EHLO, and not once for all
    mail={"XTICKET": Parameter(read_ticket, write_ticket)},
    verbs={"XTICKETS": tickets},
)


class Desk:
    def message(self, envelope):
        ticket = envelope.parameters.get("XTICKET")
        if ticket is None:
            return 250, "A new ticket"
        return 250, f"Added to {OPEN[ticket]!r}"


if __name__ == "__main__":
    smtpcb.serve(reactor, "tcp:10025:interface=127.0.0.1", Desk, Settings(extensions=(TICKETS,)))
    reactor.run()
