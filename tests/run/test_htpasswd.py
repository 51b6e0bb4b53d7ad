"""``--auth htpasswd:FILE``: hashes in place of passwords."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.strcred import findCheckerFactory
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from smtpcb.engine._connection import Connection
from smtpcb.interfaces import ISecretKeeper
from smtpcb.run import _hashes, _htpasswd
from smtpcb.run._hashes import SCHEMES, HashError, scheme_of
from smtpcb.run._htpasswd import BUSY, HashedFile
from smtpcb.run._named_lines import CANNOT_TELL, PasswordFileError
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp.sasl import Credentials, ScramSecret

HERE = Connection("x")
# With little work, so that tests are quick; what is made has more.
SCRAM = ScramSecret.of("tim", salt=b"salt" * 4, iterations=4096).write()


class Reactor:
    """Runs what a thread should, when the test says so."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []
        self.triggers: list[Any] = []

    def addSystemEventTrigger(self, *what: Any) -> None:
        self.triggers.append(what)

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        function(*arguments)


class Pool:
    """In place of threads."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.stopped = False

    def callInThreadWithCallback(self, done: Any, function: Any, *arguments: Any) -> None:
        from twisted.python.failure import Failure

        def work() -> None:
            try:
                result = function(*arguments)
            except BaseException:
                done(False, Failure())
            else:
                done(True, result)

        self._reactor.work.append(work)

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def reactor(monkeypatch: pytest.MonkeyPatch) -> Reactor:
    made = Reactor()
    monkeypatch.setattr(_htpasswd, "start_pool", lambda name, most: Pool(made))
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.touch(0o600)
    path.write_text(f"# who may\nanne:{scheme('scrypt').make('tim')}\n")
    return path


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hashes, "_LN", 4)


def scheme(name: str) -> _hashes.Scheme:
    [found] = [one for one in SCHEMES if one.name == name]
    return found


def answer(reactor: Reactor, asked: Any) -> Any:
    """Do what waits for a thread, and return the answer."""
    if not isinstance(asked, Deferred):
        return asked
    for work in reactor.work:
        work()
    reactor.work.clear()
    found: list[Any] = []
    asked.addBoth(found.append)
    return found[0]


def login(name: str, password: str, **more: Any) -> Credentials:
    return Credentials("PLAIN", name, password, **more)


@pytest.mark.parametrize("name", [one.name for one in SCHEMES])
@pytest.mark.parametrize("password", ["tim", "grün", "\udce4", "tim:rest $x$"])
def test_a_hash_fits_its_password_and_no_other(name: str, password: str) -> None:
    """By each scheme, also what is no UTF-8; and it does not show the password."""
    made = scheme(name).make(password)
    assert scheme_of(made).name == name
    assert scheme(name).fits(made, password)
    assert not scheme(name).fits(made, password + "x")
    assert not scheme(name).fits(made, "")
    assert password not in made
    assert made != scheme(name).make(password)


def test_what_other_programs_have_written() -> None:
    """htpasswd -B writes $2y$; passlib and GNU SASL what the others are."""
    pw = "p" * 72
    made = scheme("bcrypt").make(pw)
    assert scheme("bcrypt").fits(made.replace("$2b$", "$2y$"), pw + "which bcrypt does not see")
    with pytest.raises(HashError, match="up to 72 octets"):
        scheme("bcrypt").make(pw + "x")


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ("secret", "no hash of scrypt, argon2, bcrypt, scram-sha-256; `smtpcb password` makes"),
        ("$apr1$salt$abcdefghijklmnopqrstuv", "no hash of"),
        ("$6$salt$secret", "no hash of"),
        ("$scrypt$ln=4,r=8$c2FsdA$secret", r"no \$scrypt"),
        ("$scrypt$ln=40,r=8,p=1$c2FsdA$" + "a" * 43, "too much memory"),
        ("$scrypt$ln=0,r=8,p=1$c2FsdA$" + "a" * 43, "too much memory"),
        ("$scrypt$ln=4,r=0,p=1$c2FsdA$" + "a" * 43, "too much memory"),
        ("$scrypt$ln=4,r=8,p=17$c2FsdA$" + "a" * 43, "too much memory"),
        ("$scrypt$ln=4,r=8,p=1$c2Fsd$" + "A" * 43, "no base64 to its end"),
        ("$scrypt$ln=4,r=8,p=1$c2FsdA$" + "A" * 41, "no base64 to its end"),
        ("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$" + "A" * 41, "no base64 to its end"),
        ("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$" + "A" * 42 + "B", "no base64 to its end"),
        ("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$x", r"no \$argon2"),
        ("$argon2id$v=20$m=8,t=1,p=1$c2FsdHNhbHQ$" + "A" * 43, r"no \$argon2"),
        ("$argon2id$v=19$m=8,t=1,p=2$c2FsdHNhbHQ$" + "A" * 43, "too small"),
        ("$argon2id$v=19$m=8,t=0,p=1$c2FsdHNhbHQ$" + "A" * 43, "too small"),
        ("$argon2id$v=19$m=9999999,t=1,p=1$c2FsdHNhbHQ$" + "A" * 43, "too much memory"),
        ("$2y$05$" + "a" * 53, "no hash of"),
        ("$2y$31$" + "a" * 53, "no hash of"),
        ("{SCRAM-SHA-256}secret", "no {SCRAM-SHA-256}"),
        ("{SSHA}secret", "no hash of"),
    ],
)
def test_what_is_no_hash_is_told_at_the_start(path: Path, stored: str, says: str) -> None:
    """In one line that names the place, and quotes nothing."""
    path.write_text(f"# remark\nanne:{stored}\n")
    with pytest.raises(PasswordFileError, match=says) as caught:
        HashedFile(path)
    assert str(caught.value).startswith(f"{path}: line 2: ")
    assert "secret" not in str(caught.value)


def test_what_a_hash_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed."""

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(_hashes, "import_module", missing)
    made = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"
    with pytest.raises(HashError, match=r"argon2 needs argon2-cffi: pip install 'smtpcb\[passw"):
        scheme_of(made)


def test_who_is_in_the_file_logs_in(reactor: Reactor, path: Path) -> None:
    """By name and password; for nobody else, and not as somebody else."""
    checker = HashedFile(path, reactor=reactor)
    assert checker.mechanisms == {"PLAIN", "LOGIN"}
    assert answer(reactor, checker.authenticate(login("anne", "tim"), HERE)) is True
    for name, password in (("anne", "tom"), ("anne", ""), ("bob", "tim"), ("# who may", "")):
        assert answer(reactor, checker.authenticate(login(name, password), HERE)) is False
    acting = login("anne", "tim", authorization_id="bob")
    assert answer(reactor, checker.authenticate(acting, HERE)) is False
    himself = login("anne", "tim", authorization_id="anne")
    assert answer(reactor, checker.authenticate(himself, HERE)) is True


def test_a_change_holds_from_the_next_login_on(reactor: Reactor, path: Path) -> None:
    """It is looked for in the thread, and so holds up nobody."""
    checker = HashedFile(path, reactor=reactor)
    asked = checker.authenticate(login("bob", "jim"), HERE)
    path.write_text(f"bob:{scheme('scrypt').make('jim')}\n")
    assert answer(reactor, asked) is True
    assert answer(reactor, checker.authenticate(login("anne", "tim"), HERE)) is False


@pytest.mark.parametrize("broken", [None, "anne:secret\n"])
def test_a_file_that_is_gone_or_broken_refuses_nobody(
    reactor: Reactor, path: Path, broken: str | None
) -> None:
    """454, the log says it once, and all comes back."""
    checker = HashedFile(path, reactor=reactor)
    text = path.read_text()
    path.unlink() if broken is None else path.write_text(broken)
    with capturedLogs() as events:
        for asked in (
            checker.authenticate(login("anne", "tim"), HERE),
            checker.authenticate(login("anne", "", proven=True), HERE),
            checker.stored_secret("anne", "SCRAM-SHA-256", HERE),
        ):
            assert answer(reactor, asked) is CANNOT_TELL
    [event] = events
    assert formatEvent(event).startswith(f"--auth htpasswd: {path}: ")
    assert "secret" not in formatEvent(event)
    path.write_text(text)
    assert answer(reactor, checker.authenticate(login("anne", "tim"), HERE)) is True


def test_too_many_at_once_are_asked_to_come_again(
    reactor: Reactor, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gives up still counts, until the thread is done with it."""
    monkeypatch.setattr(_htpasswd, "MOST_WAITING", 2)
    checker = HashedFile(path, reactor=reactor)
    first, second = (checker.authenticate(login("anne", "tim"), HERE) for _ in range(2))
    assert isinstance(first, Deferred)
    first.addErrback(lambda failure: None)
    first.cancel()
    assert checker.authenticate(login("anne", "tim"), HERE) is BUSY
    assert checker.stored_secret("anne", "SCRAM-SHA-256", HERE) is BUSY
    assert answer(reactor, second) is True
    assert answer(reactor, checker.authenticate(login("anne", "tim"), HERE)) is True


def test_somebody_unknown_costs_as_much(
    reactor: Reactor, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash is looked at for them too, always the same one."""
    path.write_text(f"anne:{scheme('scrypt').make('tim')}\nbob:{SCRAM}\n")
    checker = HashedFile(path, reactor=reactor)
    looked: list[str] = []
    known = _htpasswd.scheme_of

    def counted(stored: str) -> Any:
        looked.append(stored)
        return known(stored)

    monkeypatch.setattr(_htpasswd, "scheme_of", counted)
    names = [f"somebody-{number}" for number in range(20)] * 2
    path.touch()
    answer(reactor, checker.authenticate(login("anne", "tim"), HERE))
    looked.clear()
    for name in names:
        assert answer(reactor, checker.authenticate(login(name, "tim"), HERE)) is False
    assert looked[:20] == looked[20:]
    assert len(set(looked)) == 2
    looked.clear()
    path.write_text("# nobody\n")
    with capturedLogs():
        assert answer(reactor, checker.authenticate(login("anne", "tim"), HERE)) is False
    assert len(looked) == 1


def test_scram_is_for_everybody_or_nobody(reactor: Reactor, path: Path) -> None:
    """Clients take the best that is offered, and one without keys could not log in by it."""
    path.write_text(f"anne:{SCRAM}\n")
    checker = HashedFile(path, reactor=reactor)
    assert checker.mechanisms == {"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}
    keys = answer(reactor, checker.stored_secret("anne", "SCRAM-SHA-256", HERE))
    assert keys == ScramSecret.read(SCRAM)
    proven = login("anne", "", proven=True)
    assert answer(reactor, checker.authenticate(proven, HERE)) is True
    gone = login("bob", "", proven=True)
    assert answer(reactor, checker.authenticate(gone, HERE)) is False
    path.write_text(f"anne:{SCRAM}\nbob:{scheme('scrypt').make('jim')}\n")
    with capturedLogs() as events:
        assert HashedFile(path).mechanisms == {"PLAIN", "LOGIN"}
    [event] = events
    assert formatEvent(event) == f"{path}: SCRAM is not offered to anybody: bob cannot use it"


def test_who_is_unknown_has_keys_like_everybody(reactor: Reactor, path: Path) -> None:
    """Salt and iterations stay the same from one time to the next, and are like the others'."""
    path.write_text(f"anne:{SCRAM}\n")
    first, again, other = (
        answer(
            reactor, HashedFile(path, reactor=reactor).stored_secret(name, "SCRAM-SHA-256", HERE)
        )
        for name in ("tim", "tim", "bob")
    )
    assert (first.salt, first.iterations) == (again.salt, again.iterations)
    assert first.iterations == 4096
    assert first.salt != other.salt


def test_who_is_unknown_has_keys_of_each_kind_that_others_have(
    reactor: Reactor, path: Path
) -> None:
    """By neither the length of a salt nor the iterations can a name be known to be nobody's."""
    kinds = {(4096, 12): 30, (8192, 16): 10}
    lines = [
        f"{iterations}u{at}:{_keys(iterations, octets)}\n"
        for (iterations, octets), count in kinds.items()
        for at in range(count)
    ]
    path.write_text("".join(lines))

    def asked(names: list[str]) -> list[ScramSecret]:
        checker = HashedFile(path, reactor=reactor)
        return [
            answer(reactor, checker.stored_secret(name, "SCRAM-SHA-256", HERE)) for name in names
        ]

    nobody = [f"n{at}" for at in range(400)]
    before = asked(nobody)
    counted = Counter((one.iterations, len(one.salt)) for one in before)
    assert counted.keys() == kinds.keys()
    assert 2 < counted[4096, 12] / counted[8192, 16] < 4
    path.write_text("".join([*lines, f"new:{_keys(8192, 16)}\n"]))
    after = asked(nobody)
    same = [
        (one.salt, one.iterations) == (two.salt, two.iterations)
        for one, two in zip(before, after, strict=True)
    ]
    assert sum(same) > 380  # when somebody is added, hardly anybody changes


def _keys(iterations: int, octets: int) -> str:
    return ScramSecret(b"s" * octets, iterations, b"k" * 32, b"k" * 32).write()


def test_every_server_of_twisted_can_use_it(reactor: Reactor, path: Path) -> None:
    """``--auth htpasswd:FILE`` of any of them; the answers are twisted.cred's."""
    checker: Any = findCheckerFactory("htpasswd").generateChecker(str(path))
    assert verifyObject(ICredentialsChecker, checker)
    assert verifyObject(ISecretKeeper, checker)
    checker._reactor = reactor

    def outcome(name: bytes, password: bytes) -> Any:
        return answer(reactor, checker.requestAvatarId(UsernamePassword(name, password)))

    assert outcome(b"anne", b"tim") == b"anne"
    assert outcome(b"anne", b"x").check(UnauthorizedLogin)
    path.unlink()
    with capturedLogs():
        assert outcome(b"anne", b"tim").check(Refusal)
    checker._waiting = 1000
    assert outcome(b"anne", b"tim").check(Refusal)
    with pytest.raises(ValueError, match="htpasswd:FILE is wanted"):
        findCheckerFactory("htpasswd").generateChecker("")


def test_who_else_may_have_a_hand_in_it(path: Path) -> None:
    """Everybody may read it, or write it, or it is somebody else's: that is warned of."""

    def warnings(**given: Any) -> list[str]:
        with capturedLogs() as events:
            HashedFile(path, **given)
        return [formatEvent(event) for event in events]

    path.chmod(0o640)
    assert warnings() == []
    path.chmod(0o644)
    assert warnings() == [f"{path}: others may read these passwords (mode 0644)"]
    path.chmod(0o602)
    theirs = f"{path}: others decide who may log in, since it is theirs"
    assert warnings() == [theirs]
    path.chmod(0o600)
    assert warnings(owners={os.geteuid() + 1}) == [theirs]
    assert warnings(owners={os.geteuid()}) == []


def test_the_threads_end_with_the_reactor(reactor: Reactor, path: Path) -> None:
    """Nobody waits for one that is at work."""
    checker = HashedFile(path, reactor=reactor)
    checker.authenticate(login("anne", "tim"), HERE)
    [(phase, event, stop, pool)] = reactor.triggers
    assert (phase, event) == ("during", "shutdown")
    stop(pool)
    for _ in range(1000):
        if pool.stopped:
            break
        os.sched_yield()
    assert pool.stopped
