"""Which ratio is wanted of which figure to which other one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.peers import CLIENT
from tests.benchmarks.workloads import CHUNK, CHUNK_FAST, FAST, OTHER_CLIENTS

#: Workload, server, key of the metric.
Cell = tuple[str, str, str]


@dataclass(frozen=True)
class Goal:
    """
    ``ours / theirs`` is to be at most, or at least, a number.

    :ivar theirs: ``None``: the goal is about the figure itself.
    """

    ours: Cell
    theirs: Cell | None
    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Say whether a ratio reaches it; what is shown as equal is."""
        value = round(value, 2)
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


_BOUNDS: dict[str, dict[str, float]] = {
    "small": {
        "canned": 1.7,
        "aiosmtpd": 0.22,
        "twisted.mail": 0.40,
        "nodemailer": 0.55,
        "go-smtp": 1.9,
        "smtp-sink": 2.1,
    },
    "single": {
        "canned": 1.45,
        "aiosmtpd": 0.26,
        "twisted.mail": 0.50,
        "nodemailer": 0.36,
        "go-smtp": 2.0,
        "smtp-sink": 1.95,
    },
    "rcpt50": {
        "canned": 1.15,
        "aiosmtpd": 0.16,
        "twisted.mail": 0.40,
        "nodemailer": 0.52,
        "go-smtp": 1.5,
        "smtp-sink": 1.8,
    },
    "starttls-single": {"aiosmtpd": 0.9, "go-smtp": 2.0},
}
# These hold for a handler that takes the content whole, and for one that takes it by piece.
_BOUNDS_OF_CONTENT: dict[str, dict[str, float]] = {
    "50k": {
        "aiosmtpd": 0.13,
        "twisted.mail": 0.28,
        "nodemailer": 0.75,
        "go-smtp": 0.63,
        "smtp-sink": 0.88,
    },
    "10m": {
        "aiosmtpd": 0.07,
        "twisted.mail": 0.18,
        "nodemailer": 1.1,
        "go-smtp": 0.33,
        "smtp-sink": 0.46,
    },
}
_BOUNDS_FAST: dict[str, dict[str, float]] = {
    "50k": {
        "aiosmtpd": 0.09,
        "twisted.mail": 0.19,
        "nodemailer": 0.50,
        "go-smtp": 0.43,
        "smtp-sink": 0.60,
    },
    "10m": {
        "aiosmtpd": 0.04,
        "twisted.mail": 0.10,
        "nodemailer": 0.6,
        "go-smtp": 0.18,
        "smtp-sink": 0.26,
    },
}


def goals() -> Iterator[Goal]:
    """Yield all."""
    for table, makes in (
        (_BOUNDS, ("smtpcb",)),
        (_BOUNDS_OF_CONTENT, ("smtpcb", CHUNK)),
        (_BOUNDS_FAST, (FAST, CHUNK_FAST)),
    ):
        for workload, bounds in table.items():
            for peer, bound in bounds.items():
                for ours in makes:
                    yield Goal((workload, ours, ""), (workload, peer, ""), bound)
    for workload in ("send-single", "send-small", "send-50k", "send-10m"):
        for peer in OTHER_CLIENTS:
            if peer != "libesmtp":  # which is written in C, and shown for what is possible
                yield Goal((workload, CLIENT, ""), (workload, peer, ""), 0.5)
    yield Goal(("pipelined-bdat", "smtpcb", ""), ("small", "smtpcb", ""), 0.5)
    for ours in ("smtpcb", CHUNK, FAST, CHUNK_FAST):
        yield Goal(("tls-10m", ours, ""), ("10m", ours, ""), 3.5)
    yield Goal(("small", "smtpcb-transcripts", ""), ("small", "smtpcb", ""), 1.25)
    yield Goal(("single", "smtpcb-transcripts", ""), ("single", "smtpcb", ""), 1.6)
    yield Goal(("small", "smtpcb-async", ""), ("small", "smtpcb", ""), 1.15)
    yield Goal(("workers-2", "smtpcb", ""), ("workers-1", "smtpcb", ""), 1.7, at_least=True)
    yield Goal(("idle", "smtpcb", ""), ("idle", "aiosmtpd", ""), 0.5)
    yield Goal(("idle", "smtpcb", ""), None, 3.0)
    yield Goal(("memory-200m", CHUNK, ""), None, 3.0)
    yield Goal(("delay-200m", CHUNK, "worst"), ("delay-200m", "twisted.mail", "worst"), 1.0)
    yield Goal(("fairness-20", "smtpcb", "worst"), None, 50.0)
    yield Goal(("fairness-100", "smtpcb", "worst"), None, 150.0)
