"""Prompts as shapes on a slice: how they are outlined, which one lies under the mouse, and how one is moved or taken
away.

All coordinates are pixels (x, y) of the slice; pixel centres are whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts, box_of

Path = NDArray[np.float64]
"""(N, 2) float64, (x, y) in pixels."""
_DOTS_PER_PIXEL = 2.0
_SCRIBBLE_POINTS = 5
_SCRIBBLE_STEP = 6.0  # pixels between the points of a short scribble


@dataclass(frozen=True)
class Grip:
    """A part of a slice's prompts that the mouse can take: "point" with its number, "corner" of the box with its
    number, "box" or "mask".
    """

    kind: str
    number: int = 0


def dotted(path: Path, *, closed: bool = False) -> Path:
    """A path as evenly spaced dots."""
    if closed and len(path):
        path = np.vstack([path, path[:1]])
    if len(path) < 2:
        return path
    steps = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    places = np.linspace(0.0, along[-1], max(int(along[-1] * _DOTS_PER_PIXEL), 2))
    return np.stack([np.interp(places, along, path[:, side]) for side in (0, 1)], axis=1)


def corners_of(box: NDArray[np.floating]) -> Path:
    """The corners (4, 2) of a box (x0, y0, x1, y1), around it; opposite ones are two apart."""
    x0, y0, x1, y1 = (float(part) for part in box)
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def outline_of(mask: NDArray[np.bool_]) -> Path:
    """Dots along the edges of a mask (H, W)."""
    from skimage.measure import find_contours

    contours = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)  # type: ignore[no-untyped-call]  # as it ships
    if not contours:
        return np.zeros((0, 2))
    return np.concatenate([dotted(contour[:, ::-1] - 1.0) for contour in contours])


def shapes_of(prompts: Prompts) -> Iterator[tuple[Grip, Path]]:
    """Every prompt that is seen, the points first, as the dots it is drawn with."""
    for number, place in enumerate(prompts.point_coords):
        yield Grip("point", number), np.asarray(place, float).reshape(1, 2)
    if prompts.box is not None and not _belongs_to_mask(prompts):
        yield Grip("box"), dotted(corners_of(prompts.box), closed=True)
    if prompts.mask_input is not None:
        yield Grip("mask"), outline_of(prompts.mask_input)


def grip_at(prompts: Prompts, place: Path, reach: NDArray[np.float64]) -> Grip | None:
    """What lies at a pixel (2,), or at most `reach` (2,) pixels away along x and y; a point before an outline."""
    shapes = list(shapes_of(prompts))
    if any(grip.kind == "box" for grip, _ in shapes) and prompts.box is not None:
        corners = [
            (Grip("corner", number), corner[None]) for number, corner in enumerate(corners_of(prompts.box))
        ]
        first_outline = next(number for number, (grip, _) in enumerate(shapes) if grip.kind == "box")
        shapes[first_outline:first_outline] = corners
    near: list[tuple[float, Grip]] = []
    for rank, (grip, dots) in enumerate(shapes):
        if not len(dots):
            continue
        away = float(np.hypot(*((dots - place) / reach).T).min())
        if away <= 1:
            near.append((away if grip.kind == "point" else 10.0 + rank, grip))
    return min(near, key=lambda found: found[0])[1] if near else None


def moved(prompts: Prompts, grip: Grip, by: Path, shape: tuple[int, int]) -> Prompts:
    """The prompts with one of them moved by (2,) pixels, kept inside a slice of shape (H, W)."""
    low, high = np.array([-0.5, -0.5]), np.array([shape[1], shape[0]]) - 0.5
    if grip.kind == "point":
        points = prompts.point_coords.astype(np.float64)
        points[grip.number] = np.clip(points[grip.number] + by, low, high)
        return replace(prompts, point_coords=points)
    if grip.kind == "corner" and prompts.box is not None:
        corners = corners_of(prompts.box)
        fixed = corners[(grip.number + 2) % 4]
        taken = np.clip(corners[grip.number] + by, low, high)
        if np.abs(taken - fixed).min() < 1:
            return prompts
        return replace(prompts, box=np.concatenate([np.minimum(taken, fixed), np.maximum(taken, fixed)]))
    if grip.kind == "box" and prompts.box is not None:
        start, end = prompts.box[:2], prompts.box[2:]
        step = np.clip(by, low - start, high - end)
        return replace(prompts, box=np.concatenate([start + step, end + step]))
    return prompts


def without(prompts: Prompts, grip: Grip) -> Prompts:
    """The prompts without one of them."""
    if grip.kind == "point":
        others = np.arange(len(prompts.point_coords)) != grip.number
        return replace(
            prompts, point_coords=prompts.point_coords[others], point_labels=prompts.point_labels[others]
        )
    if grip.kind == "mask":
        return replace(prompts, mask_input=None, box=None if _belongs_to_mask(prompts) else prompts.box)
    return replace(prompts, box=None)


def last_of(prompts: Prompts) -> Grip | None:
    """The prompt that is taken away where none was chosen."""
    grips = [grip for grip, _ in shapes_of(prompts)]
    points = [grip for grip in grips if grip.kind == "point"]
    return points[-1] if points else grips[-1] if grips else None


def with_mask(prompts: Prompts, mask: NDArray[np.bool_]) -> Prompts:
    """The points, with a mask (H, W) and its box in place of an earlier box or mask."""
    return replace(prompts, mask_input=mask, box=box_of(mask))


def with_points(prompts: Prompts, places: Path, positive: bool) -> Prompts:
    """The prompts and further points (N, 2)."""
    signs = np.full(len(places), int(positive))
    return replace(
        prompts,
        point_coords=np.vstack([prompts.point_coords, places]),
        point_labels=np.concatenate([prompts.point_labels, signs]),
    )


def points_along(path: Path) -> Path:
    """The points that stand for a scribble: up to five, evenly spaced, away from its ends."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    length = float(steps.sum())
    if length < 1:
        return path[:1]
    count = int(np.clip(round(length / _SCRIBBLE_STEP), 2, _SCRIBBLE_POINTS))
    along = np.concatenate([[0.0], np.cumsum(steps)])
    places = (np.arange(count) + 0.5) * length / count
    return np.stack([np.interp(places, along, path[:, side]) for side in (0, 1)], axis=1)


def region_of(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels (H, W) inside a closed path. Raises SamAdaptError where it goes around none."""
    from skimage.draw import polygon2mask

    inside: NDArray[np.bool_] = polygon2mask(shape, path[:, ::-1])  # type: ignore[no-untyped-call]  # as it ships
    if not inside.any():
        raise SamAdaptError("The lasso goes around no pixel: draw around the structure.")
    return inside


def box_around(path: Path) -> tuple[float, float, float, float]:
    """The box (x0, y0, x1, y1) from the first to the last place of a path."""
    (xa, ya), (xb, yb) = path[0], path[-1]
    return min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb)


def _belongs_to_mask(prompts: Prompts) -> bool:
    """True where the box is only that of the mask: one thing for the user."""
    return (
        prompts.box is not None
        and prompts.mask_input is not None
        and bool(prompts.mask_input.any())
        and np.array_equal(prompts.box, box_of(prompts.mask_input))
    )
