"""Slices at any places become an even volume: interpolated linearly, each voxel at its true position.

Slices of one series are parallel and their pixels alike, so that each is only shifted against the grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resampled(
    slices: NDArray[np.generic], starts: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.generic]:
    """Values at the voxels of a grid, from slices (N, row, column[, 3]) that begin at `starts`.

    `starts` is (N, 3), in voxels (z, y, x) of the grid, z ascending. Voxels that lie beside the slices get the
    lowest value of all. The result is (z, y, x[, 3]) in the type of `slices`.
    """
    fill = float(slices.min())
    result = np.empty((*shape, *slices.shape[3:]), slices.dtype)
    integer = slices.dtype.kind in "iu"
    for z in range(shape[0]):
        upper = int(np.clip(np.searchsorted(starts[:, 0], z), 1, len(starts) - 1))
        below, above = starts[upper - 1, 0], starts[upper, 0]
        share = float(np.clip((z - below) / (above - below), 0.0, 1.0))
        plane = np.zeros(result.shape[1:])
        for index, weight in ((upper - 1, 1 - share), (upper, share)):
            if weight > 1e-9:
                plane += weight * _shifted(slices[index], starts[index, 1:], shape[1:])
        plane = np.where(np.isfinite(plane), plane, fill)
        result[z] = np.rint(plane) if integer else plane
    return result


def _shifted(
    pixels: NDArray[np.generic], start: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """The slice on (y, x) grid points, bilinear; NaN beside it."""
    values = pixels.astype(np.float64)
    for axis, (begin, count) in enumerate(zip(start, shape, strict=True)):
        values = np.moveaxis(_interpolated(np.moveaxis(values, axis, 0), float(begin), count), 0, axis)
    return values


def _interpolated(values: NDArray[np.float64], begin: float, count: int) -> NDArray[np.float64]:
    """Rows at the places 0 to count - 1 of a grid on which the given ones begin at `begin`."""
    places = np.arange(count) - begin
    places = np.where(np.abs(places - np.rint(places)) < 1e-6, np.rint(places), places)
    lower = np.clip(np.floor(places).astype(int), 0, len(values) - 1)
    upper = np.minimum(lower + 1, len(values) - 1)
    share = (places - lower).reshape(-1, *[1] * (values.ndim - 1))
    mixed: NDArray[np.float64] = np.where(
        share == 0, values[lower], values[lower] * (1 - share) + values[upper] * share
    )
    mixed[(places < 0) | (places > len(values) - 1)] = np.nan
    return mixed
