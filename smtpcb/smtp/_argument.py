"""
The arguments of MAIL and RCPT: the usual form in one pattern each, and readers for every form.

The usual form is ``FROM:<`` or ``TO:<``, a dot-string, ``@``, a domain, ``>``, and parameters or
nothing.  Whatever matches means just what the readers would make of it, so nothing needs to be
checked again: the look-ahead is RFC 5321's limit of a path, 256 octets with its brackets, and the
bounded repeat that of a label, 63 octets.  What does not match may be right all the same.

``match`` may be given the place in a line where the argument begins.  Groups: local part, domain,
rest; of ``<>`` the first two are ``None``.  The rest is empty or begins with a blank, and may end
with blanks.
"""

from __future__ import annotations

import re

from smtpcb.smtp._address import (
    AddressError,
    AnyPath,
    ForwardPath,
    Leniency,
    PathRead,
    ReversePath,
    read_forward_path,
    read_reverse_path,
)
from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._reply import Reply

SYNTAX_OF_MAIL = Reply(501, "Syntax: MAIL FROM:<address> [parameters]", status="5.5.4")
SYNTAX_OF_RCPT = Reply(501, "Syntax: RCPT TO:<address> [parameters]", status="5.5.4")

_DOT_STRING = rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]++(?:\.[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]++)*+"
_LABEL = rb"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?+(?![A-Za-z0-9-])"
_MAILBOX = rb"(?=[^>]{3,254}+>)(" + _DOT_STRING + rb")@(" + _LABEL + rb"(?:\." + _LABEL + rb")*+)"
_REST = rb">((?:\ [\ -~]*+)?+)\Z"

USUAL_MAIL = re.compile(rb"(?i:FROM):<(?:" + _MAILBOX + rb")?+" + _REST)
USUAL_RCPT = re.compile(rb"(?i:TO):<" + _MAILBOX + _REST)

_FROM = re.compile(r"(?P<before>[ \t]*+)FROM(?P<between>[ \t]*+):", re.IGNORECASE | re.ASCII)
_TO = re.compile(r"(?P<before>[ \t]*+)TO(?P<between>[ \t]*+):", re.IGNORECASE | re.ASCII)


def read_mail(argument: str, *, lenient: bool = False) -> PathRead[ReversePath]:
    """
    Read the argument of MAIL up to its parameters (RFC 5321 §4.1.1.2).

    :param argument: what stands behind the blank that follows the verb.
    :param lenient: take what real clients get wrong; see `Leniency`.
    :raises PeerProtocolError: there is no path in it (501).
    """
    text, blanks = _behind_colon(argument, _FROM, SYNTAX_OF_MAIL, lenient=lenient)
    try:
        return _noted(read_reverse_path(text, lenient=lenient), blanks)
    except AddressError as error:
        raise PeerProtocolError(Reply(501, str(error), status="5.1.7")) from None


def read_rcpt(argument: str, *, lenient: bool = False) -> PathRead[ForwardPath]:
    """Read the argument of RCPT up to its parameters (RFC 5321 §4.1.1.3); see `read_mail`."""
    text, blanks = _behind_colon(argument, _TO, SYNTAX_OF_RCPT, lenient=lenient)
    try:
        return _noted(read_forward_path(text, lenient=lenient), blanks)
    except AddressError as error:
        raise PeerProtocolError(Reply(501, str(error), status="5.1.3")) from None


def _behind_colon(
    argument: str, pattern: re.Pattern[str], syntax: Reply, *, lenient: bool
) -> tuple[str, bool]:
    """Return what stands behind the colon, and whether blanks around its word were let pass."""
    match = pattern.match(argument)
    if match is None:
        raise PeerProtocolError(syntax)
    blanks = bool(match["before"] or match["between"])
    if blanks and not lenient:
        raise PeerProtocolError(syntax)
    return argument[match.end() :], blanks


def _noted(found: PathRead[AnyPath], blanks: bool) -> PathRead[AnyPath]:
    if not blanks or Leniency.BLANKS in found.leniencies:
        return found
    return found._replace(leniencies=(Leniency.BLANKS, *found.leniencies))
