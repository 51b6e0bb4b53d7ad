"""Settings become a running service: a file for each thing that it is made of."""

from smtpcb.run.build._endpoints import endpoints_of
from smtpcb.run.build._handler import handlers_known
from smtpcb.run.build._policies import policies_known
from smtpcb.run.build._service import make_service
from smtpcb.run.build._share import Share

__all__ = ["Share", "endpoints_of", "handlers_known", "make_service", "policies_known"]
