"""Wait for what others do. How long that takes is the machine's affair: no test fails because it is busy."""

import time
from collections.abc import Callable


def waiting_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Return once the condition holds. The bound only keeps a broken test from waiting for ever."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.05)
