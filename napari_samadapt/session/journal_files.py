"""The journals on this computer: found by case, offered, skipped, deleted when they are old.

A journal holds masks, names of classes, and the path of the image, which is needed to open it again; nothing else of
its header or of the patient. The name of its file is a hash of the voxels and of their place, and a random number.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import Volume

from .case_lock import lock_path, read_owner
from .private_files import journals_folder, open_private
from .records import Record, read_records
from .replay import UNREADABLE, Replay
from .work import Work

KEPT_DAYS = 30
"""A journal that nobody took up is deleted so long after its last act."""
OFFERED, SKIPPED = ".journal", ".skipped"
FORMAT = "napari-samadapt journal 1"


def case_of(volume: Volume) -> str:
    """The name of a case: a hash of the voxels, their type and shape, and of the affine. A second per gigabyte."""
    data = volume.data
    said = hashlib.blake2b(repr((data.shape, data.dtype.str)).encode(), digest_size=16)
    said.update(np.ascontiguousarray(volume.affine).tobytes())
    for plane in data:
        said.update(np.ascontiguousarray(plane).data)
    return said.hexdigest()


@dataclass(frozen=True)
class Header:
    """The beginning of a journal: the case and its shape (z, y, x); where the image was, if it was a file, and the
    answers (question, value) that it took to read it.
    """

    case: str
    shape: tuple[int, int, int]
    source: Path | None
    begun: float
    choices: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, volume: Volume) -> Header:
        """Of a volume that is worked on from now on."""
        source = volume.source
        path = None if source.path is None else source.path.absolute()
        return cls(case_of(volume), volume.shape, path, time.time(), source.choices)

    @property
    def name(self) -> str:
        """What the image is called."""
        return (self.source.name.split(".")[0] or self.source.name) if self.source else "image"

    def json(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "kind": FORMAT,
            "case": self.case,
            "shape": list(self.shape),
            "source": None if self.source is None else str(self.source),
            "choices": [list(pair) for pair in self.choices],
            "begun": self.begun,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Header:
        """Raises one of UNREADABLE where it is none."""
        z, y, x = (int(size) for size in content["shape"])
        if content["kind"] != FORMAT or min(z, y, x) < 1:
            raise ValueError("no journal")
        source = content["source"]
        path = None if source is None else Path(source)
        choices = tuple((str(name), str(value)) for name, value in content["choices"])
        return cls(str(content["case"]), (z, y, x), path, float(content["begun"]), choices)


@dataclass(frozen=True)
class Unfinished:
    """A journal whose program ended without closing the case; `ended` is when it was last seen alive, in seconds."""

    path: Path
    header: Header
    ended: float
    skipped: bool

    def skip(self) -> Unfinished:
        """Do not offer it by itself any more; it stays until it is `KEPT_DAYS` old."""
        target = self.path.with_suffix(SKIPPED)
        self.path.replace(target)
        return Unfinished(target, self.header, self.ended, True)

    def delete(self) -> None:
        """For good."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class Recovered:
    """What a journal holds. `whole` is how many bytes of it are; `acts` how many changes; `last` when the last was."""

    work: Work
    whole: int
    acts: int
    last: float
    last_label: str

    @property
    def empty(self) -> bool:
        """True where nothing was done that would be missed."""
        pages, settings = self.work.pages, self.work.settings
        steps = pages.marks or pages.done or pages.undone
        return not steps and not settings.prompts and not settings.classes.edited


def recover(path: Path, end: int | None = None) -> Recovered:
    """Read a journal up to its last whole record, or the byte `end`. SamAdaptError where not even the first one is."""
    try:
        with os.fdopen(open_private(path), "rb") as file:
            header = _read_header(file)
            replay, whole = Replay(header.shape), 0
            for record, place in read_records(file, end):
                try:
                    replay.take(record)
                except UNREADABLE:
                    break
                whole = place
            work = replay.work
    except (OSError, *UNREADABLE) as error:
        raise SamAdaptError(
            f"The journal {path.name} cannot be read: there is nothing to recover."
        ) from error
    return Recovered(work, whole, replay.acts, replay.last_time, replay.last_label)


def unfinished(
    case: str | None = None, folder: Path | None = None, *, locked_too: bool = False
) -> list[Unfinished]:
    """The journals that nobody is writing now, the newest first; those of one case, skipped ones too.

    `locked_too` is for who has locked the case without writing yet.
    """
    found = list(_all(folder or journals_folder(), case, locked_too=locked_too))
    return sorted(found, key=lambda one: one.ended, reverse=True)


def purge(days: float = KEPT_DAYS, folder: Path | None = None) -> int:
    """Delete the journals that nobody is writing and that are older, and what was never finished; returns how many."""
    folder = folder or journals_folder()
    old = [one for one in _all(folder, None, readable=False) if time.time() - one.ended >= days * 86400]
    for one in old:
        one.delete()
    for path in folder.glob("*.????????"):  # a shorter copy that was under way when the program died
        if path.suffix not in (OFFERED, SKIPPED) and time.time() - path.lstat().st_mtime > 86400:
            path.unlink(missing_ok=True)
    return len(old)


def _all(
    folder: Path, case: str | None, *, readable: bool = True, locked_too: bool = False
) -> Iterator[Unfinished]:
    """Without those of cases that are open somewhere, and without what is no journal."""
    pattern = f"{case or '*'}-*"
    for path in [*folder.glob(pattern + OFFERED), *folder.glob(pattern + SKIPPED)]:
        owner = read_owner(lock_path(folder, path.name.split("-")[0]))
        if owner is not None and owner.alive and not locked_too:
            continue
        try:
            ended = path.lstat().st_mtime
            with os.fdopen(open_private(path), "rb") as file:
                header = _read_header(file)
        except (OSError, *UNREADABLE):
            if readable:
                continue
            header = Header("", (0, 0, 0), None, 0.0)
        yield Unfinished(path, header, ended, path.suffix == SKIPPED)


def _read_header(file: Any) -> Header:
    """Raises one of UNREADABLE where it is no journal."""
    first: tuple[Record, int] | None = next(read_records(file), None)
    if first is None:
        raise ValueError("no journal")
    return Header.from_json(first[0].content)
