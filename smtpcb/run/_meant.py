"""What somebody meant who named what is not there: a slip, or the word that another server has."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from smtpcb.handling._names import nearest as _nearest

# What is shorter resembles too much.
SHORTEST = 3


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Meant(NamedTuple):
    """
    What another server's word is called here.

    :ivar option: its name.
    :ivar value: what the value looks like, where it is another one than there.
    """

    option: str
    value: str = ""


# What aiosmtpd, Postfix, Exim, Mailpit, MailHog, MailDev, nodemailer's smtp-server and go-smtp have
# for it, without the words of `_NOISE`.
_ROWS = (
    (
        Meant("listen", "tcp:PORT:interface=ADDRESS"),
        "addr address bind bind-addr bind-address host inet-interfaces interface ip l "
        "listen-address p port ports",
    ),
    (
        Meant("smtps", "tcp:PORT"),
        "implicit-tls secure smtps-port ssl ssl-port tls-port tls-wrappermode wrappermode",
    ),
    (Meant("lmtp", "unix:PATH"), "lmtp-address lmtp-listen lmtp-port lmtp-socket lmtp-unix"),
    (
        Meant("tls-certificate"),
        "cert certificate chain smtpscert ssl-cert tls-cert tls-chain tlscert",
    ),
    (Meant("tls-key"), "key private-key privkey smtpskey ssl-key tls-private-key tlskey"),
    (Meant("tls-pkcs12"), "p12 pfx pkcs12"),
    (Meant("tls-passphrase-file"), "passphrase tls-passphrase"),
    (Meant("tls-client-authorities"), "ca ca-cert client-ca tls-ca"),
    (Meant("no-tls"), "disable-starttls disable-tls hide-starttls no-ssl no-starttls"),
    (Meant("require-tls"), "force-tls require-starttls tls-required"),
    (Meant("require-auth"), "auth-required authentication-required login-required require-login"),
    (
        Meant("proxy-from", "NETWORK"),
        "accept-proxy haproxy proxy-protocol proxyprotocol upstream-proxy-protocol use-proxy",
    ),
    (Meant("xclient-from", "NETWORK"), "authorized-xclient-hosts use-xclient"),
    (Meant("tls-folder"), "certbot letsencrypt sni sni-options tls-dir tls-directory"),
    (
        Meant("policy"),
        "blacklist blocklist dnsbl greylist greylisting mynetworks rbl relay relay-domains "
        "whitelist",
    ),
    (
        Meant("allow-insecure-auth"),
        "allow-plaintext-auth auth-allow-insecure insecure-auth",
    ),
    (Meant("auth", "file:FILE"), "login passwd password passwords sasl-auth user username users"),
    (Meant("hostname"), "domain fqdn me myhostname name server-hostname server-name servername"),
    (Meant("banner"), "greeting ident"),
    (Meant("handler", "python:MODULE.NAME"), "class controller on-message plugin"),
    (
        Meant("handler", "capture:FOLDER"),
        "data-dir database db mail-dir mail-directory mailbox maildir maildir-path outdir output "
        "spool storage",
    ),
    (Meant("transcripts"), "record recordings transcript"),
    (
        Meant("message-octets"),
        "data-size mail-size message message-bytes message-size messagesize s size size-octets",
    ),
    (Meant("recipients"), "rcpt rcpts recipient"),
    (Meant("connections"), "clients concurrency connection sessions"),
    (
        Meant("connections-per-address"),
        "client-connection client-connection-count connections-per-ip per-host",
    ),
    (Meant("command-octets"), "command-size line line-length"),
    (Meant("errors"), "hard-error junk-command"),
    (Meant("free-errors"), "soft-error"),
    (Meant("idle-seconds"), "idle idle-timeout read-timeout socket-timeout timeout"),
    (Meant("handshake-seconds"), "handshake-timeout tls-timeout"),
    (Meant("grace-seconds"), "close-timeout grace shutdown-timeout"),
    (Meant("bare-newline"), "forbid-bare-newline"),
    (Meant("workers"), "processes threads"),
    (Meant("config"), "conf configuration settings"),
)
WORDS: Mapping[str, Meant] = {word: meant for meant, words in _ROWS for word in words.split()}

#: What stands before ``smtpcb`` on the command line.
OF_TWISTD = _words(
    "chroot d daemon daemonize debug gid group log log-file logger logfile n no-daemon nodaemon "
    "nodaemonize o pid-file pidfile prefix profile rundir reactor savestats setgid setuid syslog u "
    "uid umask"
)

# What is said around the word, and says nothing more.
_NOISE = _words("file incoming limit max maximum smtp smtpd")


def plain(name: str) -> str:
    """Return a name as ours are: ``max_size``, ``maxSize`` and ``MAX-SIZE`` become ``max-size``."""
    spread = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name.strip("-"))
    return re.sub(r"[^a-z0-9]+", "-", spread.lower())


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like another, whatever their case, or ``None``."""
    by_plain = {plain(one): one for one in known}
    name = plain(name)
    if len(name) < SHORTEST or not by_plain:
        return None
    found = _nearest(name, by_plain, max(1, len(name) // 4))
    return None if found is None else by_plain[found]


def did_you_mean(meant: str | None) -> str:
    """Return the question, behind a semicolon, or nothing."""
    return "" if meant is None else f"; did you mean {meant}?"


def of_another_server(name: str) -> Meant | None:
    """Return what a word of another server is called here."""
    return WORDS.get(plain(name))


def option_meant(name: str, known: Collection[str]) -> Meant | None:
    """
    Return the option that somebody meant.

    :param name: what they said, with or without dashes before it.
    :param known: the names there are.
    """
    said = plain(name)
    short = "-".join([word for word in said.split("-") if word not in _NOISE])
    for one in (said, short):
        if one in known:
            return Meant(one)
        if one in WORDS and WORDS[one].option in known:
            return WORDS[one]
    found = nearest(name, known)
    return None if found is None else Meant(found)
