"""What a user tells SAM about one slice: points, a box, a previous mask; and prompts sampled from a mask.

Pixel centres lie at integer coordinates, so an image of width W covers x from -0.5 to W - 0.5. Coordinates
are (x, y): x along the last axis of the slice, y along the one before.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .masks import largest_component

BOX_MARGIN = 0.5
"""A box may reach this far (px) beyond the image's edge, so that 0,0,W,H is accepted for the whole image."""


def _no_points() -> NDArray[np.float32]:
    return np.zeros((0, 2), np.float32)


def _no_labels() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Prompts:
    """Prompts for one object on one slice; the arrays are read-only copies.

    point_coords: (N, 2) float32, (x, y) in pixels. point_labels: (N,) int64, 1 for the object, 0 for the
    background. box: (4,) float32 XYXY in pixels, or None. mask_input: (H, W) bool, a previous mask, or None.
    Raises SamAdaptError when a shape, a label or a number is not of this form.
    """

    point_coords: NDArray[Any] = field(default_factory=_no_points)
    point_labels: NDArray[Any] = field(default_factory=_no_labels)
    box: NDArray[Any] | None = None
    mask_input: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        coords, labels = _checked_points(self.point_coords, self.point_labels)
        box = None if self.box is None else _checked_box(self.box)
        mask = None if self.mask_input is None else _checked_mask(self.mask_input)
        fields: dict[str, NDArray[Any] | None] = {
            "point_coords": coords,
            "point_labels": labels,
            "box": box,
            "mask_input": mask,
        }
        for name, value in fields.items():
            if value is not None:
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    @property
    def empty(self) -> bool:
        """True where there is no point, no box and no mask."""
        return not len(self.point_coords) and self.box is None and self.mask_input is None

    @property
    def single_click(self) -> bool:
        """True where one point is all there is: it does not tell which of several structures is meant."""
        return self.box is None and self.mask_input is None and len(self.point_coords) == 1

    def extends(self, other: "Prompts") -> bool:
        """True where these are the points, the box and the mask of `other`, and further points."""
        known = len(other.point_coords)
        return bool(
            _same(self.box, other.box)
            and _same(self.mask_input, other.mask_input)
            and len(self.point_coords) > known
            and np.array_equal(self.point_coords[:known], other.point_coords)
            and np.array_equal(self.point_labels[:known], other.point_labels)
        )

    def check_inside(self, shape_hw: tuple[int, int]) -> None:
        """Raise SamAdaptError naming the first prompt that is not on an image of shape (H, W)."""
        height, width = shape_hw
        size = f"the image is {width} x {height} pixels (x, y)"
        for x, y in self.point_coords:
            if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
                raise SamAdaptError(f"The point ({x:g}, {y:g}) is outside: {size}. Place it inside.")
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            low, right, bottom = -0.5 - BOX_MARGIN, width - 0.5 + BOX_MARGIN, height - 0.5 + BOX_MARGIN
            if min(x0, y0) < low or x1 > right or y1 > bottom:
                raise SamAdaptError(
                    f"The box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) reaches outside: {size}. Draw it inside."
                )
        if self.mask_input is not None and self.mask_input.shape != (height, width):
            rows, columns = self.mask_input.shape
            raise SamAdaptError(
                f"The mask prompt is {columns} x {rows} pixels, but {size}: use a mask of the same slice."
            )


def click_in_error(
    predicted: NDArray[Any], reference: NDArray[Any], rng: np.random.Generator | None = None
) -> tuple[NDArray[np.float32], int]:
    """The click that an annotator would correct a mask with: deep inside the largest wrong region.

    predicted, reference: (H, W) bool. Returns (x, y) float32 and the label: 1 where the object was missed, 0
    where it is too much. Without `rng` the deepest pixel; with it a random one that is at least half as deep.
    Raises SamAdaptError when nothing is wrong, or the shapes differ.
    """
    from scipy import ndimage  # type: ignore[import-untyped]  # scipy has no types

    predicted, reference = np.asarray(predicted, bool), np.asarray(reference, bool)
    if predicted.shape != reference.shape or predicted.ndim != 2:
        raise SamAdaptError(
            f"The masks have shapes {predicted.shape} and {reference.shape}: compare two masks of one slice."
        )
    missed, surplus = largest_component(reference & ~predicted), largest_component(predicted & ~reference)
    label = 1 if missed.sum() >= surplus.sum() else 0
    region = missed if label else surplus
    if not region.any():
        raise SamAdaptError("The mask equals the reference: there is nothing to correct. Accept the slice.")
    # The image's edge counts as an edge of the region: the middle of what is visible is the safer click.
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    candidates = np.argwhere(depth >= depth.max() if rng is None else depth >= depth.max() / 2)
    row, column = candidates[0] if rng is None else candidates[rng.integers(len(candidates))]
    return np.array([column, row], np.float32), label


def anchored(prompts: Prompts) -> Prompts:
    """Clicks that correct a mask, and one more on it: where it is deepest and far from the clicks that take away.

    SAM hardly heeds a mask beside negative clicks: without one on the object the first of them takes most of it away.
    The mask's own box goes: where the mask is too large, so is the box. Other prompts come back as they are.
    """
    from scipy import ndimage

    mask = prompts.mask_input
    if mask is None or not mask.any() or not len(prompts.point_coords):
        return prompts
    place = ndimage.find_objects(mask.astype(np.uint8))[0]
    depth = ndimage.distance_transform_edt(np.pad(mask[place], 1))[1:-1, 1:-1]
    rows, columns = np.ogrid[place]
    for x, y in prompts.point_coords[prompts.point_labels == 0]:
        depth = np.minimum(depth, np.hypot(rows - y, columns - x))
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    deepest = columns[0, column], rows[row, 0]
    return replace(
        prompts,
        box=None if _same(prompts.box, box_of(mask)) else prompts.box,
        point_coords=np.vstack([prompts.point_coords, deepest]),
        point_labels=np.append(prompts.point_labels, 1),
    )


def box_of(
    mask: NDArray[Any], jitter: float = 0.0, rng: np.random.Generator | None = None
) -> NDArray[np.float32]:
    """The box around the outer pixel edges of a mask (H, W): (4,) float32 XYXY px.

    With `jitter` every side moves by a uniform random amount of at most so many pixels, inside the image,
    and the box keeps at least the middle pixel of the mask's extent. Raises SamAdaptError for an empty mask.
    """
    mask = np.asarray(mask, bool)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise SamAdaptError("An empty mask has no box. Choose a slice that shows the object.")
    tight = np.array([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5])
    if jitter:
        tight = tight + (rng or np.random.default_rng(0)).uniform(-jitter, jitter, 4)
    height, width = mask.shape
    middle = np.array([columns[0] + columns[-1], rows[0] + rows[-1]]) / 2
    low = np.clip(tight[:2], -0.5, middle - 0.5)
    high = np.clip(tight[2:], middle + 0.5, np.array([width, height]) - 0.5)
    return np.concatenate([low, high]).astype(np.float32)


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _checked_points(
    coords: NDArray[Any], labels: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    points = np.array(coords, np.float32)
    if points.size == 0:
        points = points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise SamAdaptError(f"Points are (N, 2) finite numbers (x, y), not {np.asarray(coords).tolist()}.")
    signs = np.array(labels)
    if signs.shape != (len(points),):
        raise SamAdaptError(f"Give one label per point: {len(points)} points have {signs.size} labels.")
    if not np.isin(signs, (0, 1)).all():
        raise SamAdaptError(f"Point labels are 1 (object) or 0 (background), not {signs.tolist()}.")
    return points, signs.astype(np.int64)


def _checked_box(box: NDArray[Any]) -> NDArray[np.float32]:
    corners = np.array(box, np.float32)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise SamAdaptError(f"A box is four finite numbers x0, y0, x1, y1, not {np.asarray(box).tolist()}.")
    x0, y0, x1, y1 = corners
    if x0 >= x1 or y0 >= y1:
        raise SamAdaptError(
            f"The box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) has no area: give upper left, then lower right."
        )
    return corners


def _checked_mask(mask: NDArray[Any]) -> NDArray[np.bool_]:
    values = np.array(mask)
    if values.ndim != 2 or values.size == 0:
        raise SamAdaptError(f"A mask prompt is one slice (H, W), not an array of shape {values.shape}.")
    return values.astype(bool)
