"""The tests mirror smtpcb/, file for file."""
