"""helo: whether what a client calls itself can be its name."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from zope.interface import implementer

from smtpcb._words import Kind, no_words, one_of, read_words, switch
from smtpcb.engine._connection import Connection
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin, Verdict
from smtpcb.policies._client_policy import AT, ClientPolicy
from smtpcb.policies._clients import network_text
from smtpcb.policies._domains import Domains
from smtpcb.smtp._networks import UNIX, read_address
from smtpcb.smtp._reply import Reply

__all__ = ["HelloChecks", "HelloChecksPlugin"]

LOOPBACK = ("127.0.0.0/8", "::1")
"""What runs on this machine may call itself what it likes."""


class HelloChecks(ClientPolicy):
    """
    Refuses clients whose HELO or EHLO cannot be true; asked at RCPT by default.

    RFC 5321 §4.1.4 lets nobody refuse mail because a name does not lead to the client's address,
    and this asks no DNS.  It looks for what only robots say: a name without a dot, our own name, a
    literal of another address.  Clients that have logged in, and those of this machine, are not
    judged: programs that submit mail seldom know their name.

    :param own: names of ours beside that of the greeting, which no stranger has:
        ``mx.example.org``; ``.example.org`` is all below it as well.
    :param bad: names of others that are known to be wrong, such as ``localhost.localdomain``.
    :param full_names: whether a name has to have a dot, or be an address literal.
    :param at: ``rcpt`` or ``hello``.
    :param exempt: networks that are not judged; by default those of this machine.
    :raises ValueError: one of these is none; the text is one line.
    """

    def __init__(
        self,
        *,
        own: Iterable[str] = (),
        bad: Iterable[str] = (),
        full_names: bool = True,
        at: str = "rcpt",
        exempt: Iterable[str] = (*LOOPBACK, UNIX),
    ) -> None:
        super().__init__(at, exempt)
        self._own = Domains(own)
        self._bad = Domains(bad)
        self._full_names = full_names

    def _judge(self, connection: Connection) -> Verdict:
        return self._judge_name(connection.hello or "", connection)

    def _at_hello(self, introduction: object, connection: Connection) -> Verdict:
        if connection in self._exempt:
            return None
        return self._judge_name(getattr(introduction, "name", ""), connection)

    def _judge_name(self, said: str, connection: Connection) -> Verdict:
        name = said.lower().removesuffix(".")
        if name.startswith("["):
            return None if _is_literal_of(name, connection) else _no("it is not your address")
        if name in self._own or name == connection.hostname.lower():
            return _no("it is ours")
        if name in self._bad:
            return _no("it is nobody's")
        if self._full_names and ("." not in name or _is_bare_address(name)):
            return _no("a full name with a domain, or an address in brackets, is wanted")
        return None


def _no(why: str) -> Reply:
    return Reply(550, "5.7.1", f"Bad name in HELO or EHLO: {why}")


def _is_bare_address(name: str) -> bool:
    return read_address(name) is not None


def _is_literal_of(literal: str, connection: Connection) -> bool:
    inner = literal[1:].removesuffix("]").removeprefix("ipv6:")
    try:
        said = ipaddress.ip_address(inner)
    except ValueError:
        return False
    mapped = getattr(said, "ipv4_mapped", None)
    return (mapped or said) == read_address(connection.peer_address)


@implementer(ISmtpPolicyPlugin)
class HelloChecksPlugin:
    """``--policy helo[:own=NAME][,bad=NAME][,full-names=no][,at=hello][,exempt=NETWORK]``."""

    name = "helo"
    usage = "helo[:own=NAME]"
    help = (
        "Refuses names in HELO that cannot be true: without a dot, own=NAME, bad=NAME, another's "
        "address; at=hello, full-names=no, exempt=NETWORK."
    )

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> HelloChecks:
        """Return a `HelloChecks`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        kinds: dict[str, Kind] = {
            "own": str,
            "bad": str,
            "full-names": switch,
            "at": one_of("rcpt", "hello"),
            "exempt": network_text,
        }
        words, said = read_words(argument, kinds, frozenset({"own", "bad", "exempt"}))
        no_words(words)
        said["at"] = AT[said.get("at", "rcpt")]
        if "exempt" in said:
            said["exempt"] = (*LOOPBACK, UNIX, *said["exempt"])
        return HelloChecks(**said)


plugin = HelloChecksPlugin()
