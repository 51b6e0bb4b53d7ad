"""Every reply we choose ourselves, named, with its rule; readers of words bring theirs along."""

from __future__ import annotations

from smtpcb.smtp._argument import SYNTAX_OF_MAIL, SYNTAX_OF_RCPT
from smtpcb.smtp._command import SYNTAX_OF_HELLO
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl._command import AUTH_SYNTAX

__all__ = ["AUTH_SYNTAX", "SYNTAX_OF_HELLO", "SYNTAX_OF_MAIL", "SYNTAX_OF_RCPT"]

# Accepted: the standard answers when a handler says yes.
SENDER_OK = Reply(250, "Sender ok", status="2.1.0")  # RFC 3463 §3.2
RECIPIENT_OK = Reply(250, "Recipient ok", status="2.1.5")  # RFC 3463 §3.2
MESSAGE_OK = Reply(250, "Message accepted", status="2.0.0")
CHUNK_OK = Reply(250, "Chunk accepted", status="2.0.0")  # RFC 3030 §2
START_MAIL_INPUT = Reply(
    354, "Start mail input, end with <CRLF>.<CRLF>", status=None
)  # RFC 5321 §4.3.2
OK = Reply(250, "OK", status="2.0.0")
BYE = Reply(221, "Closing connection", status="2.0.0")
READY_FOR_TLS = Reply(220, "Ready to start TLS", status="2.0.0")  # RFC 3207 §4
AUTHENTICATED = Reply(235, "Authentication succeeded", status="2.7.0")  # RFC 4954 §6
CANNOT_VERIFY = Reply(
    252, "Cannot verify, but will take the message and try", status="2.5.0"
)  # RFC 5321 §3.5.3
QUEUING_STARTED = Reply(250, "Queuing started", status="2.0.0")  # RFC 1985 §5.3
_COMMANDS = "MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP"
_COMMAND_OF = {"BDAT": "CHUNKING", "VRFY": "VRFY"}


def help_on(without: frozenset[str], *, lmtp: bool = False) -> Reply:
    """
    Return what HELP says by itself.

    :param without: keywords that are switched off.
    :param lmtp: the client speaks LMTP.
    """
    verbs = " ".join(verb for verb in _COMMANDS.split() if _COMMAND_OF.get(verb, "") not in without)
    hello = "LHLO" if lmtp else "EHLO HELO"
    text = (f"Commands: {hello} {verbs}", f"{hello[:4]} says which others there are")
    return Reply(214, text, status="2.0.0")


HELP = help_on(frozenset())

# Refused by a handler: the standard answers when it says no.
# Neither a greeting nor an answer to EHLO has a status (RFC 2034 §4).
NO_SERVICE = Reply(554, "No service for you", status=None, closes=True)  # RFC 5321 §3.1, §7.8
HELLO_REFUSED = Reply(550, "Refused by policy", status=None)  # RFC 5321 §4.1.4
CERTIFICATE_REQUIRED = Reply(554, "A client certificate is required", status="5.7.0")  # as below
TLS_REFUSED = Reply(554, "Security level not sufficient", status="5.7.0")  # RFC 3207 §4.1
SENDER_REFUSED = Reply(550, "Sender refused", status="5.7.1")  # RFC 3463 §3.8
RECIPIENT_REFUSED = Reply(550, "Recipient refused", status="5.1.1")  # RFC 3463 §3.2
TRANSACTION_REFUSED = Reply(554, "Transaction refused", status="5.7.1")  # RFC 5321 §4.3.2
MESSAGE_REFUSED = Reply(550, "Message refused", status="5.7.1")  # RFC 3463 §3.8
MAILBOX_UNKNOWN = Reply(550, "No such mailbox", status="5.1.1")  # RFC 3463 §3.2
NOTHING_QUEUED = Reply(458, "Unable to queue messages", status="4.3.0")  # RFC 1985 §5.3
NO_HELP = Reply(504, "No help on that", status="5.5.4")  # RFC 5321 §4.3.2

# Command lines.
COMMAND_UNKNOWN = Reply(500, "Command not recognised", status="5.5.2")  # RFC 5321 §4.2.4
COMMAND_UNAVAILABLE = Reply(502, "Command not implemented", status="5.5.1")  # RFC 5321 §4.2.4
LINE_NOT_TEXT = Reply(500, "A command is printable text ended by CRLF", status="5.5.2")  # §2.3.8
LINES_END_IN_CRLF = Reply(500, "Lines end in CRLF", status="5.5.2")  # RFC 5321 §2.3.8
LINE_TOO_LONG = Reply(500, "Line too long", status="5.5.2")  # RFC 5321 §4.5.3.1.9
LINE_ENDLESS = Reply(421, "Line without end, closing connection", status="4.7.0")
NO_ARGUMENT = Reply(501, "This command takes no argument", status="5.5.4")  # RFC 5321 §4.1.1
SYNTAX_OF_BDAT = Reply(501, "Syntax: BDAT octets [LAST]", status="5.5.4")  # RFC 3030 §2
SYNTAX_OF_VRFY = Reply(501, "An argument is needed", status="5.5.4")
# RFC 6531 §3.5: one code for the sender, another for a recipient.
SENDER_NEEDS_UTF8 = Reply(550, "Address needs SMTPUTF8", status="5.6.7")
RECIPIENT_NEEDS_UTF8 = Reply(553, "Address needs SMTPUTF8", status="5.6.7")
# RFC 2033 §4.1: neither of the two protocols says yes to the other one's greeting.
THIS_IS_LMTP = Reply(500, "This is LMTP: send LHLO", status="5.5.1")
THIS_IS_SMTP = Reply(500, "LHLO is for LMTP, this is SMTP: send EHLO", status="5.5.1")
NOT_SMTP = Reply(554, "This is SMTP, not HTTP", status="5.5.1", closes=True)  # RFC 5321 §7.8

# What a policy wants first: RFC 3207 §4, RFC 4954 §6.
TLS_FIRST = Reply(530, "Must issue a STARTTLS command first", status="5.7.0")
AUTH_FIRST = Reply(530, "Authentication required", status="5.7.0")

# Sequence: RFC 5321 §4.1.4.
HELLO_FIRST = Reply(503, "Send EHLO first", status="5.5.1")
LHLO_FIRST = Reply(503, "Send LHLO first", status="5.5.1")
MAIL_FIRST = Reply(503, "Send MAIL first", status="5.5.1")
RECIPIENT_FIRST = Reply(503, "No valid recipient yet", status="5.5.1")
MAIL_TWICE = Reply(503, "Sender already given", status="5.5.1")
CHUNKS_BEGUN = Reply(503, "Go on with BDAT or send RSET", status="5.5.1")  # RFC 3030 §2
BINARY_BY_BDAT = Reply(503, "BODY=BINARYMIME is sent by BDAT", status="5.5.1")  # RFC 3030 §3
NOT_IN_TRANSACTION = Reply(503, "Not within a mail transaction", status="5.5.1")  # RFC 4954 §4

# STARTTLS: RFC 3207.
TLS_UNAVAILABLE = Reply(502, "TLS is not available", status="5.5.1")
TLS_ALREADY = Reply(503, "TLS is already active", status="5.5.1")
DATA_BEHIND_STARTTLS = Reply(554, "Data behind STARTTLS", status="5.5.1", closes=True)  # §4.2

# AUTH: RFC 4954 §4 and §6.
AUTH_UNAVAILABLE = Reply(502, "Authentication is not available", status="5.5.1")
AUTH_NEEDS_TLS = Reply(538, "Encryption required for authentication", status="5.7.11")
AUTH_ALREADY = Reply(503, "Already authenticated", status="5.5.1")
AUTH_MECHANISM_UNKNOWN = Reply(504, "Mechanism not available", status="5.5.4")
AUTH_CANCELLED = Reply(501, "Authentication cancelled", status="5.7.0")
AUTH_TOO_LONG = Reply(500, "Response too long", status="5.5.6")
AUTH_LATER = Reply(454, "Too many failed logins from your address, try again later", status="4.7.0")
AUTH_REFUSED = Reply(535, "Authentication credentials invalid", status="5.7.8")

# Limits: RFC 5321 §4.5.3.1.9, §4.5.3.1.10, RFC 1870 §6.
TOO_MANY_RECIPIENTS = Reply(452, "Too many recipients", status="4.5.3")
MESSAGE_TOO_BIG = Reply(552, "Message too big", status="5.3.4")
DELIVERY_TOO_SOON = Reply(555, "Cannot deliver so soon", status="5.5.4")  # RFC 2852 §4
HELD_TOO_LONG = Reply(501, "Cannot hold it for so long", status="5.5.4")  # RFC 4865 §4
BARE_NEWLINE = Reply(
    550, "Bare CR or LF in the message: lines end in CRLF", status="5.6.11"
)  # RFC 5321 §2.3.8
NO_STORAGE = Reply(452, "Not enough storage, try again later", status="4.3.1")  # RFC 3463 §3.4
TOO_MANY_CONNECTIONS = Reply(421, "Too many connections, try again later", status="4.7.0")
TOO_MANY_FAILED_LOGINS = Reply(421, "Too many failed logins, try again later", status="4.7.0")
# In place of a greeting, where no status stands (RFC 2034 §4).
SPOKE_TOO_EARLY = Reply(
    554, "You spoke before the greeting", status=None, closes=True
)  # RFC 5321 §3.1, §4.3.1

# Time and shutdown: RFC 5321 §3.8, §4.5.3.2.
TIMED_OUT = Reply(421, "Timed out waiting for you", status="4.4.2")
TIMED_OUT_BY_LINE_END = Reply(421, "Timed out: lines end in CRLF, not in LF or CR", status="4.4.2")
TOO_SLOW = Reply(421, "Message comes too slowly", status="4.4.2")
TOO_SLOW_BY_LF = Reply(
    421, "No end of the message: lines end in CRLF, the last too", status="4.4.2"
)
SESSION_TOO_LONG = Reply(421, "Session too long", status="4.4.2")
SHUTTING_DOWN = Reply(421, "Service shutting down", status="4.3.2")


def timed_out(*, lone_newline: bool) -> Reply:
    """
    Return the end of a session in which the client has said nothing for too long.

    :param lone_newline: it has said something, in lines that end in LF or CR alone.
    """
    return TIMED_OUT_BY_LINE_END if lone_newline else TIMED_OUT


def too_slow(*, lone_lf: bool) -> Reply:
    """
    Return the end of a session in which a message has not come in time.

    :param lone_lf: a CR or LF stands alone in it: its end may have come in that form.
    """
    return TOO_SLOW_BY_LF if lone_lf else TOO_SLOW


def exhausted(what: str) -> Reply:
    """Return the end of a session whose `Budget` is used up (RFC 5321 §3.8, §7.8)."""
    return Reply(421, f"{what}, closing connection", status="4.7.0")


def incident(number: str) -> Reply:
    """Return what a client hears of a fault in user code: nothing but where to find it."""
    return Reply(451, f"Local error in processing (incident {number})", status="4.3.0")
