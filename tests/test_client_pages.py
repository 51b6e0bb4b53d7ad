"""
What the pages about sending show is what happens, against the server that they show.

Each program on them is run, by ``main`` or as a process, and prints what stands below it.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred

from smtpcb.smtp import Limits
from smtpcb.tls import self_signed
from tests.test_docs import BLOCKS, DOCS, Block, hold
from tests.test_examples import WITHOUT_TWISTED

PAGES = ("client.rst", "sending.rst", "libesmtp.rst", "smtplib.rst", "twisted-mail.rst")
RECIPIENTS = ("bob@example.org", "nobody@example.org", "busy@example.org")


@dataclass(frozen=True)
class Desk:
    """The server of the client guide, in a folder of its own."""

    folder: Path
    port: int

    def instead(self, text: str, who: str) -> str:
        """Say where it really is; who is busy at first is a new one each time."""
        text = re.sub(r"\b10(025|587)\b", str(self.port), text)
        return text.replace("busy@example.org", f"busy@{who}.example.org")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Start it as the page says."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copy(DOCS / "examples" / "desk.py", folder)
    (folder / "meeting.eml").write_text("From: anne@example.org\r\n\r\nAt ten.\r\n")
    (command,) = [b for b in BLOCKS if b.page == "client.rst" and "twistd -n" in b.text]
    arguments = command.text.split()[1:]
    twistd = str(Path(sys.executable).parent / "twistd")
    process = subprocess.Popen(
        [twistd, *arguments, "--listen", "tcp:0:interface=127.0.0.1"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    log = ""
    for line in process.stdout:
        log += line
        if match := re.search(r"mail is taken on \S+:(\d+)", line):
            yield Desk(folder, int(match[1]))
            break
    else:
        raise AssertionError(log)
    process.terminate()
    process.communicate(timeout=20)


def programs() -> Iterator[Any]:
    """Return each program of the pages with what it prints, which the next one may print too."""
    printed: Block | None = None
    for block in reversed(BLOCKS):
        if block.language == "text":
            printed = block
        elif block.page in PAGES and block.language.startswith("python"):
            if '__name__ == "__main__"' in block.text:
                if printed is None or printed.page != block.page:
                    printed = replace(block, text="")
                yield pytest.param(block, printed, id=str(block))
            elif block.language == "python":
                printed = None


@pytest.mark.parametrize(("block", "printed"), list(programs()))
@pytest_twisted.ensureDeferred
async def test_every_program_prints_what_stands_below_it(
    block: Block,
    printed: Block,
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a page says of a program, whoever runs it sees."""
    from twisted.internet import reactor

    monkeypatch.chdir(desk.folder)
    if block.page == "twisted-mail.rst":
        monkeypatch.setenv("SSL_CERT_FILE", "smtpcb-state/identity.pem")
    who = f"l{block.line}.{block.page.partition('.')[0]}"
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(desk.instead(block.text, who), block.page, "exec"), names)
    arguments: tuple[Any, ...] = (reactor,) if "reactor" in signature(names["main"]) else ()
    if "mailboxes" in signature(names["main"]):
        given = " ".join(("localhost", "10587", "meeting.eml", *RECIPIENTS))
        arguments += tuple(desk.instead(given, who).split())
    if inspect.iscoroutinefunction(names["main"]):
        await ensureDeferred(names["main"](*arguments))
    else:
        names["main"](*arguments)
    assert capsys.readouterr().out == desk.instead(printed.text, who)


def signature(function: Any) -> list[str]:
    """Return the names of what a function takes."""
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", ["send_from_threads.py", "send_from_asyncio.py"])
def test_a_program_of_another_kind(name: str, desk: Desk, tmp_path: Path) -> None:
    """It sends one message, is told why the other was not, and ends."""
    program = tmp_path / name
    program.write_text(desk.instead((DOCS / "examples" / name).read_text(), "p"))
    ran = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.stdout == "True\n" + (
        "nobody@example.org: refused for good (550 5.1.1 No such mailbox)\n"
    )
    assert (ran.stderr, ran.returncode) == ("", 0)


MAILS = """
import mail_backend

class Mail:
    from_email = "Anne <anne@example.org>"

    def __init__(self, *to):
        self.to = to

    def recipients(self):
        return list(self.to)

    def message(self):
        from email.message import EmailMessage

        message = EmailMessage()
        message["From"] = self.from_email
        message.set_content("At ten.")
        return message

mails = Mail("Bob <bob@example.org>", "carol@example.org"), Mail("nobody@example.org"), Mail()
print(mail_backend.EmailBackend().send_messages(mails))
print(mail_backend.EmailBackend().send_messages([]))
mail_backend.SERVER = mail_backend.Server("localhost", 9)
print(mail_backend.EmailBackend(fail_silently=True).send_messages(mails))
mail_backend.EmailBackend().send_messages(mails)
"""


def test_a_mail_backend(desk: Desk, tmp_path: Path) -> None:
    """It counts what everybody got, and raises if there is no server, unless it is to be silent."""
    program = (DOCS / "examples" / "mail_backend.py").read_text()
    (tmp_path / "mail_backend.py").write_text(desk.instead(program, "m"))
    ran = subprocess.run(
        [sys.executable, "-c", MAILS], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout == "1\n0\n0\n"
    assert "NoSession: localhost" in ran.stderr.splitlines()[-1]


@pytest_twisted.ensureDeferred
async def test_a_handler_that_sends(desk: Desk) -> None:
    """Its client hears what became of the copy."""
    from twisted.internet import reactor

    program = desk.instead((DOCS / "examples" / "archive.py").read_text(), "a")
    script = """
        C: MAIL FROM:<anne@example.com>
        C: RCPT TO:<bob@example.org>
        C: DATA
        S: 250 2.1.0
        S: 250 2.1.5
        S: 354
        C: Subject: Hello
        C: .
        S: {}
    """
    for who, answer in (
        ("archive", "250 2.0.0"),
        ("nobody", "550 5.1.1 No such mailbox"),
        ("busy", "451 4.4.2 The archive: later"),
    ):
        names: dict[str, Any] = {"__name__": "example"}
        exec(program.replace("archive@", f"{who}@archive."), names)
        await hold(script.format(answer), names["Archive"], reactor, Limits())
    names["ARCHIVE"] = names["Server"]("localhost", 9)
    await hold(script.format("451 4.4.1"), names["Archive"], reactor, Limits())


def test_a_program_without_twisted(desk: Desk) -> None:
    """The engine, a socket and `ssl` are a client: its TLS is checked, and somebody logs in."""

    def ran(authority: str) -> list[str]:
        program = DOCS / "examples" / "send_with_sockets.py"
        arguments = ["localhost", str(desk.port), authority]
        arguments += ["bob@example.org", "nobody@example.org"]
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_TWISTED, program, *arguments],
            cwd=desk.folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.splitlines()

    assert ran("smtpcb-state/identity.pem") == [
        "bob@example.org delivered 250 2.0.0 Taken for 1",
        "nobody@example.org refused for good 550 5.1.1 No such mailbox",
    ]
    (desk.folder / "other").mkdir()
    self_signed(desk.folder / "other", "localhost")
    one, other, why = ran("other/identity.pem")
    assert (one, other) == ("bob@example.org not tried None", "nobody@example.org not tried None")
    assert why.startswith("it ended early: tls: ")


def test_the_program_with_libesmtp_says_the_same(desk: Desk) -> None:
    """Each line of its table is true if the two programs do the same."""
    compiler = shutil.which("cc")
    if compiler is None or not os.path.exists("/usr/include/libesmtp.h"):
        if os.environ.get("SMTPCB_REQUIRE_CLIENTS"):
            raise AssertionError("a compiler and libesmtp-dev are not installed")
        pytest.skip("a compiler and libesmtp-dev are not installed")
    (source,) = [b for b in BLOCKS if b.page == "libesmtp.rst" and b.language == "c"]
    (printed,) = [b for b in BLOCKS if b.page == "libesmtp.rst" and b.language == "text"]
    (desk.folder / "submit.c").write_text(source.text)
    subprocess.run(
        [compiler, "-Wall", "-Werror", "-o", "submit", "submit.c", "-lesmtp"],
        cwd=desk.folder,
        check=True,
        timeout=60,
    )
    (desk.folder / "openssl.cnf").write_text(
        "openssl_conf = all\n[all]\nssl_conf = tls\n[tls]\nsystem_default = most\n"
        "[most]\nMaxProtocol = TLSv1.2\n"
    )
    recipients = desk.instead(" ".join(RECIPIENTS), "c").split()
    said = subprocess.run(
        ["./submit", f"localhost:{desk.port}", "meeting.eml", *recipients],
        cwd=desk.folder,
        env={
            **os.environ,
            "SSL_CERT_FILE": "smtpcb-state/identity.pem",
            "OPENSSL_CONF": str(desk.folder / "openssl.cnf"),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    ours = [line.split() for line in desk.instead(printed.text, "c").splitlines()]
    theirs = [line.split() for line in said.stdout.splitlines()]
    assert [(line[0], line[-1]) for line in theirs] == [(line[0], line[-1]) for line in ours]
