"""``--print-config``: what is in force, as a file that means the same."""

from __future__ import annotations

import re
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpcb.run._shown import shown
from smtpcb.run.options import (
    BY_NAME,
    OPTIONS,
    Configuration,
    ConfigurationError,
    read_file,
    read_value,
    resolve,
    written,
)
from smtpcb.run.options._listener import PORTS, is_of_a_listener
from tests.running import run_twistd

from .test_options import SAMPLES

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
# What any text is a value of.
WORDS = [option.name for option in OPTIONS if option.kind is str and not option.many]


def read_back(text: str) -> Configuration:
    """Return the configuration that a file of this text makes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.toml"
        path.write_text(text, encoding="utf-8", newline="")
        return resolve({}, read_file(path), path)


def sample(name: str) -> Any:
    """Return a value of an option."""
    option = BY_NAME[name]
    value = True if option.kind is bool else read_value(option, SAMPLES[name][0], "")
    return (value,) if option.many else value


# A password would be hidden, and two ports of one name are refused.
SAYABLE = [option.name for option in OPTIONS if option.key not in {*PORTS, "auth"}]
OWN = [option.name for option in OPTIONS if is_of_a_listener(option) and option.key not in PORTS]


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    """Any configuration, said in any layer."""
    layers: list[dict[str, Any]] = []
    for _ in range(3):
        names = draw(st.sets(st.sampled_from(SAYABLE), max_size=6))
        layer = {BY_NAME[name].key: sample(name) for name in names}
        for name in draw(st.sets(st.sampled_from(WORDS), max_size=2)):
            layer[BY_NAME[name].key] = draw(TEXTS)
        layers.append(layer)
    file, environment, said = layers
    if draw(st.booleans()):
        tables = {}
        for number, name in enumerate(draw(st.sets(TEXTS, min_size=1, max_size=3))):
            own = draw(st.sets(st.sampled_from(OWN), max_size=4))
            tables[name] = {"listen": (f"tcp:{number + 1}",)} | {
                BY_NAME[one].key: sample(one) for one in own
            }
        file["listener"] = tables
    return resolve(said, file, Path("/etc/a\nb.toml"), environment)


@settings(max_examples=60, deadline=None)
@given(configurations())
def test_it_can_be_read_back(configuration: Configuration) -> None:
    """The file says neither more nor less than what was said, wherever that was."""
    again = read_back(written(configuration))
    assert again.values == configuration.values
    assert again.given == configuration.given
    assert again.listeners == configuration.listeners


def test_each_line_says_where_it_comes_from(tmp_path: Path) -> None:
    """What was said is a setting; what was not, a comment."""
    path = tmp_path / "a.toml"
    path.write_text('errors = 1\n[listener."a b"]\nlisten = "tcp:0"\nrequire-auth = true\n')
    text = written(resolve({"recipients": 7}, read_file(path), path, {"messages": None}))
    lines = text.splitlines()
    assert f"errors = 1  # {path}: errors" in lines
    assert "recipients = 7  # --recipients" in lines
    assert 'messages = "none"  # SMTPCB_MESSAGES' in lines
    assert '# banner = "ESMTP"  # default' in lines
    assert "# idle-seconds = 300  # default" in lines
    assert "# tls-key is not given" in lines
    assert lines[-3:] == [
        '[listener."a b"]',
        f'listen = ["tcp:0"]  # {path}: [listener.a b] listen',
        f"require-auth = true  # {path}: [listener.a b] require-auth",
    ]
    # Where nobody has said anything, what stands there is still a value.
    whole = "\n".join(line.removeprefix("# ") for line in lines[:-4] if " = " in line)
    assert tomllib.loads(whole)["grace-seconds"] == 30


def test_what_is_empty_is_not_given(tmp_path: Path) -> None:
    """Nothing switched off, no mechanism chosen: no line says so in the words of Python."""
    lines = shown(resolve({"state": tmp_path}, {})).splitlines()
    for name in ("without", "mechanisms", "priority-profile"):
        assert f"# {name} is not given" in lines


def test_what_a_handler_would_like_is_what_is_in_force(tmp_path: Path) -> None:
    """The capture handler takes more than the defaults do; said, it has to be what was said."""
    text = shown(resolve({"state": tmp_path}, {}))
    assert "# lenient-addresses = true  # not given; what is in force\n" in text
    assert '# bare-newline = "normalize"  # not given; what is in force\n' in text
    assert "# allow-insecure-auth = true  # not given; what is in force\n" in text
    assert f'# transcripts = "{tmp_path}/transcripts"  # not given; what is in force\n' in text
    text = shown(resolve({"state": tmp_path, "lenient_addresses": False}, {}))
    assert "\nlenient-addresses = false  # --lenient-addresses\n" in text


def test_it_is_so_for_each_listener(tmp_path: Path) -> None:
    """A password may go in the clear where only this machine comes, and nowhere else."""
    here, everywhere = ("tcp:1:interface=127.0.0.1",), ("tcp:2",)
    file = {"listener": {"a": {"listen": here}, "b": {"listen": everywhere}}}
    text = shown(resolve({"state": tmp_path, "handler": "capture"}, file))
    above, a, b = re.split(r"(?m)^\[listener\..\]$", text)
    allowed = "# allow-insecure-auth = true"
    assert (allowed in above, allowed in a, allowed in b) == (False, True, False)
    assert "# allow-insecure-auth = false  # default" in above


class TestSecrets:
    """A screen is no place for a password."""

    @pytest.mark.parametrize(
        ("key", "value", "shows"),
        [
            ("auth", ("memory:anne:tim",), '["memory:<hidden>"]'),
            ("auth", ("file:/etc/x", "pam"), '["file:/etc/x", "pam"]'),
            ("handler", "web:https://a:tim@b/", '"web:https://a:<hidden>@b/"'),
            ("handler", "amqp:amqp://:tim@b:5672/", '"amqp:amqp://:<hidden>@b:5672/"'),
            (
                "handler",
                "web:https://b/?x=1&Token=tim&y=2",
                '"web:https://b/?x=1&Token=<hidden>&y=2"',
            ),
            ("handler", "sql:password=tim:table=x", '"sql:password=<hidden>:table=x"'),
            ("handler", "web:https://b:80/a@c", '"web:https://b:80/a@c"'),
        ],
    )
    def test_they_are_hidden(self, key: str, value: Any, shows: str) -> None:
        """Wherever one may stand."""
        text = written(resolve({key: value}, {}))
        assert f"\n{key} = {shows}  # --{key}\n" in text
        assert "tim" not in text

    def test_what_is_hidden_cannot_be_read_back(self) -> None:
        """It would look like a password, and be none."""
        text = written(resolve({"auth": ("memory:anne:tim",)}, {}))
        with pytest.raises(ConfigurationError, match="auth: --print-config has hidden a passwor"):
            read_back(text)


def test_what_is_no_text_cannot_be_written() -> None:
    """A path may have octets that are in no encoding; a file cannot name it."""
    with pytest.raises(ConfigurationError, match=r"--state: .* cannot be written in TOML"):
        written(resolve({"state": Path("/x\udcff")}, {}))


class TestProcess:
    """As somebody uses it."""

    def test_what_it_prints_is_a_file_of_settings(self, tmp_path: Path) -> None:
        """With nothing else on standard output, and exit status 0; nothing is made on disk."""
        process = run_twistd(
            tmp_path,
            *("--print-config", "--recipients", "7", "--require-auth"),
            environment={"SMTPCB_MESSAGE_OCTETS": "10M"},
            errors=subprocess.PIPE,
        )
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")
        assert list(tmp_path.iterdir()) == []
        assert tomllib.loads(output.decode()) == {
            "recipients": 7,
            "require-auth": True,
            "message-octets": 10 * 1024**2,
        }

    def test_a_mistake_is_one_line(self, tmp_path: Path) -> None:
        """And exit status 1."""
        process = run_twistd(tmp_path, "--print-config", "--handler", "nope")
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert output.startswith(b"smtpcb: --handler nope: no such handler; there are ")
        assert output.count(b"\n") == 1

    def test_it_can_be_checked_as_well(self, tmp_path: Path) -> None:
        """What is wrong is said instead; what is right is shown."""
        process = run_twistd(tmp_path, "--print-config", "--check", "--recipients", "0")
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert output == b"smtpcb: --recipients: recipients is at least 1, not 0\n"
