"""``python -m tests.benchmarks``."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.clients import NotOfferedError
from tests.benchmarks.install import install
from tests.benchmarks.peers import CHECKOUT, NAMES, PEERS, Demand, Peer
from tests.benchmarks.processes import FailedError, Server, cores, free_port, pin_client
from tests.benchmarks.workloads import WORKLOADS, Run, Workload, names, takes_part
from tests.certificates import make_identity, write_pem

WRITTEN = CHECKOUT / "docs" / "benchmarks.md"


def _some_of(known: Sequence[str]):
    def read(text: str) -> list[str]:
        said = [name for name in text.split(",") if name]
        for name in said:
            if name not in known:
                raise argparse.ArgumentTypeError(f"no {name!r}; there are {', '.join(known)}")
        return said

    return read


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure smtpcb and its peers, and print one table.",
        epilog=f"Workloads: {', '.join(names())}. Servers: {', '.join(NAMES)}.",
    )
    add = parser.add_argument
    add("--install", action="store_true", help="bring the peers here, and end")
    add("--workloads", type=_some_of(names()), metavar="A,B", help="only these")
    add("--servers", type=_some_of(NAMES), metavar="A,B", help="only these")
    add("--rounds", type=int, default=None, metavar="N", help="3 by default; medians are shown")
    add("--postal", action="store_true", help="the workload postal too: 2 minutes a server or more")
    add("--quick", action="store_true", help="one round, a twentieth of the load: does it run?")
    add("--write", action="store_true", help=f"write {WRITTEN.relative_to(CHECKOUT)}")
    return parser


def _chosen(arguments: argparse.Namespace) -> list[Workload]:
    wanted = list(arguments.workloads or names([one for one in WORKLOADS if not one.extra]))
    if arguments.postal and "postal" not in wanted:
        wanted.append("postal")
    return [workload for workload in WORKLOADS if workload.name in wanted]


def _there(workload: Workload, servers: Sequence[str], results: report.Results) -> list[Peer]:
    """Return who is to be measured under a workload, and remember who is not."""
    unavailable = workload.unavailable()
    if unavailable:
        results.leave_out(f"{workload.name}: {unavailable}")
        return []
    there = []
    for peer in PEERS:
        if peer.name not in servers or not takes_part(workload, peer.name, peer.ours, peer.tls):
            continue
        missing = peer.missing()
        if missing:
            results.leave_out(f"{peer.name}: {missing}")
        else:
            there.append(peer)
    return there


def _measure(
    workload: Workload, peer: Peer, quick: bool, identity: tuple[Path, Path], folders: Path
) -> dict[str, float]:
    # It stays until all has been measured: what is removed makes new files dear for minutes,
    # since ext4 looks for a number that nobody has had lately.
    folder = Path(tempfile.mkdtemp(dir=folders))
    demand = Demand(
        port=free_port(),
        folder=folder,
        identity=identity if workload.tls else None,
        handler=workload.handler,
        options=workload.options,
    )
    pin_client(alone=not workload.all_cores)
    with Server(
        peer.command(demand),
        demand.port,
        folder,
        directory=peer.directory,
        environment=peer.environment,
        alone=not workload.all_cores,
    ) as server:
        return dict(workload.measure(Run(server, quick, folder, peer.sender)))


def _run(arguments: argparse.Namespace, rounds: int) -> tuple[report.Results, list[Peer]]:
    """Measure all that was asked for."""
    results = report.Results()
    took_part: dict[str, Peer] = {}
    with tempfile.TemporaryDirectory(prefix="smtpcb-benchmark-") as name:
        issued = make_identity(["localhost"])
        certificate = write_pem(Path(name) / "certificate.pem", *issued.chain)
        key = write_pem(Path(name) / "key.pem", issued.private_key)
        identity = certificate, key
        for workload in _chosen(arguments):
            there = _there(workload, arguments.servers or NAMES, results)
            took_part.update({peer.name: peer for peer in there})
            for turn in range(1 if workload.extra else rounds):
                for peer in list(there):
                    where = f"{workload.name}, {peer.name}"
                    try:
                        figures = _measure(workload, peer, arguments.quick, identity, Path(name))
                    except NotOfferedError as error:
                        results.leave_out(f"{where}: {error}")
                        there.remove(peer)
                        continue
                    except (FailedError, OSError) as error:
                        results.failures[workload.name, peer.name].append(str(error))
                        print(f"{where}, round {turn + 1}: FAILED: {error}", file=sys.stderr)
                        continue
                    for key_of_metric, figure in figures.items():
                        results.figures[workload.name, peer.name, key_of_metric].append(figure)
                    shown = ", ".join(
                        f"{figures[metric.key]:,.2f} {metric.unit}" for metric in workload.metrics
                    )
                    print(f"{where}, round {turn + 1}: {shown}", file=sys.stderr)
    return results, [peer for peer in PEERS if peer.name in took_part]


def main() -> int:
    """Return what the process ends with: 1 if a run failed."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.install:
        return 0 if install() else 1
    if arguments.write and arguments.quick:
        parser.error("--write with --quick would write figures that mean nothing")
    # Whoever ends us ends the server too, which is in a session of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    server, client = cores()
    if server == client:
        print("there is one core only: server and client share it", file=sys.stderr)
    results, peers = _run(arguments, rounds)
    if arguments.quick:
        print("A quick run: the figures mean nothing.\n")
    print("\n".join(report.versions(peers)), end="\n\n")
    print(report.text(results))
    if arguments.write and results.failures:
        print("A run has failed, so nothing was written.", file=sys.stderr)
    elif arguments.write:
        WRITTEN.write_text(report.markdown(results, peers, rounds))
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
