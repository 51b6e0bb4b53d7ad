"""When a message is to be delivered: BY, HOLDFOR, HOLDUNTIL, MT-PRIORITY, RRVS, both ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp import (
    DeliverBy,
    MailParameters,
    PeerProtocolError,
    RcptParameters,
    ValidSince,
    WhenLate,
)
from smtpcb.smtp._delivery import MAXIMUM_SECONDS
from smtpcb.smtp._moment import read_moment, write_moment

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)

MAIL: list[tuple[str, str, Any, str]] = [
    (" BY=120;R", "by", DeliverBy(120, WhenLate.RETURN), " BY=120;R"),
    (" by=+0;nt", "by", DeliverBy(0, WhenLate.NOTIFY, trace=True), " BY=0;NT"),
    (" BY=-999999999;N", "by", DeliverBy(-999999999, WhenLate.NOTIFY), " BY=-999999999;N"),
    (" BY=999999999;rT", "by", DeliverBy(999999999, WhenLate.RETURN, True), " BY=999999999;RT"),
    (" BY=000000001;R", "by", DeliverBy(1, WhenLate.RETURN), " BY=1;R"),
    (" HOLDFOR=1", "holdfor", 1, " HOLDFOR=1"),
    (" holdfor=999999999", "holdfor", 999999999, " HOLDFOR=999999999"),
    (" HOLDUNTIL=2026-11-28T12:00:00Z", "holduntil", NOON, " HOLDUNTIL=2026-11-28T12:00:00Z"),
    (" HOLDUNTIL=2026-11-28t12:00:00z", "holduntil", NOON, " HOLDUNTIL=2026-11-28T12:00:00Z"),
    (" HOLDUNTIL=2026-11-28T13:30:00+01:30", "holduntil", NOON, " HOLDUNTIL=2026-11-28T12:00:00Z"),
    (
        " HOLDUNTIL=2026-11-28T12:00:00.2500001-00:00",
        "holduntil",
        NOON.replace(microsecond=250000),
        " HOLDUNTIL=2026-11-28T12:00:00.250000Z",
    ),
    (
        " HOLDUNTIL=2016-12-31T23:59:60Z",  # a leap second
        "holduntil",
        datetime(2017, 1, 1, tzinfo=UTC),
        " HOLDUNTIL=2017-01-01T00:00:00Z",
    ),
    *(
        (f" MT-PRIORITY={number}", "mt_priority", number, f" MT-PRIORITY={number}")
        for number in range(-9, 10)
    ),
    (" requiretls", "requiretls", True, " REQUIRETLS"),
]


@pytest.mark.parametrize(("text", "attribute", "value", "written"), MAIL)
def test_what_mail_says_is_read_and_written(
    text: str, attribute: str, value: object, written: str
) -> None:
    """As a value that a program can reckon with."""
    parameters = MailParameters.read(text)
    assert getattr(parameters, attribute) == value
    assert list(parameters.values()) == [value]
    assert parameters.write() == written
    assert MailParameters.read(written) == parameters


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        ("2026-11-28T12:00:00Z", ValidSince(NOON), "2026-11-28T12:00:00Z"),
        ("2026-11-28T12:00:00Z;R", ValidSince(NOON), "2026-11-28T12:00:00Z"),
        (
            "2026-11-28T07:00:00-05:00;c",
            ValidSince(NOON, or_else_continue=True),
            "2026-11-28T12:00:00Z;C",
        ),
    ],
)
def test_since_when_a_mailbox_must_be_valid(text: str, value: ValidSince, written: str) -> None:
    """RFC 7293 §3: a message is returned where that is not known, unless it says otherwise."""
    parameters = RcptParameters.read(f" RRVS={text}")
    assert parameters.rrvs == value
    assert parameters.write() == f" RRVS={written}"
    assert RcptParameters.read(parameters.write()) == parameters


NO_MOMENTS = [
    *("2026-11-28T12:00:00", "2026-11-28", "2026-11-28 12:00:00Z", "2026-13-28T12:00:00Z"),
    *("2026-02-30T12:00:00Z", "0000-01-01T00:00:00Z", "2026-11-28T24:00:00Z", "now"),
    *("2026-11-28T12:00:61Z", "2026-11-28T12:00:00+24:00", "2026-11-28T12:00:00+01:60"),
    *("2026-11-28T12:00:00+0100", "2026-11-28T12:00:00.Z", "2026-11-28T12:00Z", "2026-W48-6"),
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "9999-12-31T23:59:60Z"),
    *("+2026-11-28T12:00:00Z", "\u0662026-11-28T12:00:00Z", "2026-11-28T12:00:00\u017f"),
    "2026-11-28T12:00:00." + "0" * 65 + "Z",
]
BAD_MAIL = [
    *("BY", "BY=", "BY=1", "BY=1;", "BY=;R", "BY=1;X", "BY=1;RN", "BY=1;T", "BY=1;TR"),
    *("BY=0;R", "BY=-1;R", "BY=+0;RT", "BY=1000000000;R", "BY=--1;N", "BY=1.5;N", "BY=1;RTT"),
    *("BY=\u0661;N", "HOLDFOR", "HOLDFOR=0", "HOLDFOR=-1", "HOLDFOR=01", "HOLDFOR=1000000000"),
    *("HOLDFOR=1s", "HOLDFOR=\u0661", "MT-PRIORITY", "MT-PRIORITY=10", "MT-PRIORITY=-10"),
    *("MT-PRIORITY=+1", "MT-PRIORITY=-0", "MT-PRIORITY=00", "MT-PRIORITY=\u0661"),
    *("REQUIRETLS=", "REQUIRETLS=1", "REQUIRETLS=YES", "HOLDUNTIL"),
    *(f"HOLDUNTIL={text}" for text in NO_MOMENTS),
    *("BY=1;N BY=1;N", "HOLDFOR=1 holdfor=2", "MT-PRIORITY=0 MT-PRIORITY=0"),
    *("REQUIRETLS REQUIRETLS", "HOLDUNTIL=2026-11-28T12:00:00Z HOLDUNTIL=2026-11-28T12:00:00Z"),
    # RFC 4865 §3: one of them.
    "HOLDFOR=1 HOLDUNTIL=2026-11-28T12:00:00Z",
    "HOLDUNTIL=2026-11-28T12:00:00Z SIZE=1 HOLDFOR=1",
]
BAD_RCPT = [
    *(f"RRVS={text}" for text in NO_MOMENTS),
    *("RRVS", "RRVS=", "RRVS=;C", "RRVS=2026-11-28T12:00:00Z;", "RRVS=2026-11-28T12:00:00Z;X"),
    *("RRVS=2026-11-28T12:00:00Z;CR", "RRVS=2026-11-28T12:00:00Z;C;C"),
    "RRVS=2026-11-28T12:00:00Z RRVS=2026-11-28T12:00:00Z",
]


@pytest.mark.parametrize("text", BAD_MAIL)
def test_what_mail_cannot_say_is_refused(text: str) -> None:
    """By 501: it is never read as something else."""
    with pytest.raises(PeerProtocolError) as caught:
        MailParameters.read(f" {text}")
    assert caught.value.reply.code == 501


@pytest.mark.parametrize("text", BAD_RCPT)
def test_what_rcpt_cannot_say_is_refused(text: str) -> None:
    """By 501."""
    with pytest.raises(PeerProtocolError) as caught:
        RcptParameters.read(f" {text}")
    assert caught.value.reply.code == 501


def test_who_is_told_of_two_that_exclude_each_other() -> None:
    """The reply names them."""
    with pytest.raises(PeerProtocolError, match="HOLDFOR and HOLDUNTIL exclude each other"):
        MailParameters.read(" HOLDUNTIL=2026-11-28T12:00:00Z HOLDFOR=1")


@pytest.mark.parametrize(
    "values",
    [
        {"HOLDFOR": 0},
        {"HOLDFOR": MAXIMUM_SECONDS + 1},
        {"MT-PRIORITY": 10},
        {"MT-PRIORITY": -10},
        {"HOLDUNTIL": datetime(2026, 11, 28)},
    ],
)
def test_what_cannot_be_said_is_not_written(values: dict[str, Any]) -> None:
    """A server would refuse it, or take it for something else."""
    with pytest.raises(ValueError, match=r"."):
        MailParameters.of(values).write()


@pytest.mark.parametrize("seconds", [0, -1, MAXIMUM_SECONDS + 1])
def test_what_is_late_already_cannot_be_returned_when_late(seconds: int) -> None:
    """RFC 2852 §4."""
    with pytest.raises(ValueError, match=r"."):
        DeliverBy(seconds, WhenLate.RETURN)
    with pytest.raises(ValueError, match="nine digits"):
        DeliverBy(-MAXIMUM_SECONDS - 1, WhenLate.NOTIFY)


@given(st.integers(-MAXIMUM_SECONDS, MAXIMUM_SECONDS), st.sampled_from(WhenLate), st.booleans())
def test_every_time_of_delivery_is_read_as_it_was_written(
    seconds: int, late: WhenLate, trace: bool
) -> None:
    """Whatever it is."""
    if seconds <= 0:
        late = WhenLate.NOTIFY
    parameters = MailParameters.of({"BY": DeliverBy(seconds, late, trace)})
    assert MailParameters.read(parameters.write()) == parameters


@given(
    st.datetimes(
        min_value=datetime(2, 1, 1),
        max_value=datetime(9998, 12, 31),
        timezones=st.builds(
            lambda minutes: timezone(timedelta(minutes=minutes)), st.integers(-1439, 1439)
        ),
    )
)
def test_every_moment_is_read_as_it_was_written(moment: datetime) -> None:
    """In whichever zone."""
    assert read_moment(write_moment(moment)) == moment
    assert read_moment(write_moment(moment)).tzinfo is UTC


@given(
    st.one_of(
        st.text(max_size=40),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=3000),
        st.from_regex(r"[+-]?[0-9]{0,12};?[NRTCnrtc]{0,3}", fullmatch=True),
    )
)
def test_no_text_is_more_than_a_value_or_a_refusal(text: str) -> None:
    """Nothing else comes out of a parameter, whatever it says."""
    for keyword in ("BY", "HOLDFOR", "HOLDUNTIL", "MT-PRIORITY", "REQUIRETLS"):
        for word in (f"{keyword}={text}", f"{keyword}=2026-11-28T{text}"):
            try:
                parameters = MailParameters.read(f" {word}")
            except PeerProtocolError:
                continue
            assert MailParameters.read(parameters.write()) == parameters
