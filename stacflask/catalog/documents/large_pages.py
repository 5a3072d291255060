"""Compute large pages one at a time in each process.

Only one thread of a process computes at a time, whatever the number of processors. If twenty threads compute pages of
10 MB, the main thread and ``/health`` wait for all of them at each step, and respond after seconds.
"""

import threading
from contextlib import AbstractContextManager, nullcontext

LARGE_PAGE = 100
"""Number of records. A larger page is computed alone."""

_TURN = threading.Lock()


def turn(records: int) -> AbstractContextManager[object]:
    """Return a context in which to compute a page.

    The code in it must not wait for a hook or another service, because the next large page waits for its end.

    Args:
        records: Number of records of the page.
    """
    return _TURN if records > LARGE_PAGE else nullcontext()
