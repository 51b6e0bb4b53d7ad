"""``smtpcb send``, as a process, against real servers; what is mistyped needs none."""

from __future__ import annotations

import email
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from smtpcb.run.command import main
from smtpcb.run.command.send._mistake import MistakeError
from smtpcb.run.command.send._target import place_of
from smtpcb.transcript import load
from tests.certificates import make_authority, make_identity
from tests.running import ANY_PORT, Server, running

PROGRAM = "from smtpcb.run.command import main; raise SystemExit(main())"
# The first terminal that is opened by whoever leads a session is its terminal.
ON_A_TERMINAL = f"import os, sys; os.open(sys.argv.pop(1), os.O_RDWR); {PROGRAM}"
PAGE = Path(__file__).parents[2] / "docs" / "sending.rst"
COMMAND = [sys.executable, "-c", PROGRAM, "send"]
ENVELOPE = ("--from", "anne@example.org", "--to", "bob@example.org")
Came = Callable[[], list[tuple[str, bytes]]]
HANDLER = """
from pathlib import Path
from twisted.internet.defer import Deferred

class Inbox:
    def authenticate(self, credentials, connection):
        return (credentials.username, credentials.password) == ("anne", "tim")

    def rcpt(self, recipient, envelope):
        if recipient.local_part == "no-one":
            return 550, "5.1.1", "No such mailbox"
        if recipient.local_part == "later":
            return 450, "4.2.1", "Later"

    def message(self, envelope):
        names = [one.forward_path.local_part for one in envelope.recipients]
        if names == ["silence"]:
            return Deferred()
        identity = envelope.connection.identity
        Path(f"{envelope.id} {identity} {' '.join(names)}").write_bytes(envelope.content.bytes())
        return 250, "2.6.0", "Kept"
"""


def send(
    *words: object, given: bytes = b"", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, without a terminal."""
    done = subprocess.run(
        [*COMMAND, *map(str, words)],
        input=given,
        capture_output=True,
        timeout=60,
        cwd=folder,
        start_new_session=True,
    )
    said = subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )
    assert "Traceback" not in said.stderr
    assert said.stdout == ""
    return said


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server that offers STARTTLS, and takes logins inside it."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "inbox.py").write_text(HANDLER)
    options = ("--handler", "python:inbox.Inbox", "--hostname", "mx.example.org", "--grace", "1")
    with running(folder, *options) as started:
        yield started


@pytest.fixture
def came(server: Server) -> Came:
    """Return what has come since the test began: who has logged in and who gets it, and it."""

    def files() -> set[Path]:
        return set(server.folder.glob("*Z-*"))

    before = files()
    return lambda: [(one.name.partition(" ")[2], one.read_bytes()) for one in files() - before]


def test_a_message_is_put_together(server: Server, came: Came, tmp_path: Path) -> None:
    """Of a subject, a text and files; who gets a blind copy is named nowhere; nothing is said."""
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\0")
    said = send(
        *("--server", f"localhost:{server.port}", "--from", "Anne <anne@example.org>"),
        *("--to", "bob@example.org, Carol <carol@example.org>", "--to", "bob@example.org"),
        *("--cc", "dave@example.org", "--bcc", "eve@example.org", "--subject", "Gr\u00fc\u00dfe"),
        *("--header", "X-Colour: blue", "--body", "H\u00e4llo", "--attach", "picture.png"),
        folder=tmp_path,
    )
    assert (said.returncode, said.stderr) == (0, "")
    [(who, octets)] = came()
    assert who == "None bob carol dave eve"
    assert b"eve" not in octets
    message: Any = email.message_from_bytes(octets, policy=SMTP)
    wanted = {
        "From": "Anne <anne@example.org>",
        "To": "bob@example.org, Carol <carol@example.org>, bob@example.org",
        "Cc": "dave@example.org",
        "Subject": "Gr\u00fc\u00dfe",
        "X-Colour": "blue",
    }
    assert {name: str(message[name]) for name in wanted} == wanted
    assert message["Date"]
    assert message["Message-ID"]
    text, picture = message.iter_parts()
    assert text.get_content() == "H\u00e4llo\r\n"
    assert (picture.get_filename(), picture.get_content()) == ("picture.png", b"\x89PNG\r\n\0")


@pytest.mark.parametrize("piped", [True, False])
def test_a_whole_message(server: Server, came: Came, tmp_path: Path, piped: bool) -> None:
    """Its fields say from whom and to whom; Bcc is not sent; what is said here stands instead."""
    octets = (
        b"Bcc: carol@example.org\nSubject: Old\nFrom: anne@example.org\nSender: sec@example.org\n"
        b"To: Bob <bob@example.org>\n\n.dots\n"
    )
    (tmp_path / "it.eml").write_bytes(octets)
    where = ("--server", f"127.0.0.1:{server.port}", "--subject", "New")
    said = send(*where, "--monitor", "-" if piped else tmp_path / "it.eml", given=octets)
    assert said.returncode == 0
    assert "\nC: MAIL FROM:<sec@example.org> " in said.stderr
    assert re.search(r"\nC: \(\d+ octets of the message\)\n", said.stderr)
    [(who, got)] = came()
    assert who == "None bob carol"
    assert got.startswith(b"Subject: New\r\nFrom: anne@example.org\r\nSender: ")
    assert got.endswith(b"\r\n\r\n.dots\r\n")


def test_what_was_said_is_kept(server: Server, tmp_path: Path) -> None:
    """In a folder, in the form of the server's transcripts; the header section may be shown."""
    folder = tmp_path / "new" / "folder"
    where = ("--server", f"127.0.0.1:{server.port}", *ENVELOPE, "--body", "the body")
    said = send(*where, "--subject", "Kept", "--transcripts", folder, "--monitor-headers")
    assert said.returncode == 0
    assert "\nC: Subject: Kept\n" in said.stderr
    assert "the body" not in said.stderr
    [path] = folder.rglob("*.txt")
    file = load(path)
    assert file.fields["host"] == f"127.0.0.1:{server.port}"
    lines = [line.octets for line in file.lines if line.side == "C"]
    assert b"MAIL FROM:<anne@example.org>" in lines[1]
    assert b"the body" in lines
    assert lines[-1] == b"QUIT"


@pytest.mark.parametrize("kind", ["file", "dangling"])
def test_where_nothing_can_be_kept_nothing_is_sent(
    server: Server, came: Came, tmp_path: Path, kind: str
) -> None:
    """A record that was asked for and is not there would be missed too late."""
    folder = tmp_path / "folder"
    if kind == "file":
        folder.write_text("")
    else:
        folder.symlink_to(tmp_path / "nowhere" / "x")
    where = ("--server", f"127.0.0.1:{server.port}", *ENVELOPE, "--body", "x")
    said = send(*where, "--transcripts", folder)
    assert said.returncode == os.EX_CANTCREAT
    assert said.stderr.startswith(f"smtpcb: --transcripts {folder}: ")
    assert came() == []


@pytest.mark.parametrize(
    ("to", "option", "status", "says"),
    [
        (
            "bob,no-one",
            "--no-progress",
            os.EX_UNAVAILABLE,
            ["no-one@example.org: refused for good: 550 5.1.1 No such mailbox"],
        ),
        (
            "no-one,later",
            "--no-progress",
            os.EX_TEMPFAIL,
            [
                "no-one@example.org: refused for good: 550 5.1.1 No such mailbox",
                "later@example.org: refused for now: 450 4.2.1 Later",
            ],
        ),
        (
            "bob,no-one",
            "--require-all",
            os.EX_UNAVAILABLE,
            [
                "bob@example.org: not tried: rcpt: another recipient was refused: 550 5.1.1 No "
                "such mailbox",
                "no-one@example.org: refused for good: 550 5.1.1 No such mailbox",
            ],
        ),
    ],
)
def test_who_was_not_reached_is_told(
    server: Server, came: Came, to: str, option: str, status: int, says: list[str]
) -> None:
    """A line for each, with the reply; the status says whether to try again makes sense."""
    named = ",".join(f"{one}@example.org" for one in to.split(","))
    where = ("--server", f"127.0.0.1:{server.port}", "--from", "anne@example.org")
    said = send(*where, "--to", named, "--body", "x", option)
    assert said.returncode == status
    assert said.stderr == "".join(f"smtpcb: {one}\n" for one in says)
    expected = ["None bob"] if "bob" in to and option != "--require-all" else []
    assert [who for who, _ in came()] == expected


def test_a_login_inside_tls(server: Server, came: Came, tmp_path: Path) -> None:
    """The first line of a file or of standard input is the password; nothing shows it."""
    (tmp_path / "password").write_text("tim\nrest\n")
    where = ("--server", f"localhost:{server.port}", *ENVELOPE, "--body", "x", "--monitor")
    where = (*where, "--ca", str(server.identity), "--user", "anne", "--password-file")
    (tmp_path / "password").chmod(0o644)
    said = send(*where, tmp_path / "password", "--auth", "plain")
    assert said.returncode == 0
    assert f"smtpcb: {tmp_path}/password: others may read this password\n" in said.stderr
    assert "C: STARTTLS\n" in said.stderr
    assert "C: AUTH PLAIN <" in said.stderr
    assert "AGFubmUAdGlt" not in said.stderr
    assert "*: logged in by PLAIN\n" in said.stderr
    assert [who for who, _ in came()] == ["anne bob"]
    said = send(*where, "-", given=b"wrong\r\n")
    assert said.returncode == os.EX_NOPERM
    assert said.stderr.endswith("535 5.7.8 Authentication credentials invalid; nothing was sent\n")
    assert "others may read" not in said.stderr
    said = send(
        "--server", f"localhost:{server.port}", *ENVELOPE, *where[-3:], "-", "-", given=b"tim\n"
    )
    assert (said.returncode, said.stderr) == (
        os.EX_USAGE,
        "smtpcb: standard input is the message: the password is somewhere else\n",
    )
    outside = ("--server", f"localhost:{server.port}", *ENVELOPE, "--body", "x", "--user", "anne")
    said = send(*outside, "--password-file", tmp_path / "password")
    assert said.returncode == os.EX_NOPERM
    assert "does not offer AUTH (inside TLS it may: say --tls starttls)" in said.stderr
    assert len(came()) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--tls", "starttls"), "'CN=mx.example.org' is self-signed, and not among those that are"),
        (("--tls", "opportunistic"), "is self-signed, and not among those that are trusted"),
        (("--ca", "CA", "--tls-hostname", "other.example.org"), "is not for other.example.org"),
        (("--ca", "CA", "--tls", "implicit"), "tls: "),
    ],
)
def test_which_check_of_tls_has_failed(
    server: Server, came: Came, options: tuple[str, ...], says: str
) -> None:
    """One line names the certificate and what is wrong with it, and nothing was sent."""
    words = [str(server.identity) if one == "CA" else one for one in options]
    said = send("--server", f"127.0.0.1:{server.port}", *ENVELOPE, "--body", "x", *words)
    assert said.returncode == os.EX_PROTOCOL
    assert says in said.stderr
    assert said.stderr.endswith("; nothing was sent\n")
    assert said.stderr.count("\n") == 1
    assert came() == []


def test_implicit_tls_and_a_certificate_of_the_client(tmp_path: Path) -> None:
    """The certificate is shown to who wants one, and without it nothing is sent."""
    authority = make_authority()
    issued = make_identity(["anne.example.org"], authority, client=True)
    (tmp_path / "ca.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "anne.pem").write_bytes(issued.identity.pem)
    (tmp_path / "anne.pem").chmod(0o600)
    options = ("--smtps", ANY_PORT, "--tls-client-authorities", str(tmp_path / "ca.pem"))
    with running(tmp_path / "s", *options, "--require-client-certificate") as server:
        where = ("--server", f"127.0.0.1:{server.smtps_ports[0]}", "--tls", "implicit", *ENVELOPE)
        where = (*where, "--body", "x", "--ca", str(server.identity))
        said = send(*where, "--certificate", tmp_path / "anne.pem")
        assert (said.returncode, said.stderr) == (0, "")
        assert send(*where).returncode != 0
        assert len(server.messages()) == 1


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (("--server", "mx:[127.0.0.1]:PORT"), 0),
        (("--server", "mx:[127.0.0.1]:PORT", "--tls", "starttls"), os.EX_PROTOCOL),
        (("--server", "mx:[127.0.0.1]:1"), os.EX_TEMPFAIL),
        (("--server", "localhost:PORT", "--insecure-tls"), 0),
        (("--server", "localhost:PORT", "--tls", "starttls"), os.EX_PROTOCOL),
    ],
)
def test_any_certificate_will_do_where_that_is_said(
    server: Server, came: Came, options: tuple[str, ...], status: int
) -> None:
    """Or towards the exchangers of a domain, where others would get it without TLS at all."""
    words = [one.replace("PORT", str(server.port)) for one in options]
    said = send(*words, *ENVELOPE, "--body", "x", "--monitor")
    assert said.returncode == status, said.stderr
    assert ("*: connected to " in said.stderr) is ("]:1" not in options[1])
    if status == 0:
        assert "C: STARTTLS\n" in said.stderr
    elif status == os.EX_PROTOCOL:
        assert (
            "is self-signed, and not among those that are trusted; nothing was sent" in said.stderr
        )
    assert len(came()) == (status == 0)


def test_nobody_is_there() -> None:
    """To try later makes sense."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        said = send("--server", place, *ENVELOPE, "--body", "x")
    assert said.returncode == os.EX_TEMPFAIL
    assert said.stderr.startswith(f"smtpcb: {place}: greeting: ")
    assert said.stderr.count("\n") == 1


def test_lmtp_to_a_socket_and_a_server_of_seven_bits(tmp_path: Path) -> None:
    """What is put together here is written for it; a file of yours only if you say so."""
    folder = Path(tmp_path, "s")
    folder.mkdir()
    (folder / "inbox.py").write_text(HANDLER)
    octets = "From: anne@example.org\nTo: bob@example.org\n\nH\u00e4llo\n".encode()
    options = ("--handler", "python:inbox.Inbox", "--without", "8BITMIME", "--lmtp")
    with running(folder, *options, f"unix:{folder}/lmtp"):
        where = ("--server", f"unix:{folder}/lmtp", "--lmtp", "--monitor")
        said = send(*where, *ENVELOPE, "--body", "H\u00e4llo")
        assert said.returncode == 0, said.stderr
        assert "C: LHLO " in said.stderr
        said = send(*where, "-", given=octets)
        assert said.returncode == os.EX_UNAVAILABLE
        assert "smtpcb: bob@example.org: " in said.stderr
        assert "8BITMIME" in said.stderr.splitlines()[-1]
        assert send(*where, "-", "--downgrade", given=octets).returncode == 0
        files = list(folder.glob("*Z-*"))
        assert len(files) == 2
        assert all(b"H=C3=A4llo" in one.read_bytes() for one in files)


@pytest.mark.parametrize("to", ["silence", ""])
def test_who_interrupts_it_is_told_what_was_delivered(server: Server, to: str) -> None:
    """Nothing, or it is not known: the whole message has left, and no reply has come."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = server.port if to else mute.getsockname()[1]
        where = ("--server", f"127.0.0.1:{port}", "--from", "anne@example.org", "--monitor")
        process = subprocess.Popen(
            [*COMMAND, *where, "--to", f"{to or 'bob'}@example.org", "--body", "x"],
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stderr is not None
            if to:
                for line in process.stderr:
                    if "250 2.1.5" in line:
                        break
            else:
                accepted, _ = mute.accept()
            process.send_signal(signal.SIGINT)
            said = process.stderr.read()
            assert process.wait(30) == 130
            if not to:
                accepted.close()
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    if to:
        wanted = "smtpcb: interrupted; it is not known whether silence@example.org will get it"
    else:
        wanted = "smtpcb: interrupted; nothing was delivered"
    assert last == wanted


def on_a_terminal(program: str, *words: object, typed: bytes = b"") -> tuple[int, bytes]:
    """Run it with a terminal of its own as stderr; return the exit status, and what it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        stdin=subprocess.DEVNULL,
        stderr=theirs,
        start_new_session=True,
    )
    shown = b""
    try:
        os.close(theirs)
        while True:
            try:
                octets = os.read(ours, 4096)
            except OSError:  # EIO: everybody has closed it
                break
            if not octets:
                break
            shown += octets
            if typed and b"Password" in shown:
                os.write(ours, typed)
                typed = b""
        return process.wait(60), shown
    finally:
        os.close(ours)
        process.wait(60)


def shown_in_docs(language: str) -> list[str]:
    """Return what the page shows, each block as it would be typed."""
    blocks = re.findall(
        rf"^\.\. code-block:: {language}\n\n((?: {{4}}.*\n|\n)+)", PAGE.read_text(), re.MULTILINE
    )
    assert PAGE.read_text().count(f"code-block:: {language}\n") == len(blocks) > 0
    return [textwrap.dedent(one) for one in blocks]


def test_what_the_page_shows(tmp_path: Path) -> None:
    """Each command and the program send their message, to the server that the page starts."""
    folder = tmp_path / "smtpcb-state"
    command = tmp_path / "smtpcb"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}" "$@"\n')
    command.chmod(0o755)
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    (tmp_path / "password").write_text("tim\n")
    (tmp_path / "message.eml").write_text("From: a@example.org\nTo: b@example.org\n\nx\n")
    scripts = shown_in_docs("sh")
    [program] = shown_in_docs("python")
    with running(folder, "--lmtp", f"unix:{folder}/lmtp") as server:
        (folder / "identity.pem").write_bytes(server.identity.read_bytes())

        def here(text: str) -> str:
            text = re.sub(r"\b10(025|587)\b", str(server.port), text)
            return text.replace("/run/smtpcb", str(folder))

        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        commands = [["sh", "-ec", here(one)] for one in scripts]
        for one in (*commands, [sys.executable, "-c", here(program)]):
            done = subprocess.run(
                one, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
            )
            assert (done.returncode, done.stdout) == (0, ""), (one, done.stderr)
        # A line of them has two messages, and the program one.
        assert len(server.messages()) == len(scripts) + 2


def test_a_bar_on_a_terminal(server: Server, tmp_path: Path) -> None:
    """For a large message, and for any if it is asked for; it is gone at the end."""
    (tmp_path / "large").write_bytes(bytes(2_000_000))
    where = ("send", "--server", f"127.0.0.1:{server.port}", *ENVELOPE)
    status, shown = on_a_terminal(PROGRAM, *where, "--attach", tmp_path / "large")
    assert status == 0
    assert b"#] 100 % of 2.6 MiB" in shown
    assert shown.endswith(b"\r\x1b[K")
    assert on_a_terminal(PROGRAM, *where, "--body", "x") == (0, b"")
    assert on_a_terminal(PROGRAM, *where, "--no-progress", "--attach", tmp_path / "large")[1] == b""
    assert b"100 %" in on_a_terminal(PROGRAM, *where, "--body", "x", "--progress")[1]
    assert send(*where[1:], "--attach", tmp_path / "large", "--progress").stderr == ""


def test_the_password_is_asked_for_on_the_terminal(server: Server, came: Came) -> None:
    """It is not shown there; without a terminal the message is not taken for it."""
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    where = ("--server", f"localhost:{server.port}", *ENVELOPE, "--body", "x", "--ca")
    where = (*where, str(server.identity), "--user", "anne")
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, name, "send", *where],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        shown = b""
        while b"Password of anne: " not in shown:
            shown += os.read(ours, 1024)
        os.write(ours, b"tim\n")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
        os.close(ours)
    assert [who for who, _ in came()] == ["anne bob"]
    said = send(*where, given=b"tim\n")
    assert said.returncode == os.EX_USAGE
    assert "--password-file" in said.stderr


def test_interrupted_while_the_message_is_read() -> None:
    """Whoever types it and thinks better of it has sent nothing."""
    process = subprocess.Popen(
        [sys.executable, "-v", *COMMAND[1:], *NOWHERE, "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        # The last thing that is imported before standard input is read.
        for line in process.stderr:
            if line.startswith("import 'smtpcb.run.command.send._target'"):
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(30) == 130
    assert "smtpcb: interrupted; nothing was sent\n" in said
    assert "Traceback" not in said


NOWHERE = ("--server", "127.0.0.1:1")
SENT = (*NOWHERE, *ENVELOPE, "--body", "x")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*SENT, "--form", "x"), "unrecognized arguments: --form"),
        ((*SENT, "--tl", "off"), "unrecognized arguments: --tl"),
        ((*SENT, "--tls", "on"), "invalid choice: 'on'"),
        ((*SENT, "--auth", "NTLM"), "invalid choice: 'NTLM'"),
        ((*SENT, "--timeout", "0"), "a number of seconds above 0, not '0'"),
        ((*SENT, "--timeout", "nan"), "a number of seconds above 0, not 'nan'"),
        ((*SENT, "--password", "tim"), "everybody on this machine can read a command line"),
        ((*SENT, "--monitor", "--progress"), "not allowed with argument"),
        ((*SENT, "--subject", "x\nBcc: eve@example.org"), "a control character in 'x\\x0aBcc: eve"),
        ((*SENT, "--header", "X: a\r\nY: b"), "X: a control character"),
        ((*SENT, "--header", "nothing"), "--header is 'Name: value', not 'nothing'"),
        ((*SENT, "--header", "Bcc: eve@example.org"), "Bcc is not sent"),
        ((*SENT, "--header", "Subject: a", "--subject", "b"), "Subject is set already"),
        ((*SENT, "--to", "bob@example.org>\r\nRCPT TO:<eve@example.org"), "To: a control"),
        ((*SENT, "--bcc", "nobody"), "Bcc: no address: 'nobody'"),
        ((*SENT, "--from", "a@example.org, b@example.org"), "--from is one address, not 2"),
        ((*SENT, "--from", ""), "say --header 'From: ADDRESS' as well"),
        ((*SENT, "--body", "\udcff"), "--body is no text"),
        ((*NOWHERE, *ENVELOPE), "there is nothing to send"),
        ((*NOWHERE, "--body", "x", "--from", "a@example.org"), "say --to ADDRESS"),
        ((*NOWHERE, "--body", "x", "--to", "a@example.org"), "say --from ADDRESS"),
        ((*SENT, "-"), "--body and --attach go without it"),
        ((*SENT, "--server", "mail:x"), "mail:x"),
        ((*SENT, "--server", "a:99999"), "--server 'a:99999': no port"),
        ((*SENT, "--server", "a b"), "HOST[:PORT] or an endpoint, not 'a b'"),
        ((*SENT, "--server", "unix:/x", "--tls", "starttls"), "TLS needs --tls-hostname"),
        ((*SENT, "--tls", "off", "--ca", "x"), "--certificate and --insecure-tls are of no use"),
        ((*SENT, "--server", "mx:a b"), "'a b' is no name"),
        ((*SENT, "--server", "a..b"), "'a..b' is no name"),
        ((*SENT, "--server", "mx:x.org", "--user", "a"), "nobody logs in at the exchangers"),
        ((*SENT, "--server", "mx:x.org", "--tls", "implicit"), "mx:DOMAIN goes without --lmtp"),
        ((*SENT, "--insecure-tls", "--ca", "x"), "--ca and --tls-hostname are of no use"),
        ((*SENT, "--key", "x"), "--key is that of --certificate"),
        ((*SENT, "--ehlo", "a b"), "--ehlo is no domain or address literal: 'a b'"),
        ((*SENT, "--user", "a\nb"), "--user: a control character"),
        ((*SENT, "--auth", "PLAIN"), "say --user NAME"),
    ],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    """It is found before anything is sent, and the exit status is that of a mistake."""
    assert status_of(*words) == os.EX_USAGE
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def status_of(*words: object) -> int:
    """Return the exit status of what ends before a connection is made."""
    try:
        return main(["send", *map(str, words)])
    except SystemExit as end:
        return int(str(end.code))


def test_a_file_that_cannot_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One line names it."""
    for words in (
        (*NOWHERE, tmp_path / "none"),
        (*NOWHERE, tmp_path),
        (*SENT, "--attach", tmp_path / "none"),
        (*SENT, "--user", "anne", "--password-file", tmp_path / "none"),
        (*SENT, "--tls", "starttls", "--ca", tmp_path / "none"),
        (*SENT, "--tls", "starttls", "--certificate", tmp_path / "none"),
    ):
        assert status_of(*words) == os.EX_NOINPUT
        said = capsys.readouterr().err
        assert said.startswith(f"smtpcb: {tmp_path}")
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"\nno header\n", "the message has no header section"),
        (b"From: anne@example.org\nTo: bob@\n\nx\n", "the To field cannot be read"),
        (b"From: anne@example.org\nTo: b@example.org\n\nx\ry\n", "line 4: "),
        (
            b"From a@example.org Sat\nFrom: a@example.org\nTo: b@example.org\n\nx\n",
            "of an mbox file",
        ),
    ],
)
def test_a_message_that_cannot_be_sent(octets: bytes, says: str) -> None:
    """One line says why, before there is a connection."""
    said = send(*NOWHERE, "-", given=octets)
    assert said.returncode == os.EX_DATAERR, said.stderr
    assert says in said.stderr
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "host", "port", "local"),
    [
        (None, "localhost", None, True),
        ("mail.example.org", "mail.example.org", None, False),
        ("mail.example.org:25", "mail.example.org", 25, False),
        ("::1", "::1", None, True),
        ("[::1]:25", "::1", 25, True),
        ("[2001:db8::1]", "2001:db8::1", None, False),
        ("127.1.2.3", "127.1.2.3", None, True),
        ("LocalHost:2525", "LocalHost", 2525, True),
        ("unix:/run/lmtp", "unix:/run/lmtp", None, True),
        ("tcp:mail.example.org:25", "tcp:mail.example.org:25", None, False),
        ("mx:25", "mx", 25, False),
        ("mx:example.org", "example.org", None, False),
        ("MX:example.org:2525", "example.org", 2525, False),
        ("mx:[IPv6:2001:db8::1]:2525", "[IPv6:2001:db8::1]", 2525, False),
    ],
)
def test_where_it_goes(text: str | None, host: str, port: int | None, local: bool) -> None:
    """A host, an address, or an endpoint; nobody is on the way to this machine."""
    place = place_of(text)
    assert (place.host, place.port, place.local) == (host, port, local)
    assert place.exchangers is (text or "").lower().startswith(("mx:e", "mx:["))


@pytest.mark.parametrize("text", ["", ":25", "a:", "[a]:25", "a:0", "a/b", "user@host", "mx:a:0"])
def test_where_nothing_can_go(text: str) -> None:
    """It is no host, or no port of one."""
    with pytest.raises(MistakeError):
        place_of(text)
