"""The environment is a layer of settings, between the file and the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from smtpcb.run._switches import spelled_out
from smtpcb.run.options import (
    BY_NAME,
    OPTIONS,
    ConfigurationError,
    empty,
    read_environment,
    read_file,
    read_text,
    resolve,
)
from smtpcb.run.tap import Options

from .test_options import SAMPLES

SWITCHES = [option.name for option in OPTIONS if option.kind is bool]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for option in OPTIONS:
        monkeypatch.delenv(option.variable, raising=False)
    monkeypatch.delenv("SMTPCB_CONFIG", raising=False)
    return tmp_path


def said(*arguments: str) -> Options:
    """Return what the command line says, and what is around it."""
    options = Options()
    options.parseOptions(list(arguments))
    return options


def mistake(*arguments: str) -> str:
    """Return the line that somebody gets for these arguments."""
    with pytest.raises(SystemExit) as caught:
        said(*arguments).configuration()
    line = str(caught.value)
    assert "\n" not in line
    return line


class TestNames:
    """A setting has one name, written in four ways."""

    def test_everything_that_can_be_said_can_stand_in_it(self) -> None:
        """And it means the same as on the command line."""
        environment: dict[str, str] = {}
        line: dict[str, Any] = {}
        for option in OPTIONS:
            text, value = ("true", True) if option.kind is bool else SAMPLES[option.name]
            environment[option.variable] = text
            line[option.key] = (value,) if option.many else value
        assert read_environment(environment) == line
        assert set(environment) == {
            "SMTPCB_" + option.name.replace("-", "_").upper() for option in OPTIONS
        }

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("SMTPCB_MESSAG_OCTETS", "; did you mean SMTPCB_MESSAGE_OCTETS?"),
            ("SMTPCB_MESSAGE-OCTETS", "; did you mean SMTPCB_MESSAGE_OCTETS?"),
            ("SMTPCB_MAX_SIZE", "; did you mean SMTPCB_MESSAGE_OCTETS?"),
            ("SMTPCB_PORT", "; did you mean SMTPCB_LISTEN=tcp:PORT:interface=ADDRESS?"),
            ("SMTPCB_CONFIGURATION", "; did you mean SMTPCB_CONFIG?"),
            ("SMTPCB_NOTHING_LIKE_IT", ""),
            ("SMTPCB_", ""),
        ],
    )
    def test_one_that_is_none_is_a_mistake(self, name: str, meant: str) -> None:
        """It may be the one thing that somebody has relied on."""
        with pytest.raises(ConfigurationError) as caught:
            read_environment({name: "25"})
        assert str(caught.value) == f"{name}: no such setting{meant}"

    @pytest.mark.parametrize("name", ["SMTPCB_CHECK", "SMTPCB_PRINT_CONFIG", "SMTPCB_HELP"])
    def test_what_ends_the_program_is_no_setting(self, name: str) -> None:
        """It stands on the command line only."""
        with pytest.raises(ConfigurationError, match="stands on the command line only"):
            read_environment({name: "1"})

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("SMTPCB_SERVICE_HOST", "10.0.0.11"),
            ("SMTPCB_SERVICE_PORT", "25"),
            ("SMTPCB_SERVICE_PORT_SMTP", "25"),
            ("SMTPCB_PORT", "tcp://10.0.0.11:25"),
            ("SMTPCB_PORT_25_TCP", "tcp://10.0.0.11:25"),
            ("SMTPCB_PORT_25_TCP_ADDR", "10.0.0.11"),
            ("SMTPCB_PORT_25_TCP_PORT", "25"),
            ("SMTPCB_PORT_25_TCP_PROTO", "tcp"),
            ("SMTPCB_WEB_SERVICE_HOST", "10.0.0.12"),
            ("SMTPCB_WEB_PORT", "tcp://10.0.0.12:80"),
            ("PATH", "/bin"),
            ("smtpcb_recipients", "x"),
            ("SMTPCBX_RECIPIENTS", "x"),
            ("SMTPCB_CONFIG", "/etc/smtpcb.toml"),
        ],
    )
    def test_what_is_none_of_ours_is_left_alone(self, name: str, text: str) -> None:
        """Kubernetes tells each container of each service, and one may be called smtpcb."""
        assert read_environment({name: text}) == {}


class TestValues:
    """What a variable may say."""

    @pytest.mark.parametrize("text", ["true", "True", "1", "yes", "on", " TRUE "])
    def test_a_switch_is_switched_on(self, text: str) -> None:
        """In the words that there are for it."""
        assert read_environment({"SMTPCB_REQUIRE_AUTH": text}) == {"require_auth": True}

    @pytest.mark.parametrize("text", ["false", "FALSE", "0", "no", "off"])
    def test_a_switch_is_switched_off(self, text: str) -> None:
        """Which is something else than not to be given."""
        assert read_environment({"SMTPCB_REQUIRE_AUTH": text}) == {"require_auth": False}

    @pytest.mark.parametrize(
        ("name", "text", "says"),
        [
            ("SMTPCB_REQUIRE_AUTH", "maybe", "true or false is wanted, not 'maybe'"),
            ("SMTPCB_REQUIRE_AUTH", "2", "true or false is wanted, not '2'"),
            ("SMTPCB_RECIPIENTS", "many", "a number is wanted, not 'many'"),
            ("SMTPCB_RECIPIENTS", "1,2", "a number is wanted, not '1,2'"),
            ("SMTPCB_AUTH", "memory:<hidden>", "--print-config has hidden a password here; writ"),
        ],
    )
    def test_a_mistake_names_the_variable(self, name: str, text: str, says: str) -> None:
        """That is where it is mended."""
        with pytest.raises(ConfigurationError) as caught:
            read_environment({name: text})
        assert str(caught.value).startswith(f"{name}: {says}")

    @pytest.mark.parametrize(
        "text", ["tcp:25,tcp:587", "tcp:25\ntcp:587", " tcp:25 ,\n tcp:587\n", "tcp:25,,tcp:587,"]
    )
    def test_several_are_separated(self, text: str) -> None:
        """By commas or by lines."""
        assert read_environment({"SMTPCB_LISTEN": text}) == {"listen": ("tcp:25", "tcp:587")}

    def test_a_password_may_have_a_comma(self) -> None:
        """So where a value may, only lines separate."""
        assert read_environment({"SMTPCB_AUTH": "memory:anne:a,b\nmemory:tim:c"}) == {
            "auth": ("memory:anne:a,b", "memory:tim:c")
        }

    @pytest.mark.parametrize("text", ["", " ", "\n"])
    def test_an_empty_one_is_not_given(self, text: str) -> None:
        """Compose passes on a variable that nobody has set as an empty one; it is warned of."""
        environment = {"SMTPCB_AUTH": text, "SMTPCB_RECIPIENTS": text, "SMTPCB_ERRORS": "3"}
        assert read_environment(environment) == {"errors": 3}
        assert empty(environment) == ["SMTPCB_AUTH", "SMTPCB_RECIPIENTS"]

    def test_an_empty_one_is_warned_of(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Somebody may think that a login is required."""
        monkeypatch.setenv("SMTPCB_REQUIRE_AUTH", "")
        with pytest.raises(SystemExit) as caught:
            said("--check", "--listen", "tcp:0:interface=127.0.0.1")
        assert caught.value.code == 0
        warning = "smtpcb: warning: SMTPCB_REQUIRE_AUTH: empty, which counts as not given\n"
        assert warning in capsys.readouterr().err


class TestLayers:
    """What is said closer to the start goes before what is said further from it."""

    def test_each_goes_before_the_one_below(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Defaults, file, environment, command line."""
        (folder / "a.toml").write_text("errors = 1\nrecipients = 1\nmessages = 1\n")
        monkeypatch.setenv("SMTPCB_RECIPIENTS", "2")
        monkeypatch.setenv("SMTPCB_MESSAGES", "2")
        configuration = said("--config", "a.toml", "--messages", "3").configuration()
        limits = configuration.limits
        assert (limits.errors, limits.recipients, limits.messages) == (1, 2, 3)
        assert limits.auth_failures == BY_NAME["auth-failures"].default
        assert configuration.where("errors") == f"{folder}/a.toml: errors"
        assert configuration.where("recipients") == "SMTPCB_RECIPIENTS"
        assert configuration.where("messages") == "--messages"
        assert configuration.given == {"errors", "recipients", "messages"}

    def test_a_list_is_replaced_and_not_added_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody gets a port that the last word does not name."""
        monkeypatch.setenv("SMTPCB_LISTEN", "tcp:25")
        assert said().configuration()["listen"] == ("tcp:25",)
        assert said("--listen", "tcp:26").configuration()["listen"] == ("tcp:26",)
        assert said("--smtps", "tcp:465").configuration()["listen"] == ("tcp:25",)

    @pytest.mark.parametrize("switch", SWITCHES)
    def test_a_switch_of_the_file_can_be_switched_off(
        self, switch: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the environment and by the command line, under its one name."""
        (folder / "a.toml").write_text(f"{switch} = true\n")
        key = switch.replace("-", "_")
        monkeypatch.setenv("SMTPCB_CONFIG", "a.toml")
        assert said().configuration()[key] is True
        assert said(f"--{switch}=false").configuration()[key] is False
        monkeypatch.setenv(BY_NAME[switch].variable, "no")
        assert said().configuration()[key] is False
        assert said(f"--{switch}").configuration()[key] is True

    def test_the_environment_names_the_file(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Unless the command line names another one."""
        (folder / "a.toml").write_text("errors = 1\n")
        (folder / "b.toml").write_text("errors = 2\n")
        monkeypatch.setenv("SMTPCB_CONFIG", "a.toml")
        assert said().configuration().limits.errors == 1
        assert said("-c", "b.toml").configuration().limits.errors == 2
        monkeypatch.setenv("SMTPCB_CONFIG", "none.toml")
        assert mistake("--check") == f"smtpcb: {folder}/none.toml: No such file or directory"

    def test_what_is_wrong_later_is_still_found_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An error that shows only when the server is built names the variable too."""
        monkeypatch.setenv("SMTPCB_HOSTNAME", "a..b")
        assert mistake("--check").startswith("smtpcb: SMTPCB_HOSTNAME a..b: hostname is no domain")

    def test_twice_is_a_mistake_in_one_layer_only(self, folder: Path) -> None:
        """On the command line a word twice contradicts itself; in two layers it overrides."""
        assert mistake("--no-tls", "--no-tls=false") == "smtpcb: --no-tls is given twice"
        (folder / "a.toml").write_text('listen = ["tcp:25"]')
        file = read_file(folder / "a.toml")
        assert resolve({"listen": ("tcp:25",)}, file)["listen"] == ("tcp:25",)


class TestSwitches:
    """A switch on the command line may have a value."""

    KNOWN = ("banner=", "config=", "no-tls=", "no-transcripts=", "check", "help")

    @pytest.mark.parametrize(
        ("arguments", "made"),
        [
            ("--no-tls", "--no-tls=true"),
            ("--no-tls=false --check", "--no-tls=false --check"),
            ("--no-tra", "--no-transcripts=true"),
            ("--no-t", "--no-t"),
            ("--banner --no-tls --no-tls", "--banner --no-tls --no-tls=true"),
            ("--banner=--no-tls --no-tls", "--banner=--no-tls --no-tls=true"),
            ("--ban x --no-tls", "--ban x --no-tls=true"),
            ("-c --no-tls", "-c --no-tls"),
            ("-- --no-tls", "-- --no-tls"),
            ("--bogus --no-tls", "--bogus --no-tls=true"),
            ("stray --no-tls", "stray --no-tls=true"),
            ("--banner", "--banner"),
        ],
    )
    def test_what_stands_alone_is_true(self, arguments: str, made: str) -> None:
        """And the value of another option is left as it is, whatever it looks like."""
        switches = {"no-tls", "no-transcripts"}
        assert spelled_out(arguments.split(), self.KNOWN, switches) == made.split()

    def test_it_says_what_it_wants(self) -> None:
        """In one line."""
        assert mistake("--no-tls=maybe") == (
            "smtpcb: --no-tls: true or false is wanted, not 'maybe'"
        )

    def test_the_arguments_of_the_process_are_taken_where_none_are_given(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As Twisted's own parser does."""
        monkeypatch.setattr(sys, "argv", ["twistd", "--no-tls"])
        options = Options()
        options.parseOptions()
        assert options.configuration()["no_tls"] is True


class TestCredentials:
    """Secrets that systemd puts into a folder for one service (LoadCredential)."""

    def test_their_folder_can_stand_in_a_path(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So that a file of settings can name what lies in a folder that is another each time."""
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/smtpcb.service")
        (folder / "a.toml").write_text(
            'tls-key = "${CREDENTIALS_DIRECTORY}/key.pem"\n'
            'auth = "file:${CREDENTIALS_DIRECTORY}/passwords"\n'
        )
        configuration = said("--config", "a.toml").configuration()
        assert configuration["tls_key"] == (Path("/run/credentials/smtpcb.service/key.pem"),)
        assert configuration["auth"] == ("file:/run/credentials/smtpcb.service/passwords",)

    def test_it_can_stand_behind_the_name_of_a_policy_or_a_handler(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A recipient map is a file like any other."""
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/smtpcb.service")
        configuration = said(
            *("--handler", "maildir:${CREDENTIALS_DIRECTORY}/m"),
            *("--policy", "recipients:${CREDENTIALS_DIRECTORY}/map"),
        ).configuration()
        assert configuration["handler"] == "maildir:/run/credentials/smtpcb.service/m"
        assert configuration["policy"] == ("recipients:/run/credentials/smtpcb.service/map",)
        assert "${HOME} is unknown" in mistake("--handler", "maildir:${HOME}/m")

    def test_a_password_is_left_as_it_is(self) -> None:
        """Whatever it looks like."""
        assert read_text(BY_NAME["auth"], "memory:a:${HOME}", "") == "memory:a:${HOME}"

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("${CREDENTIALS_DIRECTORY}/x", "is not there: systemd sets it for LoadCredential="),
            ("${HOME}/x", "${HOME} is unknown; only ${CREDENTIALS_DIRECTORY} is put in"),
            ("${}/x", "${} is unknown; only ${CREDENTIALS_DIRECTORY} is put in"),
        ],
    )
    def test_what_is_not_there_is_a_mistake(
        self, text: str, says: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And no folder of that odd name."""
        monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
        line = mistake("--state", text)
        assert line.startswith("smtpcb: --state: ")
        assert says in line
