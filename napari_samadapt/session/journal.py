"""Every act of the user, on the disk within a moment: an append-only file, written and fsynced on a thread of its own.

The main thread only puts the act into a queue. A file that has grown is written anew, beginning with what its records
came to; that is done beside the writing, from the file alone.
"""

from __future__ import annotations

import os
import queue
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.saving import sync_folder
from napari_samadapt.imaging.volume import Volume

from .case_lock import CaseLock, Owner
from .journal_files import OFFERED, Header, recover
from .messages import Post
from .private_files import create_private, journals_folder, make_private_folder, open_private
from .records import Packer
from .replay import Dictation
from .threads import end_thread
from .work import Act, Work

_GROWN = 32 * 2**20  # bytes of acts after which the file is written anew, or twice what it began with
_HEARTBEAT = 10.0  # seconds; tells how long before the end the last act was
_AGAIN = 5.0  # seconds until what could not be written is tried again
NOT_WRITTEN = (
    "The journal cannot be written ({reason}): your work is in memory only until it can. "
    "Save the session elsewhere."
)


@dataclass(frozen=True)
class _Finish:
    delete: bool


@dataclass(frozen=True)
class _Shortened:
    """A file that begins with what the first `covered` bytes of the journal came to; None where that failed."""

    part: Path | None
    covered: int


class Case:
    """A volume that is worked on: its name in the journals' folder, and the right to write a journal of it.

    Takes a second per gigabyte; may be made on any thread. `holder` is who has that right instead, `refused` why nobody
    can have it here.
    """

    def __init__(self, volume: Volume, folder: Path | None = None) -> None:
        self.folder = folder or journals_folder()
        self.header = Header.of(volume)
        self.refused = ""
        self._lock: CaseLock | None = None
        try:
            make_private_folder(self.folder)
            self._lock = CaseLock(self.folder, self.header.case)
        except SamAdaptError as error:
            self.refused = str(error)
        except OSError as error:
            self.refused = f"No journal can be kept in {self.folder} ({error.strerror})."

    @property
    def holder(self) -> Owner | None:
        """Who else works on this case."""
        return self._lock.holder if self._lock else None

    @property
    def ours(self) -> bool:
        """True where a journal may be written."""
        return self._lock is not None and self._lock.holder is None

    def release(self) -> None:
        """Let others work on it."""
        if self._lock is not None and self.ours:
            self._lock.release()


class Journal:
    """The journal of a case. Call it with every act (`Session.record_to`); `close` ends it and releases the case.

    With `start` it begins with that work, else with nothing; with `resumed` it goes on in a journal from before,
    whose first bytes, `whole`, are intact. There is no file before the first act. `failed` is told on the main thread.
    """

    def __init__(
        self,
        case: Case,
        post: Post,
        failed: Callable[[str], None],
        *,
        start: Work | None = None,
        resumed: tuple[Path, int] | None = None,
    ) -> None:
        self._case, self._post, self._failed = case, post, failed
        self.path = _path_of(case) if resumed is None else resumed[0].with_suffix(OFFERED)
        self._resumed = resumed
        self._queue: queue.SimpleQueue[tuple[float, Act] | _Shortened | _Finish] = queue.SimpleQueue()
        self._dictation = Dictation()
        self._file: BinaryIO | None = None
        self._waiting = bytearray()
        self._size = self._first_size = 0
        self._shortening = False
        self._told = False
        if start is not None:
            self._waiting += self._dictation.start(start)
        self._thread = threading.Thread(target=self._run, name="samadapt-journal", daemon=True)
        self._thread.start()

    def __call__(self, act: Act) -> None:
        """Write an act; returns at once."""
        self.put(act, time.time())

    def put(self, act: Act, when: float) -> None:
        """Write an act that was done then, in seconds since 1970."""
        self._queue.put((when, act))

    @property
    def failing(self) -> bool:
        """True where the disk does not take it, from when that is told until it does again."""
        return self._told

    def close(self, *, delete: bool, timeout: float = 1.0) -> None:
        """End it once what waits is written; `delete` where nothing in it is needed any more."""
        self._queue.put(_Finish(delete))
        end_thread(self._thread, timeout)

    # The thread.

    def _run(self) -> None:
        if self._waiting or self._resumed is not None:
            self._write()
        finish: _Finish | None = None
        while finish is None:
            finish = self._take(_AGAIN if self._waiting else _HEARTBEAT)
            if finish is None or not finish.delete:
                self._write()
        if self._file is not None:
            self._file.close()
        if finish.delete:
            for path in {self.path, self._resumed[0] if self._resumed else self.path}:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        self._case.release()

    def _take(self, seconds: float) -> _Finish | None:
        """What waits in the queue becomes bytes; the end, if it came."""
        wait = seconds
        while True:
            try:
                came = self._queue.get(timeout=wait)
            except queue.Empty:
                return None
            if isinstance(came, _Finish):
                return came
            if isinstance(came, _Shortened):
                self._put_in_place(came)
            else:
                when, act = came
                self._waiting += self._dictation.act(act, when)
            wait = 0.0

    def _write(self) -> None:
        """Bring what waits to the disk; where that fails it goes on waiting."""
        try:
            if self._waiting or (self._file is None and self._resumed is not None):
                _write_all(self._opened(), self._waiting)
                self._size += len(self._waiting)
                self._waiting = bytearray()
                self._told = False
            elif self._file is not None:
                os.utime(self.path)  # still alive
        except OSError as error:
            self._cut()
            self._tell(error)
        if self._file is not None and self._size - self._first_size > max(_GROWN, self._first_size * 2):
            self._shorten()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            if self._resumed is None:
                self._file = os.fdopen(create_private(self.path), "wb", buffering=0)
                self._waiting[:0] = Packer().record(self._case.header.json())
                sync_folder(self.path.parent)
            else:
                self._file = self._reopened(*self._resumed)
            self._first_size = self._size + len(self._waiting)
        return self._file

    def _reopened(self, path: Path, whole: int) -> BinaryIO:
        """Without its torn end, under the name of one that is offered."""
        path.replace(self.path)
        file = os.fdopen(open_private(self.path, write=True), "r+b", buffering=0)
        file.truncate(whole)
        file.seek(whole)
        self._size = whole
        return file

    def _cut(self) -> None:
        """Half a record would hide those after it."""
        if self._file is not None:
            with suppress(OSError):
                self._file.truncate(self._size)
                self._file.seek(self._size)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            text = NOT_WRITTEN.format(reason=error.strerror or "the system refused it")
            self._post(lambda: self._failed(text))

    # Writing it anew.

    def _shorten(self) -> None:
        if not self._shortening:
            self._shortening = True
            covered = self._size
            threading.Thread(
                target=lambda: self._queue.put(self._shortened(covered)),
                name="samadapt-journal-shortening",
                daemon=True,
            ).start()

    def _shortened(self, covered: int) -> _Shortened:
        """Runs on a thread of its own; acts are written meanwhile, behind the part that is read."""
        part = self.path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            work = recover(self.path, covered).work
            with os.fdopen(create_private(part), "wb") as file:
                file.write(Packer().record(self._case.header.json()))
                file.write(Dictation().start(work))
                file.flush()
                os.fsync(file.fileno())
        except (OSError, SamAdaptError, MemoryError):
            part.unlink(missing_ok=True)
            return _Shortened(None, covered)
        return _Shortened(part, covered)

    def _put_in_place(self, shortened: _Shortened) -> None:
        """The short file, with the acts that came meanwhile, takes the journal's name."""
        self._shortening = False
        self._first_size = self._size  # where it failed, try again after as much
        if shortened.part is None or self._file is None:
            return
        try:
            with os.fdopen(open_private(self.path), "rb") as old:
                old.seek(shortened.covered)
                later = old.read(self._size - shortened.covered)
            file = os.fdopen(open_private(shortened.part, write=True), "r+b", buffering=0)
            first = file.seek(0, 2)
            _write_all(file, later)
            shortened.part.replace(self.path)
            sync_folder(self.path.parent)
        except OSError:
            with suppress(OSError):
                shortened.part.unlink(missing_ok=True)
            return
        self._file.close()
        self._file, self._first_size, self._size = file, first, first + len(later)


def _write_all(file: BinaryIO, data: bytes | bytearray) -> None:
    """Until it is on the disk; a raw file may take less at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())


def _path_of(case: Case) -> Path:
    return case.folder / f"{case.header.case}-{secrets.token_hex(6)}{OFFERED}"
