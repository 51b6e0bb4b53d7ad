"""Which ratio is wanted of which figure to which other one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.workloads import CHUNK, CHUNK_FAST, FAST

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


_AGAINST = ("aiosmtpd", "twisted.mail", "nodemailer", "go-smtp", "smtp-sink")
_BOUNDS: dict[str, tuple[float, ...]] = {
    "small": (0.22, 0.40, 0.57, 1.3, 1.5),
    "single": (0.26, 0.50, 0.27, 1.25, 1.5),
    "rcpt50": (0.16, 0.40, 0.68, 1.35, 1.25),
    "50k": (0.13, 0.28, 0.75, 0.63, 0.88),
    "10m": (0.07, 0.18, 1.1, 0.33, 0.46),
}
_BOUNDS_FAST: dict[str, tuple[float, ...]] = {
    "50k": (0.09, 0.19, 0.50, 0.43, 0.60),
    "10m": (0.04, 0.10, 0.6, 0.18, 0.26),
}


def goals() -> Iterator[Goal]:
    """Yield all.  Those for content hold for a handler that takes it whole, or by piece."""
    for bounds, makes in ((_BOUNDS, ("smtpcb", CHUNK)), (_BOUNDS_FAST, (FAST, CHUNK_FAST))):
        for workload, row in bounds.items():
            for peer, bound in zip(_AGAINST, row, strict=True):
                for ours in makes:
                    yield Goal((workload, ours, ""), (workload, peer, ""), bound)
    yield Goal(("pipelined-bdat", "smtpcb", ""), ("small", "smtpcb", ""), 0.5)
    for ours in ("smtpcb", CHUNK, FAST, CHUNK_FAST):
        yield Goal(("tls-10m", ours, ""), ("10m", ours, ""), 3.5)
    yield Goal(("small", "smtpcb-transcripts", ""), ("small", "smtpcb", ""), 1.3)
    yield Goal(("small", "smtpcb-async", ""), ("small", "smtpcb", ""), 1.15)
    yield Goal(("workers-2", "smtpcb", ""), ("workers-1", "smtpcb", ""), 1.7, at_least=True)
    yield Goal(("idle", "smtpcb", ""), ("idle", "aiosmtpd", ""), 0.5)
    yield Goal(("memory-200m", CHUNK, ""), None, 3.0)
    yield Goal(("delay-200m", CHUNK, "worst"), ("delay-200m", "twisted.mail", "worst"), 1.0)
