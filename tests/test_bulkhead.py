"""A dependency that is slow or fails occupies its share of threads, and no more."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from stacflask import Bulkhead, NotFound, Unavailable
from stacflask.bulkhead import PluginShare


class Clock:
    """A clock that is set by hand."""

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
    """Hold so many calls in flight, each in a thread of its own."""
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
    """Make a call that takes so long and ends in an error."""

    def call() -> None:
        clock.now += seconds
        raise error

    with pytest.raises(type(error)):
        bulkhead.guard(call)()


def admits(bulkhead: Bulkhead) -> bool:
    """Whether a call is admitted at once."""
    try:
        with bulkhead:
            return True
    except Unavailable:
        return False


def test_a_slow_dependency_has_its_share(bulkhead: Bulkhead, clock: Clock) -> None:
    """While the oldest call is slow only ``share`` calls are admitted; while all are quick ``limit``."""
    with calls(bulkhead, 3):
        assert admits(bulkhead)
        clock.now += 1
        assert not admits(bulkhead)
    assert admits(bulkhead)


def test_a_slow_dependency_is_asked_up_to_its_share(bulkhead: Bulkhead, clock: Clock) -> None:
    """Below its share, a call is admitted however slow the others are."""
    with calls(bulkhead, 1):
        clock.now += 1
        assert admits(bulkhead)


def test_one_probe_after_a_time_out(bulkhead: Bulkhead, clock: Clock) -> None:
    """After a call that timed out, none is admitted for a while, and then one alone until it has succeeded."""
    fails(bulkhead, clock, 4, OSError("timed out"))
    assert not admits(bulkhead)
    clock.now += 5
    with calls(bulkhead, 1):
        assert not admits(bulkhead)
    assert admits(bulkhead)


def test_a_failed_probe_opens_again(bulkhead: Bulkhead, clock: Clock) -> None:
    """A probe that fails, however quickly, is the last call for another while."""
    fails(bulkhead, clock, 4, OSError("timed out"))
    clock.now += 5
    fails(bulkhead, clock, 0, OSError("refused"))
    assert not admits(bulkhead)
    clock.now += 5
    assert admits(bulkhead)


def test_a_probe_that_hangs(bulkhead: Bulkhead, clock: Clock) -> None:
    """A probe that does not end is followed by another one: one slow connection does not keep a dependency refused."""
    fails(bulkhead, clock, 4, OSError("timed out"))
    clock.now += 5
    with calls(bulkhead, 1):
        clock.now += 5
        assert admits(bulkhead)
        assert admits(bulkhead)


def test_probes_that_hang_have_their_share(bulkhead: Bulkhead, clock: Clock) -> None:
    """Probes that do not end occupy ``share`` threads at most."""
    fails(bulkhead, clock, 4, OSError("timed out"))
    clock.now += 5
    with calls(bulkhead, 1):
        clock.now += 5
        with calls(bulkhead, 1):
            clock.now += 5
            assert not admits(bulkhead)


@pytest.mark.parametrize(("seconds", "error"), [(0, OSError("refused")), (4, NotFound("absent"))])
def test_what_opens_nothing(bulkhead: Bulkhead, clock: Clock, seconds: float, error: Exception) -> None:
    """Quick failures occupy no threads, and errors about a request are answers."""
    fails(bulkhead, clock, seconds, error)
    assert admits(bulkhead)


def test_one_time_out_among_successes(bulkhead: Bulkhead, clock: Clock) -> None:
    """A call that times out while others succeed says nothing of the dependency."""

    def call() -> None:
        clock.now += 4
        other = threading.Thread(target=lambda: admits(bulkhead))
        other.start()
        other.join()
        raise OSError("timed out")

    with pytest.raises(OSError, match="timed out"):
        bulkhead.guard(call)()
    assert admits(bulkhead)


def test_a_refusal_says_when_to_come_again(bulkhead: Bulkhead, clock: Clock) -> None:
    """``retry_after`` is the time until the next probe."""
    fails(bulkhead, clock, 4, OSError("timed out"))
    with pytest.raises(Unavailable) as refused, bulkhead:
        pass
    assert refused.value.retry_after == 5


def test_the_same_thread_enters_twice(bulkhead: Bulkhead) -> None:
    """A call within a call of the same dependency is the same call."""
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(bulkhead)
    assert admits(bulkhead)


def test_quick_calls_wait_for_their_turn() -> None:
    """More calls than ``limit`` wait for each other as long as they are quick."""
    bulkhead = Bulkhead("test", limit=1, share=1, slow=60)
    done: list[bool] = []
    with calls(bulkhead, 1):
        waiting = threading.Thread(target=lambda: done.append(admits(bulkhead)))
        waiting.start()
        assert not done
    waiting.join()
    assert done == [True]


def test_a_guarded_function(bulkhead: Bulkhead, clock: Clock) -> None:
    """A function can be guarded as a whole."""
    double: Callable[[int], int] = bulkhead.guard(lambda number: 2 * number)
    assert double(2) == 4
    fails(bulkhead, clock, 4, OSError("timed out"))
    with pytest.raises(Unavailable):
        double(2)


def test_calls_that_begin_at_once_do_not_exceed_a_plugins_share() -> None:
    """Hooks take no lock while there is room: calls beyond it wait for their turn, also behind those that fail."""
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
