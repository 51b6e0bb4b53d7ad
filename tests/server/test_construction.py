"""What a server is made of is looked at when it is made, and not by its first client."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from smtpcb.engine import Observer, Settings
from smtpcb.handling import threaded
from smtpcb.server import SmtpServerFactory, SmtpService, serve
from smtpcb.smtp import Extension, Limits
from smtpcb.testing import play
from smtpcb.transcript import TranscriptFolder, TranscriptSettings
from tests.server.client import Client, Recorder, Secure


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"settings": {"hostname": "x"}}, "settings is a Settings, not dict"),
        ({"settings": Limits()}, "settings is a Settings, not Limits"),
        ({"settings": 42}, "settings is a Settings, not int"),
        ({"tls": "cert.pem"}, "tls makes TLS connections, as ServerTls does; str does not"),
        ({"tls": Secure}, "tls makes TLS connections"),
        ({"tls": True}, "tls makes TLS connections"),
        ({"transcripts": "folder"}, "transcripts is a TranscriptFolder, not str"),
        (
            {"transcripts": TranscriptSettings(Path("folder"))},
            "transcripts is a TranscriptFolder, not TranscriptSettings",
        ),
        ({"reactor": 42}, "reactor is a reactor, not int"),
        ({"reactor": "epoll"}, "reactor is a reactor, not str"),
        ({"observers": [42]}, "an observer is made by a callable; int is none"),
        ({"observers": [None]}, "an observer is made by a callable; NoneType is none"),
        ({"observers": ["several"]}, "an observer is made by a callable; str is none"),
        ({"observers": "several"}, "observers is a list of callables, not str"),
        ({"observers": 5}, "observers is a list of callables, not int"),
        ({"memory_octets": "1M"}, "memory_octets is a number, not str"),
        ({"memory_octets": 1.5}, "memory_octets is a number, not float"),
        ({"memory_octets": True}, "memory_octets is a number, not bool"),
        ({"worker": "a"}, "worker is a number, not str"),
        ({"log_messages": "no"}, "log_messages is a bool, not str"),
        ({"spool_folder": "/var/spool"}, "spool_folder is a Path, not str|Path, not str"),
        ({"authenticator": object()}, "authenticat"),
        ({"authenticator": "anne:secret"}, "authenticat"),
    ],
)
def test_what_is_none_is_refused_with_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    """A program does not start, and says why."""
    options: dict[str, Any] = {"reactor": Clock(), **wrong}
    with pytest.raises(TypeError, match=sentence):
        SmtpServerFactory(Recorder(), **options)


async def _later(connection: Any) -> Observer:
    return Observer()


class _Needs(Observer):
    def __init__(self, connection: Any, registry: Any) -> None: ...


@pytest.mark.parametrize("wrong", [Observer, lambda: Observer(), _Needs, _later, partial(_later)])
def test_what_cannot_make_an_observer_is_refused(wrong: Any) -> None:
    """It is called with the connection, and answers at once; no client has to find that out."""
    with pytest.raises(TypeError, match=r"is called with the connection|cannot be async def"):
        SmtpServerFactory(Recorder(), reactor=Clock(), observers=[wrong])


@pytest.mark.parametrize("right", [lambda connection: None, partial(_Needs, registry={}), dict])
def test_whatever_takes_a_connection_may_make_observers(right: Any) -> None:
    """A function, a class, a partial, and what does not say how it is called."""
    SmtpServerFactory(Recorder(), reactor=Clock(), observers=[right])


def _closed(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o500)
    return folder


def _file(folder: Path) -> Path:
    folder.write_bytes(b"")
    return folder


@pytest.mark.parametrize("kind", ["absent", "file", "closed", "within a file"])
@pytest.mark.parametrize("how", ["factory", "serve"])
def test_a_spool_folder_that_takes_no_files_is_refused(kind: str, how: str, tmp_path: Path) -> None:
    """When the server is made, and not by 452 to the first large message."""
    folder = tmp_path / "spool"
    if kind == "closed":
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        _closed(folder)
    elif kind != "absent":
        _file(folder)
    if kind == "within a file":
        folder /= "spool"
    make = SmtpServerFactory if how == "factory" else partial(serve, Clock(), "tcp:0")
    with pytest.raises(ValueError, match=f"no file can be made in spool_folder {folder}: "):
        make(Recorder(), **({"reactor": Clock()} if how == "factory" else {}), spool_folder=folder)


def test_no_folder_for_temporary_files_is_said(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small messages need none, so that the server starts."""
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    SmtpServerFactory(Recorder(), reactor=Clock())
    assert any("no message over memory_octets can be taken: No such file" in line for line in log)


def test_an_extension_that_fails_stops_the_start() -> None:
    """What it offers is tried, in each situation; `play` refuses the same."""
    broken = Settings(extensions=(Extension("XTAG", lambda now: (now.secure and 7) or ""),))
    with pytest.raises(ValueError, match="the offer of XTAG fails: TypeError: EHLO says a str"):
        SmtpServerFactory(Recorder(), broken, reactor=Clock())
    with pytest.raises(ValueError, match="the offer of XTAG fails: TypeError: EHLO says a str"):
        play("", Recorder(), settings=broken)


@pytest.mark.parametrize("name", ["memory_octets", "worker"])
def test_a_number_below_nought_is_refused(name: str) -> None:
    """It is a mistake, and would mean something else than was thought."""
    options: dict[str, Any] = {"reactor": Clock(), name: -1}
    with pytest.raises(ValueError, match=f"{name} is at least 0, not -1"):
        SmtpServerFactory(Recorder(), **options)


@pytest.mark.parametrize("handler", [42, None, "python:inbox", object(), Settings(), {}])
def test_what_is_no_handler_is_refused(handler: Any) -> None:
    """Nobody finds out by losing mail."""
    with pytest.raises(TypeError, match=r"\w \w"):
        SmtpServerFactory(handler, reactor=Clock())


@pytest.mark.parametrize(
    ("endpoints", "factory", "error", "sentence"),
    [
        (42, None, TypeError, "int is no endpoint, and no description of one"),
        (None, None, TypeError, "NoneType is no endpoint"),
        (b"tcp:25", None, TypeError, "bytes is no endpoint"),
        ([42], None, TypeError, "int is no endpoint"),
        (["tcp:25", None], None, TypeError, "NoneType is no endpoint"),
        ("nonsense:25", None, ValueError, "nonsense"),
        ("tcp:25", Recorder, TypeError, "factory is a SmtpServerFactory, not type"),
        ("tcp:25", Recorder(), TypeError, "factory is a SmtpServerFactory, not Recorder"),
        ("tcp:25", Settings(), TypeError, "factory is a SmtpServerFactory, not Settings"),
    ],
)
def test_what_is_no_service_is_refused(
    endpoints: Any, factory: Any, error: type[Exception], sentence: str
) -> None:
    """Before anything is bound."""
    if factory is None:
        factory = SmtpServerFactory(Recorder(), reactor=Clock())
    with pytest.raises(error, match=sentence):
        SmtpService(endpoints, factory)


def test_direct_is_yes_or_no() -> None:
    """A word that means no would count as a yes."""
    factory = SmtpServerFactory(Recorder(), reactor=Clock())
    with pytest.raises(TypeError, match="direct is True or False, not str"):
        SmtpService("tcp:25", factory, direct="no")


def test_threads_are_of_a_reactor() -> None:
    """One that can be called from them."""
    with pytest.raises(TypeError, match="reactor is a reactor, not int"):
        threaded(Recorder, reactor=5)


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ({"recipients": -1}, ValueError, "recipients is at least 1, not -1"),
        ({"recipients": "10"}, TypeError, "recipients is a whole number, or None, not '10'"),
        ({"recipients": 1.5}, TypeError, "recipients is a whole number"),
        ({"errors": True}, TypeError, "errors is a whole number"),
        ({"idle_seconds": 0}, ValueError, "idle_seconds is more than 0"),
        ({"idle_seconds": float("nan")}, ValueError, "idle_seconds cannot be nan"),
        ({"idle_seconds": None}, TypeError, "idle_seconds is a number, not None"),
        ({"connections_per_network": -1}, ValueError, "connections_per_network is at least 0"),
    ],
)
def test_limits_are_numbers(wrong: Any, error: type[Exception], sentence: str) -> None:
    """Of the right kind, and of some sense."""
    with pytest.raises(error, match=sentence):
        Limits(**wrong)


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ({"hostname": b"mx"}, TypeError, "hostname is a str"),
        ({"hostname": "not a name"}, ValueError, "hostname is no domain"),
        ({"limits": {"errors": 2}}, TypeError, "limits is a Limits"),
        ({"limits": None}, TypeError, "limits is a Limits"),
        ({"require_tls": "yes"}, TypeError, "require_tls is True or False"),
        ({"bare_newline": "accept"}, ValueError, "bare_newline is 'refuse' or 'normalize'"),
        ({"extensions": ["X"]}, TypeError, "an extension is an Extension"),
        ({"banner": "two\nlines"}, ValueError, "banner is no line"),
    ],
)
def test_settings_are_looked_at(wrong: Any, error: type[Exception], sentence: str) -> None:
    """Each of them, with its name in the sentence."""
    with pytest.raises(error, match=sentence):
        Settings(**wrong)


def test_limits_in_settings_are_those_of_the_budget() -> None:
    """Given once, they are in force everywhere."""
    limits = Limits(errors=2, free_errors=None, auth_failures=1)
    factory = SmtpServerFactory(
        Recorder(), Settings(limits=limits), reactor=Clock(), log_messages=False
    )
    client = Client(factory=factory, clock=factory.reactor)
    assert client.protocol.connection.budget.limits is limits
    assert client.codes(b"WHAT\r\n" * 3) == [220, 500, 421]
    client.finish()


def test_what_is_right_is_taken(tmp_path: Path) -> None:
    """All of it together."""
    clock = Clock()
    folder = TranscriptFolder(TranscriptSettings(tmp_path), clock)
    factory = SmtpServerFactory(
        Recorder,
        Settings(),
        reactor=clock,
        tls=Secure(),
        transcripts=folder,
        observers=(lambda _: None,),
        memory_octets=0,
        spool_folder=tmp_path,
        worker=3,
    )
    assert factory.transcripts is folder
    folder.close()
