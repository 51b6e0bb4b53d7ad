"""SmtpEventHandler: the interface as a base class, for type checkers and for who likes one."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from zope.interface import implementer

from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._handler import absent
from smtpcb.engine._reason import Reason
from smtpcb.interfaces import (
    AuthenticationVerdict,
    Done,
    ISmtpEventHandler,
    MessageVerdict,
    Secret,
    Verdict,
)
from smtpcb.smtp._command import Command, Introduction, Verb
from smtpcb.smtp.sasl import Credentials

# The docstrings are those of the interface, word for word, for editors to show; a test holds them
# together.


@implementer(ISmtpEventHandler)
class SmtpEventHandler:
    """
    `ISmtpEventHandler` as a base class.

    A method that is not overridden counts as absent: it accepts, and costs nothing.

    :ivar command_mask: the commands that `command` is told of; ``Verb(0)`` is all of them.
    :ivar extensions: EHLO keywords whose parameters the handler honours, such as ``{"DSN"}``.
    :ivar mechanisms: by which mechanisms `authenticate` can decide on logins.
    :ivar concurrent_recipients: whether `rcpt` may be called again before an earlier call has
        answered.
    :ivar discards_content: whether it is meant that there is neither `message` nor `chunk`.
    """

    command_mask: Verb = Verb(0)
    extensions: AbstractSet[str] = frozenset()
    mechanisms: AbstractSet[str] | None = None
    concurrent_recipients: bool = False
    discards_content: bool = False

    @absent
    def connected(self, connection: Connection) -> Verdict:
        """
        A client has connected; it has been told nothing yet (RFC 5321 §3.1).

        :param connection: the same object until `disconnected`; the envelope has it too.
        :return: a yes greets it, 220 with a text in your words.  Any no, whatever its code, is
            sent in place of the greeting and closes.
        """
        return None

    @absent
    def secured(self, tls: TlsInformation, connection: Connection) -> Verdict:
        """
        A TLS handshake has succeeded (RFC 3207), after STARTTLS, or on a port with implicit TLS
        between `connected` and the greeting.

        :param tls: version, cipher, the name the client asked for, its certificate.
        :return: after STARTTLS a no is the answer to every further command but QUIT (RFC 3207
            §4.1); ahead of the greeting it closes.
        """
        return None

    @absent
    def command(self, command: Command, connection: Connection) -> Done:
        """
        A command has come, perhaps one that will be refused, and has not been acted on.

        It is told of those in ``command_mask``.  With ``concurrent_recipients`` it may be called
        while an earlier `rcpt` is open.

        :param command: the verb, and its argument as text.  A secret is never in it: of AUTH it
            has the mechanism only.
        :return: nothing can be refused here.  From ``async def`` or as a Deferred, the command is
            acted on when it is done.
        """
        return None

    @absent
    def hello(self, introduction: Introduction, connection: Connection) -> Verdict:
        """
        HELO or EHLO (RFC 5321 §4.1.1.1), in LMTP LHLO; a yes ends an open transaction.

        :param introduction: ``verb``, and ``name``: what the client calls itself, which nobody
            has checked, and which is no reason to refuse mail (§4.1.4).
        :return: text of yours goes behind the server's name; what it offers follows by itself.
        """
        return None

    @absent
    def stored_secret(self, username: str, mechanism: str, connection: Connection) -> Secret:
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
        return None

    @absent
    def authenticate(
        self, credentials: Credentials, connection: Connection
    ) -> AuthenticationVerdict:
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
        return False

    @absent
    def mail(self, envelope: Envelope) -> Verdict:
        """
        The client begins a mail transaction (RFC 5321 §4.1.1.2).

        :param envelope: has ``reverse_path`` (`ReversePath.NULL` for the ``<>`` of a bounce),
            ``parameters`` of extensions that were offered, checked and typed (``.size`` in
            octets, ``.body``, ``.smtputf8``, ``.auth``, ``.ret``, ``.envid``; ``None``: not
            given), ``id``, and no recipients.
        :return: a no ends the transaction before it has begun; then there is no `aborted`.
        """
        return None

    @absent
    def rcpt(self, recipient: Recipient, envelope: Envelope) -> Verdict:
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
        return None

    @absent
    def data(self, envelope: Envelope) -> Verdict:
        """
        The client wants to send the content: DATA (RFC 5321 §4.1.1.4), or the first BDAT (RFC
        3030).

        :param envelope: its ``recipients`` are complete, at least one.
        :return: a yes asks for the content with 354 (BDAT: 250).  After a no it is not sent, or
            read and thrown away.  A client gives up after 2 minutes (§4.5.3.2.4).
        """
        return None

    @absent
    def header(self, name: str, value: str, envelope: Envelope) -> Verdict:
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
        return None

    @absent
    def chunk(self, octets: bytes, envelope: Envelope) -> Verdict:
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
        return None

    @absent
    def message(self, envelope: Envelope) -> MessageVerdict:
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
        return None

    @absent
    def verify(self, text: str, connection: Connection) -> Verdict:
        """
        VRFY: is there such a mailbox (RFC 5321 §3.5)?

        :param text: a mailbox, or a user's name.
        :return: a plain yes is 252, neither confirmed nor denied; 250 with a text is what you
            know.
        """
        return None

    @absent
    def expand(self, text: str, connection: Connection) -> Verdict:
        """
        EXPN: who is on that list (RFC 5321 §3.5)?  Offered only if you have this.

        :param text: the name of a list.
        :return: ``(250, ("<anne@example.org>", "<bob@example.org>"))``: a line for each member.
        """
        return None

    @absent
    def help(self, text: str, connection: Connection) -> Verdict:
        """
        HELP (RFC 5321 §4.1.1.8).

        :param text: what the client asks about, or ``""``.
        :return: a plain yes names the commands; ``(214, "text")`` says something of yours.
        """
        return None

    @absent
    def etrn(self, domain: str, connection: Connection) -> Verdict:
        """
        ETRN: send what you keep for that domain (RFC 1985).  Offered only if you have this.

        :param domain: or ``@domain`` with its subdomains, or ``#queue``.
        :return: a plain yes is 250: queuing has started.
        """
        return None

    @absent
    def aborted(self, reason: Reason, envelope: Envelope) -> Done:
        """
        The transaction is over, and there will be no `message` for it.

        :param reason: RSET, a new EHLO, too big, refused, the client has gone, …
        :param envelope: as far as it came; it has no content.
        :return: nothing is answered to it.  What follows waits until it is done.
        """
        return None

    @absent
    def disconnected(self, reason: Reason, connection: Connection) -> Done:
        """
        The connection is over: the last call, exactly once, also if `connected` refused.

        :param reason: QUIT, gone, timed out, …
        :return: nothing is answered to it.
        """
        return None
