"""Every reply we choose ourselves, named, with its rule."""

from __future__ import annotations

from smtpcb.smtp._reply import Reply

# Accepted: the standard answers when a handler says yes.
SENDER_OK = Reply(250, "2.1.0", "Sender ok")  # RFC 3463 §3.2
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient ok")  # RFC 3463 §3.2
MESSAGE_OK = Reply(250, "2.0.0", "Message accepted")
CHUNK_OK = Reply(250, "2.0.0", "Chunk accepted")  # RFC 3030 §2
START_MAIL_INPUT = Reply(354, None, "Start mail input, end with <CRLF>.<CRLF>")  # RFC 5321 §4.3.2
OK = Reply(250, "2.0.0", "OK")
BYE = Reply(221, "2.0.0", "Closing connection")
READY_FOR_TLS = Reply(220, "2.0.0", "Ready to start TLS")  # RFC 3207 §4
AUTHENTICATED = Reply(235, "2.7.0", "Authentication succeeded")  # RFC 4954 §6
CANNOT_VERIFY = Reply(
    252, "2.5.0", "Cannot verify, but will take the message and try"
)  # RFC 5321 §3.5.3
QUEUING_STARTED = Reply(250, "2.0.0", "Queuing started")  # RFC 1985 §5.3
HELP = Reply(
    214,
    "2.0.0",
    (
        "Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP",
        "EHLO says which others there are",
    ),
)

# Refused by a handler: the standard answers when it says no.
# Neither a greeting nor an answer to EHLO has a status (RFC 2034 §4).
NO_SERVICE = Reply(554, None, "No service for you", closes=True)  # RFC 5321 §3.1, §7.8
HELLO_REFUSED = Reply(550, None, "Refused by policy")  # RFC 5321 §4.1.4
TLS_REFUSED = Reply(554, "5.7.0", "Security level not sufficient")  # RFC 3207 §4.1
SENDER_REFUSED = Reply(550, "5.7.1", "Sender refused")  # RFC 3463 §3.8
RECIPIENT_REFUSED = Reply(550, "5.7.1", "Recipient refused")  # RFC 3463 §3.8
TRANSACTION_REFUSED = Reply(554, "5.7.1", "Transaction refused")  # RFC 5321 §4.3.2
MESSAGE_REFUSED = Reply(550, "5.7.1", "Message refused")  # RFC 3463 §3.8
MAILBOX_UNKNOWN = Reply(550, "5.1.1", "No such mailbox")  # RFC 3463 §3.2
NOTHING_QUEUED = Reply(458, "4.3.0", "Unable to queue messages")  # RFC 1985 §5.3
NO_HELP = Reply(504, "5.5.4", "No help on that")  # RFC 5321 §4.3.2

# Command lines.
COMMAND_UNKNOWN = Reply(500, "5.5.2", "Command not recognised")  # RFC 5321 §4.2.4
COMMAND_UNAVAILABLE = Reply(502, "5.5.1", "Command not implemented")  # RFC 5321 §4.2.4
LINE_NOT_TEXT = Reply(500, "5.5.2", "A command is printable text ended by CRLF")  # §2.3.8
LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long")  # RFC 5321 §4.5.3.1.9
LINE_ENDLESS = Reply(421, "4.7.0", "Line without end, closing connection")
NO_ARGUMENT = Reply(501, "5.5.4", "This command takes no argument")  # RFC 5321 §4.1.1
SYNTAX_OF_HELLO = Reply(501, "5.5.4", "Say who you are: a domain or an address literal")
SYNTAX_OF_MAIL = Reply(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]")
SYNTAX_OF_RCPT = Reply(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]")
SYNTAX_OF_BDAT = Reply(501, "5.5.4", "Syntax: BDAT octets [LAST]")  # RFC 3030 §2
SYNTAX_OF_VRFY = Reply(501, "5.5.4", "An argument is needed")
UTF8_NOT_DECLARED = Reply(553, "5.6.7", "Address needs SMTPUTF8")  # RFC 6531 §3.5
NOT_SMTP = Reply(554, "5.5.1", "This is SMTP, not HTTP", closes=True)  # RFC 5321 §7.8

# What a policy wants first: RFC 3207 §4, RFC 4954 §6.
TLS_FIRST = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
AUTH_FIRST = Reply(530, "5.7.0", "Authentication required")

# Sequence: RFC 5321 §4.1.4.
HELLO_FIRST = Reply(503, "5.5.1", "Send EHLO first")
MAIL_FIRST = Reply(503, "5.5.1", "Send MAIL first")
RECIPIENT_FIRST = Reply(503, "5.5.1", "No valid recipient yet")
MAIL_TWICE = Reply(503, "5.5.1", "Sender already given")
CHUNKS_BEGUN = Reply(503, "5.5.1", "Go on with BDAT or send RSET")  # RFC 3030 §2
CHUNK_FAILED = Reply(503, "5.5.1", "An earlier chunk was refused")  # RFC 3030 §4.2
BAD_SEQUENCE = Reply(503, "5.5.1", "Bad sequence of commands")
NOT_IN_TRANSACTION = Reply(503, "5.5.1", "Not within a mail transaction")  # RFC 4954 §4

# STARTTLS: RFC 3207.
TLS_UNAVAILABLE = Reply(502, "5.5.1", "TLS is not available")
TLS_ALREADY = Reply(503, "5.5.1", "TLS is already active")
DATA_BEHIND_STARTTLS = Reply(554, "5.5.1", "Data behind STARTTLS", closes=True)  # §4.2

# AUTH: RFC 4954 §4 and §6.
AUTH_UNAVAILABLE = Reply(502, "5.5.1", "Authentication is not available")
AUTH_NEEDS_TLS = Reply(538, "5.7.11", "Encryption required for authentication")
AUTH_ALREADY = Reply(503, "5.5.1", "Already authenticated")
AUTH_SYNTAX = Reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
AUTH_MECHANISM_UNKNOWN = Reply(504, "5.5.4", "Mechanism not available")
AUTH_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
AUTH_TOO_LONG = Reply(500, "5.5.6", "Response too long")
AUTH_REFUSED = Reply(535, "5.7.8", "Authentication credentials invalid")

# Limits: RFC 5321 §4.5.3.1.9, §4.5.3.1.10, RFC 1870 §6.
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")
MESSAGE_TOO_BIG = Reply(552, "5.3.4", "Message too big")
BARE_NEWLINE = Reply(550, "5.6.11", "Bare CR or LF in the message")  # RFC 5321 §2.3.8
NO_STORAGE = Reply(452, "4.3.1", "Not enough storage, try again later")  # RFC 3463 §3.4
TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections, try again later")

# Time and shutdown: RFC 5321 §3.8, §4.5.3.2.
TIMED_OUT = Reply(421, "4.4.2", "Timed out waiting for you")
TOO_SLOW = Reply(421, "4.4.2", "Message comes too slowly")
SESSION_TOO_LONG = Reply(421, "4.4.2", "Session too long")
SHUTTING_DOWN = Reply(421, "4.3.2", "Service shutting down")


def exhausted(what: str) -> Reply:
    """Return the end of a session whose `Budget` is used up (RFC 5321 §3.8, §7.8)."""
    return Reply(421, "4.7.0", f"{what}, closing connection")


def incident(number: str) -> Reply:
    """Return what a client hears of a fault in user code: nothing but where to find it."""
    return Reply(451, "4.3.0", f"Local error in processing (incident {number})")
