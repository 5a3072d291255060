"""Processes that share out blocks of text, and end with the process that started them, however that ends."""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import signal
import traceback
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stacflask.errors import StacflaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.context import ForkProcess
    from types import TracebackType

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Hand(Generic[Task]):
    """One process, the memory in which it is handed blocks, and what it is doing now."""

    process: ForkProcess
    pipe: Any
    memory: mmap.mmap
    task: Task | None = None


class Crew(Generic[Task, Result]):
    """A number of processes. ``make`` runs in each and gives the function that does the work on one block.

    Start it before any thread or database connection: processes may not share those.
    """

    def __init__(self, size: int, capacity: int, make: Callable[[], Callable[[bytes], Result]]) -> None:
        self._hands: list[_Hand[Task]] = []
        context = multiprocessing.get_context("fork")
        for _ in range(size):
            ours, theirs = context.Pipe()
            memory = mmap.mmap(-1, capacity)
            # A process that held the other end of a pipe, too, would keep it open when this one is gone.
            foreign = [ours, *(hand.pipe for hand in self._hands)]
            process = context.Process(target=_serve, args=(theirs, foreign, memory, make), daemon=True)
            process.start()
            theirs.close()
            self._hands.append(_Hand(process, ours, memory))

    def __enter__(self) -> Crew[Task, Result]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let each process finish what it is doing, and end."""
        for hand in self._hands:
            hand.pipe.close()
        for hand in self._hands:
            hand.process.join()
            hand.memory.close()

    def run(self, tasks: Iterable[tuple[Task, bytes]]) -> Iterator[tuple[Task, Result]]:
        """Have the text of every task worked on; give each with its result once it is done, in whatever order.

        Raises StacflaskError: the work failed, or its process was ended.
        """
        waiting = iter(tasks)
        while True:
            hand = next((hand for hand in self._hands if hand.task is None), None)
            if hand is None:
                hand, *finished = self._next()
                yield finished[0], finished[1]
            # Asked for only now: what was just finished may have ended it all.
            task, text = next(waiting, (None, b""))
            if task is None:
                break
            self._hand_over(hand, task, text)
        while any(hand.task is not None for hand in self._hands):
            yield self._next()[1:]

    def _hand_over(self, hand: _Hand[Task], task: Task, text: bytes) -> None:
        hand.memory[: len(text)] = text
        hand.task = task
        try:
            hand.pipe.send(len(text))
        except ConnectionError as error:
            raise StacflaskError(_ENDED) from error

    def _next(self) -> tuple[_Hand[Task], Any, Result]:
        busy = {hand.pipe: hand for hand in self._hands if hand.task is not None}
        hand = busy[wait(list(busy))[0]]
        try:
            failure, result = hand.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise StacflaskError(_ENDED) from error
        if failure is not None:
            raise StacflaskError(failure)
        task, hand.task = hand.task, None
        return hand, task, result


_BLOCKS_PER_COLLECTION = 20
_ENDED = "A loading process was ended from outside, perhaps for want of memory."


def _serve(pipe: Any, foreign: Iterable[Any], memory: mmap.mmap, make: Callable[[], Callable[[bytes], Any]]) -> None:
    for other in foreign:
        other.close()
    # Ctrl-C reaches every process of the terminal; the one that reads the input tells the others by its pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Thousands of things are made for each block, hardly any in circles: looking for those all the time costs dear.
    gc.freeze()
    gc.disable()
    with suppress(EOFError, ConnectionError):
        _work_on_all(pipe, memory, make)


def _work_on_all(pipe: Any, memory: mmap.mmap, make: Callable[[], Callable[[bytes], Any]]) -> None:
    work = None
    for number in count(1):
        length = pipe.recv()
        failure = result = None
        try:
            work = work or make()
            result = work(memory[:length])
        except StacflaskError as error:
            failure = error.description
        except Exception:  # noqa: BLE001 - it is told where it can be seen
            failure = traceback.format_exc()
        pipe.send((failure, result))
        if number % _BLOCKS_PER_COLLECTION == 0:
            gc.collect()
