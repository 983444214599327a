"""The slices between two labelled ones: each structure's signed distance map is interpolated linearly.

The classical shape-based interpolation (Raya and Udupa 1990, doi:10.1109/42.52980), for several structures at once.
It suits structures that overlap from slice to slice; one that moves by more than its width shrinks on the way.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError


def interpolate_shapes(
    first: NDArray[Any], last: NDArray[Any], count: int, spacing: tuple[float, float] = (1.0, 1.0)
) -> NDArray[Any]:
    """The `count` label slices between two: (count, H, W) ids, 0 background, evenly spaced from `first` to `last`.

    first, last: (H, W) integer ids of two slices of one axis. spacing: pixel size (row, column), in any unit.
    A structure that only one of the two shows shrinks towards its deepest pixel there. Where structures meet, the
    one that lies deeper gets the pixel. Raises SamAdaptError when the shapes differ.
    """
    if first.shape != last.shape or first.ndim != 2:
        raise SamAdaptError(
            f"The slices have shapes {first.shape} and {last.shape}: interpolate between slices of one axis."
        )
    between = np.zeros((count, *first.shape), first.dtype)
    best = np.full(between.shape, -np.inf, np.float32)
    steps = np.arange(1, count + 1, dtype=np.float32)[:, None, None]
    for class_id in np.union1d(first[first > 0], last[last > 0]):
        place = _around((first == class_id) | (last == class_id))
        start, end = _both_depths(first[place] == class_id, last[place] == class_id, spacing)
        depth = (count + 1 - steps) * start + steps * end  # (count, h, w), times count + 1
        labels, so_far = between[:, *place], best[:, *place]  # views
        wins = (depth >= 0) & (depth > so_far)
        labels[wins] = class_id
        so_far[wins] = depth[wins]
    return between


def _around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The box of a mask (H, W) and one pixel more: no shape between two of its parts reaches farther."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, columns[0] - 1), columns[-1] + 2)


def _both_depths(
    first: NDArray[np.bool_], last: NDArray[np.bool_], spacing: tuple[float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The signed distances of two masks; an empty one is the other one shrunk to its deepest pixel."""
    if not first.any():
        end = signed_distance(last, spacing)
        return end - end.max(), end
    start = signed_distance(first, spacing)
    return start, signed_distance(last, spacing) if last.any() else start - start.max()


def signed_distance(
    mask: NDArray[np.bool_], spacing: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.float32]:
    """How deep each pixel (H, W) lies inside a mask that is not empty, negative outside; in the unit of `spacing`.

    Distances are between pixel centres, less half a pixel, so that a mask and its complement add up to zero.
    """
    from scipy import ndimage  # type: ignore[import-untyped]  # scipy has no types

    half = min(spacing) / 2
    if mask.all():
        return np.full(mask.shape, np.hypot(*(np.array(mask.shape) * spacing)), np.float32)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    return np.asarray(np.where(mask, inside - half, half - outside), np.float32)
