"""
What is shown of a command line: everything of a command, nothing of what may be a secret.

Passwords get into places where no command wants them: clients out of step send the answer to a
challenge that never came, people try the commands of IMAP or POP, programs split AUTH, quote it or
put it behind another verb.  So the rule does not know their forms.  A line whose verb is unknown is
hidden as a whole, for it may be a password; AUTH shows its mechanism, the logins of other protocols
show that they are; any other command is shown, unless its argument looks like a login that has
strayed there.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Collection

from smtpcb.smtp._command import VERBS, Command, Verb
from smtpcb.smtp._text import printable

# What nearly all lines look like, so that they cost one look: no blank is in them but the one
# behind the verb, and no word of `_LOGIN` can stand without one, or an equals sign.
_USUAL = re.compile(
    rb"(?i:MAIL FROM|RCPT TO):<[!-;=?-~]*+>"
    rb"(?: (?i:SIZE=[0-9]++|BODY=[78]BIT(?:MIME)?+|SMTPUTF8))*+\Z"
    rb"|(?i:DATA|RSET|QUIT|NOOP|STARTTLS)\Z"
    rb"|(?i:EHLO|HELO|LHLO) [A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+)++\Z"
)

#: Tells whether a line is one of those that nearly all are: `shown` is the line itself.
is_usual: Callable[[bytes], object] = _USUAL.match

# What people and programs try here that is no command of ours: to see it is worth something.  The
# argument of the first kind is treated like that of a command, that of the second is a login.
_FOREIGN = frozenset(
    b"ATRN BURL CAPA CAPABILITY CONNECT DELETE GET HEAD LIST LOGOUT OPTIONS POST PROXY PUT "
    b"SAML SEND SOML STAT STLS TRACE TURN VERB XADR XCLIENT XEXCH50 XFORWARD XSTA".split()
)
_LOGINS = frozenset(b"APOP AUTHENTICATE AUTHINFO LOGIN PASS USER".split())

# Nothing belongs behind these, so whatever stands there may be anything.
_ALONE = frozenset(b"DATA QUIT RSET STARTTLS".split())

_MECHANISM = re.compile(
    rb"[ \t]*+(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|SCRAM-SHA-(?:1|256|512)(?:-PLUS)?+|XOAUTH2"
    rb"|OAUTHBEARER|EXTERNAL|ANONYMOUS|GSSAPI|NTLM)(?=[ \t]|\Z)[ \t]*+",
    re.IGNORECASE,
)

# Words before a secret, if anything follows them.
_LOGIN = re.compile(
    rb"(?<![a-z])(?:AUTH(?:ENTICATE|ENTICATION|ORIZATION|INFO)?+|LOGIN|USER(?:NAME)?+|APOP|BASIC"
    rb"|PASS(?:WORDS?+|WD|PHRASE|CODE)?+|PWD?+|CREDENTIALS?+|SECRET|TOKEN|BEARER|PLAIN|CRAM-MD5|X?OAUTH(?:2|BEARER)?+)"
    rb"[^A-Za-z0-9@._+-]++[A-Za-z0-9@._+-]",
    re.IGNORECASE,
)
# AUTH and its mechanism, whatever stands between their letters.
_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123))
_NO_LETTERS = bytes(octet for octet in range(256) if octet not in _LETTERS)
_SPLIT_AUTH = re.compile(
    rb"AUTH(?:PLAIN|LOGIN|CRAM|DIGEST|SCRAM|XOAUTH|OAUTH|EXTERNAL|NTLM|GSSAPI)", re.IGNORECASE
)
# Name and password within a URL (RFC 3986 §3.2.1).
_USER_INFORMATION = re.compile(rb"://[^\s/@:]*+:[^\s/@]++@")
# A name, and no password, is what a proxy says of its client (XCLIENT_README).
_LOGIN_OF_XCLIENT = re.compile(rb"(?:\A|(?<=[ \t]))LOGIN=[!-~]*+(?=[ \t]|\Z)", re.IGNORECASE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{8,}+")
_CONTROL_BUT_NUL = re.compile(rb"[\x01-\x1f\x7f]")

# What stands in MAIL and RCPT by right: a path, and who submitted the message (RFC 4954 §5).
_ADDRESSES = re.compile(
    rb"(?:\A[ \t]*+(?:FROM|TO):[ \t]*+<[!-;=?-~\x80-\xff]*+>"
    rb"|(?<=[ \t])AUTH=(?:<>|[!-?A-~]++@[!-?A-~]++)(?=[ \t]|\Z))",
    re.IGNORECASE,
)


def hidden(octets: int) -> str:
    """Return what stands in transcripts and logs in place of a secret."""
    return f"<{octets} octets hidden>"


def shown(line: bytes, also: Collection[bytes] = ()) -> bytes:
    """
    Return a command line as it may be recorded: no octet of a secret is in it (RFC 4954 §4).

    :param also: verbs of your own extensions, in upper case.
    """
    if is_usual(line):
        return line
    word, _, argument = line.partition(b" ")
    name = word.rstrip(b"\t").upper()
    if name == b"AUTH":
        return _auth(line, len(word))
    if name == b"XCLIENT":
        argument = _LOGIN_OF_XCLIENT.sub(b"", argument)
    if name in VERBS or name in also or name in _FOREIGN:
        if not (argument.strip() if name in _ALONE else _suspicious(argument)):
            return line
    elif name not in _LOGINS:
        return hidden(len(line)).encode("ascii")
    elif not argument:
        return line
    return word + b" " + hidden(len(argument)).encode("ascii")


def shown_response(line: bytes) -> bytes:
    """Return a line of an AUTH exchange as it may be recorded (RFC 4954 §4): ``*`` gives it up."""
    return line if line.rstrip(b" \t") == b"*" else hidden(len(line)).encode("ascii")


def is_auth(start: bytes) -> bool:
    """Tell whether the beginning of a line is that of AUTH, or was meant to be."""
    return start.lstrip(b" \t")[:4].upper() == b"AUTH"


def observed(line: bytes, also: Collection[bytes] = ()) -> Command:
    """Return the value that an observer of commands gets for a line."""
    masked = shown(line, also)
    if masked is not line and masked.startswith(b"<"):
        return Command(Verb.UNKNOWN, "", masked.decode("ascii"))
    name, _, argument = masked.rstrip(b" \t").partition(b" ")
    verb = VERBS.get(name.upper(), Verb.UNKNOWN)
    if verb is Verb.AUTH:
        argument = argument.partition(b" <")[0]
    return Command(verb, printable(argument.strip(b" \t")), printable(name, 16))


def _auth(line: bytes, start: int) -> bytes:
    """Hide what follows the mechanism, and what stands in the place of one that we know."""
    mechanism = _MECHANISM.match(line, start)
    if mechanism is not None:
        start = mechanism.end()
    secret = line[start:].lstrip(b" \t")
    if not secret:
        return line
    return line[: len(line) - len(secret)] + hidden(len(secret)).encode("ascii")


def _suspicious(argument: bytes) -> bool:
    """Tell whether a login may have strayed into an argument."""
    rest = _ADDRESSES.sub(b"", argument)
    return (
        _LOGIN.search(rest) is not None
        or _USER_INFORMATION.search(rest) is not None
        or _SPLIT_AUTH.search(rest.translate(None, _NO_LETTERS)) is not None
        or any(_is_response(match[0]) for match in _BASE64.finditer(rest))
    )


def _is_response(token: bytes) -> bool:
    """
    Tell whether base64 hides a response: of PLAIN, text with NULs in it (RFC 4616 §2), or of
    OAUTHBEARER and XOAUTH2, pairs with a token (RFC 7628 §3.1).
    """
    octets = binascii.a2b_base64(token[: len(token) // 4 * 4])
    if b"\x01auth=" in octets.lower():
        return True
    return b"\0" in octets and not _CONTROL_BUT_NUL.search(octets)
