"""Relays that would pass on nothing are not started."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.logger import capturedLogs, formatEvent

from smtpcb.run.options import ConfigurationError

from .test_service import made


@pytest.mark.parametrize(
    ("listen", "argument"),
    [
        ("tcp:2525", "127.0.0.1:2525"),
        ("tcp:port=2525", "localhost:2525"),
        ("tcp:2525:interface=127.0.0.1", "localhost:2525"),
        ("tcp:2525:interface=192.0.2.7", "192.0.2.7:2525"),
        (r"tcp6:2525:interface=\:\:1", "[::1]:2525"),
        ("tcp6:2525", "[::1]:2525"),
        ("unix:/tmp/smtpcb-in", "unix:/tmp/smtpcb-in"),
    ],
)
def test_a_relay_to_its_own_port(tmp_path: Path, listen: str, argument: str) -> None:
    """It would take each message from itself until it is thrown away: the start says so."""
    with pytest.raises(ConfigurationError, match="messages would go in circles") as caught:
        made(tmp_path, listen=(listen,), handler=f"relay:{argument}")
    assert f"--handler relay:{argument}: that is --listen {listen}" in str(caught.value)


@pytest.mark.parametrize(
    ("listen", "argument"),
    [
        ("tcp:2525", "mail.example.org:2525"),
        ("tcp:2525", "127.0.0.1:25"),
        ("tcp:2525:interface=192.0.2.7", "127.0.0.1:2525"),
        ("unix:/tmp/smtpcb-in", "unix:/tmp/smtpcb-out"),
        ("unix:/tmp/smtpcb-in", "127.0.0.1:2525"),
    ],
)
def test_a_relay_to_another_one(tmp_path: Path, listen: str, argument: str) -> None:
    """Another port, another address, another machine."""
    made(tmp_path, listen=(listen,), handler=f"relay:{argument}")


def test_a_relay_to_anywhere_wants_to_know_for_whom(tmp_path: Path) -> None:
    """It is no open relay, so without a login and a network nobody could use it."""
    with pytest.raises(ConfigurationError, match=r"--auth METHOD, or relay-from=NETWORK") as caught:
        made(tmp_path, handler="relay:mx")
    assert "\n" not in str(caught.value)
    made(tmp_path, handler="relay:mx,relay-from=127.0.0.1")
    passwords = tmp_path / "passwords"
    passwords.write_text("anne:secret\n")
    passwords.chmod(0o600)
    made(tmp_path, handler="relay:mx", auth=(f"file:{passwords}",))


@pytest.mark.parametrize(
    ("listen", "said", "warned"),
    [
        ("tcp:2525", {"handler": "relay:127.0.0.1:25"}, True),
        ("tcp:2525:interface=192.0.2.7", {"handler": "relay:localhost"}, True),
        ("tcp:2525:interface=127.0.0.1", {"handler": "relay:127.0.0.1:25"}, False),
        ("unix:/tmp/smtpcb-in", {"handler": "relay:127.0.0.1:25"}, False),
        ("tcp:2525", {"handler": "relay:127.0.0.1:25,pass-on=xclient"}, False),
        ("tcp:2525", {"handler": "relay:unix:/run/lmtp,lmtp=yes"}, False),
        ("tcp:2525", {"handler": "relay:mail.example.org"}, False),
        (
            "tcp:2525",
            {"handler": "relay:127.0.0.1:25", "policy": ("local-domains:example.org",)},
            False,
        ),
    ],
)
def test_a_gateway_to_a_server_that_trusts_this_machine(
    tmp_path: Path, listen: str, said: dict[str, object], warned: bool
) -> None:
    """Every client would be this machine to it, and may send anywhere: the start says so."""
    with capturedLogs() as events:
        made(tmp_path, listen=(listen,), **said)
    told = [formatEvent(event) for event in events]
    assert any("takes every client for this machine" in line for line in told) is warned
