"""A volume is an array with its place in the body; a slice is an axis of that array and an index.

Convention, stated once: arrays are (z, y, x) as SimpleITK gives them, so array axis n is voxel axis 2 - n.
`affine` maps voxel (i, j, k) = (x, y, z) to millimetres in RAS (x to the right, y to the front, z upwards).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError

AXIS_NAMES = ("axial", "coronal", "sagittal")
_WORLD_AXIS = {"axial": 2, "coronal": 1, "sagittal": 0}  # the RAS direction that the slices are stacked along
SMALLEST_MM, LARGEST_MM = 1e-3, 100.0
"""Sizes of a voxel that can be believed."""
NO_POSITION = "This file holds no position information: lengths, and overlays on other scans, are not valid."
_SHEAR_MM = 0.05
_ANISOTROPIC = 1.6  # from this ratio on, the thick axis is the one the slices were acquired along


@dataclass(frozen=True)
class NiftiGeometry:
    """The geometry fields of a NIfTI header, verbatim, so that a mask lies exactly on its source.

    `fields` holds pairs of a header field's name and its number or numbers; `version` is 1 or 2; `dimensions` is 2
    for a file of one slice that names no third axis.
    """

    version: int
    fields: tuple[tuple[str, tuple[float, ...]], ...]
    dimensions: int = 3


@dataclass(frozen=True)
class Source:
    """Where a volume came from, and what a mask needs to be written back onto its grid. No patient text.

    `format` is "nifti", "nrrd", "mha", "dicom", "image" or "memory". `spatial` says whether the affine is a
    physical position (a photograph has none). `modality` is the DICOM code ("CT", "MR") or empty.
    `notes` are sentences that the user should see. `frames` names the DICOM file and the frame in it (from 0)
    of each slice, in the order of the array; it is empty where a slice is not one stored frame. `resampled` says
    that the voxels are not those of the file, but were interpolated onto another grid. `choices` holds the answers
    (question, value) that it took to read the file. `padding` is the lowest and the highest value of voxels that were
    not measured, or None.
    """

    path: Path | None = None
    format: str = "memory"
    header: NiftiGeometry | None = None
    spatial: bool = True
    modality: str = ""
    notes: tuple[str, ...] = ()
    frames: tuple[tuple[Path, int], ...] = ()
    resampled: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    padding: tuple[float, float] | None = None


@dataclass(frozen=True, order=True)
class SliceKey:
    """One slice: numpy axis 0, 1 or 2 of the (z, y, x) array, and the index along it."""

    axis: int
    index: int

    def __post_init__(self) -> None:
        if self.axis not in (0, 1, 2) or self.index < 0:
            raise SamAdaptError(
                f"There is no slice {self.index} on axis {self.axis}: use axis 0 to 2 and an index from 0."
            )


@dataclass(frozen=True, eq=False)
class Volume:
    """An image volume and its place in space; read-only.

    `data` is (z, y, x), or (z, y, x, 3) uint8 RGB; a 2D image is one slice. `affine` is (4, 4) float64 and
    maps voxel (x, y, z) to RAS mm. Raises SamAdaptError for another shape or an affine without inverse.
    """

    data: NDArray[Any] = field(repr=False)
    affine: NDArray[np.float64]
    source: Source = field(default_factory=Source)

    def __post_init__(self) -> None:
        data, affine = np.asarray(self.data), np.array(self.affine, dtype=np.float64)
        if data.ndim != 3 and not (data.ndim == 4 and data.shape[3] == 3 and data.dtype == np.uint8):
            raise SamAdaptError(
                f"A volume is (z, y, x), or (z, y, x, 3) uint8; this array is {data.shape} {data.dtype}."
            )
        if 0 in data.shape:
            raise SamAdaptError(f"The volume has no voxels: its shape is {data.shape}.")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
            raise SamAdaptError(
                f"The affine must be a finite, invertible 4 x 4 matrix, not {affine.tolist()}."
            )
        data = data.view()
        data.flags.writeable = False
        affine.flags.writeable = False
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels (z, y, x)."""
        z, y, x = self.data.shape[:3]
        return z, y, x

    @property
    def is_color(self) -> bool:
        """True for (z, y, x, 3) RGB."""
        return self.data.ndim == 4

    @property
    def spatial(self) -> bool:
        """True where the affine is a physical position; lengths in mm mean nothing otherwise."""
        return self.source.spatial

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size (dz, dy, dx) in mm, in array order."""
        dx, dy, dz = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return dz, dy, dx

    @cached_property
    def obliquity(self) -> float:
        """How far the scan's axes are turned away from the body's, in degrees (0 to 55): the axis turned most."""
        cosines = np.abs(self.affine[:3, :3]) / np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(np.degrees(np.arccos(np.clip(cosines.max(axis=0), 0.0, 1.0))).max())

    @cached_property
    def _axis_by_name(self) -> dict[str, int]:
        cosines = np.abs(self.affine[:3, :3]) / np.linalg.norm(
            self.affine[:3, :3], axis=0
        )  # (world, voxel axis)
        # Choosing axis by axis can name one twice when the volume is strongly oblique; this cannot.
        voxel_axis = max(permutations(range(3)), key=lambda order: sum(cosines[range(3), order]))
        return {name: 2 - voxel_axis[_WORLD_AXIS[name]] for name in AXIS_NAMES}

    def anatomical_axis(self, name: str) -> int:
        """The numpy axis (0, 1 or 2) along which axial, coronal or sagittal slices are stacked."""
        if name not in self._axis_by_name:
            raise SamAdaptError(f"There is no axis {name!r}: use axial, coronal or sagittal.")
        return self._axis_by_name[name]

    def axis_name(self, axis: int) -> str:
        """The anatomical name of a numpy axis."""
        for name, number in self._axis_by_name.items():
            if number == axis:
                return name
        raise SamAdaptError(f"There is no axis {axis}: use 0, 1 or 2.")

    @cached_property
    def default_axis(self) -> int:
        """The axis to look along first: the single slice, else the acquired slices, else axial."""
        if 1 in self.shape:
            return self.shape.index(1)
        thick = int(np.argmax(self.spacing))
        if self.spacing[thick] >= _ANISOTROPIC * sorted(self.spacing)[1]:
            return thick
        return self.anatomical_axis("axial")

    def axis_from(self, text: str) -> int:
        """The numpy axis meant by "axial", "coronal", "sagittal", "0", "1" or "2"."""
        text = text.strip().lower()
        if text in ("0", "1", "2"):
            return int(text)
        if text in AXIS_NAMES:
            return self.anatomical_axis(text)
        raise SamAdaptError(f"There is no axis {text!r}: use axial, coronal, sagittal, 0, 1 or 2.")


def take_slice(data: NDArray[Any], key: SliceKey) -> NDArray[Any]:
    """The slice as a view (H, W), or (H, W, 3) of a colour volume; SamAdaptError where there is none."""
    _check_inside(data.shape, key.axis, key.index)
    return data[(slice(None),) * key.axis + (key.index,)]


def put_slice(data: NDArray[Any], key: SliceKey, values: NDArray[Any]) -> None:
    """Write (H, W) values into `data` (changed in place)."""
    view = take_slice(data, key)
    if values.shape != view.shape:
        raise SamAdaptError(
            f"Slice {key.index} on axis {key.axis} is {view.shape}, but the new values are {values.shape}."
        )
    view[...] = values


def slice_count(shape: Sequence[int], axis: int) -> int:
    """Number of slices along a numpy axis of a (z, y, x, ...) shape."""
    if axis not in (0, 1, 2):
        raise SamAdaptError(f"There is no axis {axis}: use 0, 1 or 2.")
    return int(shape[axis])


def slice_spacing(volume: Volume, axis: int) -> tuple[float, float]:
    """Pixel size (row mm, column mm) of the slices along a numpy axis."""
    row, column = (mm for number, mm in enumerate(volume.spacing) if number != axis)
    return row, column


def parse_slices(text: str, volume: Volume) -> tuple[SliceKey, ...]:
    """Read "axial:5,10,14" (or "0:5,10,14") as slices of `volume`, without repeats, in the order given.

    Raises SamAdaptError for another spelling or a slice outside the volume.
    """
    axis_text, colon, numbers = text.partition(":")
    if not colon or not all(part.strip().removeprefix("-").isdecimal() for part in numbers.split(",")):
        raise SamAdaptError(f"Slices are written AXIS:I,J,K, for example axial:5,10,14; {text!r} is not.")
    axis = volume.axis_from(axis_text)
    indices = [int(part) for part in numbers.split(",")]
    for index in indices:
        _check_inside(volume.shape, axis, index)
    return tuple(dict.fromkeys(SliceKey(axis, index) for index in indices))


def _check_inside(shape: Sequence[int], axis: int, index: int) -> None:
    count = slice_count(shape, axis)
    if not 0 <= index < count:
        raise SamAdaptError(f"Slice {index} is outside the volume: axis {axis} has slices 0 to {count - 1}.")


def corner_distance(shape: Sequence[int], first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The largest distance in mm between the places that two affines give the corners of a (z, y, x) grid."""
    z, y, x = (size - 1 for size in shape[:3])
    corners = np.array([(i, j, k, 1) for i in (0, x) for j in (0, y) for k in (0, z)], np.float64)
    return float(np.linalg.norm((corners @ (first - second).T)[:, :3], axis=1).max())


def check_affine(affine: NDArray[np.float64], shape: Sequence[int], path: Path) -> None:
    """Refuse voxels of impossible size, and (z, y, x) grids whose axes are not at right angles."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if sizes.min() < SMALLEST_MM or sizes.max() > LARGEST_MM:
        text = " x ".join(f"{size:.3g}" for size in sizes)
        raise SamAdaptError(
            f"{path.name} claims voxels of {text} mm: correct the unit or the voxel size in its header."
        )
    u, _, vt = np.linalg.svd(affine[:3, :3] / sizes)
    straight = affine.copy()
    straight[:3, :3] = (u @ vt) * sizes
    shear = corner_distance(shape, affine, straight)
    if shear > _SHEAR_MM:
        raise SamAdaptError(
            f"The axes of {path.name} are sheared by {shear:.3g} mm: resample it onto a straight grid."
        )
