"""Processes that work on blocks of text. They end with the process that started them, however it ends."""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from types import TracebackType
from typing import Any, Generic, TypeVar

from stacflask.errors import StacflaskError

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Worker(Generic[Task]):
    """One process, the shared memory for its blocks, and its current task."""

    process: ForkProcess
    pipe: Any
    memory: mmap.mmap
    task: Task | None = None


class WorkerPool(Generic[Task, Result]):
    """A number of processes. ``create`` runs in each process and returns the function that works on one block.

    Create the pool before any thread or database connection, because processes must not share those.
    """

    def __init__(self, size: int, capacity: int, create: Callable[[], Callable[[bytes], Result]]) -> None:
        self._workers: list[_Worker[Task]] = []
        context = multiprocessing.get_context("fork")
        for _ in range(size):
            parent_pipe, worker_pipe = context.Pipe()
            memory = mmap.mmap(-1, capacity)
            # A process with an inherited end of a pipe would keep the pipe open after its owner has ended.
            inherited = [parent_pipe, *(worker.pipe for worker in self._workers)]
            process = context.Process(target=_run_worker, args=(worker_pipe, inherited, memory, create), daemon=True)
            process.start()
            worker_pipe.close()
            self._workers.append(_Worker(process, parent_pipe, memory))

    def __enter__(self) -> WorkerPool[Task, Result]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Wait until each process has finished its block and ended."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join()
            worker.memory.close()

    def run(self, tasks: Iterable[tuple[Task, bytes]]) -> Iterator[tuple[Task, Result]]:
        """Work on the text of every task. Yield each task with its result when it is done, in any order.

        Raises:
            StacflaskError: The work failed, or a process was ended.
        """
        waiting = iter(tasks)
        while True:
            worker = next((worker for worker in self._workers if worker.task is None), None)
            if worker is None:
                worker, *finished = self._receive()
                yield finished[0], finished[1]
            # Take the next task only now, because the last result can have stopped the load.
            task, text = next(waiting, (None, b""))
            if task is None:
                break
            self._send(worker, task, text)
        while any(worker.task is not None for worker in self._workers):
            yield self._receive()[1:]

    def _send(self, worker: _Worker[Task], task: Task, text: bytes) -> None:
        worker.memory[: len(text)] = text
        worker.task = task
        try:
            worker.pipe.send(len(text))
        except ConnectionError as error:
            raise StacflaskError(_WORKER_ENDED) from error

    def _receive(self) -> tuple[_Worker[Task], Any, Result]:
        busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
        worker = busy[wait(list(busy))[0]]
        try:
            failure, result = worker.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise StacflaskError(_WORKER_ENDED) from error
        if failure is not None:
            raise StacflaskError(failure)
        task, worker.task = worker.task, None
        return worker, task, result


_BLOCKS_PER_COLLECTION = 20
_WORKER_ENDED = "A worker process was ended from outside, possibly because of a lack of memory."


def _run_worker(
    pipe: Any, inherited: Iterable[Any], memory: mmap.mmap, create: Callable[[], Callable[[bytes], Any]]
) -> None:
    for other in inherited:
        other.close()
    # Ctrl-C reaches every process of the terminal. The process that reads the input ends the others by their pipes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Each block creates thousands of objects with hardly any reference cycles, so frequent collections are wasted.
    gc.freeze()
    gc.disable()
    with suppress(EOFError, ConnectionError):
        _process_blocks(pipe, memory, create)


def _process_blocks(pipe: Any, memory: mmap.mmap, create: Callable[[], Callable[[bytes], Any]]) -> None:
    work = None
    for number in count(1):
        length = pipe.recv()
        failure = result = None
        try:
            work = work or create()
            result = work(memory[:length])
        except StacflaskError as error:
            failure = error.description
        except Exception:  # noqa: BLE001 - the parent process reports it
            failure = traceback.format_exc()
        pipe.send((failure, result))
        if number % _BLOCKS_PER_COLLECTION == 0:
            gc.collect()
