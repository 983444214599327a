"""Label arithmetic on one slice: what a class's new mask does to the labels that are already there."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError


def merge_class(
    labels: NDArray[Any], mask: NDArray[Any], class_id: int, *, locked: Collection[int] = frozenset()
) -> NDArray[Any]:
    """New labels in which the class's region is `mask`; the caller's arrays stay as they are.

    labels: (H, W) integer ids, 0 background. mask: (H, W) bool. Pixels of the class outside `mask` become
    background. Pixels whose id is in `locked` never change, so a locked class stays as it is even when it is
    `class_id`.
    Raises SamAdaptError when the shapes differ or the id does not fit the labels' type.
    """
    mask = np.asarray(mask, bool)
    if mask.shape != labels.shape:
        raise SamAdaptError(
            f"The mask has shape {mask.shape}, the labels {labels.shape}: use a mask of the same slice."
        )
    largest = np.iinfo(labels.dtype).max
    if not 1 <= class_id <= largest:
        raise SamAdaptError(f"Class id {class_id} does not fit: choose one from 1 to {largest}.")
    merged = labels.copy()
    if class_id in locked:
        return merged
    merged[(labels == class_id) & ~mask] = 0
    merged[mask & ~np.isin(labels, list(locked))] = class_id
    return merged


def components(mask: NDArray[Any], smallest: int = 1) -> list[NDArray[np.bool_]]:
    """The connected parts of a mask of any dimension that have at least `smallest` pixels; they touch by a side."""
    parts, sizes = _numbered(mask)
    return [np.asarray(parts == i) for i in range(1, len(sizes)) if sizes[i] >= smallest]


def largest_component(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """The largest connected part of a mask of any dimension; parts touch by a side of a pixel.

    All False where the mask is empty; of equally large parts the first in array order.
    """
    parts, sizes = _numbered(mask)
    if len(sizes) < 3:  # one part, or none
        return np.array(mask, bool)
    return np.asarray(parts == sizes.argmax())


def _numbered(mask: NDArray[Any]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """The number of each pixel's part, from 1 in array order, and the size of each part; 0 for the background."""
    from skimage.measure import label

    parts = label(np.asarray(mask, bool), connectivity=1)  # type: ignore[no-untyped-call]  # as it ships
    sizes = np.bincount(parts.ravel(), minlength=1)
    sizes[0] = 0
    return parts, sizes
