"""How the session's threads end."""

import atexit
import threading

AT_EXIT_SECONDS = 20.0


def end_thread(thread: threading.Thread, timeout: float) -> None:
    """Wait at most `timeout` seconds for a thread that was told to end.

    One that is still in its last step then is waited for when the program ends: a thread that is killed inside torch
    takes the program down with it.
    """
    thread.join(timeout)
    if thread.is_alive():
        atexit.register(thread.join, AT_EXIT_SECONDS)
