"""threaded: methods that block run in threads, one at a time per connection."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from threading import Thread
from typing import Any
from weakref import WeakSet

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from smtpcb._ending import THREADS_SECONDS
from smtpcb._threads import start_pool
from smtpcb.engine._connection import Connection
from smtpcb.engine._handler import DECLARATIONS, Method, methods_of, name_of
from smtpcb.handling._composed import Composer
from smtpcb.handling._examine import examine
from smtpcb.handling._factories import OneForAll, OnePerConnection, handler_factory
from smtpcb.interfaces import ISmtpHandlerFactory
from smtpcb.smtp.sasl import Authenticated

_log = Logger(namespace="smtpcb.handler")


class InThreads:
    """A handler that calls another one in threads."""

    def __init__(self, name: str) -> None:
        self.__name__ = name  # logs call it by the other one's


@implementer(ISmtpHandlerFactory)
class threaded:  # noqa: N801 - used like a function: threaded(Inbox)
    """
    A handler whose methods may block: they run in threads, one at a time per connection.

    The handler itself is made in the reactor's thread.  Cancelling an answer ends the waiting,
    not the thread; the next call of that connection waits until the thread is free.

    :param handler: whatever `handler_factory` takes.
    :param threads: at most so many calls at once, over all connections.
    :param reactor: the reactor of the server; by default the one that is installed when the
        first client connects.
    :raises TypeError: as `handler_factory` does; or a method is ``async def``.
    :raises ValueError: as `handler_factory` does; or there would be no thread.
    """

    def __init__(self, handler: object, *, threads: int = 10, reactor: Any = None) -> None:
        if not isinstance(threads, int) or isinstance(threads, bool):
            raise TypeError(f"threads is a number, not {type(threads).__name__}")
        if threads < 1:
            raise ValueError(f"threads is at least 1, not {threads}")
        if reactor is not None and not hasattr(reactor, "callFromThread"):
            raise TypeError(f"reactor is a reactor, not {type(reactor).__name__}")
        if isinstance(handler, threaded):
            raise TypeError("this handler runs in threads already")
        if isinstance(handler, Composer):
            raise TypeError("threads are for what it is made of: around(threaded(Inbox), ...)")
        self.__name__ = name_of(handler)  # what logs call it
        # Whether it has to take mail is asked where it is used: it may be a policy.
        self.inner = handler_factory(handler, takes_mail=False)
        if isinstance(self.inner, (OneForAll, OnePerConnection)):
            self.inner.examine(blocking=True)
        self._threads = threads
        self._pool: ThreadPool | None = None
        self._reactor = reactor
        self._stop_trigger: Any = None
        #: Whose instances have been looked at.
        self._known: WeakSet[type] = WeakSet()

    def on(self, reactor: Any) -> threaded:
        """Return the same on another reactor, with threads of its own."""
        other = object.__new__(threaded)
        other.__dict__.update(self.__dict__, _pool=None, _reactor=reactor, _stop_trigger=None)
        return other

    def __call__(self, connection: Connection) -> object:
        """Return a handler that calls another one in threads."""
        handler = self.inner(connection)
        if type(handler) not in self._known:
            examine(handler, blocking=True, takes_mail=False)
            self._known.add(type(handler))
        pool = self._start()
        proxy = InThreads(name_of(handler))
        lock = DeferredLock()
        for name, method in methods_of(handler).items():
            setattr(proxy, name, self._in_thread(pool, lock, method))
        for name in DECLARATIONS:
            if hasattr(handler, name):
                setattr(proxy, name, getattr(handler, name))
        return proxy

    def _start(self) -> ThreadPool:
        if self._pool is None:
            if self._reactor is None:
                from twisted.internet import reactor

                self._reactor = reactor
            self._pool = start_pool("smtpcb-handler", self._threads)
            self._stop_trigger = self._reactor.addSystemEventTrigger(
                "during", "shutdown", _stop_for_a_while, self._pool
            )
        return self._pool

    def stop(self) -> None:
        """End the threads, waiting a while for what they do; the end of the reactor does it too."""
        pool, self._pool = self._pool, None
        if pool is not None:
            self._reactor.removeSystemEventTrigger(self._stop_trigger)
            _stop_for_a_while(pool)

    def _in_thread(self, pool: ThreadPool, lock: DeferredLock, method: Method) -> Method:
        def call(*arguments: object) -> Deferred[object]:
            # Without a canceller: cancelling it fails it at once, and what comes later is dropped.
            answer: Deferred[object] = Deferred()

            def run() -> Deferred[object] | None:
                if answer.called:
                    return None  # cancelled before its turn came
                if pool.joined:
                    raise RuntimeError("the threads of this handler have been stopped")
                return deferToThreadPool(self._reactor, pool, _plain_call, method, *arguments)

            def hand_over(result: object) -> None:
                if isinstance(result, Authenticated) and result.release is not None:
                    # It is the handler's as well, and may block.
                    release = partial(self._let_go, pool, lock, result.release)
                    if answer.called:
                        release()
                    result = Authenticated(result.identity, release)
                if not answer.called:
                    answer.callback(result)

            lock.run(run).addBoth(hand_over)
            return answer

        return call

    def _let_go(self, pool: ThreadPool, lock: DeferredLock, release: Callable[[], object]) -> None:
        def failed(failure: Failure) -> None:
            _log.failure("the end of a login failed", failure)

        self._in_thread(pool, lock, release)().addErrback(failed)


def _stop_for_a_while(pool: ThreadPool) -> None:
    """End the threads; one that does not end is left behind."""
    stopping = Thread(target=pool.stop, daemon=True)
    stopping.start()
    stopping.join(THREADS_SECONDS)


def _plain_call(method: Method, *arguments: object) -> object:
    result = method(*arguments)
    if isinstance(result, Awaitable):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError("a threaded handler answers by itself: neither async def nor a Deferred")
    return result
