"""What a proxy says of its client: attributes and their values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies

from smtpcb.smtp import PeerProtocolError, XClient, XForward
from smtpcb.smtp._xclient import XCLIENT, XFORWARD, read_attributes, write_attributes

GOOD = [
    ("NAME=spike.porcupine.org ADDR=168.100.189.2 PROTO=ESMTP", ("spike.porcupine.org",)),
    ("ADDR=IPV6:2001:db8::7 PORT=51234", ("2001:db8::7", 51234)),
    ("addr=ipv6:2001:DB8:0::7", ("2001:db8::7",)),
    ("ADDR=2001:db8::7", ("2001:db8::7",)),
    ("ADDR=::ffff:192.0.2.7", ("192.0.2.7",)),
    ("NAME=[UNAVAILABLE] ADDR=[unavailable] PORT=[TEMPUNAVAIL]", ("", "", 0)),
    ("NAME=_mail.example_x.org.", ("_mail.example_x.org.",)),
    ("NAME=localhost", ("localhost",)),
    ("PORT=0 PROTO=smtp", (0, "SMTP")),
    ("HELO=[192.0.2.7] LOGIN=anne+40example.org", ("[192.0.2.7]", "anne@example.org")),
    ("HELO=my+20laptop+2B LOGIN=J+C3+B6rg", ("my laptop+", "Jörg")),
    ("DESTADDR=198.51.100.25 DESTPORT=25", ("198.51.100.25", 25)),
    ("  NAME=a   ADDR=192.0.2.7\tPORT=7  ", ("a", "192.0.2.7", 7)),
    ("LOGIN=" + "x" * 255, ("x" * 255,)),
]


@pytest.mark.parametrize(("argument", "values"), GOOD)
def test_attributes(argument: str, values: tuple[object, ...]) -> None:
    """Names in any case; values are xtext; what is not known is said to be (P34)."""
    found = read_attributes(argument, XCLIENT)
    assert tuple(found.values())[: len(values)] == values
    assert XClient(**found)


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("", "Syntax: NAME=value ..."),
        (" \t", "Syntax: NAME=value ..."),
        ("NAME", "An attribute is not known here"),
        ("=x", "An attribute is not known here"),
        ("NAM=x", "An attribute is not known here"),
        ("IDENT=x", "An attribute is not known here"),
        ("\u017fource=LOCAL", "An attribute is not known here"),
        ("NAME=a name=b", "NAME is given twice"),
        ("NAME=", "Bad value of NAME"),
        ("NAME=a..b", "Bad value of NAME"),
        ("NAME=a b", "An attribute is not known here"),
        ("NAME=a+20b", "Bad value of NAME"),
        ("NAME=[192.0.2.7]", "Bad value of NAME"),
        ("NAME=-" + "a" * 64, "Bad value of NAME"),
        ("ADDR=999.1.1.1", "Bad value of ADDR"),
        ("ADDR=192.0.2.07", "Bad value of ADDR"),
        ("ADDR=IPV6:192.0.2.7", "Bad value of ADDR"),
        ("ADDR=IPV4:192.0.2.7", "Bad value of ADDR"),
        ("ADDR=fe80::1%eth0", "Bad value of ADDR"),
        ("ADDR=mail.example.org", "Bad value of ADDR"),
        ("PORT=65536", "Bad value of PORT"),
        ("PORT=-1", "Bad value of PORT"),
        ("PORT=000025", "Bad value of PORT"),
        ("PORT=x", "Bad value of PORT"),
        ("PROTO=LMTP", "Bad value of PROTO"),
        ("HELO=a+0Ab", "Bad value of HELO"),
        ("HELO=a+0D+0AMAIL", "Bad value of HELO"),
        ("HELO=a+1Bb", "Bad value of HELO"),
        ("HELO=a+C2+85b", "Bad value of HELO"),
        ("HELO=a+FFb", "Bad value of HELO"),
        ("HELO=a+2", "Bad value of HELO"),
        ("HELO=a+2b", "Bad value of HELO"),
        ("LOGIN=a=b", "Bad value of LOGIN"),
        ("LOGIN=é", "Bad value of LOGIN"),
        ("LOGIN=a\xa0PORT=7", "Bad value of LOGIN"),
        ("LOGIN=" + "x" * 256, "Bad value of LOGIN"),
        ("DESTADDR=x", "Bad value of DESTADDR"),
        ("DESTPORT=x", "Bad value of DESTPORT"),
    ],
)
def test_what_cannot_be_is_refused(argument: str, why: str) -> None:
    """With 501 and the name of the attribute; nothing of it is taken (P34)."""
    with pytest.raises(PeerProtocolError) as raised:
        read_attributes(argument, XCLIENT)
    assert (raised.value.reply.code, raised.value.reply.lines) == (501, (why,))


def test_attributes_of_xforward() -> None:
    """As Postfix sends them."""
    argument = "NAME=a.example ADDR=192.0.2.7 PORT=7 PROTO=ESMTPS HELO=a IDENT=4ABC+2B SOURCE=local"
    assert XForward(**read_attributes(argument, XFORWARD)) == XForward(
        "a.example", "192.0.2.7", 7, "ESMTPS", "a", "4ABC+", "LOCAL"
    )
    for wrong in ("LOGIN=x", "DESTADDR=192.0.2.7", "SOURCE=elsewhere", "ADDR=x"):
        with pytest.raises(PeerProtocolError):
            read_attributes(wrong, XFORWARD)


@given(strategies.text(max_size=60), strategies.sampled_from(sorted(XCLIENT)))
def test_no_value_gets_in_with_a_control_character(text: str, name: str) -> None:
    """Whatever is hidden in xtext, what comes of it is one line of text."""
    # Every octet of it hidden: what writes xtext would refuse most of it.
    value = "".join(f"+{octet:02X}" for octet in text.encode("utf-8", "surrogatepass"))
    try:
        (found,) = read_attributes(f"{name}={value}", XCLIENT).values()
    except PeerProtocolError:
        pass
    else:
        assert isinstance(found, int) or not any(ord(char) < 32 for char in found)


def test_attributes_are_written_as_they_are_read() -> None:
    """Those that the server takes and no others, in xtext, cut where they would be refused."""
    said = XClient(
        name="",
        address="2001:db8::7",
        port=0,
        protocol="ESMTP",
        hello="my laptop+=" + "\u00fc" * 200,
        login="anne@example.org",
        destination_port=25,
    )
    written = write_attributes(said, XCLIENT, XCLIENT.keys())
    assert written.startswith("NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7 PORT=[UNAVAILABLE] ")
    assert " HELO=my+20laptop+2B+3D+C3+BC" in written
    assert XClient(**read_attributes(written, XCLIENT)) == replace(
        said, hello="my laptop+=" + "\u00fc" * 122
    )
    assert write_attributes(said, XCLIENT, {"ADDR", "HELP"}) == "ADDR=IPV6:2001:db8::7"
    assert (
        write_attributes(XForward(source="LOCAL"), XFORWARD, ["NAME", "SOURCE"]) == "SOURCE=LOCAL"
    )
    assert write_attributes(XForward(), XFORWARD, XFORWARD) == ""
