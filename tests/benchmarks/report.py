"""The table, in a terminal and in docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median

from cryptography.hazmat.backends.openssl.backend import backend

from tests.benchmarks.goals import Cell, Goal, goals
from tests.benchmarks.peers import CLIENT, PEERS, Peer, fast
from tests.benchmarks.workloads import BY_WORKLOAD, CHUNK, CHUNK_FAST, FAST, WORKLOADS, Metric

HEAD = ("workload", "server", "figure", "unit", "ratio of", "ratio", "goal", "met")
NUMBERS = {"figure", "ratio"}

_INTRODUCTION = """\
# Benchmarks

What a message costs the server in CPU time (user and system, all threads and processes), and a few
other figures. Every server accepts and discards; each runs alone on one core of the machine below,
with the client on another one, over loopback. A figure is the median of {rounds} interleaved
round{s}. Numbers of another machine, or of another day, are not comparable; ratios are, roughly.

This file is written by `.venv/bin/python -m tests.benchmarks --write`, after `--install` has
brought the peers.
"""

_MAKES = """\
`smtpcb` runs a handler with two callbacks, `rcpt` and `message`, through `twistd smtpcb`;
`smtpcb-async` the same as coroutines; `smtpcb-transcripts` the first one with transcripts on;
`smtpcb-chunk` takes the content piece by piece, so that none is kept, as most peers do here.
Those two with `-fast` have the extra `smtpcb[fast]`, all others run without it. `canned` is a
LineReceiver with canned replies that sends at once, the least that Twisted can cost; `canned-ours`
is the same on the transport of smtpcb.
"""


@dataclass
class Results:
    """
    What has been measured.

    :ivar figures: one number for each round.
    :ivar failures: what went wrong, by workload and server.
    :ivar left_out: what was not run, and why.
    """

    figures: dict[Cell, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, what: str) -> None:
        """Remember once what was not run."""
        if what not in self.left_out:
            self.left_out.append(what)

    def figure(self, cell: Cell) -> float | None:
        """Return the median of a cell, if there is one."""
        numbers = self.figures.get(cell)
        return median(numbers) if numbers else None


def rows(results: Results) -> Iterator[tuple[str, ...]]:
    """Yield the lines of the table; a figure that is compared twice has two."""
    wanted = {(goal.ours, goal.theirs): goal for goal in goals()}
    for workload in WORKLOADS:
        for peer in PEERS:
            for metric in workload.metrics:
                yield from _lines(results, wanted, workload.name, metric, peer)


def _lines(
    results: Results,
    wanted: dict[tuple[Cell, Cell | None], Goal],
    workload: str,
    metric: Metric,
    peer: Peer,
) -> Iterator[tuple[str, ...]]:
    cell = (workload, peer.name, metric.key)
    failed = results.failures.get((workload, peer.name))
    figure = results.figure(cell)
    if figure is None:
        if failed and metric is BY_WORKLOAD[workload].metrics[0]:
            yield (workload, peer.name, "failed", "", "", "", "", "")
        return
    lead = (workload, peer.name, _number(figure), metric.unit)
    for ours, theirs in _comparisons(results, wanted, cell, peer):
        goal = wanted.get((ours, theirs))
        above = results.figure(ours)
        below = 1.0 if theirs is None else results.figure(theirs)
        if above is None or below is None or below <= 0:
            continue
        ratio = above / below
        of = _name(ours, workload) + (f" / {_name(theirs, workload)}" if theirs else "")
        verdict = (str(goal), "yes" if goal.met(ratio) else "NO") if goal else ("", "")
        yield (*lead, of, f"{ratio:.2f}", *verdict)
        lead = ("", "", "", "")
    if lead[0]:
        yield (*lead, "", "", "", "")


def _comparisons(
    results: Results, wanted: dict[tuple[Cell, Cell | None], Goal], cell: Cell, peer: Peer
) -> Iterator[tuple[Cell, Cell | None]]:
    """Yield what stands in the line of a cell, as numerator and denominator."""
    workload, _, key = cell
    if not peer.ours:
        for name in ("smtpcb", CHUNK, FAST, CHUNK_FAST, CLIENT):
            yield (workload, name, key), cell
        return
    if peer.name != "smtpcb":
        yield cell, (workload, "smtpcb", key)
    for ours, theirs in wanted:
        if ours == cell and (theirs is None or theirs[0] != workload):
            yield ours, theirs
    if workload == "decisions-concurrent":
        yield cell, ("decisions", *cell[1:])


def _name(cell: Cell, here: str) -> str:
    return cell[1] if cell[0] == here else f"{cell[1]} {cell[0]}"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def text(results: Results) -> str:
    """Return the table for a terminal."""
    table = [HEAD, *rows(results)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    lines: list[str] = []
    workload = ""
    for row in table:
        cells = [
            cell.rjust(width) if name in NUMBERS else cell.ljust(width)
            for name, cell, width in zip(HEAD, row, widths, strict=True)
        ]
        if row[0] and row[0] != workload:
            lines += [""] if lines else []
            workload = row[0]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, *_remarks(results)])


def _remarks(results: Results) -> list[str]:
    lines = [f"left out: {what}" for what in results.left_out]
    for (workload, server), reasons in results.failures.items():
        lines += [f"failed: {workload}, {server}: {reason}" for reason in dict.fromkeys(reasons)]
    return ["", *lines] if lines else []


def markdown(results: Results, peers: Sequence[Peer], rounds: int) -> str:
    """Return docs/benchmarks.md."""
    lines = [_INTRODUCTION.format(rounds=rounds, s="" if rounds == 1 else "s"), _MAKES]
    lines += ["| workload | what is sent or measured |", "|---|---|"]
    run = {cell[0] for cell in results.figures}
    lines += [f"| {one.name} | {one.title} |" for one in WORKLOADS if one.name in run]
    lines += ["", "## Figures", "", f"| {' | '.join(HEAD)} |"]
    lines += [f"|{'|'.join('--:' if name in NUMBERS else '---' for name in HEAD)}|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(results)]
    if results.left_out:
        lines += ["", "## Left out", "", *(f"- {what}" for what in results.left_out)]
    lines += ["", "## Versions and machine", ""]
    lines += [f"- {line}" for line in versions(peers)]
    return "\n".join(lines) + "\n"


def versions(peers: Sequence[Peer]) -> list[str]:
    """Say what was measured, on what, and when."""
    seen = {}
    for peer in peers:
        name = "smtpcb" if peer.ours else peer.name
        if name not in seen:
            seen[name] = f"{name}: {peer.version()}"
    extra = f"stringzilla {metadata.version('stringzilla')}" if fast() else "not installed"
    return [
        f"{datetime.now(UTC).date()}",
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}, Twisted {metadata.version('twisted')}, "
        f"{backend.openssl_version_text()}",
        f"smtpcb[fast]: {extra}",
        *seen.values(),
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
