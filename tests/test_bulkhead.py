"""Bulkheads limit the threads that a slow or failing dependency can occupy."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from stacflask import Bulkhead, NotFound, Unavailable
from stacflask.bulkhead import PluginShare


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bulkhead(clock: Clock) -> Bulkhead:
    return Bulkhead("test", limit=4, share=2, rest=5, clock=clock)


@contextmanager
def calls(bulkhead: Bulkhead, number: int) -> Iterator[None]:
    """Keep calls in flight, each in its own thread."""
    end = threading.Event()
    begun = threading.Barrier(number + 1)

    def call() -> None:
        with bulkhead:
            begun.wait()
            end.wait()

    threads = [threading.Thread(target=call) for _ in range(number)]
    for thread in threads:
        thread.start()
    begun.wait()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


def fails(bulkhead: Bulkhead, clock: Clock, seconds: float, error: Exception) -> None:
    """Make a call that takes this time and raises an error."""

    def call() -> None:
        clock.now += seconds
        raise error

    with pytest.raises(type(error)):
        bulkhead.guard(call)()


def admits(bulkhead: Bulkhead) -> bool:
    """Return whether a call is admitted at once."""
    try:
        with bulkhead:
            return True
    except Unavailable:
        return False


def test_a_slow_dependency_is_limited_to_its_share(bulkhead: Bulkhead, clock: Clock) -> None:
    """While the oldest call is slow, only ``share`` calls are admitted; while all calls are quick, ``limit``."""
    with calls(bulkhead, 3):
        assert admits(bulkhead)
        clock.now += 1
        assert not admits(bulkhead)
    assert admits(bulkhead)


def test_a_slow_dependency_is_called_up_to_its_share(bulkhead: Bulkhead, clock: Clock) -> None:
    """Below ``share``, a call is admitted even if the others are slow."""
    with calls(bulkhead, 1):
        clock.now += 1
        assert admits(bulkhead)


def test_one_probe_is_admitted_after_a_timeout(bulkhead: Bulkhead, clock: Clock) -> None:
    """After a call that timed out, no call is admitted for a time, and then only a probe until it has succeeded."""
    fails(bulkhead, clock, 4, OSError("timed out"))
    assert not admits(bulkhead)
    clock.now += 5
    with calls(bulkhead, 1):
        assert not admits(bulkhead)
    assert admits(bulkhead)


def test_a_failed_probe_opens_the_bulkhead_again(bulkhead: Bulkhead, clock: Clock) -> None:
    """After a probe that fails, even quickly, no call is admitted for a time."""
    fails(bulkhead, clock, 4, OSError("timed out"))
    clock.now += 5
    fails(bulkhead, clock, 0, OSError("refused"))
    assert not admits(bulkhead)
    clock.now += 5
    assert admits(bulkhead)


def test_a_probe_that_hangs_is_followed_by_another(bulkhead: Bulkhead, clock: Clock) -> None:
    """If a probe does not end, another one is admitted: one slow connection does not block a dependency."""
    fails(bulkhead, clock, 4, OSError("timed out"))
    clock.now += 5
    with calls(bulkhead, 1):
        clock.now += 5
        assert admits(bulkhead)
        assert admits(bulkhead)


def test_probes_that_hang_are_limited(bulkhead: Bulkhead, clock: Clock) -> None:
    """Probes that do not end occupy at most ``share`` threads."""
    fails(bulkhead, clock, 4, OSError("timed out"))
    clock.now += 5
    with calls(bulkhead, 1):
        clock.now += 5
        with calls(bulkhead, 1):
            clock.now += 5
            assert not admits(bulkhead)


@pytest.mark.parametrize(("seconds", "error"), [(0, OSError("refused")), (4, NotFound("absent"))])
def test_quick_failures_and_request_errors_do_not_open(
    bulkhead: Bulkhead, clock: Clock, seconds: float, error: Exception
) -> None:
    """Quick failures do not occupy threads, and errors about a request count as successes."""
    fails(bulkhead, clock, seconds, error)
    assert admits(bulkhead)


def test_one_timeout_among_successes_does_not_open(bulkhead: Bulkhead, clock: Clock) -> None:
    """A call that times out while others succeed does not open the bulkhead."""

    def call() -> None:
        clock.now += 4
        other = threading.Thread(target=lambda: admits(bulkhead))
        other.start()
        other.join()
        raise OSError("timed out")

    with pytest.raises(OSError, match="timed out"):
        bulkhead.guard(call)()
    assert admits(bulkhead)


def test_a_refused_call_has_a_retry_time(bulkhead: Bulkhead, clock: Clock) -> None:
    """``retry_after`` is the time until the next probe."""
    fails(bulkhead, clock, 4, OSError("timed out"))
    with pytest.raises(Unavailable) as refused, bulkhead:
        pass
    assert refused.value.retry_after == 5


def test_a_nested_call_counts_once(bulkhead: Bulkhead) -> None:
    """A call inside a call of the same dependency is the same call."""
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(bulkhead)
    assert admits(bulkhead)


def test_quick_calls_wait_for_their_turn() -> None:
    """Calls beyond ``limit`` wait for each other while all calls are quick."""
    bulkhead = Bulkhead("test", limit=1, share=1, slow=60)
    done: list[bool] = []
    with calls(bulkhead, 1):
        waiting = threading.Thread(target=lambda: done.append(admits(bulkhead)))
        waiting.start()
        assert not done
    waiting.join()
    assert done == [True]


def test_a_guarded_function(bulkhead: Bulkhead, clock: Clock) -> None:
    """A function can be guarded."""
    double: Callable[[int], int] = bulkhead.guard(lambda number: 2 * number)
    assert double(2) == 4
    fails(bulkhead, clock, 4, OSError("timed out"))
    with pytest.raises(Unavailable):
        double(2)


def test_simultaneous_calls_do_not_exceed_the_share_of_a_plugin() -> None:
    """Hooks take no lock below the limit. Calls beyond it wait, also after calls that fail."""
    share = PluginShare("plugin mine")
    start = threading.Barrier(3 * share.limit)
    lock, running, most = threading.Lock(), [0], [0]

    def hook() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1
        raise NotFound("Nothing.")

    def call() -> None:
        start.wait()
        with pytest.raises(NotFound):
            share.guard(hook)()

    threads = [threading.Thread(target=call) for _ in range(start.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= share.limit
    assert not share.calls
