"""Which folder is whose: two people never share one."""

from __future__ import annotations

from smtpcb.handlers._mailboxes import folder_name
from smtpcb.smtp import ForwardPath


def test_a_letter_that_folds_to_another_is_not_that_letter() -> None:
    """The Kelvin sign becomes a k in small letters; its mail is not Kim's."""
    kim = folder_name(ForwardPath("Kim", "example.org"))
    assert kim == folder_name(ForwardPath("kim", "example.org")) == "kim@example.org"
    assert folder_name(ForwardPath("\u212aim", "example.org")) != kim
