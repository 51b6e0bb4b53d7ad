"""
What the documentation shows is what happens.

Every Python block of README.md and docs/ is run.  A handler in it is adapted as a server adapts
it, and the dialogue that stands below it in the text is held with it, on the real protocol.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import smtplib
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.application.service import IServiceCollection
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.internet.threads import deferToThread

from smtpcb import Limits, Settings, SmtpServerFactory, serve, threaded
from smtpcb.engine._handler import EVENTS
from smtpcb.handling import check
from smtpcb.run.options import read_file
from smtpcb.run.tap import Options
from smtpcb.testing._play import Turn, play, turns
from smtpcb.transcript import TranscriptFolder, TranscriptSettings, load, read

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *sorted(DOCS.glob("*.rst")),
    *sorted((DOCS / "coming-from").glob("*.rst")),
]


@dataclass(frozen=True)
class Block:
    """
    A piece of a page that is not prose.

    :ivar language: as the page says it.
    :ivar line: where its text begins.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def markdown_blocks(page: Path) -> Iterator[Block]:
    """Find the fenced blocks of a Markdown page."""
    text = page.read_text()
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(page.name, text.count("\n", 0, match.start(2)) + 1, match[1], match[2])


def rst_blocks(page: Path) -> Iterator[Block]:
    """Find the code blocks of a reStructuredText page."""
    lines = page.read_text().split("\n")
    for at, line in enumerate(lines):
        match = re.fullmatch(r"( *)\.\. code-block:: (\w+)", line)
        if match is None:
            continue
        start = at + 1
        while re.fullmatch(r" +:[\w-]+:.*|", lines[start]):
            start += 1
        end = start
        while end < len(lines) and (not lines[end] or lines[end].startswith(match[1] + " ")):
            end += 1
        text = textwrap.dedent("\n".join(lines[start:end])).rstrip() + "\n"
        yield Block(page.name, start + 1, match[2], text)


BLOCKS = [
    block
    for page in PAGES
    for block in (markdown_blocks if page.suffix == ".md" else rst_blocks)(page)
]


def blocks(language: str) -> list[Any]:
    """Return the blocks in one language, as parameters of a test."""
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language == language]


def run(block: Block) -> dict[str, object]:
    """Run a block as a module of its own, and return its names."""
    code = compile("\n" * (block.line - 1) + block.text, block.page, "exec")
    names: dict[str, object] = {"__name__": "example"}
    exec(code, names)
    return names


def handler_in(names: Mapping[str, object]) -> object | None:
    """Return the handler that a block makes: what it calls so, or its last class that is one."""
    if "handler" in names:
        return names["handler"]
    classes = [
        value
        for value in names.values()
        if isinstance(value, type)
        and value.__module__ == "example"
        and any(callable(vars(value).get(event)) for event in EVENTS)
    ]
    return classes[-1] if classes else None


async def hold(
    script: str, handler: object, reactor: Any, limits: Limits | None = None, **settings: Any
) -> None:
    """
    Hold a dialogue with a handler, over the protocol of a server.

    A script that does not begin with the greeting begins behind EHLO.
    """
    limits = Limits(decision_seconds=0.1, message_seconds=0.1) if limits is None else limits
    factory = SmtpServerFactory(
        handler,
        Settings(
            hostname="mx.example.org",
            limits=limits,
            allow_insecure_auth=True,
            lmtp="C: LHLO" in script,
        ),
        reactor=reactor,
        **settings,
    )
    protocol: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 40000))
    transport = StringTransportWithDisconnection()
    transport.protocol = protocol
    said = [0]

    async def exchange(turn: Turn) -> None:
        if transport.connected:
            protocol.dataReceived(turn.octets)
        for _ in range(300):
            lines = transport.value().decode("ascii").split("\r\n")[said[0] : -1]
            if len(lines) >= len(turn.answer):
                break
            await deferLater(reactor, 0.005)
        said[0] += len(lines)
        assert len(lines) == len(turn.answer), lines
        for wanted, line in zip(turn.answer, lines, strict=True):
            assert line == wanted or (line.startswith(wanted) and line[len(wanted)] in " -"), lines

    protocol.makeConnection(transport)
    script_turns = list(turns(read(script)))
    try:
        if script_turns[0].octets == b"":
            await exchange(script_turns.pop(0))
        else:
            protocol.dataReceived(b"EHLO client.example.org\r\n")
            await deferLater(reactor, 0.005)
            said[0] = transport.value().count(b"\r\n")
        for turn in script_turns:
            await exchange(turn)
    finally:
        if transport.connected:
            transport.loseConnection()
        await factory.drain()
        if isinstance(handler, threaded):
            handler.stop()


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let an example write what it likes into the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", blocks("python"))
def test_every_python_block_runs(block: Block, in_folder: Path) -> None:
    """It is whole, and a handler in it is one that a server takes."""
    if "smtplib.SMTP(" in block.text:
        compile(block.text, block.page, "exec")  # run against a server below
        return
    handler = handler_in(run(block))
    if handler is not None:
        assert check(handler) == []


def dialogues() -> Iterator[Any]:
    """Return each dialogue with the Python block above it."""
    above: Block | None = None
    for block in BLOCKS:
        if block.language == "python":
            above = block
        elif block.language == "text" and block.text.lstrip().startswith(("C: ", "S: ")):
            assert above is not None, block
            assert above.page == block.page, block
            yield pytest.param(above, block, id=str(block))


@pytest.mark.parametrize(("example", "dialogue"), list(dialogues()))
@ensureDeferred
async def test_every_dialogue_goes_as_it_is_written(
    example: Block, dialogue: Block, in_folder: Path
) -> None:
    """What the page says the client hears, it hears."""
    from twisted.internet import reactor

    names = run(example)
    handler = handler_in(names)
    assert handler is not None
    given = {name: names[name] for name in ("authenticator", "limits") if name in names}
    await hold(dialogue.text, handler, reactor, **given)


@ensureDeferred
async def test_the_observer_that_is_shown_sees_what_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is made for each connection, and told of each no with its reply."""
    from twisted.internet import reactor

    (block,) = [b for b in BLOCKS if b.language == "python" and "(Observer)" in b.text]
    names = run(block)
    script = """
        C: MAIL FROM:<>
        C: RCPT TO:<bob@example.com>
        S: 250
        S: 550
    """
    await hold(script, names["Inbox"], reactor, observers=names["observers"])
    assert capsys.readouterr().out == "192.0.2.1 rcpt 550 5.1.1 Recipient refused\n"


def test_the_events_are_written_as_they_are_called() -> None:
    """Each is described, with the arguments it gets."""
    text = " ".join((DOCS / "handlers.rst").read_text().split())
    for name, arguments in EVENTS.items():
        assert f"``{name}({', '.join(arguments)})``" in text


def test_the_examples_are_found() -> None:
    """A page that is written otherwise than these tests read it is not simply passed over."""
    shown = sum(
        len(
            re.findall(
                r"^(?:```python| *\.\. code-block:: python)$", page.read_text(), re.MULTILINE
            )
        )
        for page in PAGES
    )
    assert len(blocks("python")) == shown
    assert len(list(dialogues())) > 10


# With one of these twistd ends.
ENDING = ("--check", "--print-config")


def command_lines() -> Iterator[Any]:
    """Return the arguments of each ``twistd smtpcb`` that is shown."""
    for block in BLOCKS:
        if block.language in ("sh", "ini"):
            for line in block.text.replace("\\\n", " ").splitlines():
                _, twistd, rest = line.partition("twistd ")
                _, smtpcb, arguments = rest.partition(" smtpcb")
                if twistd and smtpcb and "--help" not in arguments:
                    yield pytest.param(arguments, id=f"{block}{arguments}"[:80])


@pytest.mark.parametrize("arguments", list(command_lines()))
def test_every_command_line_is_understood(arguments: str, in_folder: Path) -> None:
    """The options that are shown exist, and take the values that are shown."""
    Options().parseOptions([word for word in shlex.split(arguments) if word not in ENDING])


def operations(language: str, beginning: str) -> Block:
    """Return the block of Operations that begins so."""
    (found,) = [
        block
        for block in BLOCKS
        if block.page == "operations.rst"
        and block.language == language
        and block.text.startswith(beginning)
    ]
    return found


@pytest.mark.parametrize("block", blocks("toml"))
def test_every_settings_file_is_understood(block: Block, tmp_path: Path) -> None:
    """Its keys are options and its values fit them."""
    (tmp_path / "settings.toml").write_text(block.text)
    assert read_file(tmp_path / "settings.toml")


def fenced(section: str) -> list[str]:
    """Return the lines of the blocks in a section of README."""
    text = (ROOT / "README.md").read_text()
    part = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```\w*\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return found[0].splitlines()


@pytest.mark.parametrize("section", ["Run it", "Test it"])
def test_readme_has_one_command(section: str) -> None:
    """One line runs it, and one line tests it."""
    assert len(fenced(section)) == 1


def test_files_that_pages_name_exist() -> None:
    """A link of README, or a file that a page takes in, is there."""
    links = re.findall(r"\]\(([^:)#]+)\)", (ROOT / "README.md").read_text())
    pages = "".join(page.read_text() for page in DOCS.glob("*.rst"))
    names = re.findall(r"^.. literalinclude:: (\S+)", pages, re.MULTILINE)
    assert links
    assert names
    for path in (*(ROOT / link for link in links), *(DOCS / name for name in names)):
        assert path.is_file(), path


@pytest.fixture
def twistd(in_folder: Path) -> Iterator[Callable[..., int]]:
    """Start ``twistd smtpcb`` in processes of its own, and end them after the test."""
    processes = []

    def start(*arguments: str, reactor: str = "default") -> int:
        """Return its port."""
        twistd = str(Path(sys.executable).parent / "twistd")
        command = [twistd, "-n", "--pidfile=", f"--reactor={reactor}", "smtpcb"]
        process = subprocess.Popen(
            [*command, "--listen", "tcp:0:interface=127.0.0.1", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        log = ""
        for line in process.stdout:
            log += line
            if match := re.search(r"mail is taken on \S+:(\d+)", line):
                return int(match[1])
        raise AssertionError(log)

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=20)


def readme_handler() -> str:
    """Return the handler that README begins with."""
    return next(block.text for block in BLOCKS if block.language == "python")


def test_the_inbox_of_readme_and_the_first_message(
    twistd: Callable[..., int], in_folder: Path
) -> None:
    """What Getting started sends, the class that README begins with takes."""
    (in_folder / "inbox.py").write_text(readme_handler())
    port = twistd("--no-tls", "--handler", "python:inbox.Inbox")
    sends = [b for b in BLOCKS if b.language == "python" and "smtplib.SMTP(" in b.text]
    assert sends
    for block in sends:
        exec(block.text.replace("10025", str(port)), {})
        (kept,) = in_folder.glob("*.eml")
        assert b"Subject: Hello" in kept.read_bytes()
    with smtplib.SMTP("127.0.0.1", port) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.sendmail("anne@example.org", "bob@example.com", "Subject: no")
        assert refused.value.recipients["bob@example.com"] == (550, b"5.7.1 No relaying")


def test_a_handler_may_use_asyncio(twistd: Callable[..., int], in_folder: Path) -> None:
    """With the asyncio reactor, a coroutine of asyncio is awaited as the page says."""
    (block,) = [b for b in BLOCKS if b.language == "python" and "class Slow:" in b.text]
    (in_folder / "slow.py").write_text(block.text)
    port = twistd("--no-tls", "--handler", "python:slow.Slow", reactor="asyncio")
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        client.mail("anne@example.org")
        assert client.rcpt("bob@example.org") == (250, b"2.1.5 Looked up")


@pytest.mark.parametrize("client", ["swaks", "curl"])
def test_a_first_message_with_a_mail_client(
    client: str, twistd: Callable[..., int], in_folder: Path
) -> None:
    """The lines of Getting started send a message inside TLS, after a login."""
    if shutil.which(client) is None and not os.environ.get("SMTPCB_REQUIRE_CLIENTS"):
        pytest.skip(f"{client} is not installed")
    (block,) = [
        b
        for b in BLOCKS
        if b.page == "getting-started.rst" and b.language == "sh" and f"{client} --" in b.text
    ]
    command = re.sub(":10[0-9]{3}", f":{twistd()}", block.text)
    sent = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    maildir = in_folder / "smtpcb-state" / "Maildir"
    (kept,) = (maildir / "new").iterdir()
    assert b"Subject: " in kept.read_bytes()
    # The envelope is where Operations says, and has what stands there.
    envelope = json.loads((maildir / "envelopes" / f"{kept.name}.json").read_text())
    shown = json.loads(operations("json", "{").text)
    assert envelope.keys() == shown.keys()
    assert envelope["connection"].keys() == shown["connection"].keys()
    assert envelope["recipients"][0].keys() == shown["recipients"][0].keys()


@ensureDeferred
async def test_mail_and_web_in_one_process() -> None:
    """What the handler takes, the web page shows."""
    source = (DOCS / "examples" / "inbox_and_web.py").read_text()
    assert source.count('"tcp:10025:') == source.count('"tcp:10080:') == 1
    names: dict[str, Any] = {"__name__": "example"}
    exec(source.replace("tcp:10025:", "tcp:0:").replace("tcp:10080:", "tcp:0:"), names)
    service: Any = IServiceCollection(names["application"])
    service.privilegedStartService()
    service.startService()
    try:
        mail = names["mail"].ports[0].getHost().port
        listening: Deferred[Any] = names["web"]._waitingForPort
        web = listening.result.getHost().port

        def send() -> None:
            with smtplib.SMTP("127.0.0.1", mail, timeout=10) as client:
                client.sendmail("a@example.org", "b@example.org", "Subject: 1 < 2\n\nHello")

        def look() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{web}/", timeout=10) as page:
                return str(page.read().decode())

        await deferToThread(send)
        assert "<li>1 &lt; 2</li>" in await deferToThread(look)
    finally:
        await maybeDeferred(service.stopService)


@ensureDeferred
async def test_an_extension_of_ones_own() -> None:
    """Its keyword changes, its parameter is read and refused, its command answers later."""
    from twisted.internet import reactor

    names = runpy.run_path(str(DOCS / "examples" / "own_extension.py"))
    settings = Settings(extensions=(names["TICKETS"],))
    service = serve(reactor, "tcp:0:interface=127.0.0.1", names["Desk"], settings)

    def talk() -> None:
        with smtplib.SMTP(*service_address, timeout=10) as client:
            client.ehlo()
            assert client.esmtp_features["xticket"] == "3 open"
            rows = b"T1 Printer on fire\n2.0.0 T2 Cable too short\n2.0.0 T3 Mail does not come"
            assert client.docmd("XTICKETS", "open") == (250, b"2.0.0 " + rows)
            assert client.docmd("XTICKETS", "closed")[0] == 504
            assert client.mail("a@example.org", ["XTICKET=T9"]) == (550, b"5.7.1 T9 is closed")
            assert client.mail("a@example.org", ["XTICKET=x"])[0] == 501
            client.mail("a@example.org", ["xticket=t2"])
            client.rcpt("b@example.org")
            assert client.data("Hello") == (250, b"2.0.0 Added to 'Cable too short'")
            del names["OPEN"][names["Ticket"](3)]
            client.ehlo()
            assert client.esmtp_features["xticket"] == "2 open"

    host = service.ports[0].getHost()
    service_address = host.host, host.port
    try:
        await deferToThread(talk)
    finally:
        await maybeDeferred(service.stopService)


@ensureDeferred
async def test_a_transcript_is_a_script(tmp_path: Path) -> None:
    """What was said can be held again, as Operations says."""
    from twisted.internet import reactor

    block = next(b for b in BLOCKS if b.page == "handlers.rst" and b.language == "python")
    handler = handler_in(run(block))
    transcripts = TranscriptFolder(TranscriptSettings(tmp_path), reactor)
    script = """
        C: MAIL FROM:<>
        C: RCPT TO:<eve@example.org>
        S: 250
        S: 550
    """
    await hold(script, handler, reactor, transcripts=transcripts)
    await transcripts.close()
    (path,) = tmp_path.rglob("*.txt")
    settings = Settings(hostname="mx.example.org", allow_insecure_auth=True)
    play(load(path).lines, handler, settings=settings, tls=False)
