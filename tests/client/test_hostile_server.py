"""Servers that mean no good, over sockets: each time an end, its stage, and nothing left behind."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from smtpcb.engine import Cause, Outcome, Stage

from .strangers import (
    PIECE_OCTETS,
    Act,
    Certified,
    Plan,
    Stranger,
    close,
    deafness,
    endless,
    half_close,
    meet,
    meeting,
    reset,
    saying,
    silence,
)

STAGES = {
    "greeting": Stage.GREETING,
    "EHLO": Stage.HELLO,
    "MAIL": Stage.MAIL,
    "RCPT": Stage.RCPT,
    "DATA": Stage.DATA,
    "content": Stage.FINAL,
}
"""At each of which a server may do what it should not."""

# What a connection may hold on its way, in the buffers of both kernels too.
MOST_ON_THE_WAY = 12_000_000

ENDLESS: Mapping[str, Act] = {
    "lines": endless(b"250-x\r\n"),
    "long lines": endless(b"250-" + b"x" * 1990 + b"\r\n"),
    "a line": endless(b"x", b"250 "),
    "digits": endless(b"2"),
    "line ends": endless(b"\r\n"),
    "NUL": endless(b"\0"),
}
MALFORMED: Mapping[str, Act] = {
    "a line of 3000": b"250 " + b"x" * 3000 + b"\r\n",
    "different codes": b"250-a\r\n251 b\r\n",
    "NUL": b"250 a\0b\r\n",
    "a lone LF": b"250 ok\n",
    "a lone CR": b"250 ok\rno\r\n",
    "a lone LF in it": b"250-ok\n250 ok\r\n",
    "a code of 199": b"199 ok\r\n",
    "a code of 600": b"600 ok\r\n",
    "a code of 290": b"290 ok\r\n",
    "a code of 2500": b"2500 ok\r\n",
    "no code": b"hello\r\n",
    "no blank": b"250_ok\r\n",
    "an empty line": b"\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "8 bits": b"\xff\xfe\r\n",
}


@pytest.fixture(scope="module")
def certified() -> Certified:
    """A server's certificate, and who has issued it."""
    return Certified()


def cases(acts: Mapping[str, Act]) -> Callable[..., Any]:
    return pytest.mark.parametrize("act", acts.values(), ids=acts.keys())


@pytest.mark.parametrize("tls", ["off", "implicit"])
@pytest.mark.parametrize("stage", ["EHLO", "content"])
@cases(ENDLESS)
@pytest_twisted.ensureDeferred
async def test_what_has_no_end_is_left(
    stage: str, act: Act, tls: str, certified: Certified
) -> None:
    """After some KiB, whatever it is, and before it fills anything (P53)."""
    stage = f"{stage} in TLS" if (stage, tls) == ("EHLO", "implicit") else stage
    met = await meet({stage: act}, tls=tls, certified=certified)
    assert met.failure is not None
    assert (met.failure.stage, met.failure.cause) == (STAGES[stage.split()[0]], Cause.PROTOCOL)
    assert met.failure.temporary
    assert met.recipient.outcome is (
        Outcome.UNKNOWN
        if stage == "content"
        else Outcome.NOT_TRIED
        if stage in ("greeting", "EHLO", "EHLO in TLS")
        else Outcome.DEFERRED
    )
    assert met.stranger.sent_octets < MOST_ON_THE_WAY


@pytest.mark.parametrize("stage", ["greeting", "MAIL", "content"])
@cases(MALFORMED)
@pytest_twisted.ensureDeferred
async def test_what_is_no_reply_is_no_answer(stage: str, act: Act) -> None:
    """It ends the session as temporary; a message that was sent before that is unknown (P53)."""
    met = await meet({stage: act})
    assert met.failure is not None
    assert (met.failure.stage, met.failure.temporary) == (STAGES[stage], True)
    # What may still become a reply is waited for.
    assert met.failure.cause in (Cause.PROTOCOL, Cause.TIMEOUT)
    assert met.recipient.outcome is not Outcome.DELIVERED
    assert (met.recipient.outcome is Outcome.UNKNOWN) == (stage == "content")


OUT_OF_PLACE = [
    ("greeting", b"250 ok\r\n", Stage.GREETING),
    ("greeting", b"354 go\r\n", Stage.GREETING),
    ("EHLO", b"220 ok\r\n", Stage.HELLO),
    ("EHLO", b"354 go\r\n", Stage.HELLO),
    ("EHLO", b"334 \r\n", Stage.HELLO),
    ("MAIL", b"354 go\r\n", Stage.MAIL),
    ("MAIL", b"334 \r\n", Stage.MAIL),
    ("RCPT", b"354 go\r\n", Stage.RCPT),
    ("DATA", b"250 ok\r\n", Stage.DATA),
    ("DATA", b"220 ok\r\n", Stage.DATA),
    ("DATA", b"334 \r\n", Stage.DATA),
    ("content", b"354 go\r\n", Stage.FINAL),
    ("content", b"334 \r\n", Stage.FINAL),
]


@pytest.mark.parametrize(("stage", "said", "told"), OUT_OF_PLACE)
@pytest_twisted.ensureDeferred
async def test_a_code_that_does_not_fit_ends_it(stage: str, said: bytes, told: Stage) -> None:
    """Nobody knows what such a server has understood (P53)."""
    met = await meet({stage: said})
    assert met.failure is not None
    assert (met.failure.stage, met.failure.cause) == (told, Cause.PROTOCOL)
    assert (met.failure.temporary, met.failure.reply is not None) == (True, True)
    assert (met.recipient.outcome is Outcome.UNKNOWN) == (stage == "content")


@pytest.mark.parametrize("stage", ["greeting", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest_twisted.ensureDeferred
async def test_two_replies_to_one_command_end_it(stage: str) -> None:
    """In one packet the second cannot be an answer: nothing was asked (P53)."""
    good = {"greeting": b"220 ok\r\n", "DATA": b"354 go\r\n"}.get(stage, b"250 ok\r\n")
    met = await meet({stage: good + b"250 ok\r\n"})
    assert met.failure is not None
    assert met.failure.cause is Cause.PROTOCOL
    assert str(met.failure).endswith(": a reply to nothing: 250 ok")
    assert met.recipient.outcome in (Outcome.NOT_TRIED, Outcome.DEFERRED)


@pytest_twisted.ensureDeferred
async def test_what_comes_behind_the_last_reply_takes_nothing_back() -> None:
    """A 250 is final; what follows ends the session (P53, P55)."""
    met = await meet({"content": b"250 ok\r\n550 no\r\n"})
    assert met.recipient.outcome is Outcome.DELIVERED
    assert met.failure is not None
    assert (met.failure.stage, met.failure.cause) == (Stage.IDLE, Cause.PROTOCOL)


@pytest.mark.parametrize("stage", STAGES)
@pytest_twisted.ensureDeferred
async def test_a_421_ends_it_wherever_it_comes(stage: str) -> None:
    """As temporary; nothing more is said (P55)."""
    met = await meet({stage: b"421 4.3.2 bye\r\n"})
    assert met.failure is not None
    assert (met.failure.stage, met.failure.cause) == (STAGES[stage], Cause.REFUSED)
    assert met.failure.temporary
    assert met.recipient.outcome is (
        Outcome.NOT_TRIED if stage in ("greeting", "EHLO") else Outcome.DEFERRED
    )
    assert b"QUIT" not in met.stranger.commands


LEAVING = {"closing": close, "half closing": half_close, "a reset": reset, "silence": silence}


@pytest.mark.parametrize("tls", ["off", "implicit"])
@pytest.mark.parametrize("stage", STAGES)
@cases(LEAVING)
@pytest_twisted.ensureDeferred
async def test_who_leaves_has_promised_nothing(
    stage: str, act: Act, tls: str, certified: Certified
) -> None:
    """At each stage, and in each way; behind the end of the message it is unknown (P55)."""
    if (act, tls) == (half_close, "implicit"):
        act = close  # TLS knows no other
    where = f"{stage} in TLS" if (stage, tls) == ("EHLO", "implicit") else stage
    met = await meet({where: act}, tls=tls, certified=certified)
    assert met.failure is not None
    assert met.failure.cause is (Cause.TIMEOUT if act is silence else Cause.LOST)
    if (stage, tls) != ("greeting", "implicit"):  # it may have gone before there was TLS
        assert met.failure.stage is STAGES[stage]
    assert met.failure.temporary
    assert met.recipient.outcome is (
        Outcome.UNKNOWN
        if stage == "content"
        else Outcome.NOT_TRIED
        if stage in ("greeting", "EHLO")
        else Outcome.DEFERRED
    )
    assert met.recipient.stage in (None, STAGES[stage])


@pytest.mark.parametrize(
    "said", [b"2", b"250", b"250 o", b"250 ok\r", b"250-ok\r\n", b"250-ok\r\n250"]
)
@pytest.mark.parametrize("leave", [close, half_close, reset, silence])
@pytest_twisted.ensureDeferred
async def test_half_a_reply_is_none(said: bytes, leave: Callable[[Stranger], object]) -> None:
    """A 250 that was not said to its end is no yes: it is unknown (P55)."""
    met = await meet({"content": saying(said, then=leave)})
    assert met.recipient.outcome is Outcome.UNKNOWN
    assert met.recipient.stage is Stage.FINAL
    assert met.recipient.reply is None
    assert met.failure is not None
    assert met.failure.stage is Stage.FINAL


@pytest.mark.parametrize("tls", ["off", "starttls", "implicit"])
@pytest.mark.parametrize(
    "act",
    [
        *(close, half_close, reset, silence, b"500 what\r\n", b"421 bye\r\n", b"x" * 5000),
        *(endless(b"221-bye\r\n"), endless(b"x"), saying(b"221 bye\r\n"), b"354 go\r\n"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_quit_takes_nothing_back(tls: str, act: Act, certified: Certified) -> None:
    """Whatever becomes of it, what was accepted was; and nobody is waited for for ever (P55)."""
    if (act, tls != "off") == (half_close, True):
        act = close
    met = await meet({"QUIT": act}, tls=tls, certified=certified)
    assert met.recipient.outcome is Outcome.DELIVERED
    assert met.failure is None
    assert met.stranger.sent_octets < MOST_ON_THE_WAY


@pytest.mark.parametrize("tls", ["off", "implicit"])
@pytest_twisted.ensureDeferred
async def test_who_does_not_read_is_left(tls: str, certified: Certified) -> None:
    """After its time, and what waits for it stays small (P56)."""
    met = await meet({"DATA": deafness}, tls=tls, certified=certified, large=True)
    assert met.failure is not None
    assert (met.failure.stage, met.failure.cause) == (Stage.CONTENT, Cause.TIMEOUT)
    assert met.recipient.outcome is Outcome.DEFERRED
    assert PIECE_OCTETS < met.pulled_octets < MOST_ON_THE_WAY
    assert met.closed


@pytest_twisted.ensureDeferred
async def test_who_refuses_in_the_midst_is_heard() -> None:
    """What is left of the message is not read."""

    def act(stranger: Stranger) -> None:
        saying(b"354 go\r\n", b"552 5.3.4 that is enough\r\n")(stranger)  # type: ignore[operator]

    met = await meet({"DATA": act}, large=True)
    assert met.failure is not None
    assert met.recipient.outcome in (Outcome.REFUSED, Outcome.DEFERRED)
    assert met.closed


TRICKLES = [
    ("greeting", 300, b"220-" + b"x" * 90),
    ("EHLO", 300, b"250-" + b"x" * 90),
    ("EHLO", 300, b"250-a\r\n" * 20),
    ("MAIL", 300, b"250-" + b"x" * 90),
    ("RCPT", 300, b"250-" + b"x" * 90),
    ("DATA", 120, b"354-" + b"x" * 90),
    ("content", 600, b"250-" + b"x" * 90),
    ("QUIT", 5, b"221-" + b"x" * 90),
]


@pytest.mark.parametrize(("stage", "limit_seconds", "octets"), TRICKLES, ids=range(len(TRICKLES)))
@pytest_twisted.ensureDeferred
async def test_a_trickle_gains_no_time(stage: str, limit_seconds: int, octets: bytes) -> None:
    """From the last octet that was sent a server has its time, however it says nothing (P56)."""
    async with meeting({stage: silence}) as met:
        await met.quiet()
        steps = 4
        for at in range(steps):
            assert not met.ended, f"after {at} of {steps} parts of the time"
            cut = len(octets) // steps
            met.stranger.say(octets[at * cut : (at + 1) * cut])
            await met.quiet()
            met.clock.advance(limit_seconds / steps - 0.001)
        await met.quiet()
        assert not met.ended
        met.clock.advance(1)
        await met.until(lambda: met.stranger.lost)
        await met.end()
    if stage == "QUIT":
        assert met.failure is None
    else:
        assert met.failure is not None
        assert (met.failure.stage, met.failure.cause) == (STAGES[stage], Cause.TIMEOUT)


@pytest_twisted.ensureDeferred
async def test_each_reply_has_its_time() -> None:
    """A server that is slow, but does answer each command in time, is waited for (P56)."""
    plan = {"EHLO": b"250-here\r\n250 PIPELINING\r\n", "RCPT": silence, "DATA": silence}
    async with meeting(plan, recipients=5) as met:
        await met.quiet()
        for said in [b"250 ok\r\n"] * 5 + [b"354 go\r\n"]:
            met.clock.advance(119)
            await met.quiet()
            assert not met.ended
            met.stranger.say(said)
            await met.quiet()
        await met.end()
    assert met.failure is None
    assert met.message.is_delivered


# What servers say of themselves.

ODD = {
    "a size below 0": b"SIZE -1",
    "a size with a sign in it": b"SIZE=-1",
    "a size of 20 digits": b"SIZE 99999999999999999999",
    "a size of 2000 digits": b"SIZE " + b"9" * 2000,
    "a size that is none": b"SIZE \xff\xfe",
    "a size in other digits": "SIZE ٣٣".encode(),
    "no mechanism": b"AUTH",
    "mechanisms that are none": b"AUTH = == \x1b[31m %s %n",
    "limits": b"LIMITS RCPTMAX MAILMAX= RCPTMAX=0 =5 RCPTDOMAINMAX=x RCPTMAX=-1 \xff",
    "limits of many digits": b"LIMITS RCPTMAX=99999999999999999999 MAILMAX=" + b"9" * 900,
    "a time below 0": b"DELIVERBY -1",
    "a time that is none": b"FUTURERELEASE 1e9 tomorrow",
    "a keyword of controls": b"\x1b[31mHELLO\x07",
    "blanks": b"   ",
    "nothing": b"",
    "a long keyword": b"X" * 2000,
    "no ASCII": "ПИВО ja".encode(),
}


@cases(ODD)
@pytest_twisted.ensureDeferred
async def test_odd_words_behind_ehlo_say_nothing(act: bytes) -> None:
    """A server is no worse for them, and nobody fails over them (P53)."""
    met = await meet({"EHLO": b"250-here\r\n250-" + act + b"\r\n250 HELP\r\n"})
    assert (met.failure, met.recipient.outcome) == (None, Outcome.DELIVERED)
    assert met.stranger.commands[1].startswith(b"MAIL FROM:<anne@example.org>")


@pytest.mark.parametrize("many", [150, 10_000])
@pytest_twisted.ensureDeferred
async def test_many_keywords(many: int) -> None:
    """Up to 200 lines are read, and more are too many (P53)."""
    lines = [b"250-X%d" % number for number in range(many)]
    met = await meet({"EHLO": b"\r\n".join([b"250-here", *lines, b"250 HELP\r\n"])})
    if many == 150:
        assert met.recipient.outcome is Outcome.DELIVERED
    else:
        assert str(met.failure) == "hello: a reply is too long"


@pytest_twisted.ensureDeferred
async def test_a_thousand_mechanisms(certified: Certified) -> None:
    """The one that we know is found among them; an error names a few of them."""
    names = b"".join(
        b"250-AUTH " + b" ".join(b"X-%d-%d" % (row, at) for at in range(20)) + b"\r\n"
        for row in range(50)
    )
    for last in (b"PLAIN", b"NONE"):
        met = await meet(
            {"EHLO in TLS": b"250-here\r\n" + names + b"250 AUTH " + last + b"\r\n"},
            tls="starttls",
            certified=certified,
            login=True,
        )
        if last == b"PLAIN":
            assert met.recipient.outcome is Outcome.DELIVERED
        else:
            assert met.failure is not None
            assert len(str(met.failure)) < 400


# TLS.


def injecting(*packets: bytes) -> Act:
    """Return the act of agreeing to TLS, and saying these before it begins."""

    def act(stranger: Stranger) -> None:
        saying(*packets, then=Stranger.shake_hands)(stranger)  # type: ignore[operator]

    return act


SECRETS = (b"AUTH", b"MAIL", b"anne", base64.b64encode(b"\0anne\0tim"))


@pytest.mark.parametrize(
    "packets",
    [
        (b"220 go\r\n250 ok\r\n",),
        (b"220 go\r\n250-here\r\n250 AUTH PLAIN\r\n235 ok\r\n",),
        (b"220 go\r\n2",),
        (b"220 go\r\n\r\n",),
        (b"220 go\r\n", b"250-here\r\n250 AUTH PLAIN\r\n"),
        (b"220-go\r\n", b"220 go\r\n235 ok\r\n"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_comes_in_the_clear_behind_the_220_ends_it(
    packets: tuple[bytes, ...], certified: Certified
) -> None:
    """Somebody between us has said it: nothing goes on, and no name or password goes out (P10)."""
    met = await meet(
        {"STARTTLS": injecting(*packets)}, tls="starttls", certified=certified, login=True
    )
    assert met.failure is not None
    assert met.failure.stage is Stage.TLS
    # Of a reply that has only begun the rest may come; or what is no TLS.
    assert met.failure.cause in (Cause.PROTOCOL, Cause.TLS, Cause.TIMEOUT)
    assert met.stranger.commands == [b"EHLO client.example.org", b"STARTTLS"]
    assert not [secret for secret in SECRETS if secret in met.stranger.got]
    assert met.recipient.outcome is Outcome.NOT_TRIED


@pytest_twisted.ensureDeferred
async def test_what_was_said_before_tls_counts_no_more(certified: Certified) -> None:
    """EHLO is asked anew inside TLS, and nothing from before is used (P10)."""
    before = b"250-evil\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
    met = await meet(
        {"EHLO": before, "EHLO in TLS": b"250 here\r\n"}, tls="starttls", certified=certified
    )
    assert met.recipient.outcome is Outcome.DELIVERED
    assert met.stranger.commands == [
        b"EHLO client.example.org",
        b"STARTTLS",
        b"EHLO client.example.org",
        b"MAIL FROM:<anne@example.org>",
        b"RCPT TO:<bob0@example.org>",
        b"DATA",
        b"QUIT",
    ]
    met = await meet(
        {"EHLO": before, "EHLO in TLS": b"250 here\r\n"},
        tls="starttls",
        certified=certified,
        login=True,
    )
    assert met.failure is not None
    assert (met.failure.stage, met.failure.cause) == (Stage.AUTH, Cause.LACKING)
    assert b"AUTH" not in met.stranger.got


@pytest.mark.parametrize("early", [b"250 ok\r\n", b"250-evil\r\n250 AUTH PLAIN\r\n", b"550 no\r\n"])
@pytest_twisted.ensureDeferred
async def test_replies_between_tls_and_ehlo_end_it_soon(early: bytes, certified: Certified) -> None:
    """One too many is noticed before a message is believed to be delivered (P53)."""

    def act(stranger: Stranger) -> None:
        stranger.say(b"220 go\r\n")
        stranger.shake_hands()
        stranger.say(early)

    met = await meet({"STARTTLS": act}, tls="starttls", certified=certified)
    assert met.failure is not None
    assert met.recipient.outcome in (Outcome.NOT_TRIED, Outcome.DEFERRED)


STRIPPED: Mapping[str, Plan] = {
    "it is not offered": {"EHLO": b"250-here\r\n250 AUTH PLAIN\r\n"},
    "there is no EHLO": {"EHLO": b"502 what\r\n"},
    "454": {"STARTTLS": b"454 later\r\n"},
    "502": {"STARTTLS": b"502 what\r\n"},
    "250": {"STARTTLS": b"250 ok\r\n"},
    "221": {"STARTTLS": b"221 ok\r\n"},
    "354": {"STARTTLS": b"354 ok\r\n"},
    "421": {"STARTTLS": b"421 bye\r\n"},
    "nothing": {"STARTTLS": silence},
    "an end": {"STARTTLS": close},
    "a reset": {"STARTTLS": reset},
    "garbage": {"STARTTLS": saying(b"220 go\r\n", b"\x16\x03\x01garbage, and no TLS\r\n" * 50)},
    "silence behind 220": {"STARTTLS": saying(b"220 go\r\n")},
    "an end behind 220": {"STARTTLS": saying(b"220 go\r\n", then=close)},
    "a flood": {"STARTTLS": endless(b"250 ok\r\n", b"220 go\r\n")},
}


@pytest.mark.parametrize("wanted", ["required", "opportunistic"])
@pytest.mark.parametrize("plan", STRIPPED.values(), ids=STRIPPED.keys())
@pytest_twisted.ensureDeferred
async def test_tls_that_somebody_takes_away_is_missed(
    plan: Plan, wanted: str, certified: Certified
) -> None:
    """Nothing is said in the clear that was to be said inside TLS (P54)."""
    met = await meet(plan, tls=wanted, certified=certified, login=True)
    assert met.failure is not None
    if wanted == "required" or "STARTTLS" in plan:
        assert met.failure.stage is Stage.TLS
    else:
        assert met.failure.stage is Stage.AUTH  # no password outside of it
    assert not [secret for secret in SECRETS if secret in met.stranger.got]
    assert met.recipient.outcome is Outcome.NOT_TRIED


@pytest.mark.parametrize("act", [silence, close, reset, b"220 in the clear\r\n", endless(b"x")])
@pytest_twisted.ensureDeferred
async def test_a_server_that_has_no_tls_where_it_has_to_begin_with_it(
    act: Act, certified: Certified
) -> None:
    """Its greeting in the clear is none (P54)."""
    met = await meet({"greeting": act}, tls="missed", certified=certified)
    assert met.failure is not None
    assert met.failure.stage is Stage.TLS
    assert met.recipient.outcome is Outcome.NOT_TRIED
    assert b"EHLO" not in met.stranger.got


# Logins.


def scram(first: bytes, final: bytes) -> Act:
    """Return the act of a server that speaks SCRAM in its own way; ``%b`` is the client's nonce."""

    def act(stranger: Stranger) -> None:
        line = stranger.commands[-1].split(b" ")[-1]
        if line == b"*":
            stranger.answer(b"235 ok\r\n" if final.startswith(b"334") else final)
            return
        if line.startswith(b"Yz"):  # c=
            stranger.answer(final)
            return
        said = base64.b64decode(line)
        found = re.search(b"r=([^,]+)", said)
        assert found is not None
        asked = first.replace(b"%b", found[1])
        stranger.answer(b"334 " + base64.b64encode(asked) + b"\r\n")

    return act


SALT = base64.b64encode(b"salt")
TRUE = b"r=%bx,s=" + SALT + b",i=4096"
WRONG_PROOF = b"334 " + base64.b64encode(b"v=" + base64.b64encode(b"x" * 32)) + b"\r\n"
LOGINS: Mapping[str, tuple[bytes, Plan, frozenset[Cause]]] = {
    name: (mechanism, {"AUTH": act, "response": act if again is None else again}, frozenset(causes))
    for name, mechanism, act, again, causes in [
        ("334 for ever", b"LOGIN", b"334 VXNlcm5hbWU6\r\n", None, {Cause.PROTOCOL}),
        ("334 for ever to PLAIN", b"PLAIN", b"334 \r\n", None, {Cause.PROTOCOL}),
        ("334 for ever, CRAM", b"CRAM-MD5", b"334 PDFAeD4=\r\n", None, {Cause.PROTOCOL}),
        ("no base64", b"CRAM-MD5", b"334 %%%%\r\n", b"501 no\r\n", {Cause.LOGIN}),
        ("half base64", b"CRAM-MD5", b"334 PDFA=\r\n", b"501 no\r\n", {Cause.LOGIN}),
        ("base64 with blanks", b"CRAM-MD5", b"334 PDFA eD4=\r\n", b"501 no\r\n", {Cause.LOGIN}),
        ("controls", b"CRAM-MD5", b"334 PD\x1bFA\r\n", b"501 no\r\n", {Cause.LOGIN}),
        ("yes to no base64", b"CRAM-MD5", b"334 %%\r\n", b"235 ok\r\n", {Cause.PROTOCOL}),
        ("NUL", b"LOGIN", b"334 \0\r\n", None, {Cause.PROTOCOL}),
        (
            "a challenge of 1 MB",
            b"CRAM-MD5",
            b"334 " + b"QUFB" * 250_000 + b"\r\n",
            None,
            {Cause.PROTOCOL},
        ),
        (
            "a challenge of 1 MB in lines",
            b"CRAM-MD5",
            b"".join([b"334-" + b"QUFB" * 400 + b"\r\n"] * 625) + b"334 QUFB\r\n",
            None,
            {Cause.PROTOCOL},
        ),
        ("a flood", b"CRAM-MD5", endless(b"334-QUFB\r\n"), None, {Cause.PROTOCOL}),
        ("354", b"PLAIN", b"354 go\r\n", None, {Cause.PROTOCOL}),
        ("220", b"LOGIN", b"220 go\r\n", None, set()),
        ("a yes too early", b"SCRAM-SHA-256", b"235 ok\r\n", None, {Cause.PROTOCOL}),
        ("421", b"PLAIN", b"421 bye\r\n", None, {Cause.REFUSED}),
        ("535", b"PLAIN", b"535 no\r\n", None, {Cause.REFUSED}),
        ("an end", b"PLAIN", close, None, {Cause.LOST}),
        ("a reset", b"LOGIN", reset, None, {Cause.LOST}),
        ("silence", b"LOGIN", silence, None, {Cause.TIMEOUT}),
        *(
            (f"SCRAM, {said}", b"SCRAM-SHA-256", scram(first, final), None, {cause})
            for said, first, final, cause in [
                ("a wrong proof", TRUE, WRONG_PROOF, Cause.PROTOCOL),
                ("no proof", TRUE, b"235 ok\r\n", Cause.PROTOCOL),
                ("an error", TRUE, b"334 ZT1uby1wcm9vZg==\r\n", Cause.PROTOCOL),
                ("2^31 rounds", TRUE.replace(b"4096", b"2147483648"), b"501 no\r\n", Cause.LOGIN),
                ("10^9 - 1 rounds", TRUE.replace(b"4096", b"999999999"), b"501 x\r\n", Cause.LOGIN),
                ("1 round", TRUE.replace(b"4096", b"1"), b"501 no\r\n", Cause.LOGIN),
                ("rounds below 0", TRUE.replace(b"4096", b"-1"), b"501 no\r\n", Cause.LOGIN),
                ("another nonce", TRUE.replace(b"%b", b"zzzz"), b"501 no\r\n", Cause.LOGIN),
                ("no nonce of its own", TRUE.replace(b"%bx", b"%b"), b"501 x\r\n", Cause.LOGIN),
                ("no base64", TRUE.replace(SALT, b"===="), b"501 no\r\n", Cause.LOGIN),
                ("an extension", b"m=x," + TRUE, b"501 no\r\n", Cause.LOGIN),
            ]
        ),
    ]
}


@pytest.mark.parametrize(("mechanism", "plan", "causes"), LOGINS.values(), ids=LOGINS.keys())
@pytest_twisted.ensureDeferred
async def test_logins_with_a_stranger(
    mechanism: bytes,
    plan: Plan,
    causes: frozenset[Cause],
    certified: Certified,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody is logged in whom the mechanism does not believe, and nobody is kept busy (P53)."""
    rounds: list[int] = []
    hashed = hashlib.pbkdf2_hmac

    def counting(name: str, password: bytes, salt: bytes, count: int, *more: Any) -> bytes:
        rounds.append(count)
        return hashed(name, password, salt, count, *more)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counting)
    met = await meet(
        {"EHLO in TLS": b"250-here\r\n250 AUTH " + mechanism + b"\r\n", **plan},
        tls="starttls",
        certified=certified,
        login=True,
    )
    if not causes:  # it is a yes, by a code that is not its own
        assert met.recipient.outcome is Outcome.DELIVERED
        return
    assert met.failure is not None
    assert met.failure.stage is Stage.AUTH
    assert met.failure.cause in causes
    assert met.recipient.outcome is Outcome.NOT_TRIED
    assert b"MAIL" not in met.stranger.got
    assert "tim" not in str(met.failure)
    assert max(rounds, default=0) <= 4096
    assert met.stranger.sent_octets < MOST_ON_THE_WAY


# Cancelling.


async def never() -> AsyncIterator[bytes]:
    """Begin a message, and never go on with it."""
    yield b"Subject: Hello\r\n\r\n"
    await Deferred()


def is_cancelled(result: object) -> bool:
    return isinstance(result, Failure) and result.check(CancelledError) is not None


@pytest.mark.parametrize("tls", ["off", "starttls", "implicit"])
@pytest.mark.parametrize(
    "stage", ["greeting", "EHLO", "STARTTLS", "EHLO in TLS", "AUTH", *list(STAGES)[2:], "QUIT"]
)
@pytest_twisted.ensureDeferred
async def test_cancelling_leaves_at_once(stage: str, tls: str, certified: Certified) -> None:
    """At each stage: no timer, no connection, and no source stays open."""
    closed: list[str] = []

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"Subject: Hello\r\n\r\nHi\r\n"
        finally:
            closed.append("source")

    plan = {stage: silence, "EHLO": b"250-here\r\n250-STARTTLS\r\n250 8BITMIME\r\n"}
    if stage == "EHLO":
        plan["EHLO"] = silence
    login = tls != "off"
    async with meeting(plan, tls=tls, certified=certified, login=login, source=source()) as met:
        await met.quiet()
        if met.ended:  # it does not come to that stage
            assert met.recipient.outcome is Outcome.DELIVERED
            return
        met.running.cancel()
        assert len(met.ended) == 1
        assert is_cancelled(met.ended[0])
        assert met.clock.getDelayedCalls() == []
        await met.until(lambda: met.stranger.lost)
    assert closed == ["source"]
    assert met.recipient.outcome is {
        "content": Outcome.UNKNOWN,
        "QUIT": Outcome.DELIVERED,
        "MAIL": Outcome.DEFERRED,
        "RCPT": Outcome.DEFERRED,
        "DATA": Outcome.DEFERRED,
    }.get(stage, Outcome.NOT_TRIED)
