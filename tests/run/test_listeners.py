"""A table of the file for each listener: ports that are led otherwise than their neighbours."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.task import deferLater

from smtpcb.run._server import ServerService
from smtpcb.run._start import StartError
from smtpcb.run.build import make_service
from smtpcb.run.options import OPTIONS, Configuration, ConfigurationError, read_file, resolve
from smtpcb.run.options._listener import PORTS, is_of_a_listener
from smtpcb.smtp import Limits
from tests.running import ANY_PORT, Client, run_twistd, running

from .test_options import SAMPLES

TWO = f"""
require-tls = false
message-octets = "10M"
[listener.mx]
listen = "{ANY_PORT}"
[listener.submission]
listen = ["{ANY_PORT}"]
smtps = "{ANY_PORT}"
require-auth = true
allow-insecure-auth = true
message-octets = "20M"
banner = "for those who log in"
"""


def configured(folder: Path, text: str, **said: Any) -> Configuration:
    """Return the configuration of a file."""
    path = folder / "a.toml"
    path.write_text(text)
    return resolve({"state": folder / "state", **said}, read_file(path), path)


def mistake(folder: Path, text: str, **said: Any) -> str:
    """Return what is wrong with a file, behind its name."""
    with pytest.raises(ConfigurationError) as caught:
        make_service(configured(folder, text, **said))
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder / "a.toml") in line
    return line.replace(f"{folder / 'a.toml'}: ", "")


class TestTables:
    """What is said in a table."""

    def test_its_keys_override_what_all_others_have(self, tmp_path: Path) -> None:
        """And the rest is as it is everywhere."""
        configuration = configured(tmp_path, TWO)
        mx, submission = configuration.doors
        assert [door.listener for door in configuration.doors] == ["mx", "submission"]
        assert (mx["require_auth"], submission["require_auth"]) == (False, True)
        assert mx.limits == Limits(message_octets=10 * 1024**2)
        assert submission.limits == Limits(message_octets=20 * 1024**2)
        assert [key for key, _ in submission.ports] == ["listen", "smtps"]
        file = tmp_path / "a.toml"
        assert submission.where("banner") == f"{file}: [listener.submission] banner"
        assert mx.where("message_octets") == f"{file}: message-octets"

    def test_without_a_table_there_is_one_door(self, tmp_path: Path) -> None:
        """Which is everything that was said."""
        configuration = configured(tmp_path, "")
        assert configuration.doors == (configuration,)

    def test_they_reach_a_worker(self, tmp_path: Path) -> None:
        """Through JSON."""
        configuration = configured(tmp_path, TWO)
        told = json.loads(json.dumps(configuration.as_json()))
        again = Configuration.from_json(told)
        assert again == configuration
        assert again.doors == configuration.doors
        assert again.doors[1].where("banner") == configuration.doors[1].where("banner")

    def test_all_values_reach_a_worker(self) -> None:
        """Whatever the setting is."""
        said: dict[str, Any] = {}
        for option in OPTIONS:
            value = True if option.kind is bool else SAMPLES[option.name][1]
            said[option.key] = (value,) if option.many else value
        said["smtps"] = ("tcp:1",)
        configuration = resolve(said, {})
        told = json.loads(json.dumps(configuration.as_json()))
        assert Configuration.from_json(told) == configuration

    @pytest.mark.parametrize(
        "option",
        [one for one in OPTIONS if not is_of_a_listener(one)],
        ids=lambda option: option.name,
    )
    def test_what_is_one_thing_for_all_is_refused(self, option: Any, tmp_path: Path) -> None:
        """In a line that says where it can be said."""
        value = "true" if option.kind is bool else json.dumps(SAMPLES[option.name][0])
        text = f'[listener.a]\nlisten = "tcp:0"\n{option.name} = {value}\n'
        says = "is the same for all listeners; say it above them"
        assert mistake(tmp_path, text) == f"[listener.a] {option.name} {says}"

    def test_what_concerns_a_dialogue_is_not(self) -> None:
        """These are what somebody will look for."""
        own = {option.name for option in OPTIONS if is_of_a_listener(option)}
        assert own >= {
            *("listen", "smtps", "hostname", "banner", "bare-newline", "lenient-addresses"),
            *("require-auth", "require-tls", "allow-insecure-auth", "message-octets"),
            *("recipients", "errors", "idle-seconds", "session-seconds"),
        }
        assert not own & {"handler", "state", "auth", "workers", "connections", "tls-certificate"}
        assert not own & {"auth-failures-per-address", "auth-failure-seconds", "min-free"}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("listener = 3", "listener is a table of tables: [listener.NAME]"),
            ('[[listener]]\nlisten = "tcp:0"', "listener is a table of tables: [listener.NAME]"),
            (
                '[listener]\nlisten = "tcp:0"',
                "listener.listen is no table: [listener.NAME] is wanted",
            ),
            ("[listener.a]", "[listener.a]: nothing to listen on: it names no port"),
            ("[listener.a]\nlisten = []", "[listener.a]: nothing to listen on: it names no port"),
            (
                '[listener.a]\nlisten = "tcp:0"\nrequire-aut = true',
                "[listener.a] unknown setting 'require-aut'; did you mean require-auth?",
            ),
            (
                '[listener.a]\nlisten = "tcp:0"\n[listener.a.b]\n',
                "[listener.a] [b] is a table; settings stand in none, but for [listener.NAME]",
            ),
            (
                '[listener.a]\nlisten = "tcp:0"\nfree-errors = 1\nfree_errors = 1',
                "[listener.a] free_errors is given twice",
            ),
            (
                '[listener.a]\nlisten = "tcp:0"\nrecipients = "x"',
                "[listener.a] recipients: a number is wanted, not 'x'",
            ),
            (
                '[listener.a]\nlisten = "tcp:0"\nrecipients = 0',
                "[listener.a] recipients: recipients is at least 1, not 0",
            ),
            (
                '[listener.a]\nlisten = "tcp:25"\n[listener.b]\nsmtps = "tcp:25"',
                "[listener.b] smtps tcp:25 is given twice",
            ),
            (
                '[listener.a]\nlisten = "25"',
                "[listener.a] listen 25: no endpoint: Unknown endpoint type: '25'; did you mean "
                "tcp:25?",
            ),
            (
                'no-tls = true\n[listener.a]\nlisten = "tcp:0"\n[listener.b]\nsmtps = "tcp:0"',
                "no-tls cannot stand beside [listener.b] smtps",
            ),
            (
                'no-tls = true\n[listener.a]\nlisten = "tcp:0"\nrequire-tls = true',
                "no-tls cannot stand beside [listener.a] require-tls",
            ),
            (
                'no-tls = true\n[listener.a]\nlisten = "tcp:0"\nrequire-auth = true\n'
                "allow-insecure-auth = false",
                "[listener.a] require-auth beside no-tls needs --allow-insecure-auth: nobody could "
                "log in",
            ),
            (
                '[listener.a]\nlisten = "tcp:0"\nrequire-client-certificate = true',
                "[listener.a] require-client-certificate needs --tls-client-authorities: who "
                "vouches for them?",
            ),
            (
                'listen = "tcp:0"\n[listener.a]\nlisten = "tcp:0"',
                "listen cannot stand beside [listener.a]: where one port has a table, all have",
            ),
        ],
    )
    def test_mistakes(self, tmp_path: Path, text: str, says: str) -> None:
        """Each is one line, which names the table."""
        assert mistake(tmp_path, text) == says

    def test_ports_of_the_command_line_do_not_mix_with_tables(self, tmp_path: Path) -> None:
        """Nobody could say how they are to be led, or whether they replace those of the tables."""
        line = mistake(tmp_path, TWO, listen=("tcp:0",))
        assert line == (
            "--listen cannot stand beside [listener.mx]: where one port has a table, all have"
        )

    def test_each_kind_of_port_is_known(self) -> None:
        """They are options like any."""
        assert {"listen", "smtps"} <= set(PORTS)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], ServerService]]:
    """Start services of a file; they are stopped at the end of the test."""
    started: list[ServerService] = []

    def start_one(text: str) -> ServerService:
        service = make_service(configured(tmp_path, text))
        started.append(service)
        service.privilegedStartService()
        service.startService()
        return service

    yield start_one
    for service in started:
        service.stopService()


class TestService:
    """What tables make."""

    def test_each_is_led_as_it_says(self, start: Callable[[str], ServerService]) -> None:
        """All share one server: its limits over connections, its handler, its transcripts."""
        service = start(TWO)
        mx, submission = service.doors
        assert mx.factory is submission.factory
        assert not mx.doorway.settings.require_auth
        assert submission.doorway.settings.require_auth
        assert submission.doorway.settings.limits.message_octets == 20 * 1024**2
        assert len(service.ports) == 3

    def test_a_password_in_the_clear_is_for_loopback_only(self, tmp_path: Path) -> None:
        """The capture server allows it where only this machine reaches that very listener."""
        text = f'[listener.a]\nlisten = "{ANY_PORT}"\n[listener.b]\nlisten = "tcp:0"\n'
        service = make_service(configured(tmp_path, text))
        allowed = [door.doorway.settings.allow_insecure_auth for door in service.doors]
        assert allowed == [True, False]

    @ensureDeferred
    async def test_none_stays_bound_when_one_cannot_be(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """A server that takes mail on half of its ports is no server."""
        from twisted.internet import reactor

        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            text = (
                f'[listener.a]\nlisten = "{ANY_PORT}"\n'
                f'[listener.b]\nlisten = "tcp:{number}:interface=127.0.0.1"\n'
            )
            service = make_service(configured(tmp_path, text))
            before = len(reactor.getReaders())
            with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{number}"):
                service.privilegedStartService()
            await deferLater(reactor, 0)
        assert service.ports == []
        assert len(reactor.getReaders()) == before


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_login_is_required_on_one_port_and_not_on_the_other(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    """Port 25 takes mail from anybody, port 587 from those who have logged in."""
    file = tmp_path / "a.toml"
    file.write_text(TWO)
    with running(tmp_path, "--config", str(file), *workers, listen=None) as server:
        mx, submission = server.ports
        (smtps,) = server.smtps_ports
        assert len({mx, submission, smtps}) == 3
        with Client(mx) as client:
            assert client.say("MAIL FROM:<a@example.org>").startswith(b"250 ")
        with Client(submission) as client:
            assert client.say("MAIL FROM:<a@example.org>").startswith(b"530 5.7.0")
            assert client.say("AUTH PLAIN AGFubmUAdGlt").startswith(b"235 ")
            assert client.say("MAIL FROM:<a@example.org> SIZE=11000000").startswith(b"250 ")
        # The first message is invited to where it can be sent.
        assert f"smtplib.SMTP('127.0.0.1', {mx})" in server.log


def test_a_balancer_is_in_front_of_one_port_only(tmp_path: Path) -> None:
    """Clients of the other one come by themselves."""
    file = tmp_path / "a.toml"
    file.write_text(
        f'[listener.balanced]\nlisten = "{ANY_PORT}"\nproxy-from = "127.0.0.1"\n'
        f'[listener.direct]\nlisten = "{ANY_PORT}"\n'
    )
    with running(tmp_path, "--config", str(file), listen=None) as server:
        balanced, direct = server.ports
        with socket.create_connection(("127.0.0.1", balanced), 20) as client:
            client.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\r\n")
            with client.makefile("rb") as replies:
                assert replies.readline().startswith(b"220 ")
                client.sendall(b"MAIL FROM:<a@example.org>\r\nQUIT\r\n")
                assert replies.readline().startswith(b"5")
        with Client(direct) as other:
            assert other.say("MAIL FROM:<a@example.org>").startswith(b"250 ")


def test_a_check_says_what_a_start_would(tmp_path: Path) -> None:
    """Also of a table."""
    (tmp_path / "a.toml").write_text(TWO.replace('"20M"', '"20T"'))
    process = run_twistd(tmp_path, "--config", "a.toml", "--check")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output.decode() == (
        f"smtpcb: {tmp_path}/a.toml: [listener.submission] message-octets: a number of octets such "
        "as 33554432 or 32M is wanted, not '20T'\n"
    )


def test_a_check_finds_an_address_of_another_machine(tmp_path: Path) -> None:
    """Though it opens no port."""
    (tmp_path / "a.toml").write_text('[listener.a]\nlisten = "tcp:25:interface=192.0.2.1"\n')
    process = run_twistd(tmp_path, "--config", "a.toml", "--check")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"a.toml: [listener.a] listen tcp:25:interface=192.0.2.1: cannot listen on" in output
