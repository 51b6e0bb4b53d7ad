"""Shows ``smtpcb`` to twistd; imports nothing of ours, since every twistd run may execute it."""

from twisted.application.service import ServiceMaker

smtpcb = ServiceMaker("smtpcb", "smtpcb.run.tap", "SMTP server that calls you back.", "smtpcb")
