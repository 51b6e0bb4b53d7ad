"""What one connection adds to the process at most, whatever its client does: the table in docs."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from ..running import Client, Server, running
from .test_memory import memory_of

DOCS = Path(__file__).parents[2] / "docs"
KIB = 1024
CLIENTS = 10
# What RSS shows beside what we keep: pages that the allocator has begun.
SLACK = 16 * KIB

Act = Callable[[Client], None]


@pytest.fixture(autouse=True)
def _finds_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def push(client: Client, octets: bytes) -> None:
    """Send as much as is taken."""
    client.socket.settimeout(0.3)
    with suppress(TimeoutError):
        client.socket.sendall(octets)


def nothing(client: Client) -> None:
    """Stay where it is."""


def commands(client: Client) -> None:
    """Send commands, and read no reply to them."""
    push(client, b"HELP\r\n" * 200_000)


def commands_behind_mail(client: Client) -> None:
    """Send commands behind one that waits for its answer."""
    client.socket.sendall(b"MAIL FROM:<>\r\n")
    push(client, b"NOOP\r\n" * 200_000)


def content(client: Client) -> None:
    """Send a million octets of a message without an end."""
    client.begin()
    push(client, (b"x" * 76 + b"\r\n") * 12_800)


def field(client: Client) -> None:
    """Send a million octets of a field without an end."""
    client.begin()
    push(client, b"X: " + b"x" * 1_000_000)


def recipients(client: Client) -> None:
    """Name as many as there may be, with addresses as long as they may be."""
    domain = ".".join(["d" * 60, "e" * 60, "f" * 60, "example"])
    client.say("MAIL FROM:<>")
    for number in range(1000):
        assert client.say(f"RCPT TO:<{number:04}{'l' * 50}@{domain}>").startswith(b"250")


ROWS = [
    ("Dropping", nothing, "It says nothing", 5),
    ("Dropping", commands, "does not read its replies", 128),
    ("Undecided", commands_behind_mail, "while your handler is at work", 128),
    ("Dropping", content, "in pieces, or do not take", 128),
    ("Whole", content, "that you take whole", 1024 + 128),
    ("Heading", field, "one header field without an end", 4 * 1024),
    ("Dropping", recipients, "with the longest addresses", 512),
]
UNLIMITED = [f"--{name}=none" for name in ("errors", "free-errors", "idle-commands")]
# So that the server ends although somebody does not decide.
SHORT = ("--decision-seconds=8", "--grace-seconds=8")


def growth(server: Server, act: Act) -> float:
    """Return what each of some clients adds, in octets."""
    for _ in range(2):
        with Client(server.port) as before:
            act(before)
    with ExitStack() as stack:
        used = memory_of(server, "VmRSS")
        for _ in range(CLIENTS):
            act(stack.enter_context(Client(server.port)))
        with Client(server.port) as other:
            assert other.say("NOOP").startswith(b"250")
        return (memory_of(server, "VmRSS") - used) / CLIENTS


@pytest.mark.parametrize(
    ("handler", "act", "said", "most"), ROWS, ids=[f"{row[0]}-{row[1].__name__}" for row in ROWS]
)
def test_a_connection_holds_no_more_than_is_promised(
    handler: str, act: Act, said: str, most: int, tmp_path: Path
) -> None:
    """Each row of the table on the page of promises is one of these clients (P23)."""
    assert said in " ".join((DOCS / "security.rst").read_text().split())
    named = ("--handler", f"python:tests.process.hoarders.{handler}")
    with running(tmp_path, *named, *UNLIMITED, *SHORT, "--no-tls") as server:
        added = growth(server, act)
    print(f"{handler}, {act.__name__}: {added / KIB:.0f} KiB")
    assert added < most * KIB + SLACK


def test_every_row_is_tried() -> None:
    """A promise that is added to the table is tried, but for transcripts."""
    page = (DOCS / "security.rst").read_text()
    table = page[page.index("What the client does") : page.index("Durability")]
    assert len(re.findall(r"^   \* - ", table, re.MULTILINE)) == len(ROWS) - 1 + 1
