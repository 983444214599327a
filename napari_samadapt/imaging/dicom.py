"""A DICOM file or folder becomes a volume only if its slices are one: same grid, evenly spaced, none missing.

The positions are audited here (pydicom reads them) before any stack is made, because SimpleITK stacks
whatever it is given. The pixels come from SimpleITK, and with them its one rule: values are rescaled (HU),
and MONOCHROME1 is inverted, as it is meant to be shown.
"""

from __future__ import annotations

import filecmp
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dicom_headers import DicomFile, NoImageError, read_dicom_file
from .dicom_resample import resampled
from .dicom_series import chosen_group
from .dicom_stack import Stack, place_frames
from .errors import SamAdaptError
from .file_kinds import is_dicom
from .memory import check_budget
from .native import read_isolated, single_volume
from .questions import Answers, Choice, Question
from .volume import Source, Volume

_MOST_FILES = 50_000
_TOLD = 5  # reasons that fit into a note
_INVERTED = "The file is MONOCHROME1 (dark is high): its values are inverted here."
_INDEX = "DICOMDIR"


def read_dicom(path: Path, answers: Answers) -> Volume:
    """Read one DICOM file, or a folder, as a volume in real units (HU for CT).

    Asks which of several volumes (series), what to do about slices that are no even stack (stack), and whether to
    go on without damaged files (damaged). Raises SamAdaptError for what cannot be read or placed.
    """
    if path.name.upper() == _INDEX:
        path = path.parent
    files, notes = ([read_dicom_file(path)], ()) if path.is_file() else _images_in(path, answers)
    group = chosen_group(files, path.name, answers)
    stack = place_frames(group.frames, path.name, answers)
    data = _read_pixels(files, stack)
    if group.label:
        notes = (*notes, f"Of several images at each place these are open: {group.label}.")
    if group.file.photometric == "MONOCHROME1":
        notes = (*notes, _INVERTED)
    source = Source(
        path,
        "dicom",
        spatial=stack.spatial,
        modality=group.file.modality,
        notes=(*stack.notes, *notes),
        frames=() if stack.resampling else tuple((frame.path, frame.index) for frame in stack.frames),
        resampled=stack.resampling is not None,
        padding=group.file.padding,
    )
    return Volume(data, stack.affine, source)


def _images_in(folder: Path, answers: Answers) -> tuple[list[DicomFile], tuple[str, ...]]:
    """The image files of a folder, or of its subfolders where it holds none itself, and what was left out."""
    files, reasons, damaged = _sorted_out(_files_in(folder, deep=False))
    if not files and not damaged:
        files, reasons, damaged = _sorted_out(_files_in(folder, deep=True))
    if damaged and not files:
        raise SamAdaptError(damaged[0])
    if not files:
        raise SamAdaptError(f"{folder.name} holds no DICOM images: choose the folder that holds one series.")
    if damaged:
        text = f"{len(damaged)} of {len(files) + len(damaged)} images in {folder.name} cannot be read: {damaged[0]}"
        go_on = Choice("leave-out", f"open the {len(files)} others; slices may be missing")
        answers.to(Question("damaged", text, (go_on,)))
        reasons = [*reasons, *damaged]
    files, copies = _without_copies(files)
    if copies:
        reasons.append(f"{copies} are copies of others.")
    told = " ".join(reasons[:_TOLD]) + (" …" if len(reasons) > _TOLD else "")
    return files, (f"Files were left out: {told}",) if reasons else ()


def _files_in(folder: Path, *, deep: bool) -> Iterator[Path]:
    """The files that are worth a look, sorted; raises SamAdaptError for more than a study can have."""
    found = folder.rglob("*") if deep else folder.iterdir()
    paths = []
    for path in found:
        if path.name.startswith(".") or path.name.upper() == _INDEX or not path.is_file():
            continue
        paths.append(path)
        if len(paths) > _MOST_FILES:
            raise SamAdaptError(
                f"{folder.name} holds more than {_MOST_FILES:,} files: choose the folder of one series."
            )
    return iter(sorted(paths))


def _sorted_out(paths: Iterator[Path]) -> tuple[list[DicomFile], list[str], list[str]]:
    """The image files, why others are none, and what is wrong with damaged ones."""
    files: list[DicomFile] = []
    others, reasons, damaged = 0, [], []
    for path in paths:
        if not is_dicom(path):
            others += 1
            continue
        try:
            files.append(read_dicom_file(path))
        except NoImageError as error:
            reasons.append(str(error))
        except SamAdaptError as error:
            damaged.append(str(error))
    if others:
        reasons.append(f"{others} are no DICOM files." if others > 1 else "1 is no DICOM file.")
    return files, reasons, damaged


def _without_copies(files: Sequence[DicomFile]) -> tuple[list[DicomFile], int]:
    """The files without byte-equal copies of others, and how many those are."""
    kept: dict[str, DicomFile] = {}
    single = []
    for file in files:
        first = kept.setdefault(file.instance or str(file.path), file)
        if first is file or not filecmp.cmp(first.path, file.path, shallow=False):
            single.append(file)
    return single, len(files) - len(single)


def _read_pixels(files: Sequence[DicomFile], stack: Stack) -> NDArray[Any]:
    """(z, y, x) or (z, y, x, 3) on the grid of the stack, in real units."""
    needed = {frame.path for frame in stack.frames}
    files = [file for file in files if file.path in needed]
    pixels = max(
        int(np.prod(stack.shape)), sum(len(file.frames) for file in files) * stack.shape[1] * stack.shape[2]
    )
    check_budget(pixels * 4 * files[0].samples, files[0].path)
    decoded = read_isolated([file.path for file in files], [file.coding for file in files])
    arrays = {}
    for file, (array, _) in zip(files, decoded, strict=True):
        if array.shape[-1] not in (1, 3, 4) or (array.shape[-1] > 1 and array.dtype != np.uint8):
            raise SamAdaptError(
                f"{file.path.name} has {array.shape[-1]} values of type {array.dtype} per pixel: "
                "only grey and RGB of 8 bits can be shown."
            )
        values, _ = single_volume(array, file.path.name, Answers())
        if values.shape[:3] != (len(file.frames), file.frames[0].rows, file.frames[0].columns):
            raise SamAdaptError(
                f"{file.path.name} is damaged: its pixels are not those that its header names."
            )
        arrays[file.path] = values
    slices = np.stack([arrays[frame.path][frame.index] for frame in stack.frames])
    if stack.resampling is not None:
        slices = resampled(_narrowed(slices), stack.resampling.starts, stack.shape)
    return _narrowed(slices)


def _narrowed(values: NDArray[Any]) -> NDArray[Any]:
    """float32 and int16 where nothing is lost by it: rescaling widens every CT to 32 bits."""
    if values.dtype == np.float64:
        return values.astype(np.float32)
    if values.dtype == np.int32 and values.min() >= -(2**15) and values.max() < 2**15:
        return values.astype(np.int16)
    return values
