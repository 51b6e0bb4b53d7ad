"""What clients may ask for by extensions that a handler honours, and what is said to too much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smtpcb.engine import Settings
from smtpcb.smtp import BodyType, DeliverBy, Extension, Limits, ValidSince, WhenLate
from smtpcb.testing import play

from .scripts import SECURE, Does, Server, limited, returns


def honouring(*extensions: str, **methods: object) -> Does:
    """Return a handler that honours some extensions."""
    return Does(extensions=extensions, **methods)


def ehlo(handler: object, settings: Settings | None = None, **more: Any) -> list[str]:
    """Return what EHLO offers."""
    server = Server(handler, settings, **more)
    server.send(b"EHLO me\r\n")
    return [line[4:].decode() for line in server.said.splitlines()[1:]]


# BINARYMIME (RFC 3030 §3).


def test_a_binary_message_is_taken_as_it_is() -> None:
    """A lone CR, a lone LF, NUL and a line of a dot are content like any other."""
    content = b"Content-Transfer-Encoding: binary\r\n\r\n\r\n.\r\n\x00\r\x00\n\xff.\r\r\n\n"
    kept: list[tuple[bytes, object]] = []

    def message(envelope: Any) -> None:
        kept.append((envelope.content.bytes(), envelope.parameters.body))

    server = Server(honouring("BINARYMIME", message=message))
    server.send(b"EHLO me\r\nMAIL FROM:<> BODY=BinaryMime\r\nRCPT TO:<a@b>\r\n")
    server.send(b"BDAT %d\r\n%b" % (len(content), content))
    assert server.send(b"BDAT %d LAST\r\n%b" % (len(content), content)) == ["250"]
    assert kept == [(2 * content, BodyType.BINARY_MIME)]


def test_a_binary_message_does_not_come_by_data() -> None:
    """There a lone CR or LF has no meaning; the client may still send chunks."""
    play(
        """
        C: EHLO client.example.org
        S: 250-...
        S: 250 HELP
        C: MAIL FROM:<> BODY=BINARYMIME
        C: RCPT TO:<bob@example.org>
        C: DATA
        S: 250
        S: 250
        S: 503 5.5.1 BODY=BINARYMIME is sent by BDAT
        C: BDAT 0 LAST
        S: 250
        C: MAIL FROM:<> BODY=8BITMIME
        C: RCPT TO:<bob@example.org>
        C: DATA
        S: 250
        S: 250
        S: 354
        C: .
        S: 250
        """,
        honouring("BINARYMIME"),
    )


def test_a_handler_that_does_not_say_so_gets_lines_only() -> None:
    """It was written for text; what it was not asked for it does not get."""
    assert "BINARYMIME" not in ehlo(Does())
    server = Server(Does())
    assert server.send(b"EHLO me\r\nMAIL FROM:<> BODY=BINARYMIME\r\n")[-1] == "501"
    assert server.send(b"MAIL FROM:<> BODY=7BIT\r\n") == ["250"]


# LIMITS (RFC 9422).


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "LIMITS RCPTMAX=1000"),
        ({"messages": 5}, "LIMITS MAILMAX=5 RCPTMAX=1000"),
        ({"messages": 999_999, "recipients": 999_999}, "LIMITS MAILMAX=999999 RCPTMAX=999999"),
        ({"messages": 1_000_000, "recipients": 1}, "LIMITS RCPTMAX=1"),
        ({"messages": 0}, "LIMITS RCPTMAX=1000"),
        ({"recipients": None}, None),
    ],
)
def test_a_client_is_told_of_its_limits(limits: dict[str, Any], said: str | None) -> None:
    """Those that there are, and that six digits can say."""
    found = [line for line in ehlo(Does(), limited(**limits)) if line.startswith("LIMITS")]
    assert found == ([] if said is None else [said])


# DELIVERBY (RFC 2852).


def test_a_handler_hears_until_when_a_message_is_wanted() -> None:
    """Typed, and offered if it says that it honours that."""
    seen: list[object] = []
    server = Server(
        honouring("DELIVERBY", mail=lambda envelope: seen.append(envelope.parameters.by))
    )
    assert server.send(b"EHLO me\r\nMAIL FROM:<> BY=120;RT\r\n")[-1] == "250"
    assert seen == [DeliverBy(120, WhenLate.RETURN, trace=True)]
    assert b"-DELIVERBY\r\n" in server.said


def test_what_is_wanted_too_soon_is_refused() -> None:
    """Only where it would be returned: who just wants to be told is."""
    settings = limited(deliver_by_seconds=60)
    handler = honouring("DELIVERBY")
    assert "DELIVERBY 60" in ehlo(handler, settings)
    for said, code in (("59;R", "555"), ("60;R", "250"), ("-1;N", "250"), ("1;NT", "250")):
        server = Server(handler, settings)
        line = f"MAIL FROM:<> BY={said}\r\n".encode()
        assert server.send(b"EHLO me\r\n" + line)[-1] == code
    assert "DELIVERBY" in ehlo(handler)


# FUTURERELEASE (RFC 4865).


def now_is(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """Let that be the time."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return moment

    monkeypatch.setattr("smtpcb.engine._extensions.datetime", Clock)


NOON = datetime(2026, 11, 28, 12, 0, 0, 700_000, tzinfo=UTC)


def test_each_client_is_told_how_long_messages_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until when is another moment with each EHLO."""
    handler, settings = honouring("FUTURERELEASE"), limited(hold_seconds=3600)
    server = Server(handler, settings)
    for hours in (0, 1):
        now_is(monkeypatch, NOON + timedelta(hours=hours))
        server.send(b"EHLO me\r\n")
        said = f"-FUTURERELEASE 3600 2026-11-28T{13 + hours}:00:00Z\r\n".encode()
        assert said in server.said
    assert server.said.count(b"FUTURERELEASE") == 2


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("HOLDFOR=3600", "250"),
        ("HOLDFOR=3601", "501"),
        ("HOLDUNTIL=2026-11-28T13:00:00Z", "250"),
        ("HOLDUNTIL=2026-11-28T13:00:01Z", "501"),
        ("HOLDUNTIL=2026-11-28T14:00:00+01:00", "250"),
        ("HOLDUNTIL=9999-12-31T23:59:59Z", "501"),
        ("HOLDUNTIL=1969-12-31T23:59:59Z", "250"),  # it goes on at once
    ],
)
def test_what_cannot_be_held_for_so_long_is_refused(
    monkeypatch: pytest.MonkeyPatch, said: str, code: str
) -> None:
    """As EHLO has said."""
    now_is(monkeypatch, NOON)
    server = Server(honouring("FUTURERELEASE"), limited(hold_seconds=3600))
    assert server.send(f"EHLO me\r\nMAIL FROM:<> {said}\r\n".encode())[-1] == code


def test_an_offer_of_ones_own_may_change_with_time() -> None:
    """It is asked anew for each EHLO if it says so, and otherwise once."""
    for changes, expected in ((True, ["X 1", "X 2"]), (False, ["X 1", "X 1"])):
        count = [0]

        def offer(situation: object, count: list[int] = count) -> str:
            count[0] += 1
            return str(count[0])

        settings = Settings(extensions=(Extension("X", offer, changes=changes),))
        server = Server(settings=settings)
        count[0] = 0 if changes else 1
        server.send(b"EHLO me\r\n" * 2)
        assert [
            line[4:].decode() for line in server.said.splitlines() if b" X " in line
        ] == expected


# MT-PRIORITY (RFC 6710), REQUIRETLS (RFC 8689), RRVS (RFC 7293).


def test_a_handler_hears_how_urgent_a_message_is() -> None:
    """EHLO says which priorities are told apart, where the settings have a name for them."""
    seen: list[object] = []
    handler = honouring(
        "MT-PRIORITY", mail=lambda envelope: seen.append(envelope.parameters.mt_priority)
    )
    assert "MT-PRIORITY" in ehlo(handler)
    settings = Settings(priority_profile="STANAG4406")
    assert "MT-PRIORITY STANAG4406" in ehlo(handler, settings)
    server = Server(handler)
    server.send(b"EHLO me\r\n")
    for said in (b" mt-priority=-9", b" MT-PRIORITY=0", b""):
        assert server.send(b"MAIL FROM:<>%b\r\nRSET\r\n" % said) == ["250", "250"]
    assert seen == [-9, 0, None]


@pytest.mark.parametrize("name", ["A B", "\r\n", "ä", "x" * 21, "-A", "A\n"])
def test_a_profile_is_a_word(name: str) -> None:
    """It stands behind a keyword of EHLO."""
    with pytest.raises(ValueError, match="priority_profile is no name"):
        Settings(priority_profile=name)
    with pytest.raises(TypeError, match="priority_profile is a str"):
        Settings(priority_profile=None)


def test_tls_all_the_way_is_promised_inside_tls_only() -> None:
    """RFC 8689 §2: what has come in the clear was not kept from anybody."""
    seen: list[object] = []
    handler = honouring(
        "REQUIRETLS", mail=lambda envelope: seen.append(envelope.parameters.requiretls)
    )
    assert "REQUIRETLS" not in ehlo(handler)
    assert "REQUIRETLS" in ehlo(handler, connection=SECURE)
    line = b"EHLO me\r\nMAIL FROM:<> REQUIRETLS\r\n"
    assert Server(handler).send(line)[-1] == "555"
    assert Server(handler, connection=SECURE).send(line)[-1] == "250"
    assert seen == [True]


def test_a_handler_hears_since_when_a_mailbox_must_be_valid() -> None:
    """Of each recipient."""
    seen: list[object] = []

    def rcpt(recipient: Any, envelope: object) -> None:
        seen.append(recipient.parameters.rrvs)

    server = Server(honouring("RRVS", rcpt=rcpt))
    said = server.send(
        b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b> RRVS=2026-11-28T12:00:00Z;C\r\nRCPT TO:<c@d>\r\n"
    )
    assert said == ["250"] * 4
    moment = datetime(2026, 11, 28, 12, tzinfo=UTC)
    assert seen == [ValidSince(moment, or_else_continue=True), None]


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("hold_seconds", (0, 1_000_000_000), (1, 999_999_999)),
        ("deliver_by_seconds", (-1, 1_000_000_000), (0, 999_999_999)),
    ],
)
def test_what_is_held_and_delivered_has_nine_digits(
    name: str, bad: tuple[int, int], good: tuple[int, int]
) -> None:
    """No client could be told of more."""
    for value in bad:
        with pytest.raises(ValueError, match=f"{name} is at (least|most)"):
            Limits(**{name: value})
    for value in good:
        assert getattr(Limits(**{name: value}), name) == value


def test_whoever_honours_all_is_asked_for_all() -> None:
    """Several at once are no contradiction."""
    names = ("DSN", "DELIVERBY", "FUTURERELEASE", "MT-PRIORITY", "REQUIRETLS", "RRVS", "BINARYMIME")
    server = Server(honouring(*names, mail=returns(None)), connection=SECURE)
    said = server.send(
        b"EHLO me\r\n"
        b"MAIL FROM:<> RET=HDRS ENVID=x BY=1;N HOLDFOR=1 MT-PRIORITY=1 REQUIRETLS"
        b" BODY=BINARYMIME\r\n"
        b"RCPT TO:<a@b> NOTIFY=NEVER ORCPT=rfc822;a@b RRVS=2026-11-28T12:00:00Z\r\n"
    )
    assert said == ["250"] * 3
