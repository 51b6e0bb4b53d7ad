"""What your objects may provide, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from zope.interface import Attribute, Interface

from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._questions import Reason
from smtpcb.smtp._address import ForwardPath, ReversePath
from smtpcb.smtp._command import Command, Introduction
from smtpcb.smtp._parameter import Parameters
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._sasl import Authenticated, Credentials

Answer = None | bool | int | Reply | tuple[int, str] | tuple[int, tuple[str, ...]]
"""
A decision: ``None`` and ``True`` accept with the standard reply, ``False`` refuses with the
standard one for that command, a `Reply` is sent as it is, and a code or ``(code, text)`` is made
one.  A 4yz reply asks the client to try again, a 5yz one refuses for good.
"""

Verdict = Answer | Awaitable[Answer]
"""An `Answer`, now or later: a coroutine or a Deferred will do."""

Done = None | Awaitable[object]
"""Nothing; as a coroutine or a Deferred it makes the client wait."""

AuthenticationAnswer = bool | Reply | Authenticated
AuthenticationVerdict = AuthenticationAnswer | Awaitable[AuthenticationAnswer]


class ISmtpHandlerFactory(Interface):
    """
    Makes the handler of each connection.

    A class, an instance, what `callbacks` or `threaded` return: all of them are adapted to it by
    `smtpcb.handling._factories.handler_factory`.
    """

    def __call__(connection: Connection) -> object:
        """
        Return the handler of a new connection, which may have any of the methods of
        `ISmtpEventHandler`.

        It is called before anything is said.  An exception is answered 421, and so is an object
        that has none of these methods: a handler that somebody forgot to return takes no mail.
        """


class ISmtpEventHandler(Interface):
    """
    What happens on one connection, in order; every method may be left out.

    Calls never overlap on a connection, unless ``concurrent_recipients`` is set.  `connected` is
    first, `disconnected` is last and comes once.  Each accepted `mail` is followed by one
    `message` or one `aborted`.

    An exception other than `Refusal`, an answer that is none, or none within the time limit: the
    client is told 451 and an incident number, which stands in the log beside the traceback, and
    the session goes on.

    When the client leaves, a running answer is cancelled, except that of `message` and of the
    last `chunk` before it: the content is complete, so they run to their end.  Only a server that
    stops, and has waited for ``grace_seconds``, cancels those too.
    """

    command_mask = Attribute(
        "The commands that `command` is told of, as a `Verb`: ``Verb.MAIL | Verb.RCPT``; "
        "``Verb(0)``, the default, is all of them."
    )
    extensions = Attribute(
        "EHLO keywords whose parameters the handler honours, such as ``{'DSN'}``; they are then "
        "offered (none by default)."
    )
    concurrent_recipients = Attribute(
        "Whether `rcpt` may be called again before an earlier call has answered; replies keep "
        "the order of the commands (False by default)."
    )

    def connected(connection: Connection) -> Verdict:
        """
        A client has connected; it has been told nothing yet (RFC 5321 §3.1).

        :return: a yes greets it; 220 greets it in other words; any 4yz or 5yz closes.
        """

    def command(command: Command) -> Done:
        """A command has come, perhaps one that will be refused; it has not been acted on."""

    def hello(introduction: Introduction) -> Verdict:
        """HELO or EHLO (§4.1.1.1); ends an open transaction when it is accepted."""

    def secured(tls: TlsInformation) -> Verdict:
        """
        A TLS handshake has succeeded, after STARTTLS or ahead of the greeting (RFC 3207).

        :return: a no is the answer to every further command but QUIT (RFC 3207 §4.1).
        """

    def mail(reverse_path: ReversePath, parameters: Parameters) -> Verdict:
        """
        The client begins a mail transaction (§4.1.1.2).

        :param reverse_path: `ReversePath.NULL` for the ``<>`` of a bounce.
        :param parameters: those of extensions that were offered, checked and decoded, by keyword:
            ``SIZE`` (octets), ``BODY`` (`BodyType`), ``SMTPUTF8`` (True), ``AUTH``, ``RET``,
            ``ENVID``.
        """

    def rcpt(forward_path: ForwardPath, parameters: Parameters) -> Verdict:
        """
        The client names one more recipient (§4.1.1.3).

        :param parameters: as for `mail`: ``NOTIFY``, ``ORCPT``.
        :return: 5yz refuses this recipient only.  A client gives up after 5 minutes
            (§4.5.3.2.3).
        """

    def data(envelope: Envelope) -> Verdict:
        """
        The client wants to send the content: DATA, or the first BDAT (§4.1.1.4, RFC 3030).

        :return: a yes asks for it with 354.
        """

    def header(name: str, value: str) -> Done:
        """
        One header field has arrived, unfolded (RFC 5322 §2.2).

        It comes before the `chunk` that completes it.  Raising `Refusal` refuses the message.
        """

    def chunk(octets: bytes) -> Done:
        """
        A piece of the content, dots unstuffed; an object with this method keeps no content.

        The client waits until it is done.  Raising `Refusal` refuses the message.
        """

    def message(envelope: Envelope) -> Verdict:
        """
        The content is complete; without `chunk` it is in ``envelope.content``.

        :return: with a yes you take responsibility for the message (§6.1).
        """

    def verify(text: str) -> Verdict:
        """VRFY (§3.5); a yes is 252: neither confirmed nor denied."""

    def expand(text: str) -> Verdict:
        """EXPN (§3.5); offered only if you have it."""

    def help(text: str) -> Verdict:
        """HELP (§4.1.1.8); a yes lists the commands."""

    def turn(domain: str) -> Verdict:
        """ETRN (RFC 1985); offered only if you have it."""

    def aborted(reason: Reason) -> Done:
        """The transaction is over, and there will be no `message`."""

    def disconnected(reason: Reason) -> Done:
        """The connection is over."""


class IAuthenticator(Interface):
    """Knows who may log in.  A handler that has this method needs no other authenticator."""

    def authenticate(credentials: Credentials) -> AuthenticationVerdict:
        """
        Somebody wants to log in (RFC 4954).

        :return: True, an `Authenticated`, or a 235 `Reply` lets them in; False or a 5yz `Reply`
            (535 by default) does not.  ``None`` is no answer: it is treated as a fault, so that a
            forgotten ``return`` opens no door.
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
