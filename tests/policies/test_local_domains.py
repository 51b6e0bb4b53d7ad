"""Mail for our own domains, and relaying for those who may."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smtpcb.policies.local_domains import LocalDomains

from .conftest import client, made

Rcpt = Callable[..., None]
DENIED = "550 5.7.1 Relaying denied"


def test_mail_for_local_domains_is_taken_and_other_mail_is_not_relayed(rcpt: Rcpt) -> None:
    """Nobody who does not say so has an open relay (RFC 5321 §3.6.2)."""
    rcpt(
        made("local-domains:example.org,Example.NET"),
        ("anne@example.org", "250"),
        ("anne@EXAMPLE.org", "250"),
        ("bob@example.net", "250"),
        ("bob@example.com", DENIED),
        ("bob@sub.example.org", DENIED),
        ("bob@notexample.org", DENIED),
        ("bob@example.org.evil.example", DENIED),
        ("bob@org", DENIED),
        ("bob@[203.0.113.1]", DENIED),
        ('"anne@example.org"@example.com', DENIED),
    )


def test_a_dot_means_all_domains_below_as_well(rcpt: Rcpt) -> None:
    """By choice, with any number of labels."""
    rcpt(
        made("local-domains:.example.org"),
        ("a@example.org", "250"),
        ("a@b.example.org", "250"),
        ("a@c.b.example.org", "250"),
        ("a@aexample.org", DENIED),
        ("a@org", DENIED),
    )


def test_the_postmaster_is_taken_without_a_domain_only(rcpt: Rcpt) -> None:
    """<Postmaster> reaches us in any case (RFC 5321 §4.5.1); that of others is theirs."""
    rcpt(
        made("local-domains:example.org"),
        ("Postmaster", "250"),
        ("postmaster@example.org", "250"),
        ("postmaster@example.com", DENIED),
    )


def test_hosts_of_one_label_and_literals_can_be_named(rcpt: Rcpt) -> None:
    """What stands in the list is local, whatever it looks like."""
    rcpt(
        made("local-domains:localhost,[192.0.2.1],.lan"),
        ("root@localhost", "250"),
        ("root@[192.0.2.1]", "250"),
        ("root@printer.lan", "250"),
        ("root@other", DENIED),
        ("root@[192.0.2.2]", DENIED),
    )


@pytest.mark.parametrize("said", ["grün.example", "xn--grn-ioa.example"])
def test_a_domain_in_another_script_is_its_a_labels(said: str) -> None:
    """Both ways of writing it are the same domain (RFC 5891)."""
    from smtpcb.policies._domains import Domains

    assert "grün.example" in Domains([said])
    assert "xn--grn-ioa.example" in Domains([said])
    assert "gruen.example" not in Domains([said])


def test_a_star_relays_everything(rcpt: Rcpt) -> None:
    """An open relay has to be asked for."""
    rcpt(made("local-domains:example.org,*"), ("bob@example.com", "250"), ("b@host", "250"))


def test_logins_and_networks_may_relay(rcpt: Rcpt) -> None:
    """Who has logged in, and clients of networks that are named; both can be left out."""
    to = "bob@example.com"
    policy = made("local-domains:example.org,relay-from=192.0.2.0/24,relay-from=2001:db8::/32")
    for address in ("192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7"):
        rcpt(policy, (to, "250"), connection=client(address))
    for address in ("192.0.3.7", "2001:db9::1", ""):
        rcpt(policy, (to, DENIED), connection=client(address))
    rcpt(policy, (to, "250"), connection=client(identity="anne"))
    rcpt(
        made("local-domains:example.org,relay-logins=no"),
        (to, DENIED),
        connection=client(identity="anne"),
    )
    rcpt(made("local-domains:example.org,relay-from=unix"), (to, "250"), connection=client(""))


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("local-domains", "a domain is wanted"),
        ("local-domains:relay-from=192.0.2.0/24", "a domain is wanted"),
        ("local-domains:example..org", "a domain such as"),
        ("local-domains:anne@example.org", "a domain such as"),
        ("local-domains:.", "a domain such as"),
        ("local-domains:exa mple.org", "a domain such as"),
        ("local-domains:example.org,relay-from=192.0.2.1/24", r"did you mean 192\.0\.2\.0/24"),
        ("local-domains:example.org,relay-from=here", "is no network such as"),
        ("local-domains:example.org,relay=yes", "no such setting: relay="),
        ("local-domains:example.org,relay-logins=maybe", "relay-logins=maybe: yes or no"),
        ("local-domains:a.example,relay-logins=no,relay-logins=no", "given twice"),
    ],
)
def test_a_mistake_is_one_line(description: str, why: str) -> None:
    """Before anything is served."""
    with pytest.raises(ValueError, match=why) as error:
        made(description)
    assert "\n" not in str(error.value)


def test_one_text_is_no_list() -> None:
    """Of its letters domains would be made."""
    with pytest.raises(TypeError, match="a list of texts"):
        LocalDomains("example.org")
