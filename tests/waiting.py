"""Wait for a condition. The time depends on the machine, so that no test fails because it is busy."""

import time
from collections.abc import Callable


def waiting_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Return when a condition holds. The limit only stops a broken test."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so within {seconds} s"
        assert time.monotonic() < end, f"condition not met within {seconds} s"
