"""How a session comes to its first message, by EHLO, HELO or LHLO and STARTTLS; and its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smtpcb.engine import (
    Cause,
    ClientDialogue,
    ClientSettings,
    ClientState,
    ClientWants,
    Offers,
    Stage,
)
from smtpcb.smtp import Command, LocalProtocolError, Reply, Verb, XClient
from smtpcb.testing._play import TLS

from .talk import GREETING, PLAIN, QUIT, STEPS, Owner, talk, to

REQUIRED = ClientSettings(hostname="me.example.org")
OPPORTUNISTIC = replace(REQUIRED, starttls="opportunistic")
LMTP = replace(PLAIN, lmtp=True)

OFFERS_TLS = GREETING + "S: 250-mail.example.org\nS: 250-PIPELINING\nS: 250 STARTTLS\n"
EHLO = "C: EHLO me.example.org\n"
HELO = "C: HELO me.example.org\n"


def test_a_session_with_nothing_to_do_is_quit() -> None:
    """Greeting, EHLO, QUIT; and nothing is wrong."""
    owner = talk(STEPS + QUIT)
    assert owner.dialogue.failure is None
    assert owner.dialogue.state is ClientState.OVER
    assert owner.dialogue.offers.hostname == "mail.example.org"
    talk("S: 220-mail.example.org\nS: 220 welcome\n" + EHLO + "S: 250 mail\n" + QUIT)


@pytest.mark.parametrize("code", [421, 450, 521, 554])
def test_a_greeting_that_refuses_ends_it(code: int) -> None:
    """The client says QUIT (RFC 5321 §3.1), and another address may do better (L40)."""
    failure = talk(
        f"S: {code} go away\n" + ("C: QUIT\n*: gone" if code != 421 else "")
    ).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.GREETING, Cause.REFUSED)
    assert failure.reply is not None
    assert (failure.reply.code, failure.temporary) == (code, code < 500)
    assert failure.elsewhere
    assert str(failure).startswith("greeting: ")


@pytest.mark.parametrize("code", [250, 221, 354])
def test_a_greeting_that_is_none_ends_it_without_a_word(code: int) -> None:
    """Whoever speaks there, it is no server of mail (L40)."""
    failure = talk(f"S: {code} hello\n").dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.GREETING, Cause.PROTOCOL)
    assert (failure.temporary, failure.elsewhere) == (True, True)


@pytest.mark.parametrize("code", [500, 501, 502, 504])
def test_helo_is_said_where_ehlo_is_not_known(code: int) -> None:
    """RFC 5321 §3.2, L28; nothing is offered then."""
    owner = talk(GREETING + f"S: {code} what?\n" + HELO + "S: 250 mail\n" + QUIT)
    assert owner.dialogue.failure is None
    assert not owner.dialogue.offers


@pytest.mark.parametrize(
    ("code", "elsewhere"), [(450, True), (451, True), (530, False), (550, False), (554, False)]
)
def test_another_refusal_of_ehlo_ends_it(code: int, elsewhere: bool) -> None:
    """For now: another address may do better; for good: it would say the same (L28, L40)."""
    failure = talk(GREETING + f"S: {code} no\n" + QUIT).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.elsewhere) == (Stage.HELLO, elsewhere)
    assert failure.temporary is (code < 500)


@pytest.mark.parametrize("code", [450, 550])
def test_a_refusal_of_helo_ends_it(code: int) -> None:
    """It knows neither: perhaps another address does (L40)."""
    failure = talk(GREETING + "S: 502 what?\n" + HELO + f"S: {code} no\n" + QUIT).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.elsewhere) == (Stage.HELLO, True)


def test_a_code_that_fits_nothing_ends_it() -> None:
    """Who answers EHLO by 354 is not to be trusted with mail."""
    for script in (GREETING + "S: 354 go\n", GREETING + "S: 502\n" + HELO + "S: 220 hello\n"):
        failure = talk(script).dialogue.failure
        assert failure is not None
        assert (failure.stage, failure.cause) == (Stage.HELLO, Cause.PROTOCOL)


def test_lmtp_begins_by_lhlo_and_falls_back_to_nothing() -> None:
    """RFC 2033 §4.1."""
    start = "S: 220 mail LMTP\nC: LHLO me.example.org\n"
    assert talk(start + "S: 250-mail\nS: 250 8BITMIME\n" + QUIT, settings=LMTP).dialogue.offers
    failure = talk(start + "S: 502 no\n" + QUIT, settings=LMTP).dialogue.failure
    assert failure is not None
    assert failure.stage is Stage.HELLO


def test_what_is_offered_is_read_and_what_is_not_known_does_no_harm() -> None:
    """Keywords in any case, AUTH= of old, numbers that are none, lines that are nothing (L53)."""
    offers = Offers(
        Reply(
            250,
            [
                "mail.example.org at your service",
                "size 1000",
                "SIZE 5",
                "auth=PLAIN",
                "AUTH LOGIN plain",
                "XSOMETHING a b",
                "  ",
                "-bad",
                "=",
                "DELIVERBY  240 ",
                "LIMITS RCPTMAX=20 mailmax=5 BAD=x ZERO=0",
                "PIPELINING",
            ],
            status=None,
        ),
        frozenset({"PIPELINING"}),
    )
    assert offers.hostname == "mail.example.org"
    assert offers.size_octets == 1000
    assert offers.mechanisms == ("PLAIN", "LOGIN")
    assert offers["XSOMETHING"] == "a b"
    assert offers.number("DELIVERBY") == 240
    assert offers.number("XSOMETHING") is None
    assert offers.limits == {"RCPTMAX": 20, "MAILMAX": 5}
    assert not offers.pipelining
    assert sorted(offers) == ["AUTH", "DELIVERBY", "LIMITS", "SIZE", "XSOMETHING"]
    assert len(offers) == 5
    assert repr(offers) == "Offers('mail.example.org', SIZE, AUTH, XSOMETHING, DELIVERBY, LIMITS)"
    assert Offers(Reply(250, "m\r\nSIZE 0", status=None)).size_octets is None
    assert Offers(Reply(250, "", status=None)).hostname == ""


# STARTTLS.


def test_after_tls_everything_is_asked_anew() -> None:
    """What was offered in the clear counts no more (RFC 3207 §4.2, L61)."""
    owner = talk(
        OFFERS_TLS + "C: STARTTLS\nS: 220 go\n" + EHLO + "S: 250-mail\nS: 250 SIZE 1000\n" + QUIT,
        settings=REQUIRED,
    )
    assert owner.dialogue.failure is None
    assert owner.dialogue.tls is TLS
    assert list(owner.dialogue.offers) == ["SIZE"]


def test_no_tls_is_asked_for_where_it_is_there_or_not_wanted() -> None:
    """A port with TLS, and one for which it is switched off."""
    talk(OFFERS_TLS + QUIT, settings=REQUIRED, tls=TLS)
    talk(OFFERS_TLS + QUIT)
    talk(STEPS + QUIT, settings=OPPORTUNISTIC)
    talk(OFFERS_TLS + QUIT, settings=replace(OPPORTUNISTIC, without=frozenset({"STARTTLS"})))


@pytest.mark.parametrize("offered", [STEPS, GREETING + "S: 502 no\n" + HELO + "S: 250 mail\n"])
def test_required_tls_that_is_not_offered_ends_it(offered: str) -> None:
    """No MAIL, no AUTH, whoever has taken the offer away (P54)."""
    failure = talk(offered + QUIT, to(), settings=REQUIRED).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause, failure.temporary) == (Stage.TLS, Cause.TLS, True)


@pytest.mark.parametrize("settings", [REQUIRED, OPPORTUNISTIC])
@pytest.mark.parametrize("code", [454, 501, 502])
def test_refused_starttls_ends_it(settings: ClientSettings, code: int) -> None:
    """It was offered, so somebody means us to go on without (L61)."""
    owner = talk(OFFERS_TLS + f"C: STARTTLS\nS: {code} no\n" + QUIT, to(), settings=settings)
    failure = owner.dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.TLS, Cause.REFUSED)
    failure = talk(OFFERS_TLS + "C: STARTTLS\nS: 250 ok\n", settings=settings).dialogue.failure
    assert failure is not None
    assert failure.cause is Cause.PROTOCOL


@pytest.mark.parametrize("behind", ["250-mail\r\n250 AUTH PLAIN\r\n", "2", "\n", "250-x\r\n"])
def test_what_comes_in_the_clear_behind_the_220_ends_it(behind: str) -> None:
    """Whether it comes with it or later, whole or in part (P10, LX1)."""
    for at_once in (True, False):
        owner = Owner([to()], REQUIRED)
        owner.dialogue.receive(b"220 mail\r\n")
        owner.go_on()
        owner.dialogue.receive(b"250-mail\r\n250 STARTTLS\r\n")
        assert owner.go_on() == b"STARTTLS\r\n"
        if at_once:
            owner.dialogue.receive(b"220 go\r\n" + behind.encode())
        else:
            owner.dialogue.receive(b"220 go\r\n")
            assert owner.dialogue.wants is ClientWants.HANDSHAKE
            owner.dialogue.receive(behind.encode())
        failure = owner.dialogue.failure
        assert failure is not None
        assert (failure.stage, failure.cause) == (Stage.TLS, Cause.PROTOCOL)
        assert owner.dialogue.wants is ClientWants.NOTHING
        assert owner.go_on() == b""


def test_a_handshake_that_fails_ends_it() -> None:
    """Also where TLS was only wished for: the connection is of no use."""
    owner = talk(
        OFFERS_TLS + "C: STARTTLS\nS: 220 go\n", settings=OPPORTUNISTIC, handshake=None, cut=False
    )
    failure = owner.dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.TLS, Cause.TLS)
    assert str(failure) == "tls: not whom we meant"


def test_what_is_required_is_looked_for_behind_tls() -> None:
    """A server without it gets no message, whatever it offered before (LX3)."""
    settings = replace(REQUIRED, require=frozenset({"dsn", "PIPELINING"}))
    start = OFFERS_TLS + "C: STARTTLS\nS: 220 go\n" + EHLO
    talk(start + "S: 250-mail\nS: 250-DSN\nS: 250 PIPELINING\n" + QUIT, settings=settings)
    failure = talk(start + "S: 250 mail\n" + QUIT, settings=settings).dialogue.failure
    assert failure is not None
    assert str(failure) == "hello: the server does not offer DSN, PIPELINING"
    assert (failure.cause, failure.temporary, failure.elsewhere) == (Cause.LACKING, False, False)


# The end.


@pytest.mark.parametrize(
    "last",
    [
        "S: 221 bye\n",
        "S: 421 bye\n",
        "S: 500 what?\n",
        "S: bye\n",
        "S: 221 bye\nS: 250\n",
        "*: gone\n",
        "*: late\n",
    ],
)
def test_however_quit_is_answered_nothing_was_lost(last: str) -> None:
    """What was accepted before it stays accepted (P55)."""
    assert talk(STEPS + "C: QUIT\n" + last).dialogue.failure is None


@pytest.mark.parametrize(
    ("script", "stage"),
    [
        ("", Stage.GREETING),
        (GREETING, Stage.HELLO),
        (GREETING + "S: 502 no\n" + HELO, Stage.HELLO),
        (OFFERS_TLS + "C: STARTTLS\n", Stage.TLS),
    ],
)
def test_a_server_that_leaves_or_says_no_more_is_told_with_the_stage(
    script: str, stage: Stage
) -> None:
    """Never a success on a link that dropped (LX2, P55, P56)."""
    for what, cause in (("*: gone\n", Cause.LOST), ("*: late\n", Cause.TIMEOUT)):
        failure = talk(script + what, settings=REQUIRED).dialogue.failure
        assert failure is not None
        assert (failure.stage, failure.cause, failure.temporary) == (stage, cause, True)


def test_a_server_that_leaves_between_two_messages_is_told_too() -> None:
    """There, 421 is as good a reason as any."""
    for what in (b"421 shutting down\r\n", b""):
        dialogue = opened()
        assert dialogue.stage is Stage.IDLE
        dialogue.receive(what) if what else dialogue.lost("reset by peer")
        failure = dialogue.failure
        assert failure is not None
        assert (failure.stage, failure.temporary) == (Stage.IDLE, True)
        assert failure.cause is (Cause.REFUSED if what else Cause.LOST)


def opened() -> ClientDialogue:
    """Return a dialogue that can be used."""
    dialogue = ClientDialogue(PLAIN)
    dialogue.receive(b"220 mail\r\n")
    dialogue.take_output()
    dialogue.receive(b"250 mail\r\n")
    assert dialogue.wants is ClientWants.WORK
    return dialogue


def test_nothing_can_be_done_out_of_turn() -> None:
    """What the owner does at the wrong time is its mistake, and changes nothing."""
    dialogue = ClientDialogue(PLAIN)
    for wrong in (
        lambda: dialogue.secured(TLS),
        dialogue.handshake_failed,
        lambda: dialogue.give(None),
        lambda: dialogue.send(to()),
        lambda: dialogue.content(b"x"),
        dialogue.end_content,
        dialogue.fail_content,
        lambda: dialogue.ask(Command(Verb.NOOP)),
        dialogue.quit,
    ):
        with pytest.raises(LocalProtocolError, match=r"arriving|octets of the server"):
            wrong()
    assert dialogue.state is ClientState.ARRIVING
    dialogue.receive(b"220 mail\r\n")
    with pytest.raises(LocalProtocolError, match="QUIT: not while the session is hello"):
        dialogue.quit()
    dialogue.abandon("no more time")
    assert str(dialogue.failure) == "hello: no more time"
    dialogue.receive(b"250 mail\r\n")
    dialogue.lost()
    assert dialogue.take_output() == b""
    assert str(dialogue.failure) == "hello: no more time"


def test_commands_may_be_asked_between_messages() -> None:
    """NOOP to keep a session alive, RSET, ETRN where it is offered (RFC 1985, L51)."""
    owner = talk(
        GREETING + "S: 250-mail\nS: 250 ETRN\nC: NOOP\nS: 250 ok\nC: RSET\nS: 250 ok\n"
        "C: ETRN @example.org\nS: 458 cannot queue\nC: VRFY anne\nS: 252 perhaps\n" + QUIT,
        Command(Verb.NOOP),
        Command(Verb.RSET),
        Command(Verb.ETRN, "@example.org"),
        Command(Verb.VRFY, "anne"),
    )
    assert owner.dialogue.answer is not None
    assert owner.dialogue.answer.code == 252
    assert owner.dialogue.failure is None


def test_a_command_that_is_not_offered_is_not_sent() -> None:
    """The session goes on (L22)."""
    owner = talk(STEPS + QUIT, Command(Verb.ETRN, "example.org"))
    (failure, *_) = owner.failures
    assert (failure.stage, failure.cause) == (Stage.COMMAND, Cause.LACKING)


@pytest.mark.parametrize(
    "command",
    [
        Command(Verb.MAIL, "FROM:<>"),
        Command(Verb.STARTTLS),
        Command(Verb.QUIT),
        Command(Verb.UNKNOWN, name="DATA"),
        Command(Verb.NOOP, name="DATA"),
        Command(Verb.NOOP, "x\r\nDATA"),
        Command(Verb.UNKNOWN),
    ],
)
def test_what_belongs_to_the_dialogue_cannot_be_asked(command: Command) -> None:
    """A command that would change what comes next is said by the dialogue alone (P52)."""
    dialogue = opened()
    with pytest.raises(LocalProtocolError):
        dialogue.ask(command)
    assert dialogue.take_output() == b""
    assert dialogue.wants is ClientWants.WORK


def test_a_command_answered_by_a_code_that_fits_nothing_ends_it() -> None:
    """A server that wants content behind NOOP is out of step."""
    failure = talk(STEPS + "C: NOOP\nS: 354 go\n", Command(Verb.NOOP)).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.COMMAND, Cause.PROTOCOL)


CLIENT = XClient(address="192.0.2.7", port=51234, hello="anne.example.net", login="")
SPEAKING = replace(PLAIN, xclient=CLIENT)
TRUSTS = GREETING + "S: 250-mail.example.org\nS: 250 XCLIENT ADDR HELO LOGIN\n"
SAID = "C: XCLIENT ADDR=192.0.2.7 HELO=anne.example.net LOGIN=[UNAVAILABLE]\n"


def test_who_is_trusted_says_for_whom_it_speaks() -> None:
    """XCLIENT, and the session begins again, with that client's EHLO (XCLIENT_README)."""
    owner = talk(
        TRUSTS + SAID + "S: 220 again\nC: EHLO anne.example.net\nS: 250-mail\nS: 250 SIZE\n" + QUIT,
        settings=SPEAKING,
    )
    assert owner.dialogue.failure is None
    assert list(owner.dialogue.offers) == ["SIZE"]


def test_a_name_that_is_none_is_not_said_in_ehlo() -> None:
    """A client may call itself anything; it stands in XCLIENT, and we stay who we are."""
    talk(
        TRUSTS
        + "C: XCLIENT HELO=my+20laptop\nS: 220 again\n"
        + EHLO
        + "S: 250 mail.example.org\n"
        + QUIT,
        settings=replace(PLAIN, xclient=XClient(hello="my laptop")),
    )


def test_who_is_not_trusted_sends_nothing() -> None:
    """To a server that does not offer it, or refuses it, we would be somebody else."""
    for offer in ("XCLIENT NAME", "SIZE"):
        said = GREETING + f"S: 250-mail.example.org\nS: 250 {offer}\n"
        failure = talk(said + "C: QUIT\n*: gone", settings=SPEAKING).dialogue.failure
        assert failure is not None
        assert (failure.stage, failure.cause) == (Stage.HELLO, Cause.LACKING)
    failure = talk(
        TRUSTS + SAID + "S: 550 no\nC: QUIT\n*: gone", settings=SPEAKING
    ).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.HELLO, Cause.REFUSED)
