"""A thread that is still in a step when its session closes is waited for at the end of the program."""

import threading

import pytest

from napari_samadapt.session import threads


@pytest.mark.parametrize("busy", [True, False])
def test_a_busy_thread_is_waited_for_at_exit(busy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: the program aborted where a training step outlasted the closing of the window."""
    waiting = []
    monkeypatch.setattr(threads.atexit, "register", lambda join, seconds: waiting.append((join, seconds)))
    step = threading.Event()
    thread = threading.Thread(target=step.wait, daemon=True)
    thread.start()
    if not busy:
        step.set()
    threads.end_thread(thread, 0.0 if busy else 5.0)
    assert len(waiting) == busy
    step.set()
    for join, seconds in waiting:
        join(seconds)
        assert not thread.is_alive()
