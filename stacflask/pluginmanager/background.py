"""Calls of plugins that nothing waits for. Each plugin has a queue of its own, so that a slow one delays no other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from weakref import WeakSet

HOOKS = ("changes_committed", "shutdown")
"""Hooks that are called in the background."""

MAX_PENDING_CALLS = 1_000
"""Maximum number of calls of one plugin that wait. Further calls are dropped."""

log = logging.getLogger(__name__)


class BackgroundThread(threading.Thread):
    """A thread for background calls. ``request_id`` is that of the current call, for the log."""

    request_id: str | None = None


class Background:
    """Runs the background calls of one plugin one after the other, in a thread that ends when none is left."""

    instances: ClassVar[WeakSet[Background]] = WeakSet()

    def __init__(self, plugin: str) -> None:
        self._plugin = plugin
        self._lock = threading.Lock()
        self._pending: list[tuple[str | None, Callable[[], Any]]] = []
        self.thread: BackgroundThread | None = None
        Background.instances.add(self)

    def guard(self, function: Callable[..., Any], arguments: Sequence[str], own: Sequence[str]) -> Callable[..., None]:
        """Return a function that queues a call of ``function`` and returns at once.

        Args:
            function: A function that raises no exceptions.
            arguments: The arguments of the hook.
            own: Those of them that the function takes.
        """

        def enqueue(*values: Any) -> None:
            named = dict(zip(arguments, values, strict=True))
            request_id = named["request_info"].request_id if named else None
            self._enqueue(request_id, lambda: function(*[named[name] for name in own]))

        return enqueue

    def _enqueue(self, request_id: str | None, call: Callable[[], Any]) -> None:
        with self._lock:
            if len(self._pending) >= MAX_PENDING_CALLS:
                log.error("background call dropped", extra={"plugin": self._plugin, "pending": len(self._pending)})
                return
            self._pending.append((request_id, call))
            if self.thread is None or not self.thread.is_alive():  # After a fork, no thread is alive.
                self.thread = BackgroundThread(target=self._run, name=f"plugin {self._plugin}", daemon=True)
                self.thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._pending:
                    self.thread = None
                    return
                request_id, call = self._pending.pop(0)
            threading.current_thread().request_id = request_id  # type: ignore[attr-defined]
            call()

    @classmethod
    def wait(cls, seconds: float) -> None:
        """Wait until no calls are left in this process, for ``seconds`` at most."""
        until = time.monotonic() + seconds
        for thread in [one.thread for one in list(cls.instances)]:
            if thread is not None:
                thread.join(max(0.0, until - time.monotonic()))
