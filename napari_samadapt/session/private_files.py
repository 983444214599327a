"""Files that only this user can read, in a folder of their own; no link is followed to or from there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from platformdirs import user_state_path

from napari_samadapt.imaging.errors import SamAdaptError

VARIABLE = "SAMADAPT_STATE_DIR"
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def journals_folder() -> Path:
    """Where the journals are: the user's state folder, or that of the environment variable SAMADAPT_STATE_DIR."""
    named = os.environ.get(VARIABLE)
    return (Path(named) if named else user_state_path("napari-samadapt", appauthor=False)) / "journals"


def make_private_folder(folder: Path) -> None:
    """Make it (0700) unless it is there. SamAdaptError where it is a link, another user's or cannot be made."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.is_symlink() and not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
        if not stat.S_ISDIR(found.st_mode) or not own:
            raise SamAdaptError(
                f"{folder} is no folder of yours, so no journal is kept there: set {VARIABLE} to another."
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise SamAdaptError(
            f"No journal can be kept in {folder} ({error.strerror}): set {VARIABLE} to another folder."
        ) from error


def create_private(path: Path) -> int:
    """The descriptor of a new file (0600) to write to; FileExistsError where there is one, or a link."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)


def open_private(path: Path, *, write: bool = False) -> int:
    """The descriptor of a plain file that is there; OSError for a link, a pipe and the like."""
    number = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | getattr(os, "O_NONBLOCK", 0) | _FLAGS)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{path.name} is no plain file")
    return number
