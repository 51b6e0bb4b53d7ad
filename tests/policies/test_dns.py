"""What policies ask the DNS: block lists, reverse DNS, the sender's domain; and if it is down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import defer
from twisted.internet.task import Clock
from twisted.names import dns, server
from twisted.names.common import ResolverBase
from twisted.names.error import DNSNameError

from smtpcb import Envelope, Recipient
from smtpcb.policies._dns import Names, Unanswered
from smtpcb.smtp import ForwardPath, ReversePath

from .conftest import client, made

GOOD, BAD, WORSE = "8.8.4.4", "9.9.9.9", "2620:fe::9"
V6_LABELS = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.f.0.0.0.2.6.2"


class Zone(ResolverBase):
    """A name server's own data; it counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int]] = []
        self.silent = False
        a, ptr, mx = dns.Record_A, dns.Record_PTR, dns.Record_MX
        self.records: dict[tuple[str, int], list[Any]] = {
            ("9.9.9.9.bl.example", dns.A): [a("127.0.0.2", ttl=60)],
            (f"{V6_LABELS}.bl.example", dns.A): [a("127.0.0.4", ttl=60)],
            ("4.4.8.8.dead.example", dns.A): [a("203.0.113.1", ttl=60)],
            ("4.4.8.8.cross.example", dns.A): [a("127.255.255.254", ttl=60)],
            ("4.4.8.8.in-addr.arpa", dns.PTR): [
                ptr("wrong.example", ttl=60),
                ptr("Mail.Example", ttl=60),
            ],
            ("wrong.example", dns.A): [a("9.9.9.9", ttl=60)],
            ("mail.example", dns.A): [a(GOOD, ttl=60)],
            ("9.9.9.9.in-addr.arpa", dns.PTR): [ptr("mail.example", ttl=60)],
            ("mx.example", dns.MX): [mx(10, "mail.example", ttl=60)],
            ("null.example", dns.MX): [mx(0, "", ttl=60)],
            ("v6.example", dns.AAAA): [dns.Record_AAAA("2001:db8::1", ttl=60)],
        }

    def _lookup(self, name: bytes, cls: int, type: int, timeout: Any) -> Any:
        key = name.decode().lower(), type
        self.asked.append(key)
        if self.silent:
            return defer.Deferred()
        if key[0].endswith("broken.example"):
            return defer.fail(RuntimeError("broken"))
        if key in self.records:
            kind = [dns.RRHeader(name, type, payload=one, ttl=60) for one in self.records[key]]
            return defer.succeed((kind, [], []))
        if any(known == key[0] for known, _ in self.records):
            return defer.succeed(([], [], []))
        return defer.fail(DNSNameError())


@pytest.fixture
def zone() -> Iterator[Any]:
    """Run a name server on loopback."""
    from twisted.internet import reactor

    zone: Any = Zone()
    factory = server.DNSServerFactory(clients=[zone])
    protocol = dns.DNSDatagramProtocol(factory)
    port: Any = reactor.listenUDP(0, protocol, interface="127.0.0.1")
    zone.address = ("127.0.0.1", port.getHost().port)
    zone.resolver = f"resolver=127.0.0.1:{port.getHost().port}"
    yield zone
    pytest_twisted.blockon(defer.maybeDeferred(port.stopListening))


async def rcpt(policy: Any, address: str, to: str = "anne", **said: Any) -> Any:
    envelope = Envelope(client(address, **said), ReversePath("a", "example.com"))
    answer = policy.rcpt(Recipient(ForwardPath(to, "example.org")), envelope)
    return None if answer is None else await answer


async def mail(policy: Any, domain: str, **said: Any) -> Any:
    sender = ReversePath("a", domain) if domain else ReversePath.NULL
    answer = policy.mail(Envelope(client(GOOD, **said), sender))
    return None if answer is None else await answer


def policy(description: str) -> Any:
    from twisted.internet import reactor

    return made(description, reactor)


@pytest_twisted.ensureDeferred
async def test_clients_on_a_block_list_are_refused(zone: Any) -> None:
    """IPv4 and IPv6 (RFC 5782 §2); the postmaster hears of it, and users are not judged."""
    listed = policy(f"dnsbl:bl.example,{zone.resolver}")
    assert (
        await rcpt(listed, BAD)
    ).text == "550 5.7.1 Your address 9.9.9.9 is listed by bl.example"
    assert (await rcpt(listed, WORSE)).code == 550
    assert await rcpt(listed, GOOD) is None
    assert await rcpt(listed, BAD, "postmaster") is None
    assert await rcpt(listed, BAD, identity="anne") is None


@pytest_twisted.ensureDeferred
async def test_only_the_answers_that_were_chosen_count(zone: Any) -> None:
    """Networks of them too; of several lists one is enough."""
    assert await rcpt(policy(f"dnsbl:bl.example,code=127.0.0.4/30,{zone.resolver}"), BAD) is None
    some = policy(f"dnsbl:none.example,bl.example,code=127.0.0.3,code=127.0.0.2,{zone.resolver}")
    assert (await rcpt(some, BAD)).code == 550


@pytest_twisted.ensureDeferred
async def test_a_list_that_was_given_up_lists_nobody(zone: Any) -> None:
    """It answers with an address of its own, or complains about who asks."""
    assert await rcpt(policy(f"dnsbl:dead.example,cross.example,{zone.resolver}"), GOOD) is None


@pytest_twisted.ensureDeferred
async def test_private_addresses_are_never_asked_about(zone: Any) -> None:
    """The DNS knows nothing of them."""
    judges = policy(f"dnsbl:bl.example,{zone.resolver}"), policy(f"fcrdns:{zone.resolver}")
    for judge in judges:
        for address in ("10.1.2.3", "127.0.0.1", "192.168.1.1", "::1", "fe80::1", "fd00::1", ""):
            assert await rcpt(judge, address) is None
    assert zone.asked == []


@pytest_twisted.ensureDeferred
async def test_a_name_has_to_lead_back(zone: Any) -> None:
    """One of the names is enough; a name that leads elsewhere is none, nor is no name at all."""
    judge = policy(f"fcrdns:{zone.resolver}")
    assert await rcpt(judge, GOOD) is None
    assert (await rcpt(judge, BAD)).text.startswith("550 5.7.25 ")
    assert (await rcpt(judge, "1.1.1.1")).code == 550


@pytest_twisted.ensureDeferred
async def test_a_sender_has_to_be_reachable(zone: Any) -> None:
    """By MX or address (RFC 5321 §5.1); a null MX says no (RFC 7505)."""
    judge = policy(f"sender-domain:{zone.resolver}")
    for domain in ("mx.example", "mail.example", "v6.example", "", "[192.0.2.1]"):
        assert await mail(judge, domain) is None, domain
    for domain in ("null.example", "nowhere.example", "bl.example"):
        assert (await mail(judge, domain)).text.startswith("550 5.1.8 "), domain
    assert await mail(judge, "nowhere.example", identity="anne") is None


@pytest_twisted.ensureDeferred
async def test_while_the_dns_is_down_mail_passes_or_waits(zone: Any) -> None:
    """It is never lost: 451 is what can be chosen."""
    for name in ("dnsbl:broken.example,", "fcrdns:", "sender-domain:"):
        zone.records.clear()
        zone._lookup, before = (lambda *a: defer.fail(RuntimeError("broken"))), zone._lookup
        passing = policy(f"{name}{zone.resolver}")
        waiting = policy(f"{name}{zone.resolver},unanswered=defer")
        if name.startswith("sender"):
            assert await mail(passing, "mx.example") is None
            assert (await mail(waiting, "mx.example")).text.startswith("451 4.4.3 ")
        else:
            assert await rcpt(passing, BAD) is None
            assert (await rcpt(waiting, BAD)).text.startswith("451 4.4.3 ")
        zone._lookup = before


@pytest_twisted.ensureDeferred
async def test_a_list_that_is_down_hides_no_other(zone: Any) -> None:
    """Each is asked."""
    both = policy(f"dnsbl:broken.example,bl.example,{zone.resolver},unanswered=defer")
    assert (await rcpt(both, BAD)).code == 550
    assert (await rcpt(both, GOOD)).code == 451


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_silent_is_given_up() -> None:
    """After its time, and it is not asked the same again at once."""
    clock = Clock()

    class Silent:
        def query(self, query: Any, tries: Any) -> Any:
            waiting.append(tries)
            return defer.fail(defer.TimeoutError())

    waiting: list[Any] = []
    names: Any = Names(clock, [("127.0.0.1", 9)], tries=(1, 2))
    names._resolver = Silent()
    for _ in range(2):
        with pytest.raises(Unanswered):
            await names.listed("x.example")
    assert waiting == [(1, 2)]
    clock.advance(31)
    with pytest.raises(Unanswered):
        await names.listed("x.example")
    assert len(waiting) == 2


@pytest_twisted.ensureDeferred
async def test_answers_are_kept_as_long_as_they_hold(zone: Any) -> None:
    """By their TTL; who asks at the same time waits for the same answer; memory is bounded."""
    from twisted.internet import reactor

    names = Names(reactor, [zone.address], most=3)
    for _ in range(3):
        assert await names.listed("9.9.9.9.bl.example") == {"127.0.0.2"}
    assert len(zone.asked) == 1
    both = [defer.ensureDeferred(names.listed("mail.example")) for _ in range(5)]
    both[0].cancel()
    both[0].addErrback(lambda failure: failure.trap(defer.CancelledError))
    assert await both[4] == {GOOD}
    assert len(zone.asked) == 2
    for number in range(10):
        await names.listed(f"{number}.nowhere.example")
    assert len(names) == 3


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("dnsbl", "a list is wanted"),
        ("dnsbl:bl.example,code=10.0.0.1", "an answer such as 127.0.0.2"),
        ("dnsbl:bl..example", "a domain such as"),
        ("dnsbl:bl.example,resolver=ns.example", "resolver=ns.example: an address such as"),
        ("fcrdns:bl.example", "NAME=VALUE is wanted"),
        ("fcrdns:unanswered=refuse", "pass or defer"),
        ("sender-domain:at=rcpt", "no such setting: at="),
    ],
)
def test_a_mistake_is_one_line(description: str, why: str) -> None:
    """Before anything is served."""
    with pytest.raises(ValueError, match=why):
        made(description)
