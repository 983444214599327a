"""Whether frames form one straight, even stack, where that stack lies, and what is asked where they do not.

The positions decide: neither names nor numbers of files do. Slices that are uneven, tilted or have a gap are no
grid; they are opened only as a resampled copy, or piece by piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .dicom_headers import Frame
from .errors import SamAdaptError
from .native import LPS_TO_RAS
from .questions import Answers, Choice, Question
from .volume import check_affine

_PLACE_MM = 0.06  # positions are often rounded to 0.1 mm
_PLACE_SHARE = 0.02  # of the slice distance
_GAP = 1.5  # a distance that many times the usual one means that slices are missing
_MOST_NEW = 10  # times as many slices as there are, and no resampled copy is made
_NO_PLACE = "The DICOM file states no position: overlays on other scans are not valid."
_NO_SIZE = "The DICOM file states no size of its pixels: lengths are in pixels."
_CINE = "The frames of this DICOM file have no position: they are shown as a stack."
Vector = NDArray[np.float64]


class DicomAuditError(SamAdaptError):
    """DICOM images that do not form one volume, in no way that could be asked about; the message says why."""


@dataclass(frozen=True)
class Stack:
    """Frames in order of position and the grid they are shown on: `affine` of (x, y, z) to RAS mm.

    With `resampling` the voxels of `shape` (z, y, x) have to be interpolated; else slice z is frame z.
    """

    frames: tuple[Frame, ...]
    shape: tuple[int, int, int]
    affine: Vector
    spatial: bool
    notes: tuple[str, ...]
    resampling: Resampling | None = None


@dataclass(frozen=True)
class Resampling:
    """Where the source slices lie on the grid: each begins at (z, y, x) voxels, (N, 3), z ascending."""

    starts: Vector


def place_frames(frames: Sequence[Frame], name: str, answers: Answers) -> Stack:
    """The stack that frames of one size and orientation form.

    Asks ("stack") where they are not even or not straight. Raises DicomAuditError for directions that cannot be.
    """
    if frames[0].position is None or frames[0].orientation is None:
        return _without_place(frames)
    across, down = _directions(frames[0], name)
    spacing = frames[0].spacing
    positions = np.array([frame.position for frame in frames], np.float64)  # (N, 3) LPS mm
    order = np.argsort(positions @ np.cross(across, down), kind="stable")
    placed = _Placed(
        tuple(frames[index] for index in order), positions[order], across, down, spacing or (1.0, 1.0), name
    )
    stack = placed.stack()
    if stack is None:
        stack = _asked(placed, answers)
    check_affine(stack.affine, stack.shape, placed.frames[0].path)
    if spacing is None:
        return Stack(
            stack.frames, stack.shape, stack.affine, False, (*stack.notes, _NO_SIZE), stack.resampling
        )
    return stack


def normal_of(frame: Frame) -> Vector:
    """The unit vector (3,) LPS that the slices are stacked along, from a frame with an orientation."""
    normal = np.cross((frame.orientation or ())[:3], (frame.orientation or ())[3:])
    return np.asarray(normal / (np.linalg.norm(normal) or 1.0), np.float64)


def same_directions(first: Frame, second: Frame) -> bool:
    """True where the last pixel of a frame would move by no more than rounding from one orientation to the other."""
    row, column = first.spacing or (1.0, 1.0)
    reach = max(first.rows * row, first.columns * column)
    turned = np.abs(np.array(first.orientation, np.float64) - np.array(second.orientation, np.float64)).max()
    return bool(turned * reach <= max(_PLACE_MM, 1e-4 * reach))


def same_pixel_size(first: Frame, second: Frame) -> bool:
    """True where both state the same size of a pixel, or neither states one."""
    if first.spacing is None or second.spacing is None:
        return first.spacing is second.spacing
    apart = np.abs(np.array(first.spacing) - np.array(second.spacing)).max()
    return bool(apart * max(first.rows, first.columns) <= _PLACE_MM)


def _without_place(frames: Sequence[Frame]) -> Stack:
    """One picture or one cine loop."""
    row, column = frames[0].spacing or (1.0, 1.0)
    notes = (_NO_PLACE,) if len(frames) == 1 else (_NO_PLACE, _CINE)
    shape = len(frames), frames[0].rows, frames[0].columns
    return Stack(tuple(frames), shape, np.diag([-column, -row, 1.0, 1.0]), False, notes)


def _directions(frame: Frame, name: str) -> tuple[Vector, Vector]:
    """Unit vectors (3,) LPS along a row and down a column."""
    found = np.array(frame.orientation, np.float64)
    across, down = found[:3], found[3:]
    lengths = np.linalg.norm(across), np.linalg.norm(down)
    if not np.allclose(lengths, 1.0, atol=1e-2) or abs(across @ down) > 1e-3:
        raise DicomAuditError(f"The images in {name} state directions that are not at right angles.")
    across = across / lengths[0]
    down = down - (down @ across) * across  # rounding in the file
    return across, down / np.linalg.norm(down)


@dataclass(frozen=True)
class _Placed:
    """Frames in order of position, their positions (N, 3) LPS mm, and the plane that they share."""

    frames: tuple[Frame, ...]
    positions: Vector
    across: Vector
    down: Vector
    spacing: tuple[float, ...]  # (row, column) mm
    name: str

    @property
    def normal(self) -> Vector:
        return np.asarray(np.cross(self.across, self.down), np.float64)

    @property
    def along(self) -> Vector:
        """(N,) mm from the first slice."""
        return np.asarray((self.positions - self.positions[0]) @ self.normal, np.float64)

    @property
    def sideways(self) -> Vector:
        """(N, 2) mm that each slice is shifted against the first, down and across."""
        moved = self.positions - self.positions[0]
        return np.stack([moved @ self.down, moved @ self.across], axis=1)

    def part(self, first: int, last: int) -> _Placed:
        """Slices `first` to `last`, both counted from 0 and included."""
        some = slice(first, last + 1)
        return _Placed(
            self.frames[some], self.positions[some], self.across, self.down, self.spacing, self.name
        )

    def stack(self) -> Stack | None:
        """The stack, if the slices are even and straight."""
        if len(self.frames) == 1:
            return self.grid(0.0, self.frames[0].thickness or 1.0, (0.0, 0.0))
        allowed = _allowed(self.along)
        start, step = _line_through(self.along)
        if np.abs(self.along - (start + step * np.arange(len(self.along)))).max() > allowed:
            return None
        if np.linalg.norm(self.sideways, axis=1).max() > allowed:
            return None
        return self.grid(start, step, (0.0, 0.0))

    def grid(self, start: float, step: float, corner: tuple[float, float]) -> Stack:
        """The frames on a grid that begins `start` mm along the normal and `corner` mm down and across."""
        lps = np.eye(4)
        lps[:3, :3] = np.stack(
            [self.across * self.spacing[1], self.down * self.spacing[0], self.normal * step], axis=1
        )
        lps[:3, 3] = self.positions[0] + start * self.normal + corner[0] * self.down + corner[1] * self.across
        shape = len(self.frames), self.frames[0].rows, self.frames[0].columns
        return Stack(self.frames, shape, LPS_TO_RAS @ lps, True, ())


def _allowed(along: Vector) -> float:
    """How far a slice may lie from its place on the grid, in mm."""
    return max(_PLACE_MM, _PLACE_SHARE * float(np.median(np.diff(along))))


def _usual_step(along: Vector) -> float:
    """The distance of slices between which none is missing: the median of the smaller half."""
    steps = np.sort(np.diff(along))
    return float(np.median(steps[: (len(steps) + 1) // 2]))


def _asked(placed: _Placed, answers: Answers) -> Stack:
    """The stack that the user wants of slices that are no grid."""
    problem, pieces = _problem(placed)
    copy = _resampled(placed)
    choices = {f"{first + 1}-{last + 1}": (first, last) for first, last in pieces}
    offered = [
        Choice(value, f"{last - first + 1} slices that are even, numbered by position")
        for value, (first, last) in choices.items()
    ]
    if copy is not None:
        size = " x ".join(str(count) for count in copy.shape[::-1])
        told = f"a resampled copy of {size} voxels (x, y, z) on a straight, even grid; its values are interpolated"
        offered.append(Choice("resample", told))
    if not offered:
        raise DicomAuditError(f"{placed.name} {problem}, and too irregular to be resampled.")
    text = f"{placed.name} {problem}, so its slices are no volume: what is to be opened?"
    value = answers.to(Question("stack", text, tuple(offered)))
    if value == "resample" and copy is not None:
        note = f"This is a resampled copy, not the original slices: the series {problem}."
        return Stack(copy.frames, copy.shape, copy.affine, True, (note,), copy.resampling)
    first, last = choices[value]
    stack = placed.part(first, last).stack()
    if stack is None:
        raise DicomAuditError(f"The slices {value} of {placed.name} are no even stack.")
    note = f"Only the slices {value} of {len(placed.frames)} are open: the series {problem}."
    return Stack(stack.frames, stack.shape, stack.affine, True, (note,))


def _problem(placed: _Placed) -> tuple[str, list[tuple[int, int]]]:
    """What is wrong with the slices, and the even pieces (first, last) they fall into where there are gaps."""
    along, told, pieces = placed.along, [], []
    steps, usual = np.diff(along), _usual_step(along)
    gaps = np.flatnonzero(steps > _GAP * usual)
    start, step = _line_through(along)
    if len(gaps) and np.ptp(np.delete(steps, gaps)) <= 2 * _allowed(along):
        ends = pairwise([-1, *gaps.tolist(), len(along) - 1])
        pieces = [(before + 1, last) for before, last in ends if placed.part(before + 1, last).stack()]
        first, several = int(gaps[0]), f"{len(gaps)} gaps, the first" if len(gaps) > 1 else "a gap"
        told.append(
            f"has {several} of {steps[first]:.3g} mm between slices {first + 1} and {first + 2}, where others "
            f"are {usual:.3g} mm apart"
        )
    elif np.abs(along - (start + step * np.arange(len(along)))).max() > _allowed(along):
        listed = ", ".join(f"{mm:.3g}" for mm in steps[:12]) + (", …" if len(steps) > 12 else "")
        told.append(f"is unevenly spaced, {steps.min():.3g} to {steps.max():.3g} mm apart ({listed})")
    shift = float(np.linalg.norm(placed.sideways, axis=1).max())
    if shift > _allowed(along):
        tilt = float(np.degrees(np.arctan2(shift, along[-1])))
        told.append(f"has slices shifted sideways by up to {shift:.3g} mm (gantry tilt of {tilt:.3g}°)")
    return " and ".join(told), pieces


def _resampled(placed: _Placed) -> Stack | None:
    """The straight, even grid that covers all slices; None where it would be mostly made up."""
    along, sideways = placed.along, placed.sideways
    intervals = max(1, round(float(along[-1]) / _usual_step(along)))
    corner = sideways.min(axis=0)
    more = np.ceil((sideways.max(axis=0) - corner) / placed.spacing - 1e-6).astype(int)
    first = placed.frames[0]
    shape = intervals + 1, first.rows + int(more[0]), first.columns + int(more[1])
    if intervals + 1 > _MOST_NEW * len(along) or shape[1] > 3 * first.rows or shape[2] > 3 * first.columns:
        return None
    step = float(along[-1]) / intervals
    grid = placed.grid(0.0, step, (float(corner[0]), float(corner[1])))
    starts = np.concatenate([along[:, None] / step, (sideways - corner) / placed.spacing], axis=1)
    return Stack(grid.frames, shape, grid.affine, True, (), Resampling(starts))


def _line_through(values: Vector) -> tuple[float, float]:
    """Start and step of the even sequence nearest to `values`, by least squares."""
    number = np.arange(len(values)) - (len(values) - 1) / 2
    step = float(number @ values / (number @ number))
    return float(values.mean() + number[0] * step), step
