"""A DICOM file or folder becomes a volume only if its slices are one: same grid, evenly spaced, none missing.

The positions are audited here (pydicom reads them) before any stack is made, because SimpleITK stacks
whatever it is given. The pixels come from SimpleITK, and with them its one rule: values are rescaled (HU),
and MONOCHROME1 is inverted, as it is meant to be shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dicom_headers import DicomFile, Frame, NoImageError, is_dicom, read_dicom_file
from .errors import SamAdaptError
from .memory import check_budget
from .native import LPS_TO_RAS, read_isolated, single_volume
from .questions import Answers
from .volume import Source, Volume

_PLACE_MM = 0.06  # positions are often rounded to 0.1 mm
_PLACE_SHARE = 0.02  # of the slice distance
_SAME_MM = 0.01  # two slices closer than this are at the same place
_INVERTED = "The file is MONOCHROME1 (dark is high): its values are inverted here."
_NO_PLACE = "The DICOM file states no position: overlays on other scans are not valid."
_CINE = "The frames of this DICOM file have no position: they are shown as a stack."


class DicomAuditError(SamAdaptError):
    """A DICOM folder whose images do not form one volume; the message says why."""


def read_dicom(path: Path) -> Volume:
    """Read one DICOM file, or a folder that holds one series, as a volume in real units (HU for CT).

    Raises DicomAuditError for several series, gaps, duplicate positions, tilt and mixed images; SamAdaptError
    for damaged files.
    """
    files, ignored = ([read_dicom_file(path)], 0) if path.is_file() else _images_in(path)
    _check_one_series(files, path)
    _check_alike(files, path)
    frames = [frame for file in files for frame in file.frames]
    frames, affine, notes = place_frames(frames, path.name)
    if ignored:
        notes = (*notes, f"{ignored} files without an image were left out.")
    if files[0].photometric == "MONOCHROME1":
        notes = (*notes, _INVERTED)
    data = _read_pixels(files, frames)
    spatial = frames[0].position is not None and frames[0].orientation is not None
    stored = tuple((frame.path, frame.index) for frame in frames)
    return Volume(data, affine, Source(path, "dicom", None, spatial, files[0].modality, notes, stored))


def _images_in(folder: Path) -> tuple[list[DicomFile], int]:
    """The image files of a folder, and how many files hold no image."""
    files, ignored = [], 0
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "DICOMDIR" or not path.is_file():
            continue
        if not is_dicom(path):
            ignored += 1
            continue
        try:
            files.append(read_dicom_file(path))
        except NoImageError:
            ignored += 1
    if not files:
        raise SamAdaptError(f"{folder.name} holds no DICOM images: choose the folder that holds one series.")
    return files, ignored


def _check_one_series(files: Sequence[DicomFile], path: Path) -> None:
    series: dict[str, list[DicomFile]] = defaultdict(list)
    for file in files:
        series[file.series].append(file)
    if len(series) > 1:
        lines = [
            f"series {some[0].series_number} ({some[0].modality}, {len(some)} files)"
            for some in series.values()
        ]
        shown = ", ".join(lines[:6]) + (", …" if len(lines) > 6 else "")
        raise DicomAuditError(
            f"{path.name} holds {len(series)} series: {shown}. Put one of them into a folder of its own."
        )


def _check_alike(files: Sequence[DicomFile], path: Path) -> None:
    kinds = {(file.photometric, file.samples, file.frames[0].rows, file.frames[0].columns) for file in files}
    if len(kinds) > 1:
        text = "; ".join(f"{columns} x {rows} {name}" for name, _, rows, columns in sorted(kinds))
        raise DicomAuditError(f"The images in {path.name} differ ({text}), so they are not one volume.")


def place_frames(
    frames: Sequence[Frame], name: str
) -> tuple[list[Frame], NDArray[np.float64], tuple[str, ...]]:
    """Frames in order of position, the affine of (x, y, z) to RAS mm, and notes for the user.

    Raises DicomAuditError unless the frames lie on one straight, even grid.
    """
    placed = [frame for frame in frames if frame.position and frame.orientation]
    if not placed:
        return _without_place(frames, name)
    if len(placed) < len(frames):
        raise DicomAuditError(
            f"{len(frames) - len(placed)} of {len(frames)} images in {name} state no position."
        )
    spacing = _common_spacing(placed, name)
    across, down = _common_directions(placed, spacing, name)
    normal = np.cross(across, down)

    positions = np.array([frame.position for frame in placed], np.float64)  # (N, 3) LPS mm
    order = np.argsort(positions @ normal, kind="stable")
    placed, positions = [placed[index] for index in order], positions[order]
    start, step = 0.0, placed[0].thickness or 1.0
    if len(placed) > 1:
        start, step = _even_steps(positions, normal, name)

    lps = np.eye(4)
    lps[:3, :3] = np.stack([across * spacing[1], down * spacing[0], normal * step], axis=1)
    lps[:3, 3] = positions[0] + start * normal
    return placed, LPS_TO_RAS @ lps, ()


def _without_place(
    frames: Sequence[Frame], name: str
) -> tuple[list[Frame], NDArray[np.float64], tuple[str, ...]]:
    """One picture or one cine loop; several files without positions have no order."""
    if len({frame.path for frame in frames}) > 1:
        raise DicomAuditError(
            f"The images in {name} state no positions, so their order is unknown: open one file."
        )
    row, column = frames[0].spacing or (1.0, 1.0)
    notes = (_NO_PLACE,) if len(frames) == 1 else (_NO_PLACE, _CINE)
    return list(frames), np.diag([-column, -row, 1.0, 1.0]), notes


def _common_spacing(frames: Sequence[Frame], name: str) -> tuple[float, float]:
    """(row, column) mm of all frames."""
    found = {frame.spacing for frame in frames}
    if None in found:
        raise DicomAuditError(f"Images in {name} state no pixel size, so they cannot be placed.")
    sizes = np.array(sorted(spacing for spacing in found if spacing is not None))
    if np.ptp(sizes, axis=0).max() * max(frames[0].rows, frames[0].columns) > _PLACE_MM:
        raise DicomAuditError(f"The images in {name} have different pixel sizes, so they are not one volume.")
    row, column = frames[0].spacing or (1.0, 1.0)
    return row, column


def _common_directions(
    frames: Sequence[Frame], spacing: tuple[float, float], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors (3,) LPS along a row and down a column."""
    found = np.array([frame.orientation for frame in frames], np.float64)  # (N, 6)
    reach = max(frames[0].rows * spacing[0], frames[0].columns * spacing[1])
    if np.abs(found - found[0]).max() * reach > max(_PLACE_MM, 1e-4 * reach):
        raise DicomAuditError(f"The images in {name} are oriented differently (a localizer among them?).")
    across, down = found[0, :3], found[0, 3:]
    lengths = np.linalg.norm(across), np.linalg.norm(down)
    if not np.allclose(lengths, 1.0, atol=1e-2) or abs(across @ down) > 1e-3:
        raise DicomAuditError(f"The images in {name} state directions that are not at right angles.")
    across = across / lengths[0]
    down = down - (down @ across) * across  # rounding in the file
    return across, down / np.linalg.norm(down)


def _even_steps(
    positions: NDArray[np.float64], normal: NDArray[np.float64], name: str
) -> tuple[float, float]:
    """Where an even stack starts, in mm from the first slice, and its slice distance in mm.

    Raises DicomAuditError unless the slices (N, 3) are even and straight.
    """
    along = (positions - positions[0]) @ normal
    steps = np.diff(along)
    usual, count = float(np.median(steps)), len(along)
    if steps.min() < _SAME_MM:
        first = int(np.argmin(steps))
        places = int(np.sum(steps >= _SAME_MM)) + 1
        raise DicomAuditError(
            f"{name} has {count} images at only {places} place(s), {first + 1} and {first + 2} coincide: "
            "several echoes, times or reconstructions. Put one of them into a folder of its own."
        )
    allowed = max(_PLACE_MM, _PLACE_SHARE * usual)
    if steps.max() > 1.5 * usual or (count == 3 and steps.max() > 1.5 * steps.min()):
        first = int(np.argmax(steps))
        raise DicomAuditError(
            f"{name} has a gap of {steps.max():.3g} mm between slices {first + 1} and {first + 2}; the rest "
            f"are {steps.min():.3g} mm apart, so slices are missing."
        )
    start, step = _line_through(along)
    if np.abs(along - (start + step * np.arange(count))).max() > allowed:
        raise DicomAuditError(
            f"The slices in {name} are unevenly spaced, {steps.min():.3g} to {steps.max():.3g} mm apart: "
            "resample them to an even distance first."
        )
    sideways = positions - positions[0] - np.outer(along, normal)
    shift = float(np.linalg.norm(sideways, axis=1).max())
    if shift > allowed:
        tilt = np.degrees(np.arctan2(shift, along[-1]))
        raise DicomAuditError(
            f"The slices in {name} are shifted sideways by {shift:.3g} mm (gantry tilt of {tilt:.3g}°): "
            "resample them onto a straight grid first."
        )
    return start, step


def _line_through(values: NDArray[np.float64]) -> tuple[float, float]:
    """Start and step of the even sequence nearest to `values`, by least squares."""
    number = np.arange(len(values)) - (len(values) - 1) / 2
    step = float(number @ values / (number @ number))
    return float(values.mean() + number[0] * step), step


def _read_pixels(files: Sequence[DicomFile], frames: Sequence[Frame]) -> NDArray[Any]:
    """(z, y, x) or (z, y, x, 3) of the frames in their order, in real units."""
    check_budget(len(frames) * frames[0].rows * frames[0].columns * 4 * files[0].samples, files[0].path)
    order = {file.path: number for number, file in enumerate(files)}
    arrays = [
        single_volume(array, file.path.name, Answers())[0]
        for (array, _), file in zip(read_isolated(list(order)), files, strict=True)
    ]
    for file, array in zip(files, arrays, strict=True):
        if array.shape[:3] != (len(file.frames), file.frames[0].rows, file.frames[0].columns):
            raise SamAdaptError(
                f"{file.path.name} is damaged: its pixels are not those that its header names."
            )
    return _narrowed(np.stack([arrays[order[frame.path]][frame.index] for frame in frames]))


def _narrowed(values: NDArray[Any]) -> NDArray[Any]:
    """float32 and int16 where nothing is lost by it: rescaling widens every CT to 32 bits."""
    if values.dtype == np.float64:
        return values.astype(np.float32)
    if values.dtype == np.int32 and values.min() >= -(2**15) and values.max() < 2**15:
        return values.astype(np.int16)
    return values
