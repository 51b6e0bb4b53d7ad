"""The sockets that we listen on: shared ones, and one port for both families."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port

from smtpcb.run._sockets import SocketReactor, for_ipv6_alone
from smtpcb.run.build import endpoints_of
from smtpcb.run.options import resolve
from smtpcb.server._direct import at_once
from smtpcb.server._families import is_ipv6, ports_of_both_families
from smtpcb.server._port import DirectPort


def has_ipv6() -> bool:
    """Whether this machine has it, and not only this Python."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")


class TestShared:
    """What is bound, without a reactor that accepts."""

    @pytest.mark.parametrize(
        ("interface", "kind", "host"),
        [
            ("127.0.0.1", IPv4Address, "127.0.0.1"),
            ("", IPv4Address, "0.0.0.0"),
            pytest.param("::1", IPv6Address, "::1", marks=needs_ipv6),
        ],
    )
    def test_it_listens(self, interface: str, kind: type, host: str) -> None:
        """A client that comes waits for a worker."""
        opened = SocketReactor().listenTCP(0, None, 5, interface)
        address = opened.getHost()
        assert isinstance(address, kind)
        assert address.host == host
        reached = {"0.0.0.0": "127.0.0.1"}.get(host, host)
        socket.create_connection((reached, address.port), 5).close()
        assert not opened.socket.getblocking()
        opened.socket.close()

    def test_a_machine_without_ipv6(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is told like a port that is taken."""

        def refuse(*_: object) -> None:
            raise OSError(97, "Address family not supported by protocol")

        monkeypatch.setattr(socket, "socket", refuse)
        with pytest.raises(CannotListenError, match="Address family not supported"):
            SocketReactor().listenTCP(25, None, 5, "::")


@pytest.mark.parametrize(
    ("descriptions", "found"),
    [
        (["tcp:25", "tcp6:25"], {25}),
        (["tcp6:25", "tcp:587", "tcp:25:interface=127.0.0.1"], {25}),
        (["tcp:port=25", "tcp6:port=25:backlog=5"], {25}),
        (["tcp:25", r"tcp:25:interface=\:\:"], {25}),
        (["tcp:25", "tcp:587", "tcp6:465"], set()),
        (["tcp:0", "tcp6:0"], set()),
        (["tcp:25", "tcp6:250", "unix:/run/tcp6:25"], set()),
        (["tcp6:25", r"tcp:25:interface=\:\:1"], set()),
    ],
)
def test_ports_of_both_families(descriptions: list[str], found: set[int]) -> None:
    """However they are written, and only where the number is the same."""
    assert ports_of_both_families(descriptions) == found


@pytest.mark.parametrize(
    ("description", "found"),
    [("tcp6:25", True), ("tcp:25", False), (r"tcp:25:interface=fe80\:\:1", True)],
)
def test_is_ipv6(description: str, found: bool) -> None:
    """By the kind or by the interface."""
    assert is_ipv6(description) is found


@pytest.fixture
def free() -> int:
    """A port number that nobody has in either family."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


WAYS: list[tuple[Callable[[], Any], bool]] = [
    (lambda: reactor, False),
    (lambda: reactor, True),
    (SocketReactor, False),
]


@needs_ipv6
@pytest.mark.parametrize(("make", "direct"), WAYS, ids=["as Twisted has it", "direct", "workers"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_number_for_both_families(
    free: int, make: Callable[[], Any], direct: bool, order: tuple[int, int]
) -> None:
    """``tcp:25`` and ``tcp6:25`` stand beside each other, and each takes its own clients."""
    both = [f"tcp:{free}", f"tcp6:{free}"]
    listen = tuple(both[at] for at in order)
    found: list[Any] = []
    for endpoint in endpoints_of(resolve({"listen": listen}, {}), make(), direct=direct):
        # As a service does it.
        opening = at_once(endpoint, reactor) if direct else endpoint
        opening.listen(Factory()).addCallbacks(found.append, lambda failure: failure.trap())
    assert len(found) == 2
    four, six = (found[at] for at in order)
    assert four.getHost() == IPv4Address("TCP", "0.0.0.0", free)
    assert (six.getHost().host, six.getHost().port) == ("::", free)
    assert six.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, free), 5).close()
    if isinstance(four, Port):
        assert isinstance(four, DirectPort) == isinstance(six, DirectPort) == direct
    for one in found:
        one.socket.close() if not isinstance(one, Port) else one.stopListening()


@needs_ipv6
def test_ipv6_by_itself_is_as_it_was(free: int) -> None:
    """Alone it takes clients of both families, where the system has it so."""
    original = SocketReactor()
    assert for_ipv6_alone(f"tcp6:{free}", {25}, original) is original
    assert for_ipv6_alone("tcp:25", {25}, original) is original
    assert for_ipv6_alone("unix:/x", {25}, original) is original
    wrapped = for_ipv6_alone("tcp6:25", {25}, reactor)
    assert wrapped.seconds == reactor.seconds
