"""Settings become a running service: a file for each thing that it is made of."""

from smtpcb.run.build._endpoints import endpoints_of
from smtpcb.run.build._handler import HANDLER_PLUGINS, handler_of, wishes_of
from smtpcb.run.build._policies import POLICY_PLUGINS
from smtpcb.run.build._service import make_service
from smtpcb.run.build._settings import settings_of
from smtpcb.run.build._share import Share
from smtpcb.run.build._transcripts import transcripts_of

__all__ = [
    "HANDLER_PLUGINS",
    "POLICY_PLUGINS",
    "Share",
    "endpoints_of",
    "handler_of",
    "make_service",
    "settings_of",
    "transcripts_of",
    "wishes_of",
]
