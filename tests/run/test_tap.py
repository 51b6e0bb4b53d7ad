"""``twistd smtpcb``: what can be said, and that each mistake is one clear line."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest.mock import Mock

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from smtpcb.run._server import ServerService
from smtpcb.run.options import OPTIONS
from smtpcb.run.tap import Options, makeService
from smtpcb.run.workers._supervisor import Supervisor
from smtpcb.tls import self_signed
from tests.certificates import make_identity, write_pem, write_pkcs12
from tests.running import ANY_PORT, TWISTD, Client, run_twistd, running, wait_until

HANDLERS = {
    "good": "class Inbox:\n    def message(self, envelope): pass\n",
    "syntax": "class Inbox:\n    def message(self envelope): pass\n",
    "name": "import os\n\nfor x in nothing:\n    pass\n",
    "inner": "import no_such_module_either\n",
    "leaving": "import sys\nsys.exit('goodbye')\n",
    "wrong": (
        "class NoMethods: pass\n"
        "class Signature:\n    discards_content = True\n    def rcpt(self, address): pass\n"
        "class NoMethod:\n    rcpt = 3\n"
        "class Two:\n    def __init__(self, a, b): pass\n    def message(self, envelope): pass\n"
        "class Extension:\n    extensions = {'NONE'}\n    def message(self, envelope): pass\n"
        "number = 3\n"
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with some handlers and keys in it."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    for name, text in HANDLERS.items():
        Path(f"handler_{name}.py").write_text(text)
    issued = make_identity(["mx.example.org"])
    write_pem(Path("cert.pem"), issued.certificate)
    write_pem(Path("key.pem"), issued.private_key)
    write_pem(Path("other.pem"), ec.generate_private_key(ec.SECP256R1()))
    write_pem(Path("locked.pem"), issued.private_key, passphrase=b"opens")
    write_pkcs12(Path("id.p12"), issued.private_key, issued.certificate, passphrase=b"opens")
    Path("passphrase").write_text("opens\n")
    Path("wrong").write_text("closes\n")
    Path("garbage").write_text("garbage\n")
    Path("bad.toml").write_text("message-octets = \n")
    Path("unknown.toml").write_text("message-octet = 1\n")
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith("handler_"):
            del sys.modules[name]


def service_of(*arguments: str) -> ServerService:
    """Return what these arguments make."""
    options = Options()
    options.parseOptions(list(arguments))
    service = makeService(options)
    assert isinstance(service, ServerService)
    return service


PEM = ("--tls-certificate", "cert.pem")
# What was said, and what the line must say of it.
MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("--tls-certificate", "/dev/zero"), "--tls-certificate /dev/zero: has no end within"),
    (("--config", "/dev/zero"), "/dev/zero: has no end within"),
    (
        (*PEM, "--tls-key", "key.pem", "--tls-passphrase-file", "/dev/zero"),
        "/dev/zero: has no end within",
    ),
    (("--bogus",), "option --bogus not recognized"),
    (("--recipient", "7", "--hostnme", "x"), "--hostnme not recognized; did you mean --hostname?"),
    (("--recipients", "7", "--recipients", "8"), "--recipients is given twice"),
    (("--hostname", "a", "--hostn", "a"), "--hostname is given twice"),
    ((*PEM, *PEM), "/cert.pem is given twice"),
    ((*PEM, "--tls-pkcs12", "a", "--tls-pkcs12", "b"), "--tls-pkcs12 is given twice"),
    (("--config", "unknown.toml", "-c", "unknown.toml"), "--config is given twice"),
    (
        ("--proxy-from", "10.0.0.1/8"),
        "--proxy-from: '10.0.0.1/8' is an address in a network; did you mean 10.0.0.0/8?",
    ),
    (("--xclient-from", "localhost"), "--xclient-from: 'localhost' is no network such as 192.0.2"),
    (("--xforward-from", ""), "--xforward-from: '' is no network such as 192.0.2.0/24"),
    (("--listen", "haproxy:tcp:25"), "--listen: not haproxy: but --proxy-from NETWORK (proxy"),
    (("--smtps", "HAProxy:tcp:25"), "--smtps: not haproxy: but --proxy-from NETWORK (proxy"),
    (
        ("--listen", r"tls:haproxy\:tcp\:25"),
        "--listen: not haproxy: but --proxy-from NETWORK",
    ),
    (("--listen", r"hapr\oxy:tcp:25"), "--listen: not haproxy: but --proxy-from NETWORK"),
    (("--listen", "tcp:25", "--listen", "tcp:25"), "--listen tcp:25 is given twice"),
    (("--listen", "tcp:25", "--smtps", "tcp:25"), "--smtps tcp:25 is given twice"),
    (("--transcript-days", "-1"), "--transcript-days: a number of days is wanted, not '-1'"),
    (("--listen", "tcp:haproxy:25"), "--listen: not haproxy: but --proxy-from NETWORK"),
    (("--no-tls", "--require-tls"), "--no-tls cannot stand beside --require-tls"),
    (
        ("--no-tls", "--require-auth", "--listen", "tcp:0"),
        "--require-auth beside --no-tls needs --allow-insecure-auth",
    ),
    (("--without", "CHUNKNG"), "--without: without names CHUNKNG, which is no keyword; did you m"),
    (
        ("--lmtp", "tcp:0", "--without", "pipelining"),
        "--lmtp: lmtp needs PIPELINING (RFC 2033 §5), ",
    ),
    (("--require-auth", "--without", "auth"), "--require-auth: require_auth needs AUTH, which wi"),
    (
        ("--require-tls", "--without", "starttls", "--listen", "tcp:0"),
        "--require-tls beside --without STARTTLS: nobody could send mail to tcp:0; --smtps is a p",
    ),
    (
        ("--require-auth", "--without", "STARTTLS", "--listen", "tcp:0"),
        "--require-auth beside --without STARTTLS: nobody could send mail to tcp:0; ",
    ),
    (("--priority-profile", "a b"), "--priority-profile: priority_profile is no name: 'a b'"),
    (("--hold-seconds", "0"), "--hold-seconds: at least 1 is wanted, not '0'"),
    (("--deliver-by-seconds", "1000000000"), "--deliver-by-seconds: deliver_by_seconds is at most"),
    (("--extension", "inbox:TAGS"), "--extension inbox:TAGS: python:inbox.TAGS is wanted"),
    (("--extension", "TAGS"), "--extension TAGS: python:MODULE.NAME is wanted"),
    (("--extension", "python:none.TAGS"), "--extension python:none.TAGS: cannot import none: "),
    (("--extension", "python:string.digits"), "--extension python:string.digits: is no Extension"),
    (
        ("--handler", "python:handler_good.Inbox", "--require-auth"),
        "require_auth needs who decides on logins",
    ),
    (("--tls", "x"), "--tls not a unique prefix; there are --tls-certificate, --tls-key, --tls-pk"),
    (("--max-size", "3"), "--max-size not recognized; did you mean --message-octets?"),
    (("--max_size", "3"), "--max_size not recognized; did you mean --message-octets?"),
    (("--port", "25"), "--port not recognized; did you mean --listen tcp:PORT:interface=ADDRESS?"),
    (("--host", "0.0.0.0"), "--host not recognized; did you mean --listen tcp:PORT:interface="),
    (("--maildir", "x"), "--maildir not recognized; did you mean --handler capture:FOLDER?"),
    (("--logfile", "x"), "--logfile not recognized; it is one of twistd's, which stand before sm"),
    (("-p", "25"), "option -p not recognized; did you mean --listen tcp:PORT:interface=ADDRESS?"),
    (("stray",), "not an option: stray"),
    (("--message-octets",), "option --message-octets requires argument"),
    (("--message-octets", "big"), "--message-octets: a number of octets such as 33554432"),
    (("--recipients", "1k"), "--recipients: a number is wanted, not '1k'"),
    (("--idle-seconds", "0"), "--idle-seconds: a number of seconds above 0 is wanted, not '0'"),
    (("--bare-newline", "keep"), "--bare-newline: refuse or normalize is wanted, not 'keep'"),
    (("--state", ""), "--state: a path is wanted, not ''"),
    (("--listen", "nope:1"), "--listen nope:1: no endpoint: Unknown endpoint type: 'nope'"),
    (("--lmtp", "/run/lmtp"), "type: '/run/lmtp'; did you mean unix:/run/lmtp?"),
    (("--lmtp", "lmtp:unix:/run/lmtp"), "type: 'lmtp'; did you mean unix:/run/lmtp?"),
    (("--listen", "smtp:25"), "type: 'smtp'; did you mean tcp:25?"),
    (("--lmtp", "unix:/run/lmtp:mode=rw"), "mode= is octal, such as mode=660, not 'rw'"),
    (("--listen", "tcp"), "--listen tcp: no endpoint: a port number is wanted, as in tcp:10025"),
    (("--listen", "tcp:smtp"), "--listen tcp:smtp: no endpoint: a port number is wanted"),
    (("--listen", "tcp:65536"), "--listen tcp:65536: no endpoint: a port number is wanted"),
    (("--smtps", "tcp6:x"), "--smtps tcp6:x: no endpoint: a port number is wanted, as in tcp6:10"),
    (("--listen", ""), "--listen : no endpoint: "),
    (("--hostname", "a..b"), "--hostname a..b: hostname is no domain or address literal: 'a..b'"),
    (("--hostname", "a\r\nb"), "--hostname a\\x0d\\x0ab: hostname is no domain or address literal"),
    (("--banner", "a\r\nb"), "--banner: banner is no line of a reply: 'a"),
    (("--recipients", "0"), "--recipients: recipients is at least 1, not 0"),
    (
        ("--handler", "nope"),
        "--handler nope: no such handler; there are capture, discard, mail",
    ),
    (("--handler", "inbox.Inbox"), "print, python, relay; did you mean python:inbox.Inbox?"),
    (("--handler", "inbox:Inbox"), "print, python, relay; did you mean python:inbox.Inbox?"),
    (
        ("--content-octets-per-second", "0"),
        "--content-octets-per-second: content_octets_per_second is",
    ),
    (("--listen", "10025"), "Unknown endpoint type: '10025'; did you mean tcp:10025?"),
    (("--listen", "127.0.0.1:25"), "'127.0.0.1'; did you mean tcp:25:interface=127.0.0.1?"),
    (("--listen", "[::1]:25"), r"'['; did you mean tcp:25:interface=\:\:1?"),
    (("--listen", "0.0.0.0:25"), "'0.0.0.0'; did you mean tcp:25?"),
    (("--listen", "tpc:25"), "'tpc'; did you mean tcp:25?"),
    (("--handler", "captur:x"), "print, python, relay; did you mean capture:x?"),
    (("--handler", "maildri:x"), "print, python, relay; did you mean maildir:x?"),
    (("--handler", "maildir"), "maildir: a folder is wanted, as in maildir:/var/mail/inbox"),
    (
        ("--handler", "maildir:x:per=user"),
        "per: message, recipient or mailbox is wanted, not ",
    ),
    (("--handler", "maildir:garbage"), "garbage: a file is in the way"),
    (("--handler", "discard:x"), "discard:x: nothing stands behind discard: it keeps no message"),
    (("--handler", "print:x"), "print:x: nothing stands behind print: it prints every message"),
    (("--handler", "pyton:inbox.Inbox"), "print, python, relay; did you mean python:inbox.Inbox?"),
    (("--handler", "python:handler_good.Inbx"), "no Inbx; did you mean python:handler_good.Inbox?"),
    (("--handler", "python:hander_good.Inbox"), "did you mean python:handler_good.Inbox?"),
    (("--handler", "python:twisted.mial.Inbox"), "did you mean python:twisted.mail.Inbox?"),
    (("--handler", "python:twistde.mail.Inbox"), "did you mean python:twisted.mail.Inbox?"),
    (("--handler", "python:./a/b.py:Inbox"), "MODULE.NAME is wanted, such as python:inbox.Inbox; "),
    (
        ("--auth", "flie:x"),
        "--auth flie: no such method; --help-auth lists them; did you mean file",
    ),
    (("--listen", "unix:"), "--listen unix:: no endpoint: a path is wanted, as in unix:/run/smt"),
    (("--listen", "unix::mode=600"), "no endpoint: a path is wanted, as in unix:/run/smtpcb"),
    (("--lmtp", "tcp:25"), "--lmtp tcp:25: LMTP is never spoken on port 25 (RFC 2033 §5)"),
    (("--lmtp", "tcp:port=025"), "LMTP is never spoken on port 25"),
    (("--lmtp", "unix:"), "--lmtp unix:: no endpoint: a path is wanted, as in unix:/run/smtpcb"),
    (("--lmtp-socket", "x"), "did you mean --lmtp unix:PATH?"),
    (
        ("--workers", "2", "--lmtp", "unix:/run/x"),
        "--lmtp unix:/run/x: --workers can serve tcp: and tcp6: only",
    ),
    (("--auth", "memory:"), "--auth memory: it names nobody; NAME:PASSWORD is wanted behind it"),
    (("--auth", "memory"), "--auth memory: it names nobody; NAME:PASSWORD is wanted behind it"),
    (("--auth", "passphrase"), "--help-auth lists them; did you mean file:passphrase?"),
    (("--tls-certificate", "none.pem"), "--tls-certificate /"),
    (("--handler", "python:x"), "python:x: MODULE.NAME is wanted, such as python:inbox.Inbox"),
    (("--handler", "python:handler_none.X"), "cannot import handler_none: ModuleNotFoundError: "),
    (("--handler", "python:handler_syntax.X"), "SyntaxError: invalid syntax"),
    (("--handler", "python:handler_name.X"), "handler_name.py:3: NameError: name 'nothing' is not"),
    (("--handler", "python:handler_inner.X"), "handler_inner.py:1: ModuleNotFoundError: No module"),
    (("--handler", "python:handler_leaving.X"), "handler_leaving.py:2: SystemExit: goodbye"),
    (("--handler", "python:handler_good.Outbox"), "handler_good has no Outbox"),
    (
        ("--handler", "python:handler_wrong.NoMethods"),
        "NoMethods has neither message(envelope) nor",
    ),
    (("--handler", "python:handler_wrong.number"), "int has neither message(envelope) nor"),
    (("--handler", "python:handler_wrong.Signature"), "rcpt(recipient, envelope)"),
    (("--handler", "python:handler_wrong.NoMethod"), "NoMethod.rcpt is no method"),
    (("--handler", "python:handler_wrong.Extension"), "a handler cannot honour NONE; there are"),
    (("--handler", "python:handler_wrong.Two"), "Two cannot be called for a new client"),
    (("--handler", "capture:/dev/null/x"), "--handler capture:/dev/null/x: /dev/null: a file is"),
    (("--handler", "capture:garbage"), "garbage: a file is in the way"),
    (("--handler", "capture:x:keep-days=many"), "keep-days: a number above 0, or none, is wanted"),
    (("--handler", "capture:x:keep-octets=0"), "octets such as 2G, or none, is wanted"),
    (("--handler", "maildir:x:per"), "maildir:x:per: a setting is written as in per=mailbox"),
    (("--handler", "capture:x:keep-hours=2"), "no such setting: keep-hours; there are keep-days"),
    (("--handler", "capture::keep-days=2:keep-days=3"), "keep-days is given twice"),
    (("--state", "garbage"), ": a file is in the way"),
    (("--transcripts", "garbage"), "garbage: a file is in the way"),
    (("--transcripts", "x", "--no-transcripts"), "--transcripts and --no-transcripts exclude"),
    (("--tls-certificate", "none.pem"), "none.pem: No such file or directory"),
    (("--tls-certificate", "garbage"), "garbage: no private key in PEM format"),
    ((*PEM, "--tls-key", "none.pem"), "none.pem: No such file or directory"),
    ((*PEM, "--tls-key", "garbage"), "garbage: no private key in PEM format"),
    ((*PEM, "--tls-key", "other.pem"), "cert.pem: the private key does not match the certificate"),
    ((*PEM, "--tls-key", "locked.pem"), "locked.pem: the private key is encrypted, no passphrase"),
    (
        (*PEM, "--tls-key", "locked.pem", "--tls-passphrase-file", "wrong"),
        "locked.pem: the passphrase is wrong",
    ),
    (
        (*PEM, "--tls-key", "locked.pem", "--tls-passphrase-file", "none"),
        "none: No such file or directory",
    ),
    (("--tls-key", "key.pem"), "--tls-key needs --tls-certificate"),
    (
        (*PEM, "--tls-certificate", "other.pem", "--tls-key", "key.pem"),
        "--tls-key is wanted for each of 2 certificates, in their order, or for none; there are 1",
    ),
    (("--tls-folder", "none"), "--tls-folder /"),
    (("--tls-folder", "."), "pem: "),
    (("--tls-folder", "garbage"), "garbage: Not a directory"),
    (("--tls-minimum", "1.1"), "--tls-minimum: 1.2 or 1.3 is wanted, not '1.1'"),
    (("--tls-ciphers", "AES:TYPO"), "--tls-ciphers: OpenSSL knows no cipher suite 'TYPO'"),
    (("--require-client-certificate",), "--require-client-certificate needs --tls-client-authori"),
    (("--no-tls", "--require-client-certificate"), "cannot stand beside --require-client-cert"),
    (("--no-tls", "--tls-minimum", "1.3"), "--no-tls cannot stand beside --tls-minimum"),
    (("--no-tls", "--tls-folder", "x"), "--no-tls cannot stand beside --tls-folder"),
    ((*PEM, "--tls-pkcs12", "id.p12"), "--tls-certificate and --tls-pkcs12 exclude each other"),
    (("--tls-pkcs12", "none.p12"), "none.p12: No such file or directory"),
    (("--tls-pkcs12", "garbage"), "garbage: not a PKCS#12 file"),
    (("--tls-pkcs12", "id.p12"), "id.p12: it needs a passphrase"),
    (
        ("--tls-pkcs12", "id.p12", "--tls-passphrase-file", "wrong"),
        "id.p12: the passphrase is wrong",
    ),
    (("--tls-client-authorities", "garbage"), "garbage: no certificate in PEM format"),
    (("--no-tls", "--smtps", ANY_PORT), "--no-tls cannot stand beside --smtps"),
    (("--no-tls", *PEM), "--no-tls cannot stand beside --tls-certificate"),
    (("--auth", "nope"), "--auth nope: no such method; --help-auth lists them"),
    (("--auth", "file:none"), "/none: No such file or directory"),
    (("--auth", "file:garbage"), "garbage: line 1: NAME:PASSWORD is wanted"),
    (("--auth", "file"), "--auth file: 'file' requires a filename"),
    (("--auth", "memory:anne:secret:bob"), "--auth memory: argstring must be in format U:P:..."),
    (("--auth", "anonymous"), "--auth anonymous: does not check names and passwords"),
    (("--workers", "0"), "--workers: at least 1 is wanted, not '0'"),
    (("--workers", "many"), "--workers: a number is wanted, not 'many'"),
    (
        ("--workers", "2", "--listen", "unix:/run/x"),
        "--listen unix:/run/x: --workers can serve tcp: and tcp6: only",
    ),
    (("--workers", "2", "--handler", "python:handler_none.X"), "cannot import handler_none"),
    (("--config", "none.toml"), "none.toml: No such file or directory"),
    (("--config", "bad.toml"), "bad.toml: Invalid value"),
    (("--config", "unknown.toml"), "unknown setting 'message-octet'; did you mean message-octets?"),
]


class TestMistakes:
    """One line, exit status 1, and nothing bound."""

    @pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
    @pytest.mark.parametrize(
        ("arguments", "says"), MISTAKES, ids=[" ".join(said) or "-" for said, _ in MISTAKES]
    )
    def test_each_is_one_line(
        self, folder: Path, arguments: tuple[str, ...], says: str, check: bool
    ) -> None:
        """`--check` finds all that a start would."""
        with pytest.raises(SystemExit) as caught:
            service_of(*(["--check"] if check else []), *arguments)
        # A text as the argument is printed on standard error, and makes exit status 1.
        line = caught.value.code
        assert isinstance(line, str)
        assert line.startswith("smtpcb: ")
        assert says in line
        assert "\n" not in line
        assert "secret" not in line

    def test_as_a_process(self, folder: Path) -> None:
        """The line is all there is on standard error, and standard output has nothing."""
        chosen = [
            ("--bogus",),
            ("stray",),
            ("--listen", "tcp:99999"),
            ("--handler", "python:handler_name.X"),
            ("--tls-certificate", "garbage"),
            ("--check", "--state", "garbage"),
            ("--config", "bad.toml"),
        ]
        for arguments, process in [
            (said, run_twistd(folder, *said, errors=subprocess.PIPE)) for said in chosen
        ]:
            output, errors = process.communicate(timeout=60)
            assert process.returncode == 1, arguments
            assert output == b"", arguments
            assert re.fullmatch(rb"smtpcb: [^\n]+\n", errors), (arguments, errors)

    def test_a_port_that_is_taken(self, folder: Path) -> None:
        """It is told in one line too, and the ports that were free are free again."""
        with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            number, other = taken.getsockname()[1], free.getsockname()[1]
            free.close()
            endpoints = [f"tcp:{port}:interface=127.0.0.1" for port in (other, number)]
            options = ("--listen", endpoints[0], "--listen", endpoints[1])
            process = run_twistd(folder, *options, errors=subprocess.PIPE)
            output, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        line = f"cannot listen on 127.0.0.1:{number}: Address already in use"
        assert errors.decode().startswith(f"smtpcb: {line}")
        assert errors.count(b"\n") == 1
        assert line in output.decode()
        assert "Traceback" not in output.decode()

    @pytest.mark.parametrize("logfile", ["-", "log"])
    def test_it_is_said_once(self, folder: Path, logfile: str) -> None:
        """On a terminal the log is beside standard error, so that it need not say it again."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = subprocess.run(
                [
                    *(TWISTD, "-n", "--pidfile=", f"--logfile={logfile}", "smtpcb"),
                    *("--listen", f"tcp:{port}:interface=127.0.0.1"),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
            )
        assert ended.stdout.count(b"cannot listen") == 1
        assert logfile == "-" or "cannot listen" in Path(logfile).read_text()

    def test_a_port_that_is_taken_and_a_daemon(self, folder: Path) -> None:
        """Whoever starts a daemon is told as well; no pid file stays behind."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            ended = subprocess.run(
                [
                    *(TWISTD, "--pidfile=pid", "--logfile=log", "smtpcb"),
                    *("--listen", f"tcp:{number}:interface=127.0.0.1"),
                ],
                capture_output=True,
                timeout=60,
                check=False,
            )
        assert ended.returncode == 1
        text = (ended.stdout + ended.stderr).decode()
        assert f"cannot listen on 127.0.0.1:{number}: Address already in use" in text
        # It has told whoever started it before it cleans up.
        wait_until(lambda: not Path("pid").exists())

    def test_a_socket_that_cannot_be_made(self, folder: Path) -> None:
        """What a UNIX socket fails with is told by its path."""
        path = folder / "none" / "socket"
        process = run_twistd(folder, "--listen", f"unix:{path}", errors=subprocess.PIPE)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert errors == f"smtpcb: cannot listen on {path}: No such file or directory\n".encode()

    def test_a_socket_that_is_something_else(self, folder: Path) -> None:
        """A file that lies there is told by its path."""
        (folder / "socket").touch()
        process = run_twistd(folder, "--listen", f"unix:{folder}/socket", errors=subprocess.PIPE)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        told = f"smtpcb: cannot listen on {folder}/socket: what lies there is no socket\n"
        assert errors.decode() == told
        assert [path.name for path in folder.glob("socket*")] == ["socket"]

    def test_a_folder_that_cannot_be_made(self, folder: Path) -> None:
        """Some only show when they are made: it is one line all the same."""
        process = run_twistd(
            folder, "--state", "/proc/nothing", "--listen", ANY_PORT, errors=subprocess.PIPE
        )
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 1
        assert errors.startswith(b"smtpcb: --state /proc/nothing: /proc/nothing: No such file")
        assert errors.count(b"\n") == 1


class TestWhoseMistake:
    """What is wrong is blamed on the place where it was said."""

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                'listen = "25"',
                "listen 25: no endpoint: Unknown endpoint type: '25'; did you mean tc",
            ),
            ('smtps = "tcp:x"', "smtps tcp:x: no endpoint: a port number is wanted"),
            ('workers = 2\nlisten = "unix:x"', "listen unix:x: --workers can serve"),
            ("listen = []", "listen: nothing to listen on"),
            ('handler = "nope"', "handler nope: no such handler"),
            (
                'handler = "python:handler_good.Inbx"',
                "handler python:handler_good.Inbx: handler",
            ),
            (
                'handler = "python:handler_wrong.number"',
                "handler python:handler_wrong.number: int",
            ),
            ('hostname = "a..b"', "hostname a..b: hostname is no domain"),
            ("recipients = 0", "recipients: recipients is at least 1"),
            ('auth = "flie:x"', "auth flie: no such method"),
            ('tls-certificate = "none.pem"', "tls-certificate /"),
            ('tls-key = "none.pem"', "tls-key needs --tls-certificate"),
            ("no-tls = true\nrequire-tls = true", "no-tls cannot stand beside "),
            ('no-transcripts = true\ntranscripts = "x"', "transcripts and "),
            ('state = "cert.pem"', "state /"),
            ('transcripts = "cert.pem"', "transcripts /"),
        ],
    )
    def test_a_file(self, folder: Path, text: str, says: str) -> None:
        """It is found in the file by its path and its key, whenever it shows."""
        Path("a.toml").write_text(text)
        with pytest.raises(SystemExit) as caught:
            service_of("--config", "a.toml")
        assert str(caught.value).startswith(f"smtpcb: {folder}/a.toml: {says}")

    def test_the_command_line_goes_before_it(self, folder: Path) -> None:
        """So what it overrides in the file is not blamed on the file."""
        Path("a.toml").write_text('listen = "tcp:0"')
        with pytest.raises(SystemExit, match="smtpcb: --listen 25: no endpoint"):
            service_of("--config", "a.toml", "--listen", "25")


class TestCheck:
    """`--check`."""

    @pytest.mark.parametrize("more", [(), ("--workers", "2"), ("--handler", "capture:mail/dir")])
    def test_nothing_is_made(self, folder: Path, more: tuple[str, ...]) -> None:
        """Neither the state folder nor an identity, nor what leads to them."""
        before = sorted(folder.rglob("*"))
        with pytest.raises(SystemExit):
            service_of("--check", "--state", "new/state", "--transcripts", "new/record", *more)
        assert sorted(folder.rglob("*")) == before

    def test_nothing_is_compiled(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Python keeps nothing of the user's modules beside them, as it would otherwise."""
        monkeypatch.setattr(sys, "dont_write_bytecode", False)
        with pytest.raises(SystemExit) as caught:
            service_of("--check", "--no-tls", "--handler", "python:handler_good.Inbox")
        assert caught.value.code == 0
        assert not (folder / "__pycache__").exists()
        assert not sys.dont_write_bytecode

    def test_nothing_is_changed(self, folder: Path) -> None:
        """What a server has kept is as it was, also what a start would clear away."""
        with running(folder) as server, Client(server.port) as client:
            client.send(b"Subject: x\r\n\r\n")
        state = folder / "state"
        name = next((state / "Maildir/new").iterdir()).name
        leftover = state / "Maildir/tmp" / name
        leftover.write_bytes(b"x")
        for path in (leftover, state / "identity.pem"):
            os.utime(path, (0, 0))
        before = {path: path.stat() for path in sorted(state.rglob("*"))}
        with pytest.raises(SystemExit) as caught:
            service_of("--check", "--state", str(state))
        assert caught.value.code == 0
        after = {path: path.stat() for path in sorted(state.rglob("*"))}
        assert list(after) == list(before)
        assert all(after[path].st_mtime_ns == before[path].st_mtime_ns for path in before)
        assert all(after[path].st_mode == before[path].st_mode for path in before)

    def test_warnings_of_a_start_are_shown(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """An expired certificate and a key that others may read are told, each in a line."""
        expired = make_identity(["localhost"], days=-1)
        path = write_pem(Path("old.pem"), expired.certificate, expired.private_key)
        path.chmod(0o644)
        with pytest.raises(SystemExit) as caught:
            service_of("--check", "--tls-certificate", "old.pem", "--hostname", "localhost")
        assert caught.value.code == 0
        said = capsys.readouterr()
        assert said.out == "smtpcb: the settings are good\n"
        path = path.absolute()
        date = expired.identity.expires.date()
        assert said.err.splitlines() == [
            f"smtpcb: warning: {path}: others may read this private key (mode 0644)",
            f"smtpcb: warning: {path}: the certificate expired on {date}",
        ]

    @pytest.mark.parametrize(
        ("endpoint", "host"),
        [
            ("tcp:0:interface=192.0.2.9", "192.0.2.9"),
            (r"tcp6:0:interface=2001\:db8\:\:9", "2001:db8::9"),
            ("tcp:0:interface=none.invalid", "none.invalid"),
        ],
    )
    def test_an_address_of_another_machine(self, folder: Path, endpoint: str, host: str) -> None:
        """A start could not listen there, and says so."""
        with pytest.raises(SystemExit, match=rf"cannot listen on {host}: .*\(interface= names an"):
            service_of("--check", "--listen", endpoint)

    def test_a_name_that_no_certificate_has(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is only said: clients look for the name by which they know us."""
        said = ("--check", *PEM, "--tls-key", "key.pem", "--hostname")
        with pytest.raises(SystemExit):
            service_of(*said, "mx.example.org")
        assert capsys.readouterr().err == ""
        with pytest.raises(SystemExit) as caught:
            service_of(*said, "mail.example.org")
        assert caught.value.code == 0
        assert capsys.readouterr().err == (
            "smtpcb: warning: no certificate is for mail.example.org, which is what we call "
            "ourselves (--hostname)\n"
        )

    def test_a_kept_key_that_others_may_read(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The identity of our own is looked at as well, and not changed."""
        self_signed(folder / "state", "localhost")
        (folder / "state/identity.pem").chmod(0o644)
        with pytest.raises(SystemExit):
            service_of("--check", "--state", "state", "--hostname", "localhost")
        [line] = capsys.readouterr().err.splitlines()
        assert line.endswith("/identity.pem: others may read this private key (mode 0644)")

    def test_a_broken_kept_identity(self, folder: Path) -> None:
        """It stops a start, so it stops a check."""
        (folder / "state").mkdir(mode=0o700)
        (folder / "state/identity.pem").write_text("broken")
        with pytest.raises(SystemExit, match=r"identity\.pem: no private key in PEM format"):
            service_of("--check", "--state", "state")

    def test_what_a_handler_warns_of(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Old mail is to be removed from a folder where nothing is ever removed: that is said."""
        (folder / "mine/cur").mkdir(parents=True)
        with pytest.raises(SystemExit):
            service_of("--check", "--no-tls", "--handler", "capture:mine:keep-days=3")
        [line] = capsys.readouterr().err.splitlines()
        assert line == (
            f"smtpcb: warning: {folder}/mine was there before us: nothing in it is removed, "
            "whatever is kept"
        )

    def test_a_socket_in_a_folder_that_is_not_there(self, folder: Path) -> None:
        """A start could not open it; one beside us, or in a folder with a colon, is fine."""
        with pytest.raises(SystemExit, match=r"cannot listen there: no folder /no:such$"):
            service_of("--check", "--lmtp", "unix:/no\\:such/lmtp:mode=660")
        Path("a:b").mkdir()
        for path in ("lmtp", "a\\:b/lmtp"):
            with pytest.raises(SystemExit) as caught:
                service_of("--check", "--lmtp", f"unix:{path}")
            assert caught.value.code == 0

    def test_good_settings(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It says so and ends with status 0."""
        with pytest.raises(SystemExit) as caught:
            service_of("--check", *PEM, "--tls-key", "key.pem")
        assert caught.value.code == 0
        assert capsys.readouterr().out == "smtpcb: the settings are good\n"

    def test_every_warning_of_a_start(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A start would log them: what others may read, and limits that the system has not."""
        monkeypatch.setattr("smtpcb.run._descriptors.raise_limit", lambda wanted: 1024)
        Path("passwords").write_text("anne:secret\n")
        Path("passwords").chmod(0o644)
        Path("key.pem").chmod(0o644)
        said = ("--check", *PEM, "--tls-key", "key.pem", "--auth", "file:passwords")
        with pytest.raises(SystemExit) as caught:
            service_of(*said)
        assert caught.value.code == 0
        said_so = capsys.readouterr()
        assert said_so.out == "smtpcb: the settings are good\n"
        warnings = said_so.err.splitlines()
        assert all(line.startswith("smtpcb: warning: ") for line in warnings)
        for part in ("key.pem: others may read", "passwords: others may read", "1024 files open"):
            assert sum(part in line for line in warnings) == 1


class TestPidFile:
    """twistd's pid file, before twistd itself looks at it."""

    @pytest.mark.parametrize("text", ["", "{}"])
    def test_one_that_was_left_behind(self, folder: Path, text: str) -> None:
        """The start goes on, also where another program has the number by now."""
        Path("pid").write_text(text.format(os.getppid()))
        command = [TWISTD, "-n", "--pidfile=pid", "smtpcb", "--listen", "tcp:99999"]
        ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert ended.returncode == 1
        assert b"tcp:99999: no endpoint" in ended.stderr
        assert not Path("pid").exists()

    def test_who_says_where_it_is(self, folder: Path) -> None:
        """twistd does; without one there is nothing to look at."""
        options = Options()
        options.parent = {"pidfile": "garbage"}
        with pytest.raises(SystemExit, match="smtpcb: --pidfile garbage: it is there"):
            options.parseOptions([])
        options = Options()
        options.parent = {"pidfile": ""}
        options.parseOptions([])

    def test_one_that_is_something_else(self, folder: Path) -> None:
        """One line, exit status 1, and the file stays."""
        command = [TWISTD, "-n", "--pidfile=garbage", "smtpcb", "--listen", ANY_PORT]
        ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert ended.returncode == 1
        line = rb"smtpcb: --pidfile garbage: it is there, and has no process number in it\n"
        assert re.fullmatch(line, ended.stderr)
        assert Path("garbage").exists()


def test_workers_are_looked_after(folder: Path) -> None:
    """`--workers` makes another service; it is given the same settings."""
    options = Options()
    options.parseOptions(["--workers", "3", "--listen", ANY_PORT])
    assert isinstance(makeService(options), Supervisor)


class TestHelp:
    """`--help` and its kin."""

    def test_every_option_is_listed_with_its_default(self) -> None:
        """In the order of the table, whatever the width."""
        for width in (60, 80, 200):
            usage = Options().getUsage(width)
            words = " ".join(usage.split())
            at = 0
            for option in OPTIONS:
                name = f"--{option.name}" + (f"={option.metavar}" if option.metavar else "")
                described = " ".join(option.described.split())
                at = words.find(f" {name} {described} ", at)
                assert at > 0, option.name
                if option.default and option.kind is not bool:
                    assert "[default: " in option.described
            assert all(len(line) <= width for line in usage.splitlines())

    def test_nothing_else_is_taken(self) -> None:
        """What the parser knows and what the help lists is the same."""
        listed = set(re.findall(r"^ +(?:-c, )?--([a-z0-9-]+)", Options().getUsage(), re.MULTILINE))
        # Those are only there to be refused: each would be the beginning of another name.
        refused = {"host", "greeting"}
        assert {name.rstrip("=") for name in Options().longOpt} == listed | refused

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Ours, and Twisted's."""
        with pytest.raises(SystemExit) as caught:
            Options().parseOptions(["--version"])
        assert caught.value.code == 0
        assert re.fullmatch(r"smtpcb [0-9.]+, Twisted [0-9.]+\n", capsys.readouterr().out)

    def test_methods_of_auth(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Those that check names and passwords."""
        options = Options()
        options.authOutput = sys.stdout
        with pytest.raises(SystemExit) as caught:
            options.parseOptions(["--help-auth"])
        assert caught.value.code == 0
        assert "memory" in capsys.readouterr().out

    def test_handlers(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Those that are always there, at least."""
        with pytest.raises(SystemExit) as caught:
            Options().parseOptions(["--help-handlers"])
        assert caught.value.code == 0
        assert "  capture[:FOLDER] " in capsys.readouterr().out

    def test_as_a_process(self, folder: Path) -> None:
        """`twistd smtpcb --help` works from any folder."""
        process = run_twistd(folder, "--help")
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert output.decode().splitlines()[0].endswith("smtpcb [options]")
        assert "--connections-per-address=N" in output.decode()


PLUGIN = """
from zope.interface import implementer
from twisted.plugin import IPlugin
from smtpcb import Reply
from smtpcb.interfaces import ISmtpHandlerPlugin

class Refusing:
    discards_content = True

    def __init__(self, text):
        self.text = text

    def mail(self, envelope):
        return Reply(550, self.text, status="5.7.1")

@implementer(ISmtpHandlerPlugin, IPlugin)
class Plugin:
    name = "refuse"
    help = "Refuses all mail; its argument is the reason."

    def make(self, argument, setting):
        if not argument:
            raise ValueError("a reason\\nis wanted")
        return Refusing(argument)

plugin = Plugin()
"""


class TestHandlers:
    """`--handler`."""

    @pytest.fixture
    def plugins(self, tmp_path: Path) -> Mapping[str, str]:
        """An environment where another package brings a handler."""
        plugins = tmp_path / "lib" / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "refuse_plugin.py").write_text(PLUGIN)
        return {"PYTHONPATH": str(tmp_path / "lib"), "PYTHONDONTWRITEBYTECODE": "1"}

    def test_a_plug_in_of_another_package(self, tmp_path: Path, plugins: Mapping[str, str]) -> None:
        """It is found as Twisted's own are; what stands behind the colon is its argument."""
        options = ("--handler", "refuse:No mail: today")
        with running(tmp_path / "server", *options, environment=plugins) as server:
            with Client(server.port) as client:
                assert client.say("MAIL FROM:<>") == b"550 5.7.1 No mail: today\r\n"
            assert not (server.state / "transcripts").exists()

    def test_its_mistakes_are_one_line(self, tmp_path: Path, plugins: Mapping[str, str]) -> None:
        """A ValueError says what is wrong with the argument; unknown names get a list."""
        for handler, line in [
            ("refuse", "--handler refuse: a reason is wanted"),
            (
                "nope",
                "--handler nope: no such handler; there are capture, discard, maildir, print, "
                "python, refuse, relay",
            ),
        ]:
            options = ("--handler", handler)
            process = run_twistd(tmp_path, *options, environment=plugins, errors=subprocess.PIPE)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 1
            assert errors.decode() == f"smtpcb: {line}\n"

    def test_they_are_listed(self, tmp_path: Path, plugins: Mapping[str, str]) -> None:
        """`--help-handlers` names all there are."""
        process = run_twistd(tmp_path, "--help-handlers", environment=plugins)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        rows = [line.split(maxsplit=1) for line in output.decode().splitlines()]
        assert [name for name, _ in rows] == [
            *("capture[:FOLDER]", "discard", "maildir:FOLDER", "print"),
            *("python:MODULE.NAME", "refuse", "relay:HOST[:PORT][,NAME=VALUE...]"),
        ]
        assert rows[-2][1] == "Refuses all mail; its argument is the reason."

    def test_the_handler_of_the_readme(self, tmp_path: Path) -> None:
        """It runs as printed, from the folder it lies in; without an authenticator, no AUTH."""
        readme = (Path(__file__).parents[2] / "README.md").read_text()
        block = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
        assert block is not None
        assert "class Inbox" in block[1]
        (tmp_path / "inbox.py").write_text(block[1])
        assert "--handler python:inbox.Inbox" in readme
        options = ("--handler", "python:inbox.Inbox", "--allow-insecure-auth")
        with running(tmp_path, *options) as server, Client(server.port) as client:
            assert "STARTTLS" in client.keywords
            assert "AUTH" not in client.keywords
            assert client.say("MAIL FROM:<a@example.net>").startswith(b"250 ")
            assert client.say("RCPT TO:<b@example.net>").startswith(b"550 ")
            assert client.say("RSET").startswith(b"250 ")
            assert client.send(b"Subject: x\r\n\r\n..\r\n").startswith(b"250 ")
        [kept] = tmp_path.glob("*.eml")
        assert kept.read_bytes() == b"Subject: x\r\n\r\n.\r\n"


@pytest.mark.parametrize(
    ("said", "owner"),
    [
        ({"uid": 1000, "gid": 1001}, (1000, 1001)),
        ({"uid": 1000, "gid": None}, (1000, -1)),
        ({"uid": None, "gid": None}, None),
    ],
)
def test_the_user_that_twistd_becomes_is_passed_on(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: dict[str, int | None],
    owner: tuple[int, int] | None,
) -> None:
    """Started as root, the server makes what it keeps for the user it will run as."""
    seen = []

    def make(_: object, owner: object) -> Mock:
        seen.append(owner)
        return Mock()

    monkeypatch.setattr("smtpcb.run.tap.make_service", make)
    monkeypatch.setattr("smtpcb.run.tap.check", lambda _, owner: seen.append(owner) or [])
    monkeypatch.setattr("os.getuid", lambda: 0)
    options = Options()
    options.parseOptions([])
    options.parent = said
    makeService(options)
    checking = Options()
    checking.parent = said
    with pytest.raises(SystemExit):
        checking.parseOptions(["--check"])
    assert seen == [owner, owner]
