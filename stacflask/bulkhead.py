"""Limit the threads that one dependency can occupy, and stop calls to a dependency that fails.

A dependency is anything that a request waits for: a store, an identity provider, a plugin, a class of database
statements. Without a limit, a dependency that accepts calls and never answers occupies all threads of the process.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, ClassVar, Self
from weakref import WeakSet

from stacflask.errors import StacflaskError, Unavailable
from stacflask.model.services import ShareState

log = logging.getLogger(__name__)

SLOW_SECONDS = 0.5
"""A dependency is slow while one of its calls has been running for longer than this."""

PLUGIN_SLOW_SECONDS = 2.0
"""A plugin is slow while one of its functions has been running for longer than this."""

REST_SECONDS = 5.0
"""Time for which a dependency that timed out is not called."""

THREADS_BESIDE_STREAMS = 16
"""Default number of threads of a process that are not reserved for streams. gunicorn.conf.py has the same number."""

LOG_SECONDS = 5.0
"""Minimum time between two log lines about refused calls."""


class Threads:
    """The threads of this process that calls can occupy: all that are not reserved for streams."""

    spare = THREADS_BESIDE_STREAMS
    """Number of these threads. ``divide`` sets it once, when a server starts."""
    lock = threading.Lock()
    """Lock of all bulkheads."""
    bulkheads: ClassVar[WeakSet[Bulkhead]] = WeakSet()

    @classmethod
    def divide(cls, threads: int, streams: int) -> None:
        """Set how many threads the calls of this process can share."""
        cls.spare = max(1, threads - streams)

    @classmethod
    def held(cls) -> int:
        """Return the number of threads that are inside a bulkhead."""
        return sum(len(one.calls) for one in cls.bulkheads)

    @classmethod
    def states(cls) -> list[ShareState]:
        """Return the current use of all bulkheads."""
        with cls.lock:
            return [one.state() for one in cls.bulkheads]


class Inside(threading.local):
    """The bulkheads that the current thread is inside, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[Bulkhead] = []


INSIDE = Inside()


class Bulkhead:
    """Limit the concurrent calls to one dependency, and refuse calls while it is failing.

    Use one instance for each dependency, as a context manager around each call, from any number of threads::

        archive = Bulkhead("archive")

        with archive:
            answer = requests.get(url, timeout=4)

    If ``limit`` calls are in flight, a call waits up to ``slow`` seconds for its turn. If the oldest of them has run
    for longer than ``slow`` seconds, the dependency is slow: only ``share`` calls are admitted, and entering raises
    ``Unavailable`` (503 with Retry-After) at once.

    A call that fails after more than ``slow`` seconds opens the bulkhead for ``rest`` seconds, unless another call
    succeeded meanwhile. While the bulkhead is open, calls are refused at once. Then one call is admitted as a probe,
    and another one if a probe has not ended after ``rest`` seconds. If a probe succeeds, all calls are admitted again.
    Errors about the request (``NotFound``, ``Refused`` and the like) count as successes.

    Args:
        name: Name of the dependency, for the log.
        limit: Maximum number of calls in flight. The default is half of the threads that are not reserved for streams.
        share: The same while the dependency is slow. The default is a quarter of these threads.
        slow: Seconds after which a call is slow.
        rest: Seconds for which the bulkhead is open; 0 never opens it.
        description: Text of the error, for clients.
        code: Code of the error.
        clock: Function that returns seconds, for tests.

    Raises:
        Unavailable: A call was refused.
    """

    lenient = False
    """True if calls inside another bulkhead are not counted, and a single call takes no lock."""

    def __init__(
        self,
        name: str,
        *,
        limit: int | None = None,
        share: int | None = None,
        slow: float = SLOW_SECONDS,
        rest: float = REST_SECONDS,
        description: str = "A service that this request depends on does not respond. Try again later.",
        code: str = Unavailable.code,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._limit, self._share = limit, share
        self._slow, self._rest = slow, rest
        self._description, self._code = description, code
        self._clock = clock
        self._turn = threading.Condition(Threads.lock)
        self._waiting = 0
        self.calls: dict[int, float] = {}
        """Start times of the calls in flight, by thread, in the order in which they began."""
        self._succeeded = self._logged = -math.inf
        self._open_until: float | None = None
        self._probe: int | None = None
        self._refused = 0
        with Threads.lock:
            Threads.bulkheads.add(self)

    @property
    def limit(self) -> int:
        """Maximum number of calls in flight."""
        return max(1, Threads.spare // 2) if self._limit is None else self._limit

    @property
    def share(self) -> int:
        """Maximum number of calls in flight while the dependency is slow."""
        return min(self.limit, max(1, Threads.spare // 4) if self._share is None else self._share)

    def state(self) -> ShareState:
        """Return the current use of this bulkhead."""
        is_open = self._open_until is not None
        return ShareState(self.name, len(self.calls), self.limit, self._waiting, self._refused, is_open)

    def __enter__(self) -> Self:
        thread, inside = threading.get_ident(), INSIDE.stack
        if self not in inside:
            outer = inside[-1] if inside and inside[-1].lenient else None
            if outer is not None:
                outer._leave(thread)  # noqa: SLF001 - another instance of this class
            if not self.lenient or self.calls or self._open_until is not None:
                self._enter(thread, outer)
            else:
                self.calls[thread] = self._clock()
        inside.append(self)
        return self

    def _enter(self, thread: int, outer: Bulkhead | None) -> None:
        try:
            with self._turn:
                self._admit(thread)
        except Unavailable:
            if outer is not None:
                outer._begin(thread)  # noqa: SLF001
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        inside = INSIDE.stack
        inside.pop()
        if self in inside:
            return
        thread = threading.get_ident()
        if error is None and self._open_until is None:
            self._succeeded = self._clock()
        else:
            with self._turn:
                self._record_result(thread, error)
        self._leave(thread)
        if inside and inside[-1].lenient:
            inside[-1]._begin(thread)  # noqa: SLF001

    def guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls ``function`` inside this bulkhead.

        Args:
            function: A function with positional arguments only.

        Raises:
            Unavailable: The call was refused.
        """

        @wraps(function)
        def guarded(*args: Any) -> Any:
            with self:
                return function(*args)

        return guarded

    def open(self, seconds: float) -> None:
        """Refuse all calls for a time, and then all but one probe until a probe succeeds.

        Args:
            seconds: Time in seconds.
        """
        with self._turn:
            self._open_until = max(self._open_until or -math.inf, self._clock() + seconds)

    def _begin(self, thread: int) -> None:
        self.calls[thread] = self._clock()

    def _leave(self, thread: int) -> None:
        self.calls.pop(thread, None)
        if self._waiting:
            with self._turn:
                self._turn.notify()

    # The methods below are called with the lock held.

    def _admit(self, thread: int) -> None:
        """Begin a call, or wait until it can begin. Raises Unavailable."""
        give_up: float | None = None
        while True:
            now = self._clock()
            if self._is_probe(now, thread) or self._is_below_limit(now):
                return self._begin(thread)
            give_up = now + self._slow if give_up is None else give_up
            if now >= give_up or self._is_slow(now) or self._is_crowded(now):
                self._refuse(now, 1)
            # Wait until the oldest call is slow, at most.
            self._waiting += 1
            self._turn.wait(min(give_up, self._oldest(now) + self._slow) - now + 0.001)
            self._waiting -= 1

    def _is_probe(self, now: float, thread: int) -> bool:
        """Return whether a call is admitted as a probe. Raises Unavailable while the bulkhead is open."""
        if self._open_until is None:
            return False
        if now < self._open_until or self._is_probed(now):
            self._refuse(now, max(1, math.ceil(self._open_until - now)))
        self._probe = thread
        return True

    def _is_probed(self, now: float) -> bool:
        """Return whether no further probe is admitted. A probe that hangs is replaced, up to ``share`` probes."""
        if self._probe is None:
            return False
        return now - self.calls.get(self._probe, now) < self._rest or len(self.calls) >= self.share

    def _is_below_limit(self, now: float) -> bool:
        if not self._is_slow(now):
            return len(self.calls) < self.limit
        return len(self.calls) < self.share and Threads.held() < Threads.spare * 3 // 4

    def _oldest(self, now: float) -> float:
        # Iterate over a copy, because calls begin and end meanwhile.
        return min(list(self.calls.values()), default=now)

    def _is_slow(self, now: float) -> bool:
        return now - self._oldest(now) > self._slow

    def _is_crowded(self, now: float) -> bool:
        """Return whether too many threads wait already, for calls that are not quick."""
        return self._waiting >= Threads.spare // 2 and now - self._oldest(now) > SLOW_SECONDS

    def _record_result(self, thread: int, error: BaseException | None) -> None:
        """Open or close the bulkhead, depending on the result of a call."""
        now, began = self._clock(), self.calls.get(thread, math.inf)
        failed = isinstance(error, Unavailable) or (error is not None and not isinstance(error, StacflaskError))
        if not failed:
            self._succeeded = now
        probed, self._probe = self._probe == thread, None if self._probe == thread else self._probe
        if probed and not failed:
            self._open_until = None
        elif self._rest and failed and (probed or (now - began > self._slow and self._succeeded <= began)):
            self._open_until = now + self._rest
            log.warning("bulkhead opened", extra={"dependency": self.name, "seconds": self._rest})

    def _refuse(self, now: float, retry_after: int) -> None:
        """Raise Unavailable. Clients that retry must not fill the log, so it has one line per ``LOG_SECONDS``."""
        self._refused += 1
        if now - self._logged > LOG_SECONDS:
            self._logged = now
            log.warning("call refused", extra={"dependency": self.name, "in_flight": len(self.calls)})
        raise Unavailable(self._description, code=self._code, retry_after=retry_after)


class PluginShare(Bulkhead):
    """Limit the threads that run functions of one plugin, except while they are inside another bulkhead.

    Functions that compute for a long time do not open the bulkhead.
    """

    lenient = True

    def __init__(self, name: str) -> None:
        super().__init__(name, slow=PLUGIN_SLOW_SECONDS, rest=0)

    def guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls ``function`` inside this bulkhead.

        It takes a lock only if it must wait: a call takes 5 us instead of 11, and a page has thousands of them.
        """
        calls, clock = self.calls, self._clock

        @wraps(function)
        def guarded(*args: Any) -> Any:
            inside, thread = INSIDE.stack, threading.get_ident()
            if inside:
                return within(*args)
            # Count before comparing, because calls that begin at the same time must not exceed the limit together.
            calls[thread] = now = clock()
            if len(calls) > 1 and (len(calls) > self.limit or self._is_slow(now)):
                self._leave(thread)
                return within(*args)
            inside.append(self)
            try:
                return function(*args)
            finally:
                inside.pop()
                self._leave(thread)

        within = super().guard(function)
        return guarded

    @property
    def limit(self) -> int:
        """Maximum number of calls in flight."""
        return max(1, Threads.spare * 3 // 4)


def current() -> str:
    """Return the name of the innermost bulkhead that the current thread is inside, or an empty string."""
    inside = INSIDE.stack
    return inside[-1].name if inside else ""
