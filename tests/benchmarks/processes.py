"""A server as a process: pinned to its core, watched, and ended."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

HOST = "127.0.0.1"
START_SECONDS = 20.0
STOP_SECONDS = 5.0


class FailedError(Exception):
    """A run that gives no figure; the text says why."""


def cores() -> tuple[set[int], set[int]]:
    """Return the core of the server and that of the client; there may be only one."""
    first, *others = sorted(_ALL_CORES)
    return {first}, {others[0] if others else first}


_ALL_CORES = frozenset(os.sched_getaffinity(0))


def pin_client(*, alone: bool = True) -> None:
    """Move this process, and what it starts, to the client's core; or let it have all."""
    os.sched_setaffinity(0, cores()[1] if alone else _ALL_CORES)


def raise_file_limit(wanted: int) -> None:
    """Allow this process, and what it starts, that many open files, or as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server((HOST, 0)) as listening:
        return int(listening.getsockname()[1])


class Server:
    """
    One server while it runs; a context manager that yields it once it greets.

    :param command: what to start.
    :param port: where it will listen.
    :param folder: for its output, and its current folder unless `directory` is another.
    :param environment: in addition to ours.
    :param alone: on a core of its own; otherwise it may use all.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        folder: Path,
        *,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        alone: bool = True,
    ) -> None:
        self.port = port
        self._command = list(command)
        self._log = folder / "server.log"
        self._directory = directory or folder
        self._environment = {**os.environ, **(environment or {})}
        self._cores = cores()[0] if alone else set(_ALL_CORES)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=self._environment,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, self._cores),
            )
        try:
            self._wait_for_greeting()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_for_greeting(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            self.check()
            with (
                suppress(OSError),
                socket.create_connection((HOST, self.port), timeout=START_SECONDS) as client,
            ):
                if client.recv(4096).startswith(b"220"):
                    client.sendall(b"QUIT\r\n")
                    client.recv(4096)
                    return
            time.sleep(0.05)
        raise FailedError(f"no greeting within {START_SECONDS:.0f} s: {self._last_words()}")

    def check(self) -> None:
        """Raise `FailedError` if the server has died."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise FailedError(f"server ended ({self._process.returncode}): {self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing was said")

    def stop(self) -> None:
        """End it, and whatever it has started."""
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):  # the group has the process' own number
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _numbers(self) -> Iterator[int]:
        """Yield the number of the process, and of all its descendants."""
        assert self._process is not None
        waiting = [self._process.pid]
        while waiting:
            number = waiting.pop()
            yield number
            with suppress(OSError):
                for children in Path(f"/proc/{number}/task").glob("*/children"):
                    waiting += map(int, children.read_text().split())

    def cpu_nanoseconds(self) -> int:
        """
        Return what it has used so far, user and system.

        It is utime + stime of ``/proc/PID/stat``, in nanoseconds instead of its 10 ms.
        """
        self.check()
        total = 0
        for number in self._numbers():
            with suppress(OSError):
                total += time.clock_gettime_ns(_cpu_clock(number))
        return total

    def settled_cpu_nanoseconds(self) -> int:
        """The same, once the server has done what was left to do."""
        used = self.cpu_nanoseconds()
        for _ in range(40):
            time.sleep(0.05)
            before, used = used, self.cpu_nanoseconds()
            if used - before < 500_000:
                break
        return used

    def memory_octets(self, field: str = "VmRSS") -> int:
        """Return ``VmRSS``, or ``VmHWM``: the most it has been since `forget_peak`."""
        self.check()
        total = 0
        for number in self._numbers():
            with suppress(OSError):
                for line in Path(f"/proc/{number}/status").read_text().splitlines():
                    if line.startswith(f"{field}:"):
                        total += int(line.split()[1]) * 1024
        return total

    def forget_peak(self) -> None:
        """Let ``VmHWM`` begin anew."""
        for number in self._numbers():
            Path(f"/proc/{number}/clear_refs").write_text("5")


def _cpu_clock(process: int) -> int:
    """clock_getcpuclockid(3), which Python does not have: CPUCLOCK_SCHED of a process."""
    return (~process << 3) | 2
