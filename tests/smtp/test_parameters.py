"""MAIL and RCPT parameters."""

from __future__ import annotations

import pytest

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._parameter import (
    MAIL_PARAMETERS,
    NO_PARAMETERS,
    RCPT_PARAMETERS,
    BodyType,
    read_parameters,
)

OFFERED = {"SIZE", "8BITMIME", "SMTPUTF8", "AUTH", "DSN"}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (" SIZE=00012", {"SIZE": 12}),
        (" size=1  Body=8bitmime", {"SIZE": 1, "BODY": BodyType.EIGHT_BIT_MIME}),
        (" BODY=7BIT SMTPUTF8", {"BODY": BodyType.SEVEN_BIT, "SMTPUTF8": True}),
        (" AUTH=<>", {"AUTH": None}),
        (" AUTH=anne+2Bx@example.org", {"AUTH": "anne+x@example.org"}),
        (" RET=hdrs ENVID=a+20b", {"RET": "HDRS", "ENVID": "a b"}),
    ],
)
def test_parameters_of_mail_are_decoded(text: str, values: dict[str, object]) -> None:
    """Keywords are not case-sensitive; values mean what their RFC says (§4.1.1.11)."""
    assert read_parameters(text, MAIL_PARAMETERS, OFFERED) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (" NOTIFY=NEVER", {"NOTIFY": {"NEVER"}}),
        (" NOTIFY=success,DELAY", {"NOTIFY": {"SUCCESS", "DELAY"}}),
        (" ORCPT=rfc822;a+2Bb@x", {"ORCPT": ("rfc822", "a+b@x")}),
    ],
)
def test_parameters_of_rcpt_are_decoded(text: str, values: dict[str, object]) -> None:
    """What reports are wanted, and whom the client meant first (RFC 3461 §4)."""
    assert read_parameters(text, RCPT_PARAMETERS, OFFERED) == values


def test_no_parameters_are_a_mapping_too() -> None:
    """It cannot be changed, since everybody shares it."""
    assert read_parameters("", MAIL_PARAMETERS, OFFERED) is NO_PARAMETERS
    assert read_parameters(" ", MAIL_PARAMETERS, OFFERED) is NO_PARAMETERS


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (" FOO=1", 555),
        (" NOTIFY=NEVER", 555),
        (" SIZE", 501),
        (" SIZE=", 501),
        (" SIZE=-1", 501),
        (" SIZE=1x", 501),
        (" SIZE=" + "9" * 21, 501),
        (" SIZE=1 size=1", 501),
        (" BODY=BINARYMIME", 501),
        (" BODY", 501),
        (" SMTPUTF8=1", 501),
        (" AUTH=nobody", 501),
        (" AUTH=a+zz", 501),
        (" AUTH", 501),
        (" ENVID=a+0Ab", 501),
        (" ENVID=a+C3b", 501),
        (" RET=ALL", 501),
        (" RET", 501),
        (" -X=1", 501),
        (" X==1", 501),
        ("SIZE=1", 501),
    ],
)
def test_a_parameter_that_cannot_be_honoured_is_refused(text: str, code: int) -> None:
    """Unknown ones are 555, wrong values 501: never is one ignored (§4.1.1.11)."""
    with pytest.raises(PeerProtocolError) as caught:
        read_parameters(text, MAIL_PARAMETERS, OFFERED)
    assert caught.value.reply.code == code


@pytest.mark.parametrize(
    "text",
    [
        " NOTIFY",
        " NOTIFY=NEVER,DELAY",
        " NOTIFY=DELAY,DELAY",
        " NOTIFY=SOON",
        " ORCPT=rfc822",
        " ORCPT=;x",
        " ORCPT",
        " ORCPT=rfc822;a+zz",
    ],
)
def test_wrong_values_for_a_recipient_are_refused(text: str) -> None:
    """RFC 3461 §4.1, §4.2."""
    with pytest.raises(PeerProtocolError) as caught:
        read_parameters(text, RCPT_PARAMETERS, OFFERED)
    assert caught.value.reply.code == 501


def test_a_parameter_of_an_extension_that_was_not_offered_is_unknown() -> None:
    """RFC 5321 §4.1.1.11: whoever did not offer it does not take it."""
    for text in (" SIZE=1", " BODY=7BIT", " AUTH=<>", " RET=FULL"):
        with pytest.raises(PeerProtocolError) as caught:
            read_parameters(text, MAIL_PARAMETERS, ())
        assert caught.value.reply.code == 555
