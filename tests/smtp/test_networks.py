"""Networks: who is meant."""

from __future__ import annotations

import pytest

from smtpcb.smtp._networks import Networks, networks_of


@pytest.mark.parametrize(
    ("texts", "inside", "outside"),
    [
        (("192.0.2.0/24",), ("192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7"), ("192.0.3.0", "")),
        (("192.0.2.7",), ("192.0.2.7",), ("192.0.2.8", "::7")),
        (("2001:db8::/32",), ("2001:db8:ffff::1",), ("2001:db9::", "192.0.2.1")),
        (("fe80::/10",), ("fe80::1%eth0", "fe80::1"), ("febf", "fec0::1")),
        (("unix",), ("",), ("127.0.0.1", "unix")),
        (("0.0.0.0/0", "unix"), ("255.255.255.255", ""), ("::1", "not an address")),
        ((), (), ("192.0.2.7", "", "::1")),
    ],
)
def test_who_is_meant(
    texts: tuple[str, ...], inside: tuple[str, ...], outside: tuple[str, ...]
) -> None:
    """An address is in a network of its family; a UNIX socket has none, and a word of its own."""
    networks = Networks(texts)
    assert all(address in networks for address in inside)
    assert not any(address in networks for address in outside)
    assert bool(networks) is bool(texts)
    assert networks_of(texts) is networks_of(tuple(texts))


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        ((), ()),
        (("unix", "192.0.2.0/24", "0.0.0.0/1", "2000::/3"), ()),
        (("192.0.2.7", "0.0.0.0/0"), ("0.0.0.0/0",)),
        (("::/0", "0.0.0.0/0", "::/0"), ("0.0.0.0/0", "::/0")),
        (("0.0.0.0/1", "128.0.0.0/1"), ("0.0.0.0/0",)),
        (("8000::/1", "10.0.0.0/8", "::/1"), ("::/0",)),
    ],
)
def test_who_means_everybody(texts: tuple[str, ...], whole: tuple[str, ...]) -> None:
    """All of a family, however it is cut; what is merely wide is not."""
    assert Networks(texts).whole == whole


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("2001:db8::1/32", "did you mean 2001:db8::/32?"),
        ("10.0.0.0/33", "is no network such as"),
        ("10.0.0", "is no network such as"),
        ("UNIX", "is no network such as"),
        ("", "is no network such as"),
        ("localhost", "is no network such as"),
        ("10.0.0.0/8 ", "is no network such as"),
        ("x" * 500, "is no network such as"),
    ],
)
def test_what_is_no_network_is_told(text: str, said: str) -> None:
    """And what was meant, where that can be known."""
    with pytest.raises(ValueError, match=r"\A.{2,90} is ") as raised:
        Networks((text,))
    assert said in str(raised.value)


@pytest.mark.parametrize("wrong", ["10.0.0.0/8", b"unix", None, 7, (7,), (b"unix",)])
def test_networks_are_a_list_of_texts(wrong: object) -> None:
    """A single text would be read letter by letter."""
    with pytest.raises(TypeError, match="text"):
        Networks(wrong)


def test_a_zone_is_no_part_of_a_network() -> None:
    """Nobody would be in it: clients are looked up without theirs (RFC 4007 §11)."""
    with pytest.raises(ValueError, match="fe80::1%lo has a zone"):
        Networks(["fe80::1%lo"])
    assert "fe80::1%lo" in Networks(["fe80::1"])
