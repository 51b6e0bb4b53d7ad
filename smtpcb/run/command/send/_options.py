"""The options of ``smtpcb send``, as they are written."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Any

from smtpcb.run.command._arguments import Arguments
from smtpcb.smtp._dsn import read_notify
from smtpcb.smtp.sasl import MECHANISMS

_STATUS = f"""
exit status: 0 delivered to all; {os.EX_USAGE} an option is wrong; {os.EX_DATAERR} the message \
cannot be sent; {os.EX_NOINPUT} a file cannot be read; {os.EX_UNAVAILABLE} refused for good; \
{os.EX_TEMPFAIL} not delivered for now, or it is not known, or there is no server; \
{os.EX_PROTOCOL} TLS failed or the server broke a rule; {os.EX_NOPERM} the login was refused
"""


class _Arguments(Arguments):
    mistake = os.EX_USAGE


class _OnCommandLine(argparse.Action):
    """Refuse a password that stands where everybody on the machine can read it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser.error("everybody on this machine can read a command line: say --password-file FILE")


def parser() -> Arguments:
    """Return what reads them."""
    made = _Arguments(
        prog="smtpcb send",
        description="Send one message.  It is put together of --subject, --body and --attach, or "
        "FILE has all of it.",
        epilog=_STATUS,
        allow_abbrev=False,
    )
    _message(made)
    _connection(made)
    _login(made)
    _watching(made)
    return made


def _message(made: Arguments) -> None:
    group = made.add_argument_group("the message")
    add = group.add_argument
    add("file", metavar="FILE", nargs="?", help="a whole message; - is standard input")
    add("--from", dest="sender", metavar="ADDRESS", help="by default Sender or From of FILE")
    several: Any = {"metavar": "ADDRESS", "action": "append", "default": []}
    add("--to", help="several with commas; by default To, Cc and Bcc of FILE", **several)
    add("--cc", **several)
    add("--bcc", help="gets it, and is named nowhere in it", **several)
    add("--subject", metavar="TEXT", help="in place of that of FILE")
    add(
        "--header",
        dest="headers",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="a header field, in place of those of FILE",
    )
    add("--body", metavar="TEXT")
    add("--attach", metavar="FILE", type=Path, action="append", default=[])
    add(
        "--notify",
        metavar="WHEN",
        type=_notify,
        help="success, failure, delay, several with commas, or never: when servers report on a "
        "recipient (DSN)",
    )
    add(
        "--receipt",
        action="store_true",
        help="ask the program of whoever reads it to say so (Disposition-Notification-To)",
    )
    add("--require-all", action="store_true", help="nobody gets it if one recipient is refused")
    add(
        "--downgrade",
        action="store_true",
        help="write FILE anew in 7 bits for a server that takes nothing else",
    )


def _connection(made: Arguments) -> None:
    add = made.add_argument_group("the connection").add_argument
    add(
        "--server",
        metavar="HOST[:PORT]",
        help="or an endpoint, such as unix:/run/lmtp.sock; or mx:DOMAIN, those that take mail for "
        "a domain, one after the other [default: localhost:25; of another host port 587, or 465 "
        "with --tls implicit, or 24 with --lmtp]",
    )
    add("--lmtp", action="store_true", help="speak LMTP and not SMTP")
    add(
        "--tls",
        choices=["starttls", "opportunistic", "implicit", "off"],
        help="[default: starttls, which is required; towards this machine off, and towards "
        "mx:DOMAIN opportunistic, with any certificate]",
    )
    add("--ca", metavar="FILE", type=Path, help="whose certificates are trusted, and no others")
    add("--tls-hostname", metavar="NAME", help="which the certificate must have [default: HOST]")
    add(
        "--insecure-tls",
        action="store_true",
        help="any certificate will do: whoever is on the way can be the server",
    )
    add("--certificate", metavar="FILE", type=Path, help="that of the client, in PEM")
    add("--key", metavar="FILE", type=Path, help="its key, if it is in a file of its own")
    add("--ehlo", metavar="NAME", help="who we say we are")
    add("--timeout", metavar="SECONDS", type=_seconds, help="for each reply")


def _login(made: Arguments) -> None:
    add = made.add_argument_group("the login").add_argument
    add("--user", metavar="NAME", help="log in; the password is asked for on the terminal")
    add("--password-file", metavar="FILE", help="its first line is it; - is standard input")
    add("--password", action=_OnCommandLine, nargs="?", help=argparse.SUPPRESS)
    add(
        "--auth",
        metavar="MECHANISM",
        type=str.upper,
        choices=list(MECHANISMS),
        help=f"by default what the server likes best; {', '.join(MECHANISMS)}; of OAUTHBEARER and "
        "XOAUTH2 the file has the token",
    )


def _watching(made: Arguments) -> None:
    shown = made.add_argument_group("to watch it")
    shown.add_argument(
        "--transcripts",
        metavar="FOLDER",
        type=Path,
        help="record the dialogue there, as the server does, without any secret",
    )
    add = shown.add_mutually_exclusive_group().add_argument
    add("--monitor", action="store_true", help="the dialogue on stderr, without any secret")
    add(
        "--monitor-headers",
        action="store_true",
        help="the same, and the header section of the message",
    )
    add(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a bar on the terminal, of a message of any size [default: over 1 MiB]",
    )


def _notify(text: str) -> frozenset[str]:
    try:
        return read_notify(text)
    except ValueError:
        words = "success, failure and delay, or never alone"
        raise argparse.ArgumentTypeError(f"{words}, not {text!r:.40}") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"a number of seconds above 0, not {text!r:.40}")
    return seconds
