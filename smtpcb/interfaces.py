"""What your objects may provide, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any

from zope.interface import Attribute, Interface

from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._reason import Reason
from smtpcb.smtp._command import Command, Introduction
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Authenticated, Credentials, ScramSecret

__all__ = [
    "Answer",
    "AuthenticationAnswer",
    "AuthenticationVerdict",
    "Done",
    "IAuthenticator",
    "IReadyMadeHandler",
    "ISecretKeeper",
    "ISmtpEventHandler",
    "ISmtpHandlerFactory",
    "ISmtpHandlerPlugin",
    "ISmtpHandlerSetting",
    "ISmtpPolicyPlugin",
    "MessageAnswer",
    "MessageVerdict",
    "Secret",
    "SecretAnswer",
    "Verdict",
]

# A str is an iterable of str: the text is one string, or one a line.
Answer = (
    None | bool | int | Reply | tuple[int, Iterable[str]] | tuple[int, str | None, Iterable[str]]
)
"""
A decision: ``None`` or ``True`` (yes, in the standard words of that command), ``False`` (no, in
its standard words), ``550``, ``(550, "text")``, ``(550, "5.1.1", "text")`` or a `Reply`.  A text
may be one string, or one a line.  4yz asks the client to try again later, 5yz refuses for good; a
positive code has to fit the command.
"""

Verdict = Answer | Awaitable[Answer]
"""An `Answer`, now or later: from ``def``, ``async def``, or as a Deferred."""

MessageAnswer = Answer | Mapping[str, Any] | Mapping[Recipient, Any]
"""
An `Answer` for all recipients, or a mapping with one for each: from the `Recipient`, or from its
address, to an `Answer` or to what was raised for it.
"""

MessageVerdict = MessageAnswer | Awaitable[MessageAnswer]
"""A `MessageAnswer`, now or later."""

Done = None | Awaitable[None]
"""Nothing; from ``async def`` or as a Deferred it makes the client wait."""

AuthenticationAnswer = (
    bool
    | int
    | Reply
    | Authenticated
    | tuple[int, Iterable[str]]
    | tuple[int, str | None, Iterable[str]]
)
"""An `Answer` or an `Authenticated`, but never ``None``."""

AuthenticationVerdict = AuthenticationAnswer | Awaitable[AuthenticationAnswer]
"""An `AuthenticationAnswer`, now or later."""


SecretAnswer = (
    None
    | str
    | bytes
    | ScramSecret
    | int
    | Reply
    | tuple[int, Iterable[str]]
    | tuple[int, str | None, Iterable[str]]
)
"""What is stored for a user, ``None`` for nobody, or a refusal."""

Secret = SecretAnswer | Awaitable[SecretAnswer]
"""A `SecretAnswer`, now or later."""


class ISmtpHandlerFactory(Interface):
    """
    Makes the handler of each connection.

    A class, an instance, what `callbacks` or `threaded` return, any callable: the server makes it
    of all of them, so that hardly anybody has to provide it.
    """

    def __call__(connection: Connection) -> object:
        """
        Return the handler of a new connection, with some methods of `ISmtpEventHandler`.

        It is called before anything is said, in the reactor's thread, and answers at once: it
        cannot be ``async def``.  One object may be the handler of many connections.

        :param connection: of which nothing is known yet but its addresses, ``id`` and
            ``started``.
        :raises Exception: the client is told 421, and the connection is closed; so it is if what
            was returned takes no mail.
        """


class ISmtpEventHandler(Interface):
    """
    What happens on one connection, in order; all but `message` or `chunk` may be left out.

    What is absent accepts.  Only who takes the mail must be there, or ``discards_content =
    True``. What happened comes first, and the last argument is always whose it is: the
    connection, or the envelope of the transaction, which has the connection.

    Calls never overlap on a connection, unless ``concurrent_recipients`` is set.  `connected` is
    first; `disconnected` is last and comes exactly once.  Each accepted `mail` is followed by one
    `message` or one `aborted`.

    Each method may be ``def``, ``async def``, or return a Deferred.  The client waits for the
    answer, at most ``decision_seconds`` (300 by default), for that of `message`
    ``message_seconds`` (600).  An exception other than `Refusal`, an answer that is none, or none
    in time: the client is told 451 4.3.0 with the number of an incident, which stands in the log
    beside the traceback, and the session goes on.  Raising a `Refusal` is the same as returning
    what it carries.

    When the client leaves, a running answer is cancelled, except that of `message`: the content
    is complete, so it runs to its end.  Only a server that stops, and has waited for
    ``grace_seconds``, cancels that too.
    """

    command_mask = Attribute(
        "The commands that `command` is told of, as a `Verb`: ``Verb.MAIL | Verb.RCPT``; "
        "``Verb(0)``, the default, is all of them."
    )
    extensions = Attribute(
        "EHLO keywords whose parameters the handler honours, such as ``{'DSN'}``; they are then "
        "offered (none by default)."
    )
    mechanisms = Attribute(
        "By which mechanisms `authenticate` can decide on logins, such as ``{'PLAIN', "
        "'XOAUTH2'}``.  ``None``, the default: PLAIN and LOGIN, and with `stored_secret` CRAM-MD5 "
        "and SCRAM-SHA-256.  Those of tokens and certificates have to be named."
    )
    concurrent_recipients = Attribute(
        "Whether `rcpt` may be called again before an earlier call has answered; replies keep "
        "the order of the commands (False by default)."
    )
    discards_content = Attribute(
        "Whether it is meant that there is neither `message` nor `chunk`, and all accepted mail is "
        "thrown away (False by default: such a handler does not start)."
    )

    def connected(connection: Connection) -> Verdict:
        """
        A client has connected; it has been told nothing yet (RFC 5321 §3.1).

        :param connection: the same object until `disconnected`; the envelope has it too.
        :return: a yes greets it, 220 with a text in your words.  Any no, whatever its code, is
            sent in place of the greeting and closes.
        """

    def secured(tls: TlsInformation, connection: Connection) -> Verdict:
        """
        A TLS handshake has succeeded (RFC 3207), after STARTTLS, or on a port with implicit TLS
        between `connected` and the greeting.

        :param tls: version, cipher, the name the client asked for, its certificate.
        :return: after STARTTLS a no is the answer to every further command but QUIT (RFC 3207
            §4.1); ahead of the greeting it closes.
        """

    def command(command: Command, connection: Connection) -> Done:
        """
        A command has come, perhaps one that will be refused, and has not been acted on.

        It is told of those in ``command_mask``.  With ``concurrent_recipients`` it may be called
        while an earlier `rcpt` is open.

        :param command: the verb, and its argument as text.  A secret is never in it: of AUTH it
            has the mechanism only.
        :return: nothing can be refused here.  From ``async def`` or as a Deferred, the command is
            acted on when it is done.
        """

    def hello(introduction: Introduction, connection: Connection) -> Verdict:
        """
        HELO or EHLO (RFC 5321 §4.1.1.1), in LMTP LHLO; a yes ends an open transaction.

        :param introduction: ``verb``, and ``name``: what the client calls itself, which nobody
            has checked, and which is no reason to refuse mail (§4.1.4).
        :return: text of yours goes behind the server's name; what it offers follows by itself.
        """

    def stored_secret(username: str, mechanism: str, connection: Connection) -> Secret:
        """
        What is stored for a user is wanted (RFC 5802, RFC 2195): the client proves that it knows
        the password, and does not send it.

        `authenticate` is asked behind it, with ``credentials.proven``, if the proof was right.
        Who has this is asked by CRAM-MD5 and SCRAM-SHA-256 as well; ``mechanisms`` says if one of
        them cannot be: CRAM-MD5 wants the password itself.

        :param username: whom the client says it is.
        :param mechanism: such as ``"SCRAM-SHA-256"``.
        :return: the password, or for SCRAM a `ScramSecret`; ``None``: nobody is known by that
            name, which the client cannot tell from a wrong password; where others have a
            `ScramSecret`, say `ScramSecret.imaginary` instead.  A no of your own refuses the
            login; 4yz (454 4.7.0) asks to try again later.
        """

    def authenticate(credentials: Credentials, connection: Connection) -> AuthenticationVerdict:
        """
        Somebody wants to log in (RFC 4954); AUTH is offered only if you have this.

        It is not called where the server was given an authenticator of its own.

        :param credentials: ``username``, ``password`` (in no repr, log or transcript),
            ``authorization_id`` (whom they want to act as, RFC 4616 §2; ``""``: themselves).
            With ``proven`` there is no password: the mechanism has seen the proof, and
            ``mechanism`` says which.  ``token`` is what OAuth has in place of one.
        :return: True, an `Authenticated`, or 235 lets them in, and ``connection.identity`` is
            then the user's name, or what `Authenticated` says.  False is 535, a no of your own is
            that; 4yz (454 4.7.0) asks to try again later.  ``None`` is no answer but a fault, so
            that a forgotten ``return`` opens no door.
        """

    def mail(envelope: Envelope) -> Verdict:
        """
        The client begins a mail transaction (RFC 5321 §4.1.1.2).

        :param envelope: has ``reverse_path`` (`ReversePath.NULL` for the ``<>`` of a bounce),
            ``parameters`` of extensions that were offered, checked and typed (``.size`` in
            octets, ``.body``, ``.smtputf8``, ``.auth``, ``.ret``, ``.envid``; ``None``: not
            given), ``id``, and no recipients.
        :return: a no ends the transaction before it has begun; then there is no `aborted`.
        """

    def rcpt(recipient: Recipient, envelope: Envelope) -> Verdict:
        """
        The client names one more recipient (RFC 5321 §4.1.1.3).

        Calls never overlap on a connection unless ``concurrent_recipients`` is set.

        :param recipient: ``forward_path`` with ``local_part`` and ``domain`` (``""`` for
            ``<Postmaster>``, which has to be accepted, §4.5.1: ``is_postmaster``); ``parameters``
            checked and typed (``.notify``, ``.orcpt``).
        :param envelope: the transaction so far, without this recipient.
        :return: a no refuses this recipient only; False is 550 5.1.1.  A client gives up after 5
            minutes (§4.5.3.2.3).
        """

    def data(envelope: Envelope) -> Verdict:
        """
        The client wants to send the content: DATA (RFC 5321 §4.1.1.4), or the first BDAT (RFC
        3030).

        :param envelope: its ``recipients`` are complete, at least one.
        :return: a yes asks for the content with 354 (BDAT: 250).  After a no it is not sent, or
            read and thrown away.  A client gives up after 2 minutes (§4.5.3.2.4).
        """

    def header(name: str, value: str, envelope: Envelope) -> Verdict:
        """
        One header field has arrived, unfolded (RFC 5322 §2.2).

        It is called in the order of the fields, before the `chunk` that completes the field, with
        or without `chunk`; for at most ``header_octets`` octets of a header section.

        :param name: as the client wrote it.
        :param value: without the line ends; it may hold other control characters, and octets that
            are no UTF-8 as surrogate escapes.
        :return: ``None`` or ``True`` goes on.  A no refuses the message: the rest is read and
            thrown away, then the client hears it, and `aborted` is called in place of `message`.
        """

    def chunk(octets: bytes, envelope: Envelope) -> Verdict:
        """
        A piece of the content, cut anywhere: dots unstuffed, lines ending in CRLF (BDAT: as it
        came).

        A handler with this method takes the content as it comes, and nothing is kept: it has no
        ``envelope.content``.

        :param octets: at least one.
        :param envelope: ``size_octets`` counts what has arrived, these included.
        :return: as for `header`.  The client is read no further until a Deferred has fired, so
            that a slow disk never fills the memory.
        """

    def message(envelope: Envelope) -> MessageVerdict:
        """
        The content is complete (RFC 5321 §4.1.1.4).

        :param envelope: unless you have `chunk`, ``content`` has all of it, for as long as
            somebody holds it: ``.bytes()``, ``.open()``, ``.pieces()``, ``.save(path)``,
            ``.mime()``, ``await .parsed()``.  ``id`` names the transaction, and no other ever has
            the same.
        :return: the final answer, for all recipients.  With a yes the message is yours (§6.1):
            the client forgets it.  A client gives up after 10 minutes (§4.5.3.2.6).  Or a mapping,
            with an answer for each recipient, by itself or by its address: LMTP says each (RFC
            2033 §4.2).  SMTP cannot: where some are a yes and some are not, it says 451.
        """

    def verify(text: str, connection: Connection) -> Verdict:
        """
        VRFY: is there such a mailbox (RFC 5321 §3.5)?

        :param text: a mailbox, or a user's name.
        :return: a plain yes is 252, neither confirmed nor denied; 250 with a text is what you
            know.
        """

    def expand(text: str, connection: Connection) -> Verdict:
        """
        EXPN: who is on that list (RFC 5321 §3.5)?  Offered only if you have this.

        :param text: the name of a list.
        :return: ``(250, ("<anne@example.org>", "<bob@example.org>"))``: a line for each member.
        """

    def help(text: str, connection: Connection) -> Verdict:
        """
        HELP (RFC 5321 §4.1.1.8).

        :param text: what the client asks about, or ``""``.
        :return: a plain yes names the commands; ``(214, "text")`` says something of yours.
        """

    def etrn(domain: str, connection: Connection) -> Verdict:
        """
        ETRN: send what you keep for that domain (RFC 1985).  Offered only if you have this.

        :param domain: or ``@domain`` with its subdomains, or ``#queue``.
        :return: a plain yes is 250: queuing has started.
        """

    def aborted(reason: Reason, envelope: Envelope) -> Done:
        """
        The transaction is over, and there will be no `message` for it.

        :param reason: RSET, a new EHLO, too big, refused, the client has gone, …
        :param envelope: as far as it came; it has no content.
        :return: nothing is answered to it.  What follows waits until it is done.
        """

    def disconnected(reason: Reason, connection: Connection) -> Done:
        """
        The connection is over: the last call, exactly once, also if `connected` refused.

        :param reason: QUIT, gone, timed out, …
        :return: nothing is answered to it.
        """


class IAuthenticator(Interface):
    """Knows who may log in, for all handlers; a handler with this method needs no other one."""

    def authenticate(credentials: Credentials, connection: Connection) -> AuthenticationVerdict:
        """
        Somebody wants to log in; see `ISmtpEventHandler.authenticate`.

        One that takes only the credentials will do too.
        """


class ISecretKeeper(IAuthenticator):
    """Decides on logins, also where the client proves that it knows the password."""

    mechanisms = Attribute("See `ISmtpEventHandler`.")

    def stored_secret(username: str, mechanism: str, connection: Connection) -> Secret:
        """
        What is stored for a user is wanted; see `ISmtpEventHandler.stored_secret`.

        One that takes only the name and the mechanism will do too.
        """


class ISmtpHandlerSetting(Interface):
    """What the server that runs a ready-made handler lends it: see `ISmtpHandlerPlugin`."""

    reactor = Attribute("The reactor, for time and threads.")
    state = Attribute(
        "Path of the folder where the server keeps things (``--state``), absolute.  It may not be "
        "there yet: see `make_state`."
    )
    owners = Attribute(
        "The numbers of the users whose files may be trusted, a frozenset: root, and who the "
        "process will be when it runs.  While `IReadyMadeHandler.check` is called it may still be "
        "root."
    )

    def make_state() -> None:
        """
        Make the state folder, mode 0700, if it is not there.

        Call it before you make something below it, in ``startService`` or later and in any
        thread: before that the process may be root, which touches nothing there.  It blocks.

        :raises OSError: it cannot be made, belongs to somebody else, or others may write there.
        """


class ISmtpHandlerPlugin(Interface):
    """
    A named handler for ``--handler NAME[:ARGUMENT]``.

    It is found as Twisted's plugins are: a module of the package ``twisted.plugins`` has an
    instance that provides this and `twisted.plugin.IPlugin`.  Those that come with smtpcb stand
    in `smtpcb.handlers.READY_MADE` and have nothing that yours cannot have.
    """

    name = Attribute("What stands before the colon, such as ``capture``.")
    usage = Attribute("How to write it, for ``--help-handlers``: ``capture[:FOLDER]``.  Optional.")
    help = Attribute("One line for ``--help-handlers``.")

    def make(argument: str, setting: ISmtpHandlerSetting) -> object:
        """
        Return what is adaptable to `ISmtpHandlerFactory`, and may provide `IReadyMadeHandler`.

        It is called in every process, also for ``--check``, before the settings are known to be
        good, and perhaps as root.  So it changes nothing, neither on disk nor elsewhere: that is
        for ``startService``.

        :param argument: what stands behind the colon, or ``""``.
        :raises ValueError: the argument is wrong; the text says why, in one line.
        """


class ISmtpPolicyPlugin(Interface):
    """
    A named policy for ``--policy NAME[:ARGUMENT]``; see `smtpcb.around`.

    It is found as `ISmtpHandlerPlugin` is.  Those that come with smtpcb stand in
    `smtpcb.policies.POLICIES` and have nothing that yours cannot have.
    """

    name = Attribute("What stands before the colon, such as ``local-domains``.")
    usage = Attribute("How to write it, for ``--help-policies``: ``rate:messages=N``.  Optional.")
    help = Attribute("One line for ``--help-policies``.")

    def make(argument: str, setting: ISmtpHandlerSetting) -> object:
        """
        Return a policy: what has some of the events of `ISmtpEventHandler`, or makes that.

        As with `ISmtpHandlerPlugin.make` nothing is changed here.  If it provides
        `twisted.application.service.IService`, it starts and stops with the server; `OSError` and
        `ValueError` from ``startService`` end the start with one line.  If it has ``warnings``, a
        sequence of lines that say what is dangerous about it as it was made, each is shown by
        ``--check`` and at each start.

        :param argument: what stands behind the colon, or ``""``.
        :raises ValueError: the argument is wrong; the text says why, in one line.
        """


class IReadyMadeHandler(Interface):
    """
    What a handler may say of itself, so that the server around it fits.

    The server asks whatever ``--handler`` names whether it provides this; one that does has all
    of it.  What the user has set stands before what a handler would like.

    If it provides `twisted.application.service.IService` as well, ``startService`` is called
    when the process has given up the rights of root and before the first client is served.
    `OSError` and `ValueError` from there end the start with one line.  ``stopService`` is called
    when the last client is gone; the process waits for the Deferred that it returns, which must
    not take for ever.
    """

    lenient_addresses = Attribute("Whether addresses that break the rules a little are taken.")
    bare_newline = Attribute(
        "What becomes of a message with a CR or LF alone: ``refuse`` or ``normalize``."
    )
    transcripts = Attribute("Whether every connection is recorded below the state folder.")
    takes_any_login = Attribute(
        "Whether it lets anybody log in.  On ports of this machine alone passwords are then taken "
        "outside TLS as well: there is nothing to protect."
    )
    folders = Attribute(
        "Paths that it writes below, a sequence.  Where the process starts as root and becomes "
        "somebody else, root makes those that are missing for them, but for those below the "
        "state folder."
    )
    report = Attribute("Lines for the start's report, a sequence: ``messages: /var/mail/new``.")

    def check() -> Sequence[str]:
        """
        Look whether it can work, and change nothing, on disk or elsewhere.

        :return: warnings, each one line; they are shown by ``--check`` and at each start.
        :raises OSError: it cannot work.
        :raises ValueError: the same; the text is one line.
        """
