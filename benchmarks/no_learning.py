"""Masks from a box or from clicks that need no learning: what a model has to beat."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

WALKER_SIDE = 128
"""The random walker runs on a copy of the slice whose longest side is at most this (px): it solves for each pixel."""
WALKER_BETA = 30
"""How hard an edge is to cross. Of 30, 130 (the library's own), 500 and 2000 the best after one click on these sets,
and as good as any after five."""
SEED_RADIUS = 2
"""A click is a disc of this radius (px) on that copy."""
OBJECT, BACKGROUND = 1, 2


def grey(image: NDArray[np.floating]) -> NDArray[np.float32]:
    """(H, W) brightness of a slice (H, W) or (H, W, 3)."""
    return np.asarray(image if image.ndim == 2 else image.mean(axis=-1), np.float32)


def ellipse_in_box(box: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The ellipse (H, W) that touches the four sides of a box XYXY."""
    x0, y0, x1, y1 = (float(side) for side in box)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    across = (columns - (x0 + x1) / 2) / ((x1 - x0) / 2)
    down = (rows - (y0 + y1) / 2) / ((y1 - y0) / 2)
    return np.asarray(across**2 + down**2 <= 1)


def otsu_in_box(image: NDArray[np.floating], box: NDArray[np.floating]) -> NDArray[np.bool_]:
    """The part of a box XYXY on a grey slice (H, W) that stands out, by Otsu's threshold of the box's pixels.

    Of the two sides of the threshold the one that fills most of the middle third of the box; of that side the
    connected part nearest to the centre, its holes filled.
    """
    from scipy import ndimage  # type: ignore[import-untyped]  # scipy has no types
    from skimage.filters import threshold_otsu

    x0, y0, x1, y1 = np.rint(np.asarray(box) + 0.5).astype(int)
    values = image[y0:y1, x0:x1]
    side = values > threshold_otsu(values)  # type: ignore[no-untyped-call]  # as it ships
    height, width = values.shape
    middle = side[height // 3 : height - height // 3, width // 3 : width - width // 3]
    if middle.mean() < 0.5:
        side = ~side
    places = np.argwhere(side)
    centre = (np.array(values.shape) - 1) / 2
    nearest = places[((places - centre) ** 2).sum(axis=1).argmin()]
    parts, _ = ndimage.label(side)
    mask = np.zeros(image.shape, bool)
    mask[y0:y1, x0:x1] = ndimage.binary_fill_holes(parts == parts[tuple(nearest)])
    return mask


class Walker:
    """Random walks from the clicks on one slice: a pixel is the object's where most walks reach it first."""

    def __init__(self, image: NDArray[np.floating]) -> None:
        """Keep a smaller copy of a slice (H, W) or (H, W, 3) in [0, 1]."""
        pixels = grey(image)
        self._shape = pixels.shape
        shrink = min(1.0, WALKER_SIDE / max(pixels.shape))
        size = tuple(max(3, round(side * shrink)) for side in pixels.shape)
        self._small = _resized(pixels, size)

    def mask(self, points: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
        """The mask (H, W) of clicks (N, 2) (x, y) and labels (N,), 1 object, 0 background.

        The border of the slice is background where no click says otherwise.
        """
        from skimage.segmentation import random_walker

        seeds = self._seeds(points, labels)
        if not (seeds == OBJECT).any():
            return np.zeros(self._shape, bool)
        # The direct solver is exact: it gives no warning where the iterative ones have not converged.
        chances = random_walker(self._small, seeds, beta=WALKER_BETA, mode="bf", return_full_prob=True)
        return _resized(chances[0], self._shape) > 0.5

    def _seeds(self, points: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.int64]:
        seeds = np.zeros(self._small.shape, np.int64)
        seeds[[0, -1]] = seeds[:, [0, -1]] = BACKGROUND
        scale = np.array(self._small.shape[::-1]) / np.array(self._shape[::-1])
        places = (np.asarray(points) + 0.5) * scale - 0.5
        rows, columns = np.indices(self._small.shape)
        for radius in (SEED_RADIUS, 0.5):  # no disc hides the middle of another
            for (x, y), label in zip(np.rint(places), labels, strict=True):
                disc = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
                seeds[disc] = OBJECT if label else BACKGROUND
        return seeds


def _resized(pixels: NDArray[np.floating], size: tuple[int, ...]) -> NDArray[np.float32]:
    from skimage.transform import resize

    if pixels.shape == size:
        return np.asarray(pixels, np.float32)
    shrinks = size[0] < pixels.shape[0]
    resized: Any = resize(  # type: ignore[no-untyped-call]  # as it ships
        pixels, size, order=1, mode="edge", anti_aliasing=shrinks
    )
    return np.asarray(resized, np.float32)
