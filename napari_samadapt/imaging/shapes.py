"""Smooth bodies and textures on a grid in millimetres: what the procedural volumes are made of.

A *depth* is an array (z, y, x) of signed distances in mm to a body's surface, negative inside. It is exact
for tubes and balls, and close to the surface for ellipsoids, which is where it is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
Point = tuple[float, float, float]
"""(x, y, z) in mm."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Positions of voxel centres in mm, (z, y, x) float32 each, and the voxel size (dz, dy, dx) in mm."""

    x: Field
    y: Field
    z: Field
    spacing: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.x.shape


def make_grid(shape: tuple[int, int, int], extent: tuple[float, float, float]) -> Grid:
    """A grid of `extent` (z, y, x) mm: x and y are 0 in the middle, z is 0 at the lower end."""
    dz, dy, dx = (length / count for length, count in zip(extent, shape, strict=True))
    z, y, x = np.meshgrid(
        (np.arange(shape[0]) + 0.5) * dz,
        (np.arange(shape[1]) - (shape[1] - 1) / 2) * dy,
        (np.arange(shape[2]) - (shape[2] - 1) / 2) * dx,
        indexing="ij",
    )
    return Grid(x.astype(np.float32), y.astype(np.float32), z.astype(np.float32), (dz, dy, dx))


def warped(grid: Grid, rng: np.random.Generator, amplitude: float, scale: float) -> Grid:
    """The grid pushed about by smooth random shifts with a standard deviation of `amplitude` mm."""
    shifts = [amplitude * smooth_noise(grid, rng, scale) for _ in range(3)]
    return Grid(grid.x + shifts[0], grid.y + shifts[1], grid.z + 0.5 * shifts[2], grid.spacing)


def ellipsoid(grid: Grid, centre: Point, radii: Point) -> Field:
    """Depth of an ellipsoid along the axes; an infinite radius makes a cylinder."""
    parts = [
        (axis - middle) / radius
        for axis, middle, radius in zip((grid.x, grid.y, grid.z), centre, radii, strict=True)
    ]
    level = np.sqrt(sum(part**2 for part in parts))
    slope = np.sqrt(sum((part / radius) ** 2 for part, radius in zip(parts, radii, strict=True)))
    size = np.where(slope > 1e-6, level / np.maximum(slope, 1e-6), min(radii))  # the radius seen from here
    return np.asarray((level - 1) * size, np.float32)


def tube(grid: Grid, points: Sequence[Point], radii: Sequence[float] | float) -> Field:
    """Depth of a tube along a line of points whose radius changes evenly from point to point."""
    widths = [radii] * len(points) if isinstance(radii, int | float) else radii
    depth = np.full(grid.shape, np.inf, np.float32)
    for start, end, first, last in zip(points, points[1:], widths, widths[1:], strict=False):
        line = np.subtract(end, start)
        offset = grid.x - start[0], grid.y - start[1], grid.z - start[2]
        along = sum(part * step for part, step in zip(offset, line.tolist(), strict=True)) / (line @ line)
        along = np.clip(along, 0, 1)
        across = sum((part - along * step) ** 2 for part, step in zip(offset, line.tolist(), strict=True))
        depth = np.minimum(depth, np.sqrt(across) - (first + (last - first) * along))
    return depth


def join(first: Field, second: Field, rounding: float = 0.0) -> Field:
    """Depth of the union of two bodies; their crease is filled over about `rounding` mm."""
    if not rounding:
        return np.asarray(np.minimum(first, second))
    blend = np.maximum(rounding - np.abs(first - second), 0) / rounding
    return np.asarray(np.minimum(first, second) - blend**2 * np.float32(rounding / 4))


def within(first: Field, second: Field, rounding: float = 0.0) -> Field:
    """Depth of what lies inside both bodies; its edge is rounded over about `rounding` mm."""
    return -join(-first, -second, rounding)


def without(body: Field, cut: Field, rounding: float = 0.0) -> Field:
    """Depth of a body after the other one is cut out of it."""
    return within(body, -cut, rounding)


def smooth_noise(grid: Grid, rng: np.random.Generator, scale: float) -> Field:
    """Random field of mean 0 and deviation 1 whose blobs are about `scale` mm large; wraps around."""
    white = rng.standard_normal(grid.shape, np.float32)
    field = blur(white, tuple(scale / (2 * step) for step in grid.spacing))
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), np.float32)


def blur(values: Field, sigmas: Sequence[float]) -> Field:
    """Gaussian blur with a standard deviation in voxels per axis; wraps around the edges."""
    spectrum = np.fft.rfftn(values)
    frequencies = [*(np.fft.fftfreq(n) for n in values.shape[:-1]), np.fft.rfftfreq(values.shape[-1])]
    for axis, (sigma, frequency) in enumerate(zip(sigmas, frequencies, strict=True)):
        gain = np.exp(-2 * (np.pi * sigma * frequency) ** 2)
        spectrum *= gain.reshape([-1 if axis == other else 1 for other in range(values.ndim)])
    return np.asarray(np.fft.irfftn(spectrum, values.shape, axes=range(values.ndim)), np.float32)
