"""One journal for one case: a lock with its owner and the time, which a program that died does not hold."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it has no types

from .private_files import create_private, open_private

_ATTEMPTS = 5
_STALE_SECONDS = 24 * 3600.0  # the owner on another computer cannot be looked at


@dataclass(frozen=True)
class Owner:
    """Who works on a case: a process of this computer or another one."""

    user: str
    host: str
    process: int
    born: float
    since: float
    token: str

    @classmethod
    def here(cls) -> Owner:
        """This process, now."""
        process = os.getpid()
        born = psutil.Process(process).create_time()
        return cls(_user(), socket.gethostname(), process, born, time.time(), secrets.token_hex(8))

    @property
    def alive(self) -> bool:
        """False where the process has ended; one on another computer counts for a day."""
        if self.host != socket.gethostname():
            return time.time() - self.since < _STALE_SECONDS
        try:
            return bool(abs(psutil.Process(self.process).create_time() - self.born) < 1.0)
        except psutil.Error:
            return False

    @property
    def told(self) -> str:
        """Who, where and since when, for the user."""
        return f"{self.user} on {self.host}, since {time.strftime('%d %b %H:%M', time.localtime(self.since))}"


class CaseLock:
    """The file `CASE.lock`. `holder` is whoever has it instead; None where it is ours."""

    def __init__(self, folder: Path, case: str) -> None:
        """Take it if nobody alive has it. OSError where the folder cannot be written."""
        self._path = lock_path(folder, case)
        self._own = Owner.here()
        self.holder: Owner | None = None
        for _ in range(_ATTEMPTS):
            if self._take():
                return
            owner = read_owner(self._path)
            if owner is not None and owner.alive:
                self.holder = owner
                return
            with suppress(FileNotFoundError):
                self._path.unlink()
        raise OSError(f"{self._path.name} cannot be had")

    def release(self) -> None:
        """Let others have it; nothing happens where it is not ours."""
        owner = read_owner(self._path)
        if owner is not None and owner.token == self._own.token:
            with suppress(OSError):
                self._path.unlink()

    def _take(self) -> bool:
        """Under another name first, so that nobody ever reads half a lock."""
        part = self._path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            with os.fdopen(create_private(part), "w") as file:
                json.dump(asdict(self._own), file)
            os.link(part, self._path)
        except FileExistsError:
            return False
        finally:
            with suppress(OSError):
                part.unlink()
        return True


def lock_path(folder: Path, case: str) -> Path:
    """Where the lock of a case is."""
    return folder / f"{case}.lock"


def read_owner(path: Path) -> Owner | None:
    """Who holds a lock, dead or alive; None where there is none that can be read."""
    try:
        with os.fdopen(open_private(path), "rb") as file:
            return Owner(**json.loads(file.read(4096)))
    except (OSError, ValueError, TypeError):
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
