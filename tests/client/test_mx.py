"""The servers of a domain, as a DNS server on loopback tells them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.internet.task import Clock
from twisted.names import dns

from smtpcb.client import ClientTimes, MailExchangers, NoSession, open_session
from smtpcb.client._mx import MOST_HOSTS
from smtpcb.engine import Cause, ClientFailure, ClientSettings
from tests.client.names import NameServer, Zones
from tests.client.servers import READY, ScriptedServer

DOMAIN = "example.org"
PLAIN = ClientSettings(hostname="client.example.net", starttls="off")
MX = 15


@pytest.fixture
def zones() -> Iterator[Callable[..., Any]]:
    """Serve zones; return what asks for them."""
    started: list[NameServer] = []

    def serve(**rows: Any) -> Any:
        options = {"recursive": rows.pop("recursive")} if "recursive" in rows else {}
        found = {name.replace("__", "-").replace("_", "."): row for name, row in rows.items()}
        started.append(NameServer(Zones(found, **options)))
        resolver = started[-1].resolver()
        resolver.zones = started[-1].zones
        return resolver

    yield serve
    for one in started:
        pytest_twisted.blockon(ensureDeferred(one.stop()))


async def hosts(resolver: Any, domain: str = DOMAIN, **options: Any) -> list[list[str]]:
    """Return the candidates, host by host; of one that cannot be tried, why."""
    settings = options.pop("settings", PLAIN)
    exchangers = MailExchangers(domain, resolver=resolver, **options)
    found = []
    async for host in exchangers.candidates(settings, 30, reactor):
        names = []
        for one in host:
            try:
                if one.endpoint.__class__.__name__ == "_Nowhere":
                    await one.endpoint.connect(None)  # type: ignore[arg-type]
                names.append(one.name)
            except ClientFailure as failure:
                names.append(f"{one.name}: {failure.reply.text if failure.reply else failure}")
        found.append(names)
    return found


async def refused(resolver: Any, domain: str = DOMAIN, **options: Any) -> ClientFailure:
    with pytest.raises(ClientFailure) as told:
        await hosts(resolver, domain, **options)
    return told.value


@pytest_twisted.ensureDeferred
async def test_exchangers_by_preference_and_each_with_all_its_addresses(zones: Any) -> None:
    """The preferred one first, IPv6 and IPv4 in turn (RFC 5321 §5.1)."""
    resolver = zones(
        example_org=["MX 20 b.example.org", "MX 10 a.example.org", "A 192.0.2.99"],
        a_example_org=["A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1"],
        b_example_org=["A 192.0.2.3"],
    )
    assert await hosts(resolver) == [
        [
            "a.example.org[2001:db8::1]:25",
            "a.example.org[192.0.2.1]:25",
            "a.example.org[192.0.2.2]:25",
        ],
        ["b.example.org[192.0.2.3]:25"],
    ]


@pytest_twisted.ensureDeferred
async def test_equal_ones_come_in_any_order(zones: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they share the load; who is preferred stays first (P58)."""
    resolver = zones(
        example_org=["MX 10 a.example.org", "MX 10 b.example.org", "MX 5 c.example.org"],
        a_example_org=["A 192.0.2.1"],
        b_example_org=["A 192.0.2.2"],
        c_example_org=["A 192.0.2.3"],
    )
    orders = set()
    for order in (sorted, lambda names: sorted(names, reverse=True)):

        def shuffle(names: list[str], order: Any = order) -> None:
            names[:] = order(names)

        monkeypatch.setattr(random, "shuffle", shuffle)
        orders.add("".join(host[0][0] for host in await hosts(resolver)))
    assert orders == {"cab", "cba"}


@pytest_twisted.ensureDeferred
async def test_a_domain_without_exchangers_is_its_own(zones: Any) -> None:
    """By its addresses; and where it is an alias, by those of whom it stands for."""
    resolver = zones(
        example_org=["A 192.0.2.1"],
        alias_example_org=["CNAME example.org"],
        other_example_org=["CNAME mail.example.com"],
        mail_example_com=["MX 5 mx.example.com"],
        mx_example_com=["A 192.0.2.7"],
    )
    assert await hosts(resolver) == [["example.org[192.0.2.1]:25"]]
    assert await hosts(resolver, "alias.example.org") == [["alias.example.org[192.0.2.1]:25"]]
    assert await hosts(resolver, "other.example.org") == [["mx.example.com[192.0.2.7]:25"]]
    resolver.zones.recursive = False
    assert await hosts(resolver, "other.example.org") == [["mx.example.com[192.0.2.7]:25"]]


@pytest_twisted.ensureDeferred
async def test_a_domain_that_takes_no_mail_says_so(zones: Any) -> None:
    """A single exchanger without a name; nobody asks for addresses then (RFC 7505 §3, P58)."""
    resolver = zones(
        example_org=["MX 0 .", "A 192.0.2.1"],
        both_example_org=["MX 0 .", "MX 10 a.example.org"],
        a_example_org=["A 192.0.2.2"],
    )
    failure = await refused(resolver)
    assert failure.reply is not None
    assert failure.reply.text == "556 5.1.10 the domain example.org takes no mail"
    assert (failure.temporary, failure.cause) == (False, Cause.REFUSED)
    assert resolver.zones.asked == [(DOMAIN, MX)]
    # Beside another one it means nothing.
    assert await hosts(resolver, "both.example.org") == [["a.example.org[192.0.2.2]:25"]]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (None, "550 5.1.2 there is no domain example.org"),
        (["FAIL"], "451 4.4.3 the DNS does not know example.org now: DNSServerError"),
        (["CNAME a.example.org"], "451 4.4.3 the aliases of example.org lead nowhere"),
        (["CNAME c0.example.org"], "451 4.4.3 the aliases of example.org lead nowhere"),
        (["CNAME gone.example.org"], "550 5.1.2 there is no domain example.org"),
    ],
)
async def test_what_is_known_and_what_is_not(
    zones: Any, rows: list[str] | None, says: str, clean_reactor: list[Any]
) -> None:
    """No such domain is final; a server that fails, and aliases without end, may pass."""
    chain = {f"c{number}_example_org": [f"CNAME c{number + 1}.example.org"] for number in range(9)}
    chain["c9_example_org"] = ["A 192.0.2.1"]
    resolver = zones(
        a_example_org=["CNAME b.example.org"],
        b_example_org=["CNAME a.example.org"],
        **chain,
        **({} if rows is None else {"example_org": rows}),
    )
    failure = await refused(resolver)
    assert failure.reply is not None
    assert failure.reply.text == says
    assert failure.temporary is says.startswith("4")
    clean_reactor.clear()  # the DNS server logs that it could not answer


@pytest_twisted.ensureDeferred
async def test_exchangers_that_are_none_are_passed_over(
    zones: Any, clean_reactor: list[Any]
) -> None:
    """An alias, one without an address or that does not exist, and what is no name at all (P58)."""
    ranked = ["alias", "none", "bare", "fails", "local", "good"]
    resolver = zones(
        example_org=[
            *(f"MX {rank} {name}.example.org" for rank, name in enumerate(ranked)),
            "MX 9 a b.example.org",
        ],
        alias_example_org=["CNAME good.example.org"],
        bare_example_org=["MX 1 x.example.org"],
        fails_example_org=["FAIL"],
        local_example_org=["A 127.0.0.1"],
        good_example_org=["A 192.0.2.1"],
    )
    assert await hosts(resolver) == [
        ["alias.example.org:25: 550 5.4.4 it is an alias of good.example.org, which no exchanger "
         "may be"],
        ["none.example.org:25: 550 5.4.4 there is no such host"],
        ["bare.example.org:25: 550 5.4.4 it has no address"],
        ["fails.example.org:25: 451 4.4.3 the DNS does not know fails.example.org now: "
         "DNSServerError"],
        ["local.example.org:25: 550 5.4.4 127.0.0.1 is no address that mail is sent to"],
        ["good.example.org[192.0.2.1]:25"],
        ["a b.example.org:25: 550 5.4.4 this is no name of a host"],
    ]  # fmt: skip
    clean_reactor.clear()


@pytest_twisted.ensureDeferred
async def test_no_more_than_ten_are_tried(zones: Any) -> None:
    """However many a domain has; neither are all the addresses of one (P58)."""
    resolver = zones(
        example_org=[f"MX {rank} m{rank}.example.org" for rank in range(20)],
        m0_example_org=[f"A 192.0.2.{number}" for number in range(1, 15)],
        **{f"m{rank}_example_org": ["A 192.0.2.100"] for rank in range(1, 20)},
    )
    found = await hosts(resolver)
    assert [len(one) for one in found] == [10] + [1] * (MOST_HOSTS - 1)
    assert found[-1] == ["m9.example.org[192.0.2.100]:25"]


@pytest_twisted.ensureDeferred
async def test_we_ourselves_cut_the_list(zones: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not preferred to us would give it back to us; if nobody is, it goes nowhere (P58)."""
    resolver = zones(
        example_org=["MX 10 a.example.org", "MX 20 Us.example.net", "MX 20 b.example.org"],
        a_example_org=["A 192.0.2.1"],
        b_example_org=["A 192.0.2.2"],
        us_example_net=["A 192.0.2.3"],
    )
    assert await hosts(resolver, own_names=["us.example.NET."]) == [["a.example.org[192.0.2.1]:25"]]
    failure = await refused(resolver, own_names=["a.example.org"])
    assert failure.reply is not None
    assert (failure.reply.code, failure.reply.status) == (550, "5.4.6")
    greeted = ClientSettings(hostname="A.example.org", starttls="off")
    assert (await refused(resolver, settings=greeted)).reply == failure.reply
    monkeypatch.setattr("socket.gethostname", lambda: "a.example.org")
    nameless = ClientSettings(starttls="off")
    assert (await refused(resolver, settings=nameless)).reply == failure.reply
    itself = await refused(resolver, "us.example.net", own_names=["us.example.net"])
    assert itself.reply is not None
    assert itself.reply.status == "5.4.6"
    [[first], *_] = await hosts(resolver, own_addresses=["192.0.2.1"])
    assert first.endswith("192.0.2.1 is no address that mail is sent to")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
    ],
)
async def test_nobody_is_sent_to_this_machine(zones: Any, address: str) -> None:
    """By what strangers have put into the DNS, or as an address, unless that is wanted (P58)."""
    kind = "AAAA" if ":" in address else "A"
    resolver = zones(example_org=["MX 10 mx.example.org"], mx_example_org=[f"{kind} {address}"])
    [[said]] = await hosts(resolver)
    assert "is no address that mail is sent to" in said
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    assert (await refused(resolver, literal, allow_literals=True)).reply is not None
    if "ff02" in address or "224." in address:
        return
    [[said]] = await hosts(resolver, allow_local=True)
    assert "is no address" not in said


@pytest_twisted.ensureDeferred
async def test_an_address_is_a_domain_only_where_that_is_wanted(zones: Any) -> None:
    """``user@[192.0.2.1]`` goes past all that the DNS could say (P58)."""
    resolver = zones()
    failure = await refused(resolver, "[192.0.2.1]")
    assert failure.reply is not None
    assert failure.reply.status == "5.1.2"
    assert await hosts(resolver, "[192.0.2.1]", allow_literals=True) == [["192.0.2.1:25"]]
    six = await hosts(resolver, "[IPv6:2001:DB8::1]", allow_literals=True)
    assert six == [["[2001:db8::1]:25"]]
    assert resolver.zones.asked == []


@pytest_twisted.ensureDeferred
async def test_a_domain_in_unicode_is_asked_for_in_a_labels(zones: Any) -> None:
    """As the DNS has it (RFC 5891)."""
    resolver = zones(
        xn____bcher__kva_example=["MX 1 mx.example.org"], mx_example_org=["A 192.0.2.1"]
    )
    assert await hosts(resolver, "B\u00fccher.example.") == [["mx.example.org[192.0.2.1]:25"]]


@pytest.mark.parametrize(
    "domain", ["", "a b", "a..b", "x" * 64, "a/b", "\u00fc" * 64, "[x]", "[1]"]
)
def test_what_is_no_domain(domain: str) -> None:
    """It is told before anybody is asked."""
    with pytest.raises(ValueError, match=r"."):
        MailExchangers(domain)


@pytest_twisted.ensureDeferred
async def test_whom_nobody_answers_for_is_waited_for_so_long() -> None:
    """As long as a connection may take; cancelling costs nobody else his answer."""
    silent = Zones({DOMAIN: ["SILENCE"]})
    clock = Clock()

    def asking() -> Any:
        places = [MailExchangers(DOMAIN, resolver=silent)]
        opening = open_session(places, PLAIN, times=ClientTimes(connect=7), reactor=clock)
        return ensureDeferred(opening)

    first, second = asking(), asking()
    first.cancel()
    with pytest.raises(CancelledError):
        await first
    clock.advance(7)
    with pytest.raises(NoSession, match=r"451 4.4.3 the DNS does not answer for example.org") as no:
        await second
    assert no.value.temporary
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_whoever_gives_up_takes_no_answer_away_from_others(zones: Any) -> None:
    """They ask the same question, and it leaves once."""
    resolver = zones(example_org=["MX 1 mx.example.org"], mx_example_org=["A 192.0.2.1"])
    first, second = ensureDeferred(hosts(resolver)), ensureDeferred(hosts(resolver))
    first.cancel()
    with pytest.raises(CancelledError):
        await first
    assert await second == [["mx.example.org[192.0.2.1]:25"]]
    assert resolver.zones.asked.count((DOMAIN, MX)) == 1


@pytest_twisted.ensureDeferred
async def test_an_address_of_one_family_is_enough(zones: Any, clean_reactor: list[Any]) -> None:
    """What becomes of the other one; but if there is none, what is not known may pass."""
    resolver = zones(
        example_org=["MX 1 one.example.org", "MX 2 two.example.org", "MX 3 three.example.org"],
        one_example_org=["FAIL AAAA", "A 192.0.2.1"],
        two_example_org=["GONE AAAA", "FAIL A"],
        three_example_org=["FAIL AAAA", "GONE A"],
    )
    first, *others = await hosts(resolver)
    assert first == ["one.example.org[192.0.2.1]:25"]
    assert [": 451 4.4.3 " in said for [said] in others] == [True, True]
    clean_reactor.clear()


@pytest_twisted.ensureDeferred
async def test_what_was_not_asked_is_not_believed() -> None:
    """An answer may have records of any name in it."""

    class Chatty(Zones):
        def _lookup(self, *question: Any) -> Any:
            evil = dns.Record_MX(0, b"mx.evil.example")
            other = dns.RRHeader(b"example.com", MX, dns.IN, 60, evil)
            answer = super()._lookup(*question)
            return answer.addCallback(lambda found: ([other, *found[0]], [], []))

    zones = Chatty({DOMAIN: ["MX 1 mx.example.org"], "mx.example.org": ["A 192.0.2.1"]})
    assert await hosts(zones) == [["mx.example.org[192.0.2.1]:25"]]


@pytest_twisted.ensureDeferred
async def test_nobody_logs_in_at_strangers(zones: Any) -> None:
    """Nobody could say who would get the password."""
    settings = ClientSettings(login="optional")
    with pytest.raises(ValueError, match="nobody logs in at the exchangers of a domain"):
        await hosts(zones(), settings=settings)


@pytest_twisted.ensureDeferred
async def test_a_session_with_the_second_exchanger(zones: Any) -> None:
    """Nobody is at the first one."""
    server = ScriptedServer(*READY)
    port = server.listen("127.0.0.2")
    resolver = zones(
        example_org=["MX 1 a.example.org", "MX 2 b.example.org"],
        a_example_org=["A 127.0.0.1"],
        b_example_org=["A 127.0.0.2"],
    )
    place = MailExchangers(DOMAIN, port, resolver=resolver, allow_local=True)
    protocol = await open_session([place], PLAIN, reactor=reactor)
    assert protocol.where == f"b.example.org[127.0.0.2]:{port}"
    await protocol.quit()
    await server.stop()
    with pytest.raises(NoSession) as told:
        await open_session([place], PLAIN, reactor=reactor)
    assert [where for where, _ in told.value.failures] == [
        f"a.example.org[127.0.0.1]:{port}",
        f"b.example.org[127.0.0.2]:{port}",
    ]
