"""Every setting, once: as it is said, as it is read, and what it does."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from smtpcb.run._meant import WORDS, option_meant
from smtpcb.run.options import (
    BY_NAME,
    OPTIONS,
    Configuration,
    ConfigurationError,
    Option,
    read_file,
    read_value,
    resolve,
)
from smtpcb.smtp._limits import Limits

LIMITS = [option for option in OPTIONS if option.limit]
# For each option a text, and the value it stands for.
SAMPLES: dict[str, tuple[str, Any]] = {
    "listen": ("tcp:0", "tcp:0"),
    "smtps": ("tcp:0", "tcp:0"),
    "lmtp": ("unix:lmtp:mode=660", "unix:lmtp:mode=660"),
    "proxy-from": ("192.0.2.0/24", "192.0.2.0/24"),
    "xclient-from": ("192.0.2.0/24", "192.0.2.0/24"),
    "xforward-from": ("192.0.2.0/24", "192.0.2.0/24"),
    "hostname": ("mx.example.org", "mx.example.org"),
    "banner": ("hello", "hello"),
    "handler": ("python:a.B", "python:a.B"),
    "policy": ("rate:messages=5", "rate:messages=5"),
    "state": ("/x", Path("/x")),
    "transcripts": ("/x", Path("/x")),
    "transcript-content": ("head", "head"),
    "transcript-days": ("1.5", 1.5),
    "transcript-sessions": ("all", "all"),
    "transcript-octets": ("2k", 2048),
    "transcript-files": ("30", 30),
    "tls-certificate": ("/x", Path("/x")),
    "tls-key": ("/x", Path("/x")),
    "tls-folder": ("/x", Path("/x")),
    "tls-minimum": ("1.3", "1.3"),
    "tls-ciphers": ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    "tls-pkcs12": ("/x", Path("/x")),
    "tls-passphrase-file": ("/x", Path("/x")),
    "tls-client-authorities": ("/x", Path("/x")),
    "auth": ("memory:a:b", "memory:a:b"),
    "bare-newline": ("normalize", "normalize"),
    "extension": ("python:a.B", "python:a.B"),
    "without": ("CHUNKING", "CHUNKING"),
    "priority-profile": ("MIXER", "MIXER"),
    "workers": ("4", 4),
    "message-octets": ("50M", 52_428_800),
    "recipients": ("7", 7),
    "connections": ("8", 8),
    "connections-per-address": ("9", 9),
    "connections-per-network": ("21", 21),
    "refusals": ("22", 22),
    "errors": ("3", 3),
    "free-errors": ("2", 2),
    "messages": ("4", 4),
    "idle-commands": ("5", 5),
    "auth-failures": ("6", 6),
    "logins-slowed-after": ("7", 7),
    "login-slow-seconds": ("8", 8.0),
    "mechanisms": ("scram-sha-256, PLAIN", "SCRAM-SHA-256,PLAIN"),
    "command-octets": ("1k", 1024),
    "auth-octets": ("2K", 2048),
    "header-octets": ("3000", 3000),
    "hold-seconds": ("60", 60),
    "deliver-by-seconds": ("61", 61),
    "idle-seconds": ("10", 10.0),
    "session-seconds": ("11", 11.0),
    "content-octets-per-second": ("12", 12.0),
    "handshake-seconds": ("13", 13.0),
    "decision-seconds": ("0.5", 0.5),
    "message-seconds": ("14", 14.0),
    "grace-seconds": ("0", 0.0),
    "handler-seconds": ("15", 15.0),
    "greeting-seconds": ("2.5", 2.5),
    "octets-in": ("1G", 1_073_741_824),
    "octets-out": ("1M", 1_048_576),
    "auth-failures-per-address": ("16", 16),
    "auth-failure-seconds": ("17", 17.0),
    "min-free": ("500M", 524_288_000),
    "commands-per-verb": ("vrfy=10", "VRFY=10"),
}
WRONG = {
    "transcript-content": ["", "some"],
    "transcript-sessions": ["", "some"],
    "transcript-octets": ["", "x", "-1"],
    "transcript-files": ["", "x", "1k"],
    "transcript-days": ["", "x", "-1", "inf", "nan"],
    "state": [""],
    "tls-folder": [""],
    "tls-minimum": ["", "1", "1.1", "TLSv1.2"],
    "bare-newline": ["keep"],
    "mechanisms": ["", "PLAIN,", "XOAUTH"],
    "logins-slowed-after": ["", "x", "-1"],
    "login-slow-seconds": ["0", "none"],
    "workers": ["", "0", "-1", "1.5", "none", "x"],
    "message-octets": ["", "x", "-1", "1.5", "10T", "M", "\u0663"],
    "recipients": ["", "x", "-1", "1.5", "1k", "\u0663"],
    "command-octets": ["511", "none", "x"],
    "auth-octets": ["511", "none"],
    "header-octets": ["none"],
    "hold-seconds": ["0", "none"],
    "deliver-by-seconds": ["-1", "none"],
    "idle-seconds": ["0", "none", "x"],
    "session-seconds": ["0", "-1"],
    "handshake-seconds": ["0"],
    "decision-seconds": ["0"],
    "message-seconds": ["0"],
    "grace-seconds": ["-1", "1e9", "none"],
    "handler-seconds": ["0", "x"],
    "greeting-seconds": ["-1", "none"],
    "octets-in": ["x", "-1"],
    "octets-out": ["x", "-1"],
    "auth-failures-per-address": ["0", "x"],
    "auth-failure-seconds": ["0", "none"],
    "min-free": ["x", "-1", "0x", "1.5x", "2 x"],
    "commands-per-verb": ["VRFY", "=10", "VRFY=", "VRFY=x", "VRFY=-1", "V F=1", "VRFY=none"],
}


def configured(**said: Any) -> Configuration:
    """Return the configuration of these values."""
    return resolve(said, {})


def write(folder: Path, text: str) -> Path:
    """Write a TOML file."""
    path = folder / "smtpcb.toml"
    path.write_text(text)
    return path


class TestTable:
    """The rows."""

    def test_each_has_a_help_of_one_sentence_at_least(self) -> None:
        """A row says what it is for, and what its value is."""
        for option in OPTIONS:
            assert option.help.endswith("."), option.name
            assert bool(option.metavar) == (option.kind is not bool), option.name
        assert len(BY_NAME) == len(OPTIONS)

    def test_each_limit_has_an_option_with_its_default(self) -> None:
        """`Limits` and the options know of the same limits."""
        assert {option.limit for option in LIMITS} == {field.name for field in fields(Limits)}
        assert configured().limits == Limits()

    @pytest.mark.parametrize("option", LIMITS, ids=lambda option: option.name)
    def test_each_limit_reaches_the_settings(self, option: Option) -> None:
        """What is said on the command line is in `Limits`, and nothing else is changed."""
        text, value = SAMPLES[option.name]
        read = read_value(option, text, "")
        limits = configured(**{option.key: (read,) if option.many else read}).limits
        value = {"VRFY": 10} if option.many else value
        for field in fields(Limits):
            if field.name == option.limit:
                assert getattr(limits, field.name) == value
            elif (field.name, option.limit) != ("min_free", "message_octets"):  # twice that
                assert getattr(limits, field.name) == getattr(Limits(), field.name)

    def test_room_is_said_in_octets_or_in_messages(self) -> None:
        """The default is two of the longest messages, however long those may be."""
        assert configured().limits.min_free == 67_108_864
        assert configured(message_octets=1000).limits.min_free == 2000
        assert configured(message_octets=None).limits.min_free is None
        assert configured(min_free=read_value(BY_NAME["min-free"], "3x", "")).limits == Limits(
            min_free="3x"
        )
        assert configured(min_free=0).limits.min_free == 0

    @pytest.mark.parametrize(
        "name",
        [
            "octets-in",
            "octets-out",
            "handler-seconds",
            "auth-failures-per-address",
            "min-free",
            "message-octets",
            "recipients",
            "connections",
            "connections-per-address",
            "errors",
            "free-errors",
            "messages",
            "idle-commands",
            "auth-failures",
            "session-seconds",
            "content-octets-per-second",
            "transcript-days",
        ],
    )
    def test_none_lifts_a_limit(self, name: str) -> None:
        """Where the type of the limit allows it."""
        assert read_value(BY_NAME[name], "none", "") is None

    def test_defaults(self) -> None:
        """Without options: two ports on loopback, capture, everything kept below ./smtpcb-state."""
        configuration = configured()
        assert configuration["listen"] == (
            "tcp:10025:interface=127.0.0.1",
            "tcp:10587:interface=127.0.0.1",
        )
        assert configuration["smtps"] == ()
        assert configuration["handler"] == "capture"
        assert configuration["state"] == Path.cwd() / "smtpcb-state"
        assert not configuration.given

    @pytest.mark.parametrize(
        ("said", "listen"),
        [
            ({"listen": ("tcp:1",)}, ("tcp:1",)),
            ({"smtps": ("tcp:2",)}, ()),
            ({"lmtp": ("unix:x",)}, ()),
            ({"listen": ("tcp:1",), "smtps": ("tcp:2",)}, ("tcp:1",)),
        ],
    )
    def test_ports_that_are_named_replace_the_default_ones(
        self, said: dict[str, Any], listen: tuple[str, ...]
    ) -> None:
        """Nobody gets a port that they did not ask for."""
        assert configured(**said)["listen"] == listen

    def test_there_must_be_a_port(self) -> None:
        """A server that listens nowhere is a mistake."""
        with pytest.raises(ConfigurationError, match="nothing to listen on"):
            configured(listen=())

    def test_passwords_are_in_no_repr(self) -> None:
        """`--auth memory:NAME:PASSWORD` is for tests, and not for logs."""
        assert "secret" not in repr(configured(auth=("memory:anne:secret",)))

    def test_a_limit_has_one_name(self) -> None:
        """That of its field, on the command line and in the file."""
        assert {option.name for option in LIMITS} == {
            field.name.replace("_", "-") for field in fields(Limits)
        }

    def test_a_socket_may_be_called_like_a_proxy(self) -> None:
        """Only what reads the PROXY protocol is refused."""
        for endpoint in ("unix:haproxy:mode=660", "unix:/run/haproxy/smtp", "tcp:25"):
            assert read_value(BY_NAME["listen"], endpoint, "") == endpoint


class TestValues:
    """Texts become values."""

    @pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
    def test_right(self, option: Option) -> None:
        """Each option takes a text that fits."""
        if option.kind is bool:
            assert read_value(option, True, "") is True
        else:
            text, value = SAMPLES[option.name]
            assert read_value(option, text, "") == value

    @pytest.mark.parametrize(
        ("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts]
    )
    def test_wrong(self, name: str, text: str) -> None:
        """The error names the option, what it wants and what it got, in one line."""
        with pytest.raises(ConfigurationError) as caught:
            read_value(BY_NAME[name], text, f"--{name}")
        line = str(caught.value)
        assert line.startswith(f"--{name}: ")
        assert line.endswith(f" is wanted, not {text!r}")
        assert "\n" not in line

    def test_paths_stay_where_they_were_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """twistd may change its folder afterwards; ~ is the home folder."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", "/home/anne")
        assert read_value(BY_NAME["state"], "x", "") == tmp_path / "x"
        assert read_value(BY_NAME["state"], "~/x", "") == Path("/home/anne/x")


class TestFile:
    """Settings from a TOML file."""

    def test_everything_that_can_be_said_can_stand_in_it(self, tmp_path: Path) -> None:
        """And it means the same."""
        lines, said = [], {}
        for option in OPTIONS:
            if option.kind is bool:
                lines.append(f"{option.name} = true")
                said[option.key] = True
            else:
                text, value = SAMPLES[option.name]
                lines.append(f'{option.name} = "{text}"')
                said[option.key] = (value,) if option.many else value
        file = read_file(write(tmp_path, "\n".join(lines)))
        assert resolve({}, file) == resolve(said, {})
        assert resolve({}, file).values == resolve(said, {}).values

    def test_numbers_lists_and_underscores(self, tmp_path: Path) -> None:
        """TOML's own numbers and lists will do, and names as Python has them."""
        path = write(
            tmp_path,
            "message_octets = 1000\nidle-seconds = 1.5\nno_tls = false\n"
            'listen = ["tcp:1", "tcp:2"]\n',
        )
        assert read_file(path) == {
            "message_octets": 1000,
            "idle_seconds": 1.5,
            "listen": ("tcp:1", "tcp:2"),
            "no_tls": False,
        }

    def test_the_command_line_wins(self, tmp_path: Path) -> None:
        """What is said twice counts as said on the command line; the rest stays."""
        file = read_file(write(tmp_path, 'banner = "a"\nlisten = ["tcp:1"]\nerrors = 3'))
        configuration = resolve({"banner": "b", "listen": ("tcp:2",)}, file)
        assert configuration["banner"] == "b"
        assert configuration["listen"] == ("tcp:2",)
        assert configuration.limits.errors == 3
        assert configuration.given == {"banner", "listen", "errors"}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("message-octets = ", "Invalid value"),
            ("recipients = none", 'texts stand in quotes, "none" too'),
            ("commands-per-verb = {VRFY = 1}", "such as VRFY=10 is wanted, not {'VRFY': 1}"),
            ("max_size = 1\nfree_errors = 1\nfree-errors = 2", "unknown setting 'max_size'"),
            ("free_errors = 1\nfree-errors = 2", "free-errors is given twice"),
            ("free-error = 1", "unknown setting 'free-error'; did you mean free-errors"),
            ("Grace_Second = 1", "unknown setting 'Grace_Second'; did you mean grace-seconds"),
            (
                'listen = ["tcp:25", "haproxy:tcp:26"]',
                "listen: not haproxy: but --proxy-from NETWORK",
            ),
            ("nothing-like-it = 1", "unknown setting 'nothing-like-it'"),
            ("config = 'x'", "config stands on the command line only"),
            ("uid = 3", "uid is an option of twistd, before smtpcb on the command line"),
            ("host = 'x'", 'did you mean listen = "tcp:PORT:interface=ADDRESS"'),
            ("smtpd_recipient_limit = 3", "did you mean recipients?"),
            ("maxClients = 3", "did you mean connections?"),
            ("message-octets = 'x'", "message-octets: a number of octets such as 33554432 or 32M"),
            ("message-octets = true", r"message-octets: a number of .* is wanted, not True"),
            ("message-octets = [1]", r"message-octets: .* is wanted, not \[1\]"),
            ("no-tls = 1", "no-tls: true or false is wanted, not 1"),
            ("listen = [1, {}]", r"listen: a text in quotes is wanted, not {}"),
            ("[limits]\nmessage-octets = 1", r"\[limits\] is a table; settings stand in none"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, text: str, says: str) -> None:
        """Each is one line that names the file."""
        path = write(tmp_path, text)
        with pytest.raises(ConfigurationError, match=says) as caught:
            read_file(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    def test_it_must_be_there_and_be_text(self, tmp_path: Path) -> None:
        """What cannot be read is a mistake as well."""
        with pytest.raises(ConfigurationError, match=r"none\.toml: No such file or directory"):
            read_file(tmp_path / "none.toml")
        path = tmp_path / "x.toml"
        path.write_bytes(b'banner = "\xff"')
        with pytest.raises(ConfigurationError, match=r"x\.toml: 'utf-8' codec"):
            read_file(path)


class TestMeant:
    """What was meant by a name that is none."""

    def test_every_row_leads_to_an_option(self) -> None:
        """Nobody is sent to an option that is none either, or told that one is not there."""
        known = {*BY_NAME, "config"}
        assert {meant.option for meant in WORDS.values()} <= known
        assert not WORDS.keys() & known

    @pytest.mark.parametrize(
        ("said", "meant"),
        [
            ("max-size", "message-octets"),
            ("require-login", "require-auth"),
            ("proxy_protocol", "proxy-from"),
            ("sni", "tls-folder"),
            ("greylisting", "policy"),
            ("message_size_limit", "message-octets"),
            ("data-size", "message-octets"),
            ("smtpd_tls_cert_file", "tls-certificate"),
            ("smtp-tls-key", "tls-key"),
            ("key", "tls-key"),
            ("bind", "listen"),
            ("inet_interfaces", "listen"),
            ("myhostname", "hostname"),
            ("user", "auth"),
            ("smtp-auth-file", "auth"),
            ("socketTimeout", "idle-seconds"),
            ("smtpd_client_connection_count_limit", "connections-per-address"),
            ("maildir", "handler"),
            ("Message-Octets", "message-octets"),
            ("mesage-octets", "message-octets"),
        ],
    )
    def test_words_of_other_servers(self, said: str, meant: str) -> None:
        """Who comes from another server is told what its option is called here."""
        found = option_meant(said, BY_NAME)
        assert found is not None
        assert found.option == meant

    @pytest.mark.parametrize("said", ["", "-", "bogus", "verbose", "quiet"])
    def test_no_guess_is_better_than_a_wild_one(self, said: str) -> None:
        """What resembles nothing gets no question."""
        assert option_meant(said, BY_NAME) is None
