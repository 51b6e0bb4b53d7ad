"""LMTP (RFC 2033): one reply for each recipient that was accepted, never more and never less."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._lmtp import ReplyToEach
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.smtp._address import ForwardPath
from smtpcb.smtp._command import Command, Verb
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from smtpcb.testing import play

from .scripts import Does, Later, Noting, Server, raises, returns

LMTP = Settings(lmtp=True)

THREE = b"LHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n"
DATA = b"DATA\r\n"
TEXT = b"hello\r\n.\r\n"

SCRIPT = """
    C: LHLO client
    S: 250 ...
    C: MAIL FROM:<>
    C: RCPT TO:<a@b>
    C: RCPT TO:<c@d>
    S: 250
    S: 250
    S: 250
"""


def lmtp(**limits: Any) -> Settings:
    """Return settings with other limits."""
    return Settings(lmtp=True, limits=Limits(**limits))


def served(handler: object, octets: bytes = TEXT, settings: Settings = LMTP) -> Server:
    """Return a server that was sent a message for three; what it says of that is in `said`."""
    server = Server(handler, settings, observer=Noting())
    server.send(THREE + DATA)
    server.said = b""
    server.send(octets)
    return server


def incidents(server: Server) -> str:
    """Return what the log has."""
    return "\n".join(server.log)


def test_a_client_begins_with_lhlo() -> None:
    """EHLO and HELO are of another protocol, and its answer says of which (RFC 2033 §4.1)."""
    played = play(
        """
        S: 220 localhost LMTP
        C: MAIL FROM:<>
        S: 503 5.5.1 Send LHLO first
        C: EHLO client
        S: 500 5.5.1 This is LMTP: send LHLO
        C: HELO client
        S: 500 5.5.1 This is LMTP: send LHLO
        C: LHLO
        S: 501 5.5.4
        C: HELP
        S: 214-2.0.0 Commands: LHLO
        S: 214 2.0.0 LHLO
        C: LHLO client
        S: 250-localhost
        S: 250-PIPELINING
        S: 250-SIZE 33554432
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-ENHANCEDSTATUSCODES
        S: 250-CHUNKING
        S: 250 ...
        """,
        settings=LMTP,
    )
    connection = played.dialogue.connection
    assert (connection.hello, connection.extended, connection.lmtp) == ("client", True, True)


def test_lhlo_is_refused_where_smtp_is_spoken() -> None:
    """The answer says so; nobody is taken for a client of another protocol."""
    played = play("C: LHLO x\nS: 500 5.5.1 LHLO is for LMTP, this is SMTP: send EHLO")
    assert played.dialogue.connection.hello is None
    assert not played.dialogue.connection.lmtp


def test_a_handler_sees_which_hello_it_was() -> None:
    """In `hello`, and as a command; a banner of one's own stays."""
    seen: list[object] = []
    handler = Does(
        hello=lambda introduction, connection: seen.append(introduction.verb),
        command=lambda command, connection: seen.append(command),
    )
    settings = Settings(lmtp=True, banner="at your service")
    play("S: 220 localhost at your service\nC: LHLO me\nS: 250 ...", handler, settings=settings)
    assert seen == [Command(Verb.LHLO, "me", "LHLO"), Verb.LHLO] * 2


def test_each_recipient_has_a_reply_behind_the_dot() -> None:
    """Only those that were accepted, and the same one twice where it was given twice (§4.2)."""
    play(
        """
        C: LHLO client
        S: 250 ...
        C: MAIL FROM:<>
        C: RCPT TO:<a@b>
        C: RCPT TO:<nobody@b>
        C: RCPT TO:<a@b>
        C: DATA
        S: 250
        S: 250
        S: 550 5.1.1
        S: 250
        S: 354
        C: hello
        C: .
        C: MAIL FROM:<>
        S: 250 2.0.0 Message accepted
        S: 250 2.0.0 Message accepted
        S: 250 2.1.0
        C: RCPT TO:<c@d>
        C: DATA
        S: 250
        S: 354
        C: .
        S: 250
        """,
        Does(rcpt=lambda recipient, envelope: recipient.local_part != "nobody"),
        settings=LMTP,
    )


@pytest.mark.parametrize("command", ["DATA", "BDAT 2 LAST\nC: hi\\"])
def test_no_content_without_a_recipient(command: str) -> None:
    """503, once: there is nobody to be told of (§4.2)."""
    play(
        "C: LHLO x\nS: 250 ...\nC: MAIL FROM:<>\nS: 250\n"
        f"C: {command}\nS: 503 5.5.1 No valid recipient yet\nC: NOOP\nS: 250",
        settings=LMTP,
    )


def test_a_chunk_has_one_reply_and_the_last_one_for_each() -> None:
    """RFC 3030, with RFC 2033 §4.2."""
    played = play(
        SCRIPT
        + """
        C: BDAT 2
        C: hi\\
        C: BDAT 1 LAST
        C: !\\
        C: NOOP
        S: 250 2.0.0 Chunk accepted
        S: 250 2.0.0 Message accepted
        S: 250 2.0.0 Message accepted
        S: 250 2.0.0 OK
        """,
        settings=LMTP,
    )
    assert [envelope.content.bytes() for envelope in played.envelopes] == [b"hi!"]


@pytest.mark.parametrize(
    ("octets", "codes"),
    [
        (b"BDAT 9\r\n123456789BDAT 0\r\nBDAT 1 LAST\r\nxNOOP\r\n", "552 552 552 552 552 250"),
        (b"BDAT 9 LAST\r\n123456789NOOP\r\n", "552 552 552 250"),
        # What was meant cannot be known, so it does not end the message.
        (b"BDAT 1 LASTING\r\nxBDAT 0 LAST\r\nNOOP\r\n", "501 501 501 501 250"),
        (b"BDAT 1 LAST" + b" " * 3000 + b"\r\nxNOOP\r\n", "500 500 500 250"),
        (b"BDAT 1" + b" " * 3000 + b"\r\nxBDAT 1 LAST\r\nxNOOP\r\n", "500 500 500 500 250"),
        (b"BDAT 9\r\n123456789RSET\r\nBDAT 0 LAST\r\n", "552 250 503"),
        (b"BDAT x\r\n", "501"),
    ],
)
def test_a_chunk_that_fails_has_one_reply_and_the_last_one_for_each(
    octets: bytes, codes: str
) -> None:
    """Those behind it were on their way already, and their client counts."""
    server = Server(settings=lmtp(message_octets=5))
    server.send(THREE)
    assert server.send(octets) == codes.split()


@pytest.mark.parametrize(
    ("handler", "octets", "code"),
    [
        (Does(), b"x" * 200 + b"\r\n.\r\n", "552"),
        (Does(), b"x\ny\r\n.\r\n", "550"),
        (Does(header=returns((554, "Spam"))), b"Subject: x\r\n\r\n.\r\n", "554"),
        (Does(header=raises(OSError())), b"Subject: x\r\n\r\n.\r\n", "451"),
        (Does(chunk=raises(Refusal(452))), TEXT, "452"),
        (Does(message=raises(OSError())), TEXT, "451"),
        (Does(message=raises(Refusal(550, "No"))), TEXT, "550"),
        (Does(message=returns(False)), TEXT, "550"),
        (Does(message=returns("what")), TEXT, "451"),
        (Does(message=returns((250, "queued"))), TEXT, "250"),
        (Does(message=returns([250, 250, 250])), TEXT, "451"),
    ],
)
def test_what_befalls_a_message_befalls_each_recipient(
    handler: object, octets: bytes, code: str
) -> None:
    """Whoever refuses it, and wherever: three recipients hear of it, and the session goes on."""
    server = served(handler, octets, lmtp(message_octets=100))
    assert server.codes == [code] * 3
    assert server.send(b"NOOP\r\n") == ["250"]


def test_no_room_for_a_message_is_said_to_each() -> None:
    """A disk that is full loses nothing."""

    class Full:
        def write(self, octets: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    server = Server(Does(message=returns(None)), LMTP)
    server.platform.make = Full
    server.send(THREE + DATA)
    assert server.send(TEXT) == ["452"] * 3


def test_what_takes_too_long_is_said_to_each() -> None:
    """The time for an answer is up: 451, three times, and the session goes on."""
    server = served(Later("message"))
    assert server.codes == []
    server.pass_time(601)
    assert server.codes == ["451"] * 3
    assert server.send(b"NOOP\r\n") == ["250"]


def test_a_session_that_ends_within_a_message_says_so_for_each() -> None:
    """Time, shutdown and a text without end: as often as the client waits for an answer."""
    for octets in (b"", b"hello\r\n"):
        server = Server(settings=LMTP)
        server.send(THREE + DATA + octets)
        assert server.driver.time_out().count(b"421 ") == 3
    for chunk, times in ((b"BDAT 5 LAST\r\nx", 3), (b"BDAT 5\r\nx", 1), (b"BDAT 1\r\nx", 1)):
        server = Server(settings=LMTP)
        server.send(THREE + chunk)
        assert server.driver.time_out().count(b"421 ") == times
    server = served(Later("message"))
    server.conversation.cut()
    server.said += server.driver.advance()
    assert server.codes == ["421"] * 3
    server = served(Does(), b"x" * 1_100_000, lmtp(message_octets=10))
    assert (server.codes, server.dialogue.finished) == (["552"] * 3, Reason.LIMIT)


def test_a_session_that_ends_elsewhere_says_so_once() -> None:
    """Nobody counts recipients there."""
    for octets in (b"", THREE, THREE + DATA + TEXT, b"LHLO x\r\nBDAT 5 LAST\r\nx"):
        server = Server(settings=LMTP)
        server.send(octets)
        assert server.driver.time_out().count(b"421 ") == 1, octets
    # `data` has not been answered: DATA has no reply yet, and BDAT LAST three.
    for octets, times in ((DATA, 1), (b"BDAT 1 LAST\r\nx", 3)):
        server = Server(Later("data"), LMTP)
        server.send(THREE + octets)
        server.conversation.cut()
        assert server.driver.advance().count(b"421 ") == times


@pytest.mark.parametrize(("command", "times"), [(b"BDAT 1 LAST", 3), (b"BDAT 1", 1), (b"DATA", 1)])
def test_a_handler_that_hangs_up_at_data_says_so_as_often_as_it_has_to(
    command: bytes, times: int
) -> None:
    """Its words are for whoever waits for them."""
    server = Server(Does(data=returns(Reply(554, "Go").closing())), LMTP)
    server.send(THREE)
    assert server.send(command + b"\r\nx") == ["554"] * times
    assert server.driver.finished


def mapping(verdicts: Mapping[Any, object]) -> Does:
    """Return a handler that answers with a verdict for each recipient."""
    return Does(message=returns(verdicts))


def test_a_verdict_for_each_recipient() -> None:
    """In the order of their RCPT, whatever that of the answer is (RFC 2033 §4.2)."""
    server = served(mapping({"e@f": (451, "4.2.2", "Full"), "a@b": None, "c@d": 550}))
    assert server.said.splitlines() == [
        b"250 2.0.0 Message accepted",
        b"550 5.7.1 Message refused",
        b"451 4.2.2 Full",
    ]
    assert server.log == []


def test_a_recipient_is_named_by_itself_or_by_its_address() -> None:
    """As the envelope has it, as a path, or as a text whose domain may be in capitals."""

    def message(envelope: Envelope) -> object:
        first, second, third = envelope.recipients
        assert isinstance(second.forward_path, ForwardPath)
        return {first: 250, second.forward_path: 451, "e@F": 552, third: 553}

    # Two RCPT commands may differ in parameters only: itself says more than its address.
    server = served(Does(message=message))
    assert server.codes == ["250", "451", "553"]
    assert "who is no recipient: e@f" in incidents(server)


@pytest.mark.parametrize("how", ["async def", "later"])
def test_a_verdict_for_each_recipient_may_need_time(how: str) -> None:
    """From ``async def`` and Deferreds as at once."""
    verdicts = {"a@b": 250, "c@d": 451, "e@f": 550}

    async def message(envelope: Envelope) -> object:
        return verdicts

    if how == "async def":
        server = served(Does(message=message))
    else:
        server = served(handler := Later("message"))
        assert server.codes == []
        handler.last.give(verdicts)
    assert server.codes == ["250", "451", "550"]


def test_asyncio_may_answer_for_each() -> None:
    """Deliveries side by side, each with its own end: what was raised for one is its verdict."""

    class Delivers:
        async def message(self, envelope: Envelope) -> object:
            said = await asyncio.gather(
                *(self.deliver(one) for one in envelope.recipients), return_exceptions=True
            )
            return dict(zip(envelope.recipients, said, strict=True))

        async def deliver(self, recipient: Recipient) -> object:
            await asyncio.sleep(1)
            if recipient.local_part == "c":
                raise Refusal(452, "4.2.2", "Mailbox full")
            return None

    script = SCRIPT + "C: DATA\nS: 354\nC: .\nS: 250 2.0.0\nS: 452 4.2.2 Mailbox full"
    play(script, Delivers, settings=LMTP, asyncio=True)


def test_whom_an_answer_forgets_is_not_delivered_to() -> None:
    """451 with an incident: nobody knows what became of that mail; the others have theirs."""
    server = served(mapping({"a@b": None}))
    assert server.codes == ["250", "451", "451"]
    assert server.said.count(b"(incident ") == 2
    assert "message did not answer for c@d, e@f" in incidents(server)
    server = served(mapping({}))
    assert server.codes == ["451"] * 3


def test_who_is_no_recipient_is_an_incident() -> None:
    """It may be a slip: the log names it, and whom it was meant for has no verdict."""
    server = served(mapping({"a@b": None, "c@d": None, "E@f": None, 7: 250}))
    assert server.codes == ["250", "250", "451"]
    assert "no recipient: E@f, 7" in incidents(server)
    many = {f"x{number}@y": 250 for number in range(9)}
    server = served(mapping({"a@b": None, "c@d": None, "e@f": None, **many}))
    assert server.codes == ["250"] * 3
    assert "x4@y, …" in incidents(server)
    del many["x5@y"], many["x6@y"], many["x7@y"], many["x8@y"]
    server = served(mapping({"a@b": None, "c@d": None, "e@f": None, **many}))
    assert "x4@y" in incidents(server)
    assert "…" not in incidents(server)


async def never() -> None:
    """Be no verdict."""


@pytest.mark.parametrize(
    "make",
    [lambda: "yes", lambda: 354, lambda: {"a@b": 250}, lambda: OSError(), never, object],
)
def test_what_is_no_verdict_costs_its_recipient_only(make: Callable[[], object]) -> None:
    """451 with an incident, and the others have theirs."""
    server = served(mapping({"a@b": None, "c@d": make(), "e@f": 550}))
    assert server.codes == ["250", "451", "550"]
    assert "incident" in incidents(server)


def test_a_mapping_that_fails_says_nothing_of_anybody() -> None:
    """It is the user's own; what it raises is an incident."""

    class Broken(dict[str, object]):
        def items(self) -> Any:
            raise OSError

    server = served(mapping(Broken()))
    assert server.codes == ["451"] * 3

    class Interrupted(dict[str, object]):
        def items(self) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        served(mapping(Interrupted()))


def test_what_a_handler_does_to_the_envelope_changes_no_count() -> None:
    """An alias that is followed is no recipient of the client's."""

    def message(envelope: Envelope) -> None:
        envelope.recipients.append(envelope.recipients[0])

    assert served(Does(message=message)).codes == ["250"] * 3
    server = served(Does(chunk=lambda octets, envelope: envelope.recipients.clear()))
    assert server.codes == ["250"] * 3


def test_one_verdict_may_hang_up_when_all_have_been_said() -> None:
    """421 for one is no reason to leave the others without an answer."""
    server = served(mapping({"a@b": Reply(421, "Bye"), "c@d": 250, "e@f": 550}))
    assert server.codes == ["421", "250", "550"]
    assert server.driver.finished


def test_utf8_is_sent_where_it_may_be() -> None:
    """RFC 6531 §3.7.4.1, to each."""
    server = Server(Does(message=returns((250, "schön"))), LMTP)
    server.send(b"LHLO me\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    server.said = b""
    server.send(TEXT)
    assert server.said == "250 2.0.0 schön\r\n".encode() * 2


def test_a_refused_message_is_one_mistake_however_many_recipients_it_has() -> None:
    """Otherwise one message with bare LF would end the session of a mailing list."""
    server = served(Does(), b"x\ny\r\n.\r\n")
    assert server.dialogue.connection.budget.errors == 1
    server = served(Does(message=returns(False)))
    assert server.dialogue.connection.budget.refusals == 1
    # Taken for one, it pays for what was before it.
    server = served(mapping({"a@b": 550, "c@d": 250, "e@f": 550}))
    assert server.dialogue.connection.budget.refusals == 0


def test_one_error_too_many_is_said_to_each() -> None:
    """421 takes the place of a refusal, as often as that would have been said."""
    server = served(Does(), b"x\ny\r\n.\r\n", lmtp(errors=1))
    assert (server.codes, server.dialogue.finished) == (["421"] * 3, Reason.LIMIT)
    server = served(Does(message=returns(False)), settings=lmtp(refusals=1))
    assert server.codes == ["421"] * 3


def test_what_was_taken_for_one_is_said_even_where_the_budget_is_used_up() -> None:
    """It would come again, and be there twice."""
    server = served(mapping({"a@b": 550, "c@d": 550, "e@f": 250}), settings=lmtp(refusals=1))
    assert server.codes == ["550", "550", "250"]
    assert not server.driver.finished


def test_an_observer_sees_what_is_said_to_each() -> None:
    """One decision, with all its replies; as one it is the one that was best."""
    server = served(mapping({"a@b": 550, "c@d": (250, "2.0.0", "Filed"), "e@f": 450}))
    assert isinstance(server.observer, Noting)
    _, reply = server.observer.decisions[-1]
    assert isinstance(reply, ReplyToEach)
    assert [(str(recipient), one.code) for recipient, one in reply.each] == [
        ("a@b", 550),
        ("c@d", 250),
        ("e@f", 450),
    ]
    assert (reply.code, reply.status, reply.positive, reply.taken) == (250, "2.0.0", True, 1)
    assert reply.text == "250 2.0.0 Filed (1 of 3 taken)"
    assert [str(recipient) for recipient, _ in reply.refused] == ["a@b", "e@f"]
    assert reply.closing().closes
    assert reply.closing().wire == reply.wire
    assert ReplyToEach(reply.refused).code == 450
    no = Reply(550, "5.7.1", "No")
    alike = ReplyToEach([(recipient, no) for recipient, _ in reply.each])
    assert (alike.refused, alike.text) == ((), "550 5.7.1 No (0 of 3 taken)")
    assert ReplyToEach(alike.each[:1]).text == "550 5.7.1 No"
    assert alike.bare().wire == b"550 No\r\n" * 3


def test_the_replies_to_all_are_no_verdict() -> None:
    """Returned by a handler they would be said once too often."""
    seen = served(Does()).observer
    assert isinstance(seen, Noting)
    reply = seen.decisions[-1][1]
    assert served(Does(message=returns(reply))).codes == ["451"] * 3
    server = Server(Does(rcpt=returns(reply)))
    assert server.send(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n")[-1] == "451"


def test_a_message_whose_client_has_gone_is_kept() -> None:
    """And the log says that nobody heard so (RFC 5321 §4.5.3.2.6)."""
    server = served(handler := Later("message"))
    server.driver.disconnect()
    handler.last.give({"a@b": 250, "c@d": 250, "e@f": 550})
    assert "accepted, reply not delivered" in incidents(server)
    assert "(2 of 3 taken)" in incidents(server)


SMTP = b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"


@pytest.mark.parametrize(
    ("verdicts", "line"),
    [
        ({"a@b": (250, "2.0.0", "Filed"), "c@d": None}, b"250 2.0.0 Filed"),
        ({"a@b": (550, "5.1.1", "Gone"), "c@d": 554}, b"550 5.1.1 Gone"),
        # A temporary no stays one.
        ({"a@b": 550, "c@d": (450, "4.2.1", "Busy")}, b"450 4.2.1 Busy"),
        # It has to come again: 250 would lose it for one, and 550 says what is not true.
        ({"a@b": None, "c@d": 550}, b"451 4.3.0"),
        ({"a@b": None}, b"451 4.3.0"),
        ({}, b"451 4.3.0"),
    ],
)
def test_in_smtp_a_verdict_for_each_becomes_one_for_all(
    verdicts: Mapping[str, object], line: bytes
) -> None:
    """There is one reply: yes if all were taken, no if none was, and else nothing is lost."""
    server = Server(mapping(verdicts))
    server.send(SMTP)
    server.said = b""
    assert len(server.send(TEXT)) == 1
    assert server.said.startswith(line)
    assert ("incident" in incidents(server)) is (line == b"451 4.3.0")


def test_in_smtp_a_verdict_for_nobody_is_none() -> None:
    """A handler that has emptied the list of recipients has said nothing of anybody."""

    def message(envelope: Envelope) -> object:
        envelope.recipients.clear()
        return {}

    server = Server(Does(message=message))
    server.send(SMTP)
    assert server.send(TEXT) == ["451"]


def test_recipients_that_are_decided_in_any_order() -> None:
    """Each hears of the message in the order of its RCPT, whoever was decided on first."""
    handler = Later("rcpt", concurrent_recipients=True, message=_by_its_name)
    server = Server(handler, LMTP)
    server.send(THREE)
    for answer in reversed(handler.answers):
        answer.give()
    server.send(DATA)
    server.said = b""
    server.send(TEXT)
    assert server.said == b"250 2.0.0 for a@b\r\n250 2.0.0 for c@d\r\n250 2.0.0 for e@f\r\n"


def _by_its_name(envelope: Envelope) -> Mapping[Recipient, Reply]:
    return {
        one: Reply(250, f"for {one.forward_path}", status="2.0.0") for one in envelope.recipients
    }
