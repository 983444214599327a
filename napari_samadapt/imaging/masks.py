"""Label arithmetic: what a class's new mask does to the labels that are already there, and the parts of masks."""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError

SPECK = 0.05
"""A part with less than this share of the largest part's voxels is a speck."""


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


def in_one_piece(slices: Iterable[NDArray[Any]]) -> set[int]:
    """The ids that have a single connected part in every labelled slice (H, W) that shows them."""
    whole: set[int] = set()
    scattered: set[int] = set()
    for labels in slices:
        for class_id in (int(i) for i in np.unique(labels) if i):
            (scattered if len(components(labels == class_id)) > 1 else whole).add(class_id)
    return whole - scattered


def specks(mask: NDArray[Any], trusted: NDArray[Any] | None = None) -> NDArray[np.bool_]:
    """The parts of a mask (z, y, x) that are small against its largest part, and touch no voxel of `trusted`."""
    found = np.zeros(mask.shape, bool)
    where = np.nonzero(mask.any((1, 2)))[0], np.nonzero(mask.any((0, 2)))[0], np.nonzero(mask.any((0, 1)))[0]
    if not len(where[0]):
        return found
    box = tuple(slice(w[0], w[-1] + 1) for w in where)
    parts, sizes = _numbered(mask[box])
    small = sizes < SPECK * sizes.max()
    small[0] = False
    if trusted is not None:
        small[np.unique(parts[np.asarray(trusted[box], bool)])] = False
    found[box] = small[parts]
    return found


def _numbered(mask: NDArray[Any]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """The number of each pixel's part, from 1 in array order, and the size of each part; 0 for the background."""
    from skimage.measure import label

    parts = label(np.asarray(mask, bool), connectivity=1)  # type: ignore[no-untyped-call]  # as it ships
    sizes = np.bincount(parts.ravel(), minlength=1)
    sizes[0] = 0
    return parts, sizes
