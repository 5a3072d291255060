"""Compute large pages one at a time in each process.

Of the threads of one process, one computes at a time, whatever the number of processors. If twenty compute pages of
10 MB, the main thread and ``/health`` wait for all of them at each step, and answer after seconds.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

LARGE_PAGE = 100
"""Records. A page of more waits for its turn."""

_TURN = threading.Lock()


def turn(records: int) -> AbstractContextManager[object]:
    """Return a block in which a page of so many records is computed.

    The block must not wait for anything, as hooks and other services do: the next large page waits for its end.
    """
    return _TURN if records > LARGE_PAGE else nullcontext()
