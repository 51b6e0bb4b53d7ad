"""The clean-reactor fixture sees what it is there for, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

IMPORTS = """
from twisted.internet import defer
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
"""
CULPRITS = """
def test_a_failed_deferred_that_nobody_took():
    defer.fail(ValueError("culprit 1"))

def test_a_failed_deferred_in_a_cycle():
    failed = defer.Deferred()
    failed.itself = failed
    failed.errback(ValueError("culprit 2"))

class Tests(SynchronousTestCase):
    def test_a_failed_deferred_after_a_trial_test(self):
        failed = defer.Deferred()
        failed.itself = failed
        failed.errback(ValueError("culprit 3"))

def test_a_logged_failure():
    Logger().failure("failed", Failure(ValueError("culprit 4")))

def test_a_delayed_call():
    from twisted.internet import reactor
    reactor.callLater(60, print, "culprit 5")

def test_a_port():
    from twisted.internet import reactor
    reactor.listenTCP(0, Factory(), interface="127.0.0.1")
"""
INNOCENTS = """
def test_events_that_the_test_took(clean_reactor):
    Logger().failure("expected", Failure(ValueError()))
    assert len(clean_reactor) == 1
    clean_reactor.clear()

class Tests(SynchronousTestCase):
    def test_errors_that_trial_flushed(self):
        Logger().failure("expected", Failure(ValueError()))
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

async def test_a_connection_that_is_just_closing():
    from twisted.internet import reactor
    port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
    end = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    client = await end.connect(Factory.forProtocol(Protocol))
    client.transport.loseConnection()
    await port.stopListening()
"""


def run(pytester: pytest.Pytester, tests: str) -> pytest.RunResult:
    """Run tests under our conftest.py in a process of their own: it has its own reactor."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makepyfile(IMPORTS + tests)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider")


def test_what_a_test_leaves_behind_fails_it(pytester: pytest.Pytester) -> None:
    """A test that leaves work or an error behind fails, and none that runs after it."""
    result = run(pytester, CULPRITS + INNOCENTS.replace("Tests", "MoreTests"))
    culprits, innocents = CULPRITS.count("def test"), INNOCENTS.count("def test")
    result.assert_outcomes(passed=culprits + innocents, errors=culprits)
    logged = [f"Failure: builtins.ValueError: culprit {number}" for number in range(1, 5)]
    result.stdout.fnmatch_lines([*logged, "left over: *culprit 5*", "left over: *tcp.Port*"])


def test_what_a_test_expects_is_fine(pytester: pytest.Pytester) -> None:
    """Errors that were looked at, and connections on their way out, fail nothing."""
    run(pytester, INNOCENTS).assert_outcomes(passed=INNOCENTS.count("def test"))
