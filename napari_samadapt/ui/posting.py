"""From worker threads to the main thread, and back: one poster, and one executor for files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from qtpy.QtCore import QObject, Qt, Signal

from .notify import report

T = TypeVar("T")


class _Mailbox(QObject):
    """Runs the functions that `posted` is emitted with on the thread that made it.

    The only one, and never deleted: Qt ends the process where it deletes an object whose signal another thread emits.
    """

    posted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.posted.connect(self._on_posted, Qt.ConnectionType.QueuedConnection)

    def _on_posted(self, function: Callable[[], None]) -> None:
        function()


_mailbox = cache(_Mailbox)


class MainThreadPoster:
    """Called from any thread with a function; runs it on the main thread, which made the poster, later and in order.

    This is the `post` that a Session is given. After `close` nothing is run any more.
    """

    def __init__(self) -> None:
        self._open = True
        self._mailbox = _mailbox()

    def __call__(self, function: Callable[[], None]) -> None:
        if self._open:
            with contextlib.suppress(RuntimeError):  # Qt has deleted the mailbox: the application ends
                self._mailbox.posted.emit(lambda: self._run(function))

    def close(self) -> None:
        """Drop what is still queued."""
        self._open = False

    def _run(self, function: Callable[[], None]) -> None:
        if not self._open:
            return
        try:
            function()
        except Exception as error:  # noqa: BLE001  # Qt would abort or swallow it
            report(error)


class Background:
    """Runs slow functions (reading, loading a model, writing) away from the main thread, and hands results
    back to it.
    """

    def __init__(self, post: MainThreadPoster) -> None:
        self._post = post
        self._executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="samadapt-files")
        self._open = True

    def run(
        self,
        work: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[BaseException], None] = report,
    ) -> None:
        """Run `work` on the worker thread, then `done(result)` or `failed(error)` on the main thread."""

        def finished(future: Future[T]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is not None:
                self._post(lambda: failed(error))
            else:
                self._post(lambda: done(future.result()))

        self._executor.submit(work).add_done_callback(finished)

    def follow(self, future: Future[T], done: Callable[[T], None]) -> None:
        """Run `done(result)` on the main thread once `future` has one; who made it reports its error."""

        def finished(ended: Future[T]) -> None:
            if not ended.cancelled() and ended.exception() is None:
                self._post(lambda: done(ended.result()))

        future.add_done_callback(finished)

    def spoken(self, listener: Callable[[T], None]) -> Callable[[T], None]:
        """`listener`, to be called from the worker thread and run on the main thread.

        After `close` it raises CancelledError in the worker thread: nobody waits for the end of a download.
        """

        def speak(told: T) -> None:
            if not self._open:
                raise CancelledError
            self._post(lambda: listener(told))

        return speak

    def close(self) -> None:
        """Take no more work; what is running ends by itself and its result is dropped."""
        self._open = False
        self._executor.shutdown(wait=False, cancel_futures=True)
