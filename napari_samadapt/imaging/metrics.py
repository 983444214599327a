"""How well a segmentation agrees with a reference: overlap, and surface distances in millimetres.

Conventions for empty masks: where both are empty nothing can be measured and every metric is NaN, which the
means leave out. Where exactly one is empty Dice, IoU and surface Dice are 0 and distances are infinite; the
means of distances leave those out too, and `LabelReport.missed` names the ids, so that none is hidden.

A surface is the set of a mask's voxels with a side neighbour outside it; the outside of the array counts.
An axis of length one has no sides: a 2-D image has contours, not two faces. Distances are between centres.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError

if TYPE_CHECKING:
    from .volume import SliceKey

Spacing = tuple[float, ...]


@dataclass(frozen=True)
class LabelRow:
    """Agreement for one id. Volumes and overlap count the voxels of the slices that were not excluded."""

    id: int
    dice: float
    hd95_mm: float
    assd_mm: float
    volume_ml: float
    reference_volume_ml: float


@dataclass(frozen=True)
class LabelReport:
    """One row per id, and means over the rows where the metric is defined (NaN where it is for none)."""

    rows: tuple[LabelRow, ...]

    @property
    def mean_dice(self) -> float:
        return _mean_finite(row.dice for row in self.rows)

    @property
    def mean_hd95_mm(self) -> float:
        return _mean_finite(row.hd95_mm for row in self.rows)

    @property
    def mean_assd_mm(self) -> float:
        return _mean_finite(row.assd_mm for row in self.rows)

    @property
    def missed(self) -> tuple[int, ...]:
        """The ids that only one of prediction and reference has; the mean distances leave them out."""
        return tuple(row.id for row in self.rows if math.isinf(row.hd95_mm))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: {"labels": {"1": {"dice": …}}, "mean": {…}, "missed": […]}; what is undefined is None."""
        names = ("dice", "hd95_mm", "assd_mm", "volume_ml", "reference_volume_ml")
        return {
            "labels": {
                str(row.id): {name: _or_none(getattr(row, name)) for name in names} for row in self.rows
            },
            "mean": {
                "dice": _or_none(self.mean_dice),
                "hd95_mm": _or_none(self.mean_hd95_mm),
                "assd_mm": _or_none(self.mean_assd_mm),
            },
            "missed": list(self.missed),
        }


def dice(predicted: NDArray[Any], reference: NDArray[Any]) -> float:
    """2 |A ∩ B| / (|A| + |B|) of two bool masks of one shape, in [0, 1]; NaN where both are empty."""
    predicted, reference = _as_masks(predicted, reference)
    total = np.count_nonzero(predicted) + np.count_nonzero(reference)
    return 2 * int(np.count_nonzero(predicted & reference)) / int(total) if total else math.nan


def iou(predicted: NDArray[Any], reference: NDArray[Any]) -> float:
    """|A ∩ B| / |A ∪ B| of two bool masks of one shape, in [0, 1]; NaN where both are empty."""
    predicted, reference = _as_masks(predicted, reference)
    union = np.count_nonzero(predicted | reference)
    return int(np.count_nonzero(predicted & reference)) / int(union) if union else math.nan


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances in mm from each surface voxel of one mask to the nearest of the other, (N,) float64."""

    from_predicted: NDArray[np.float64]
    from_reference: NDArray[np.float64]

    @property
    def hd95(self) -> float:
        """The larger of the two 95th percentiles (linear interpolation)."""
        if not self._comparable:
            return self._undefined
        return max(
            float(np.percentile(self.from_predicted, 95)), float(np.percentile(self.from_reference, 95))
        )

    @property
    def assd(self) -> float:
        """The mean over the surface voxels of both."""
        if not self._comparable:
            return self._undefined
        return float(np.concatenate([self.from_predicted, self.from_reference]).mean())

    def surface_dice(self, tolerance_mm: float) -> float:
        """The share of both surfaces, counted together, that lies within the tolerance of the other one."""
        together = np.concatenate([self.from_predicted, self.from_reference])
        return float((together <= tolerance_mm).mean()) if len(together) else math.nan

    @property
    def _comparable(self) -> bool:
        return bool(len(self.from_predicted) and len(self.from_reference))

    @property
    def _undefined(self) -> float:
        return math.inf if len(self.from_predicted) or len(self.from_reference) else math.nan


def surface_distances(
    predicted: NDArray[Any],
    reference: NDArray[Any],
    spacing: Spacing,
    counted: NDArray[np.bool_] | None = None,
) -> SurfaceDistances:
    """Distances between the surfaces of two bool masks of one shape.

    spacing: mm per step along each array axis. counted: bool, as the masks; only surface voxels in it are
    measured (against the whole other surface). Raises SamAdaptError when shapes or spacing do not fit.
    """
    predicted, reference = _as_masks(predicted, reference)
    step = _checked_spacing(spacing, predicted.ndim)
    sides = _sides(predicted.shape)  # of the whole array: the box below may be one voxel thick
    box = _bounding_box(predicted | reference)
    predicted, reference = predicted[box], reference[box]
    if counted is not None:
        counted = counted[box]
    surfaces = _surface(predicted, sides), _surface(reference, sides)
    return SurfaceDistances(
        from_predicted=_distances(surfaces[0], surfaces[1], step, counted),
        from_reference=_distances(surfaces[1], surfaces[0], step, counted),
    )


def hd95(predicted: NDArray[Any], reference: NDArray[Any], spacing: Spacing) -> float:
    """95th percentile Hausdorff distance in mm: the larger of the two directions'."""
    return surface_distances(predicted, reference, spacing).hd95


def assd(predicted: NDArray[Any], reference: NDArray[Any], spacing: Spacing) -> float:
    """Average symmetric surface distance in mm."""
    return surface_distances(predicted, reference, spacing).assd


def surface_dice(
    predicted: NDArray[Any], reference: NDArray[Any], spacing: Spacing, tolerance_mm: float
) -> float:
    """The share of both surfaces that lies within `tolerance_mm` of the other one, in [0, 1]."""
    return surface_distances(predicted, reference, spacing).surface_dice(tolerance_mm)


def label_report(
    predicted: NDArray[Any],
    reference: NDArray[Any],
    spacing: Spacing,
    ids: Iterable[int] | None = None,
    exclude: "Collection[SliceKey]" = (),
) -> LabelReport:
    """Compare two integer label arrays (z, y, x) of one shape, id by id.

    spacing: (dz, dy, dx) mm. ids: the ids to compare; by default all but 0 that either array has.
    exclude: slices to leave out, as those that a model was trained on: their voxels count for nothing, and
    surfaces are measured from the other slices only, but to the whole other one, lest false edges arise.
    Raises SamAdaptError when shapes, spacing or slices do not fit.
    """
    predicted, reference = np.asarray(predicted), np.asarray(reference)
    _check_same_shape(predicted, reference)
    counted = _counted_voxels(predicted.shape, exclude)
    if ids is None:
        ids = sorted({*np.unique(predicted).tolist(), *np.unique(reference).tolist()} - {0})
    return LabelReport(tuple(_label_row(predicted, reference, spacing, int(i), counted) for i in ids))


def _label_row(
    predicted: NDArray[Any], reference: NDArray[Any], spacing: Spacing, label: int, counted: NDArray[np.bool_]
) -> LabelRow:
    ours, theirs = predicted == label, reference == label
    distances = surface_distances(ours, theirs, spacing, counted)
    ours, theirs = ours & counted, theirs & counted
    voxel_ml = math.prod(spacing) / 1000
    return LabelRow(
        id=label,
        dice=dice(ours, theirs),
        hd95_mm=distances.hd95,
        assd_mm=distances.assd,
        volume_ml=int(ours.sum()) * voxel_ml,
        reference_volume_ml=int(theirs.sum()) * voxel_ml,
    )


def _counted_voxels(shape: tuple[int, ...], exclude: "Collection[SliceKey]") -> NDArray[np.bool_]:
    counted = np.ones(shape, bool)
    for key in exclude:
        if not 0 <= key.axis < len(shape) or not 0 <= key.index < shape[key.axis]:
            raise SamAdaptError(
                f"Slice {key.index} of axis {key.axis} cannot be excluded: the array has shape {shape}. "
                "Name slices inside it."
            )
        counted[(slice(None),) * key.axis + (key.index,)] = False
    return counted


def _sides(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A voxel and its side neighbours (3, 3, …); none along axes of length one, but for one voxel."""
    offsets = np.abs(np.indices((3,) * len(shape)) - 1)  # (axis, 3, 3, …)
    flat = [axis for axis, length in enumerate(shape) if length == 1 < max(shape)]
    return np.asarray((offsets.sum(0) <= 1) & ~offsets[flat].any(0))


def _surface(mask: NDArray[np.bool_], sides: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage  # type: ignore[import-untyped]  # scipy has no types

    return np.asarray(mask & ~ndimage.binary_erosion(mask, sides))


def _distances(
    origin: NDArray[np.bool_], target: NDArray[np.bool_], step: Spacing, counted: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    from scipy import ndimage

    measured = origin if counted is None else origin & counted
    if not target.any():
        return np.full(np.count_nonzero(measured), np.inf)
    return np.asarray(ndimage.distance_transform_edt(~target, sampling=step)[measured], np.float64)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box of slices around a mask; empty slices where it is empty."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(hits[0]), int(hits[-1]) + 1) if len(hits) else slice(0, 0))
    return tuple(box)


def _as_masks(
    predicted: NDArray[Any], reference: NDArray[Any]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    predicted, reference = np.asarray(predicted, bool), np.asarray(reference, bool)
    _check_same_shape(predicted, reference)
    return predicted, reference


def _check_same_shape(predicted: NDArray[Any], reference: NDArray[Any]) -> None:
    if predicted.shape != reference.shape:
        raise SamAdaptError(
            f"The prediction has shape {predicted.shape}, the reference {reference.shape}: they must agree."
        )


def _checked_spacing(spacing: Spacing, ndim: int) -> Spacing:
    step = tuple(float(value) for value in spacing)
    if len(step) != ndim or not all(0 < value < math.inf for value in step):
        raise SamAdaptError(
            f"The spacing {step} does not fit: give {ndim} lengths in mm, one per array axis."
        )
    return step


def _mean_finite(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
