"""Settings become a running service: a file for each thing that it is made of."""

from smtpcb.run.build._endpoints import endpoints_of
from smtpcb.run.build._handler import handler_of, handlers_known, wishes_of
from smtpcb.run.build._policies import policies_known
from smtpcb.run.build._service import make_service
from smtpcb.run.build._settings import settings_of
from smtpcb.run.build._share import Share
from smtpcb.run.build._transcripts import transcripts_of

__all__ = [
    "Share",
    "endpoints_of",
    "handler_of",
    "handlers_known",
    "make_service",
    "policies_known",
    "settings_of",
    "transcripts_of",
    "wishes_of",
]
