"""RFC 5321 §4.1.2 productions, one regular expression constant each; RFC 6531 §3.3 widens them."""

from __future__ import annotations

import re

# Possessive quantifiers (`++`) keep every match linear, whatever a client sends.

# RFC 6531 §3.3: UTF8-non-ascii, but for C1, U+2028/9 and the surrogates.
_WIDE = "\xa0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"

# RFC 5322 §3.2.3: atext
ATEXT = rf"A-Za-z0-9!#$%&'*+\-/=?^_`{{|}}~{_WIDE}"
ATOM = rf"[{ATEXT}]++"
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
# Blanks behind the colon annoy, and harm nobody.
PATH = re.compile(rf"[ \t]*+<(?:{SOURCE_ROUTE})?+{MAILBOX}>")
NULL_PATH = re.compile(r"[ \t]*+<>")

# §4.1.1.3: RCPT TO:<Postmaster> needs no domain.
POSTMASTER = re.compile(r"[ \t]*+<(postmaster)>", re.IGNORECASE | re.ASCII)

# Forms that real clients get wrong, taken only where it is asked for: blanks in the brackets, no
# brackets, dots anywhere, no domain, and host names that DNS allows and RFC 5321 does not.
_LOOSE_LOCAL_PART = rf"(?:[{ATEXT}.]++|{QUOTED_STRING})"
_LOOSE_DOMAIN = rf"[A-Za-z0-9_{_WIDE}-]++(?:\.[A-Za-z0-9_{_WIDE}-]++)*+\.?"
_BLANKS_INSIDE = r"(?(open)[ \t]*+)"
LENIENT_PATH = re.compile(
    rf"[ \t]*+(?P<open><)?+(?P<inner>{_BLANKS_INSIDE}(?:{SOURCE_ROUTE}{_BLANKS_INSIDE})?+"
    rf"(?P<local_part>{_LOOSE_LOCAL_PART})"
    rf"(?:{_BLANKS_INSIDE}@{_BLANKS_INSIDE}(?P<domain>{_LOOSE_DOMAIN}|{ADDRESS_LITERAL}))?+"
    rf"{_BLANKS_INSIDE})(?(open)>)"
)
LENIENT_NULL_PATH = re.compile(r"[ \t]*+<[ \t]++>")

# §4.1.2: esmtp-keyword ["=" esmtp-value]
KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*+")
PARAMETER = re.compile(rf"(?P<keyword>{KEYWORD.pattern})(?:=(?P<value>[!-<>-~{_WIDE}]++))?+")
