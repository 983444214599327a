"""A main thread without a window: results of worker threads wait in a queue until somebody runs them."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable


class EventQueue:
    """The `post` of a session without Qt. Functions run on the thread that calls `run_until` or `run_posted`."""

    def __init__(self) -> None:
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def __call__(self, function: Callable[[], None]) -> None:
        """Queue a function; may be called from any thread."""
        self._posted.put(function)

    def run_posted(self) -> int:
        """Run what is queued now, without waiting; returns how many functions ran."""
        count = 0
        while not self._posted.empty():
            self._posted.get()()
            count += 1
        return count

    def run_until(self, condition: Callable[[], bool], timeout: float = 60.0) -> bool:
        """Run posted functions until `condition()` holds; False when `timeout` seconds passed before."""
        end = time.monotonic() + timeout
        while not condition():
            try:
                self._posted.get(timeout=max(0.0, end - time.monotonic()))()
            except queue.Empty:
                return condition()
        return True
