"""Limit how many threads one dependency can occupy, and how long a dependency that fails is called.

A dependency is whatever a request waits for: a store, an identity provider, a plugin, a class of database statements.
Without a limit, one that accepts calls and never answers occupies all threads of the process.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakSet

from stacflask.errors import StacflaskError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

log = logging.getLogger(__name__)

SLOW_SECONDS = 0.5
"""A dependency is slow while one of its calls has been running for longer than this."""

PLUGIN_SLOW_SECONDS = 2.0
"""The same for the functions of a plugin."""

REST_SECONDS = 5.0
"""Time for which a dependency that timed out is not called."""

THREADS_BESIDE_STREAMS = 16
"""Threads of a process that are not kept for streams, unless set. gunicorn.conf.py has the same number."""

LOG_SECONDS = 5.0
"""Least time between two log lines about refused calls."""


class Threads:
    """Threads of this process that calls can occupy: all but those that are kept for streams."""

    spare = THREADS_BESIDE_STREAMS
    """Set once at the start of a server, by ``divide``."""
    lock = threading.Lock()
    """One lock for all bulkheads."""
    bulkheads: ClassVar[WeakSet[Bulkhead]] = WeakSet()

    @classmethod
    def divide(cls, threads: int, streams: int) -> None:
        """Set how many threads the calls of this process can share."""
        cls.spare = max(1, threads - streams)

    @classmethod
    def held(cls) -> int:
        """Return the number of threads that are inside of any bulkhead."""
        return sum(len(one.calls) for one in cls.bulkheads)


class Inside(threading.local):
    """The bulkheads that the current thread is inside of, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[Bulkhead] = []


INSIDE = Inside()


class Bulkhead:
    """Bounds the concurrent calls to one dependency, and refuses calls while it is failing.

    Use one instance for each dependency, as a context manager around each call, from any number of threads::

        archive = Bulkhead("archive")

        with archive:
            answer = requests.get(url, timeout=4)

    Entering raises ``Unavailable`` (503 with Retry-After) at once if ``limit`` calls are in flight and the oldest of
    them runs for longer than ``slow`` seconds; then only ``share`` calls are admitted. If all are quick, a call waits
    up to ``slow`` seconds for its turn.

    A call that ends in an error after more than ``slow`` seconds opens the bulkhead for ``rest`` seconds, unless
    another call succeeded meanwhile: calls are refused at once. Then one call is admitted as a probe, and another
    whenever the last one has not ended after ``rest`` seconds; the others are admitted again if a probe succeeds.
    0 disables this. Errors about the request (``NotFound``, ``Refused`` and the like)
    are answers, and count as successes.

    Args:
        name: For the log.
        limit: Calls in flight at most. The default is half of the threads that are not kept for streams.
        share: Calls in flight while the dependency is slow. The default is a quarter of these threads.
        slow: Seconds after which a call is slow.
        rest: Seconds for which the bulkhead is open.
        description: Text of the error, for clients.
        code: Code of the error.
    """

    lenient = False
    """Whether a call is not counted while it is inside of another bulkhead, and takes no lock if it is alone."""

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
        """When the calls in flight began, by thread. In the order in which they began."""
        self._succeeded = self._logged = -math.inf
        self._open_until: float | None = None
        self._probe: int | None = None
        Threads.bulkheads.add(self)

    @property
    def limit(self) -> int:
        """Calls in flight at most."""
        return max(1, Threads.spare // 2) if self._limit is None else self._limit

    @property
    def share(self) -> int:
        """Calls in flight at most while the dependency is slow."""
        return min(self.limit, max(1, Threads.spare // 4) if self._share is None else self._share)

    def __enter__(self) -> Self:
        me, inside = threading.get_ident(), INSIDE.stack
        if self not in inside:
            outer = inside[-1] if inside and inside[-1].lenient else None
            if outer is not None:
                outer._leave(me)  # noqa: SLF001 - another instance of this class
            if not self.lenient or self.calls or self._open_until is not None:
                self._enter(me, outer)
            else:
                self.calls[me] = self._clock()
        inside.append(self)
        return self

    def _enter(self, me: int, outer: Bulkhead | None) -> None:
        try:
            with self._turn:
                self._admit(me)
        except Unavailable:
            if outer is not None:
                outer._begin(me)  # noqa: SLF001
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        inside = INSIDE.stack
        inside.pop()
        if self in inside:
            return
        me = threading.get_ident()
        if error is None and self._open_until is None:
            self._succeeded = self._clock()
        else:
            with self._turn:
                self._judge(me, error)
        self._leave(me)
        if inside and inside[-1].lenient:
            inside[-1]._begin(me)  # noqa: SLF001

    def guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that runs inside this bulkhead."""

        @wraps(function)
        def guarded(*args: Any) -> Any:
            with self:
                return function(*args)

        return guarded

    def open(self, seconds: float) -> None:
        """Refuse all calls for so long, and then all but one until that one has succeeded."""
        with self._turn:
            self._open_until = max(self._open_until or -math.inf, self._clock() + seconds)

    def _begin(self, me: int) -> None:
        self.calls[me] = self._clock()

    def _leave(self, me: int) -> None:
        self.calls.pop(me, None)
        if self._waiting:
            with self._turn:
                self._turn.notify()

    # All below is called with the lock held.

    def _admit(self, me: int) -> None:
        """Begin a call, or wait for its turn. Raises Unavailable."""
        give_up: float | None = None
        while True:
            now = self._clock()
            if self._probes(now, me) or self._has_room(now):
                return self._begin(me)
            give_up = now + self._slow if give_up is None else give_up
            if now >= give_up or self._is_slow(now) or self._is_crowded(now):
                self._refuse(now, 1)
            # No longer than until the oldest call is slow.
            self._waiting += 1
            self._turn.wait(min(give_up, self._oldest(now) + self._slow) - now + 0.001)
            self._waiting -= 1

    def _probes(self, now: float, me: int) -> bool:
        """Whether a call is the one that is admitted after this was open. Raises Unavailable while it is."""
        if self._open_until is None:
            return False
        if now < self._open_until or self._is_probed(now):
            self._refuse(now, max(1, math.ceil(self._open_until - now)))
        self._probe = me
        return True

    def _is_probed(self, now: float) -> bool:
        """Whether another probe must not be made. One that hangs is given up for another, up to ``share`` of them."""
        if self._probe is None:
            return False
        return now - self.calls.get(self._probe, now) < self._rest or len(self.calls) >= self.share

    def _has_room(self, now: float) -> bool:
        if not self._is_slow(now):
            return len(self.calls) < self.limit
        return len(self.calls) < self.share and Threads.held() < Threads.spare * 3 // 4

    def _oldest(self, now: float) -> float:
        # Calls begin and end meanwhile: only the copy is looked through.
        return min(list(self.calls.values()), default=now)

    def _is_slow(self, now: float) -> bool:
        return now - self._oldest(now) > self._slow

    def _is_crowded(self, now: float) -> bool:
        """Whether too many threads wait already, for calls that are not quick either."""
        return self._waiting >= Threads.spare // 2 and now - self._oldest(now) > SLOW_SECONDS

    def _judge(self, me: int, error: BaseException | None) -> None:
        """Decide by how a call ended whether the next ones are admitted."""
        now, began = self._clock(), self.calls.get(me, math.inf)
        failed = isinstance(error, Unavailable) or (error is not None and not isinstance(error, StacflaskError))
        if not failed:
            self._succeeded = now
        probed, self._probe = self._probe == me, None if self._probe == me else self._probe
        if probed and not failed:
            self._open_until = None
        elif self._rest and failed and (probed or (now - began > self._slow and self._succeeded <= began)):
            self._open_until = now + self._rest
            log.warning("dependency not called for a while", extra={"dependency": self.name, "seconds": self._rest})

    def _refuse(self, now: float, retry_after: int) -> None:
        """Raise Unavailable. Logged once in a while: clients that come again must not fill the log."""
        if now - self._logged > LOG_SECONDS:
            self._logged = now
            log.warning("call refused", extra={"dependency": self.name, "in_flight": len(self.calls)})
        raise Unavailable(self._description, code=self._code, retry_after=retry_after)


class PluginShare(Bulkhead):
    """Bounds the threads that run functions of one plugin, except while they are inside of another bulkhead.

    Functions that compute for long are no reason to refuse others soon.
    """

    lenient = True

    def __init__(self, name: str) -> None:
        super().__init__(name, slow=PLUGIN_SLOW_SECONDS, rest=0)

    def guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that runs inside this bulkhead. Hooks are called so: no lock is taken unless needed."""
        calls, clock = self.calls, self._clock

        @wraps(function)
        def guarded(*args: Any) -> Any:
            inside, me = INSIDE.stack, threading.get_ident()
            if inside:
                return within(*args)
            # First counted and then compared, so that calls that begin at once cannot exceed the limit together.
            calls[me] = now = clock()
            if len(calls) > 1 and (len(calls) > self.limit or self._is_slow(now)):
                self._leave(me)
                return within(*args)
            inside.append(self)
            try:
                return function(*args)
            finally:
                inside.pop()
                self._leave(me)

        within = super().guard(function)
        return guarded

    @property
    def limit(self) -> int:
        """Calls in flight at most."""
        return max(1, Threads.spare * 3 // 4)


def current() -> str:
    """Return the name of the innermost bulkhead that the current thread is inside of; empty if there is none."""
    inside = INSIDE.stack
    return inside[-1].name if inside else ""
