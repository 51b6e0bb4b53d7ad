"""Stands in the way of the real one, so that smtpcb runs as it does without ``smtpcb[fast]``."""

raise ImportError("hidden, to measure what smtpcb does without it")
