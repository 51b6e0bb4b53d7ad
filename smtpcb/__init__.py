"""smtpcb."""
