"""RFC 5321 §4.1.2 productions, one regular expression constant each; RFC 6531 §3.3 widens them."""

from __future__ import annotations

import re

# Possessive quantifiers (`++`) keep every match linear, whatever a client sends.

# RFC 6531 §3.3: UTF8-non-ascii.  Controls among them never get here: command lines are printable.
_WIDE = "\\u0080-\U0010ffff"

# RFC 5322 §3.2.3: atext
ATOM = rf"[A-Za-z0-9!#$%&'*+\-/=?^_`{{|}}~{_WIDE}]++"
DOT_STRING = rf"{ATOM}(?:\.{ATOM})*+"
# qtextSMTP and quoted-pairSMTP
QUOTED_STRING = rf'"(?:[\x20\x21\x23-\x5b\x5d-\x7e{_WIDE}]|\\[\x20-\x7e])*+"'
LOCAL_PART = rf"(?:{DOT_STRING}|{QUOTED_STRING})"

_LETTER_DIGIT = rf"[A-Za-z0-9{_WIDE}]"
# sub-domain = Let-dig [Ldh-str]; at most 63 octets (RFC 1035 §2.3.4), checked where it is parsed
SUB_DOMAIN = rf"{_LETTER_DIGIT}++(?:-++{_LETTER_DIGIT}++)*+"
DOMAIN = rf"{SUB_DOMAIN}(?:\.{SUB_DOMAIN})*+"
ADDRESS_LITERAL = r"\[[!-Z^-~]++\]"
# A-d-l, the source route: MUST be accepted, SHOULD be ignored (§4.1.1.3, appendix C)
SOURCE_ROUTE = rf"@{DOMAIN}(?:,@{DOMAIN})*+:"

MAILBOX = rf"(?P<local_part>{LOCAL_PART})@(?P<domain>{DOMAIN}|{ADDRESS_LITERAL})"
MAILBOX_PATTERN = re.compile(MAILBOX)
PATH = re.compile(rf"<(?:{SOURCE_ROUTE})?+{MAILBOX}>")

# §4.1.1.3: RCPT TO:<Postmaster> needs no domain.
POSTMASTER = re.compile(r"<(postmaster)>", re.IGNORECASE)

# Forms that real clients get wrong, taken when `lenient_addresses` is set: no brackets, and
# host names that DNS allows and RFC 5321 does not (an underscore, a dot at the end).
_LOOSE_DOMAIN = rf"[A-Za-z0-9_{_WIDE}-]++(?:\.[A-Za-z0-9_{_WIDE}-]++)*+\.?"
LENIENT_PATH = re.compile(
    rf"(?P<open><)?(?:{SOURCE_ROUTE})?+"
    rf"(?P<local_part>{LOCAL_PART})@(?P<domain>{_LOOSE_DOMAIN}|{ADDRESS_LITERAL})(?(open)>)"
)

# §4.1.2: esmtp-keyword ["=" esmtp-value]
PARAMETER = re.compile(
    rf"(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]*+)(?:=(?P<value>[!-<>-~{_WIDE}]++))?+"
)

# What HELO and EHLO may name: a domain or an address literal; wider than the RFC, since a
# message must not be refused for it (§4.1.4) and many honest hosts have such names.
HELLO_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")

# RFC 3030 §2: chunk-size = 1*20DIGIT.  Wherever a size can be read at all, so many octets follow;
# if there is a rest, the command is refused behind them.
CHUNK = re.compile(r" *+(?P<size>[0-9]{1,20})(?:(?P<last> ++LAST)?+ *+\Z|(?P<rest>.*))", re.I)
