"""How a file gets its name: written beside under another name, brought to the disk, then put in place.

What was at the target stays as it was until then. Targets are looked at first: nothing hides a neighbour,
nothing replaces an image or the masks of another case.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .dicom_source import check_same_series
from .errors import SamAdaptError
from .file_kinds import suffix_of
from .label_coding import distinct
from .reading import read_labels
from .volume import Volume

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha", ".dcm")
_SIBLINGS = {".nii": (".nii.gz", ".hdr", ".img"), ".nii.gz": (".nii", ".hdr", ".img")}
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
_MOST_CLASSES, _MOST_CHANGES = 32, 0.3  # an image has more values, and more neighbours inside it that differ
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota on this disk is used up",
    errno.EFBIG: "the file would be larger than this place allows",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "writing is not allowed here",
    errno.EPERM: "writing is not allowed here",
    errno.EBUSY: "another program holds the file",
    errno.ENOENT: "its folder is gone",
    errno.ENODEV: "its disk is gone",
    errno.ESTALE: "the network folder is gone",
    errno.EIO: "the disk reports an error",
    errno.ENAMETOOLONG: "the name is too long",
}


class NotSavedError(SamAdaptError):
    """A file could not be written; what was at the target before is unchanged."""


def check_target(path: Path, reference: Volume) -> None:
    """Refuse a name that says no format, hides a neighbour, or would destroy an image or another case's masks.

    Raises SamAdaptError with what to do; NotSavedError where the place cannot even be looked at.
    """
    with plain_reason(path):  # a name that is too long already fails when it is looked at
        _check_name(path)
        _check_place(path)
        if path.exists():
            _check_replaceable(path, reference)


def _check_name(path: Path) -> None:
    suffix = suffix_of(path)
    if suffix not in WRITABLE:
        raise SamAdaptError(f"{path.name} must end in one of {', '.join(WRITABLE)}.")
    stem = path.name[: -len(suffix)]
    if not stem:
        raise SamAdaptError(f"{path.name} is only an ending: write a name before it.")
    if stem.split(".")[0].strip().lower() in _RESERVED:
        raise SamAdaptError(f"{path.name} is a reserved name on Windows: choose another name.")


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise SamAdaptError(f"The folder {path.parent} does not exist: make it or choose another.")
    if path.is_dir():
        raise SamAdaptError(f"{path.name} is a folder: choose another name.")
    suffix = suffix_of(path)
    for other in _SIBLINGS.get(suffix, ()):
        sibling = path.with_name(path.name[: -len(suffix)] + other)
        if sibling.exists():
            raise SamAdaptError(
                f"{sibling.name} lies beside {path.name}, and some programs would open it instead: "
                "choose another name."
            )


def _check_replaceable(path: Path, reference: Volume) -> None:
    """Only masks on the grid of `reference` may be replaced."""
    source = reference.source
    for own in ([source.path] if source.path else []) + [file for file, _ in source.frames]:
        if own.exists() and path.samefile(own):
            raise SamAdaptError(f"{path.name} is the image itself: choose another name for the labels.")
    if not path.is_file():
        raise SamAdaptError(f"{path.name} is no ordinary file: choose another name.")
    if not os.access(path, os.W_OK):
        raise SamAdaptError(f"{path.name} is read-only: choose another name.")
    if suffix_of(path) == ".dcm":
        check_same_series(path, reference)
        return
    foreign = SamAdaptError(
        f"{path.name} exists and holds no masks of this image, but perhaps those of another case or an "
        "image: choose another name, or delete it first."
    )
    try:
        labels, _ = read_labels(path, reference, choices=own_answers(reference))
    except SamAdaptError as error:
        raise foreign from error
    if _varies_like_an_image(labels):
        raise foreign


def _varies_like_an_image(labels: NDArray[Any]) -> bool:
    """True for whole numbers (z, y, x) that are no classes: many of them, and neighbours that rarely agree."""
    rows = np.moveaxis(labels, int(np.argmax(labels.shape)), -1)
    first, second = rows[..., :-1], rows[..., 1:]
    inside = (first > 0) & (second > 0)
    changes = np.count_nonzero(inside & (first != second))
    restless = bool(changes > _MOST_CHANGES * np.count_nonzero(inside))
    return restless and distinct(labels).size > _MOST_CLASSES


def own_answers(reference: Volume) -> dict[str, str]:
    """How to read a file that was written for `reference`: its values are ids, its position the one chosen there."""
    return {"coding": "ids", "transform": dict(reference.source.choices).get("transform", "sform")}


def part_beside(path: Path) -> Path:
    """A name in the same folder that nobody else has and that the file can be written under first."""
    return path.with_name(f".{secrets.token_hex(6)}.part{suffix_of(path)}")


@contextmanager
def removed_at_end(part: Path) -> Iterator[None]:
    """Whatever happens, nothing stays under the name of `part`."""
    try:
        yield
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that is on the disk when the block ends."""
    with path.open("xb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that never is half there; OSError where that is impossible, and what was there stays."""
    part = part_beside(path)
    with removed_at_end(part):
        with new_file(part) as stream:
            yield stream
        part.replace(path)


def put_in_place(path: Path, content: bytes) -> None:
    """Write a `whole_file`."""
    with whole_file(path) as stream:
        stream.write(content)


@contextmanager
def plain_reason(path: Path) -> Iterator[None]:
    """Turn an OSError into a NotSavedError that says why `path` could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        number = _number_of(error)
        reason = _REASONS.get(number, error.strerror or "the system refused it")
        advice = "Choose a shorter name." if number == errno.ENAMETOOLONG else "Choose another place."
        raise NotSavedError(f"{_short(path.name)} was not saved: {reason}. {advice}") from error


def _number_of(error: BaseException | None) -> int:
    """The system's number of an OSError, or of the one behind it where a library put its own in front."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return 0


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:40]}…{name[-12:]}"


def sync_folder(folder: Path) -> None:
    """Bring new names to the disk, where the system knows folders as files."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
