"""Parameters of MAIL and RCPT: what they say, both ways, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._address import ReversePath
from smtpcb.smtp._dsn import Notify, OriginalRecipient, Ret
from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._extension import Parameter
from smtpcb.smtp._parameter import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    BodyType,
    MailParameters,
    RcptParameters,
)

ANNE = ReversePath("anne", "example.org")


@pytest.mark.parametrize(
    ("text", "values", "written"),
    [
        (" SIZE=00012", {"SIZE": 12}, " SIZE=12"),
        (
            " size=1 \t Body=8bitmime ",
            {"SIZE": 1, "BODY": BodyType.EIGHT_BIT_MIME},
            " SIZE=1 BODY=8BITMIME",
        ),
        (
            "\tBODY=7BIT SMTPUTF8",
            {"BODY": BodyType.SEVEN_BIT, "SMTPUTF8": True},
            " BODY=7BIT SMTPUTF8",
        ),
        (" SIZE=0", {"SIZE": 0}, " SIZE=0"),
        (" AUTH=<>", {"AUTH": ReversePath.NULL}, " AUTH=<>"),
        (
            " AUTH=anne+2Bx@Example.org",
            {"AUTH": ReversePath("anne+x", "example.org")},
            " AUTH=anne+2Bx@example.org",
        ),
        (" RET=hdrs ENVID=a+20b", {"RET": Ret.HDRS, "ENVID": "a b"}, " RET=HDRS ENVID=a+20b"),
        (" ENVID=+C3+A4+3D", {"ENVID": "ä="}, " ENVID=+C3+A4+3D"),
    ],
)
def test_parameters_of_mail_are_read_and_written(
    text: str, values: dict[str, object], written: str
) -> None:
    """Keywords are not case-sensitive; values mean what their RFC says (§4.1.1.11)."""
    parameters = MailParameters.read(text)
    assert parameters == values
    assert {key: getattr(parameters, key.lower()) for key in values} == values
    assert parameters.write() == written
    assert MailParameters.read(written) == parameters


@pytest.mark.parametrize(
    ("text", "values", "written"),
    [
        (" NOTIFY=NEVER", {"NOTIFY": {"NEVER"}}, " NOTIFY=NEVER"),
        (
            " NOTIFY=delay,SUCCESS",
            {"NOTIFY": {"SUCCESS", "DELAY"}},
            " NOTIFY=SUCCESS,DELAY",
        ),
        (" NOTIFY=DELAY,DELAY", {"NOTIFY": {Notify.DELAY}}, " NOTIFY=DELAY"),
        (
            " ORCPT=rfc822;a+2Bb@x",
            {"ORCPT": OriginalRecipient("rfc822", "a+b@x")},
            " ORCPT=rfc822;a+2Bb@x",
        ),
        (
            " ORCPT=rfc822;+E7+94+A8@example.org",
            {"ORCPT": OriginalRecipient("rfc822", "用@example.org")},
            " ORCPT=rfc822;+E7+94+A8@example.org",
        ),
        (
            " ORCPT=utf-8;用户@example.org",
            {"ORCPT": OriginalRecipient("utf-8", "用户@example.org")},
            " ORCPT=utf-8;\\x{7528}\\x{6237}@example.org",
        ),
        (
            " orcpt=UTF-8;\\x{7528}\\x{5C}\\x{2B}\\x{1f600}@example.org",
            {"ORCPT": OriginalRecipient("UTF-8", "用\\+\U0001f600@example.org")},
            " ORCPT=UTF-8;\\x{7528}\\x{5C}\\x{2B}\\x{1F600}@example.org",
        ),
        (
            " ORCPT=utf-8;+E7+94+A8+2B@example.org",
            {"ORCPT": OriginalRecipient("utf-8", "用+@example.org")},
            " ORCPT=utf-8;\\x{7528}\\x{2B}@example.org",
        ),
    ],
)
def test_parameters_of_rcpt_are_read_and_written(
    text: str, values: dict[str, object], written: str
) -> None:
    """What reports are wanted, and whom the client meant first (RFC 3461 §4, RFC 6533 §3)."""
    parameters = RcptParameters.read(text)
    assert parameters == values
    assert {key: getattr(parameters, key.lower()) for key in values} == values
    assert parameters.write() == written
    assert RcptParameters.read(written) == parameters


def test_what_was_not_given_is_told_apart_from_every_value() -> None:
    """Above all ``AUTH=<>``: the client says that it does not know (RFC 4954 §5)."""
    nothing = MailParameters.read("")
    assert (nothing.size, nothing.body, nothing.auth, nothing.ret, nothing.envid) == (None,) * 5
    assert nothing.smtputf8 is False
    assert MailParameters.read(" AUTH=<>").auth is ReversePath.NULL
    assert RcptParameters.read("").notify is None
    assert RcptParameters.read("").orcpt is None


def test_no_parameters_are_a_mapping_too() -> None:
    """It cannot be changed, since everybody shares it."""
    for text in ("", " ", " \t "):
        assert MailParameters.read(text) is NO_MAIL_PARAMETERS
        assert RcptParameters.read(text) is NO_RCPT_PARAMETERS
    assert len(NO_MAIL_PARAMETERS) == 0
    assert NO_MAIL_PARAMETERS.write() == ""
    with pytest.raises(AttributeError):
        NO_MAIL_PARAMETERS.size = 1
    with pytest.raises(TypeError):
        NO_MAIL_PARAMETERS.others["X"] = 1


def test_a_mapping_has_the_keywords_that_were_given() -> None:
    """In upper case, and no others."""
    parameters = MailParameters.read(" size=0 smtputf8")
    assert dict(parameters) == {"SIZE": 0, "SMTPUTF8": True}
    assert "SIZE" in parameters
    assert "BODY" not in parameters
    assert parameters.get("AUTH", "?") == "?"
    for keyword in ("BODY", "XKEY", "size"):
        with pytest.raises(KeyError):
            _ = parameters[keyword]
    assert len({parameters, MailParameters.read(" SMTPUTF8 SIZE=0")}) == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (" FOO=1", 555),
        (" NOTIFY=NEVER", 555),
        (" \u017fIZE=1", 501),
        (" SIZE", 501),
        (" SIZE=", 501),
        (" SIZE=-1", 501),
        (" SIZE=1x", 501),
        (" SIZE=\u0661", 501),
        (" SIZE=" + "9" * 21, 501),
        (" SIZE=1 size=1", 501),
        (" BODY=BINARY", 501),
        (" BODY=8B\u0131TMIME", 501),
        (" BODY", 501),
        (" SMTPUTF8=1", 501),
        (" AUTH=nobody", 501),
        (" AUTH=a+zz", 501),
        (" AUTH=a+40b+0D+0A", 501),
        (" AUTH=<a@b>", 501),
        (" AUTH", 501),
        (" ENVID=a+0Ab", 501),
        (" ENVID=a+C2+85b", 501),
        (" ENVID=a+C3b", 501),
        (" ENVID=a+ED+A0+80b", 501),
        (" ENVID=ä", 501),
        (" ENVID=" + "x" * 101, 501),
        (" ENVID=" + "+C3+A4" * 51, 501),
        (" RET=ALL", 501),
        (" RET=FU\u2113L", 501),
        (" RET", 501),
        (" -X=1", 501),
        (" X==1", 501),
        (" SIZE=1\x85", 501),
        ("SIZE=1", 501),
    ],
)
def test_a_parameter_that_cannot_be_honoured_is_refused(text: str, code: int) -> None:
    """Unknown ones are 555, wrong values 501: never is one ignored (§4.1.1.11)."""
    with pytest.raises(PeerProtocolError) as caught:
        MailParameters.read(text)
    assert caught.value.reply.code == code


@pytest.mark.parametrize(
    "text",
    [
        " NOTIFY",
        " NOTIFY=NEVER,DELAY",
        " NOTIFY=SOON",
        " NOTIFY=DELAY,",
        " NOTIFY=\u017fUCCESS",
        " ORCPT=rfc822",
        " ORCPT=rfc822;",
        " ORCPT=;x",
        " ORCPT",
        " ORCPT=rfc822;a+zz",
        " ORCPT=rfc822;a+0D+0Ab",
        " ORCPT=rfc822;a+FFb",
        " ORCPT=rfc822;用@x",
        " ORCPT=utf\u20118;x",
        " ORCPT=utf-8;\\x{D800}@x",
        " ORCPT=utf-8;\\x{110000}@x",
        " ORCPT=utf-8;\\x{0A}@x",
        " ORCPT=utf-8;\\x{2028}@x",
        " ORCPT=utf-8;\\x{7}@x",
        " ORCPT=utf-8;\\x{}@x",
        " ORCPT=utf-8;\\x7528@x",
        " ORCPT=utf-8;a\\b@x",
        " ORCPT=utf-8;+E7@x",
        " ORCPT=utf-8;a+b@x",
        " ORCPT=utf-8;+E7+94+A8\\x{7528}@x",
        " ORCPT=rfc822;" + "x" * 500,
        " ORCPT=utf-8;" + "用" * 167,
    ],
)
def test_wrong_values_for_a_recipient_are_refused(text: str) -> None:
    """RFC 3461 §4.1, §4.2; RFC 6533 §3."""
    with pytest.raises(PeerProtocolError) as caught:
        RcptParameters.read(text)
    assert caught.value.reply.code == 501


def test_the_longest_values_are_taken() -> None:
    """RFC 3461 §4.2 and §4.4: 500 octets of ORCPT, 100 of an ENVID, however it is encoded."""
    assert RcptParameters.read(" ORCPT=rfc822;" + "x" * 493).orcpt is not None
    assert MailParameters.read(" ENVID=" + "x" * 100).envid == "x" * 100
    assert MailParameters.read(" ENVID=" + "+C3+A4" * 50).envid == "ä" * 50


def test_without_smtputf8_a_value_is_ascii() -> None:
    """RFC 6533 §3: the form for those who did not offer it hides what is not."""
    with pytest.raises(PeerProtocolError) as caught:
        RcptParameters.read(" ORCPT=utf-8;用@x", utf8=False)
    assert caught.value.reply.code == 501
    assert RcptParameters.read(" ORCPT=utf-8;\\x{7528}@x", utf8=False).orcpt == (
        OriginalRecipient("utf-8", "用@x")
    )


def test_a_parameter_that_was_not_offered_is_unknown() -> None:
    """RFC 5321 §4.1.1.11: whoever did not offer it does not take it."""
    for text in (" SIZE=1", " BODY=7BIT", " AUTH=<>", " RET=FULL"):
        with pytest.raises(PeerProtocolError) as caught:
            MailParameters.read(text, {})
        assert caught.value.reply.code == 555


def test_a_parameter_of_ones_own_is_read_by_its_keyword() -> None:
    """And written, by the same row."""
    rows = {
        **MailParameters.ROWS,
        "XKEY": Parameter(lambda text: (text or "").split(","), ",".join),
    }
    parameters = MailParameters.read(" xkey=a,b SIZE=1", rows)
    assert parameters["XKEY"] == ["a", "b"]
    assert parameters.others == {"XKEY": ["a", "b"]}
    assert dict(parameters) == {"SIZE": 1, "XKEY": ["a", "b"]}
    assert parameters.size == 1
    assert parameters.write(rows) == " SIZE=1 XKEY=a,b"
    with pytest.raises(ValueError, match="XKEY"):
        parameters.write()


@pytest.mark.parametrize(
    "parameters",
    [
        MailParameters(auth=ReversePath("a\r\nb", "x")),
        MailParameters.of({"XKEY": "a b"}),
        MailParameters.of({"XKEY": "a\r\nQUIT"}),
        RcptParameters(orcpt=OriginalRecipient("rfc 822", "x")),
        RcptParameters(notify=frozenset({"SOON"})),
    ],
)
def test_a_value_that_cannot_be_said_is_an_error(parameters: Any) -> None:
    """Before an octet of it is sent (P52)."""
    with pytest.raises(ValueError, match=r"."):
        parameters.write({**parameters.ROWS, "XKEY": Parameter(str)})


TEXTS = st.text(
    st.characters(
        min_codepoint=0x20,
        exclude_characters="\x7f\u2028\u2029" + "".join(map(chr, range(0x80, 0xA0))),
        exclude_categories=["Cs"],
    ),
    min_size=1,
    max_size=20,
)


@given(
    st.builds(
        MailParameters,
        size=st.none() | st.integers(0, 10**20 - 1),
        body=st.none() | st.sampled_from(BodyType),
        smtputf8=st.booleans(),
        auth=st.none()
        | st.just(ReversePath.NULL)
        | st.builds(ReversePath, TEXTS, st.just("example.org")),
        ret=st.none() | st.sampled_from(Ret),
        envid=st.none() | TEXTS,
    ),
    st.builds(
        RcptParameters,
        notify=st.none()
        | st.just(frozenset({Notify.NEVER}))
        | st.frozensets(st.sampled_from(list(Notify)[1:]), min_size=1),
        orcpt=st.none()
        | st.builds(OriginalRecipient, st.sampled_from(["rfc822", "utf-8", "x400"]), TEXTS),
    ),
)
def test_what_is_written_is_read_as_the_same(mail: MailParameters, rcpt: RcptParameters) -> None:
    """In ASCII, whatever the values are; a client and a server agree."""
    for parameters in (mail, rcpt):
        text = parameters.write()
        assert text.isascii()
        assert type(parameters).read(text, utf8=False) == parameters
