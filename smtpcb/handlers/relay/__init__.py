"""
Pass every message on to another server while its client waits: a gateway without a queue.

Sender and recipients are asked there before they are answered here, the content streams through,
and the last reply there is the last reply here: nothing is accepted that was not accepted there, so
there is nothing to lose.
"""

from smtpcb.handlers.relay._changes import Changes, changes
from smtpcb.handlers.relay._mx import MxRelay
from smtpcb.handlers.relay._plugin import RelayPlugin
from smtpcb.handlers.relay._relay import Relay

__all__ = ["Changes", "MxRelay", "Relay", "RelayPlugin", "changes"]

plugin = RelayPlugin()
