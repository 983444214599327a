"""Which slice to annotate next: where the model is unsure and unsteady, far from what was accepted, and not empty.

Before there is an automatic prediction, the middle one of the slices that show something, then those far from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey, Volume, slice_count, take_slice

BORDER = 2
"""Pixels around the predicted structures in which they may really end."""
EMPTY_RANK = 0.1
"""What a slice counts where nothing is predicted, nor beside it: a structure may still be missed there."""
_COARSE = 64


@dataclass(frozen=True)
class Evidence:
    """What the automatic model says of one slice.

    `doubt` in [0, 1], see `doubt`. `changed`: the share of its structures' pixels that the last adapter changed, in
    [0, 1]. `empty`: nothing is predicted.
    """

    doubt: float
    changed: float
    empty: bool


NO_EVIDENCE = Evidence(0.0, 0.0, empty=True)


def doubt(labels: NDArray[np.integer], confidence: NDArray[np.floating]) -> float:
    """How unsure a prediction is: the mean of 1 - `confidence` on its structures and around them; 0 without any.

    labels: (H, W) ids. confidence: (H, W) probability of the winning id. Runs on any thread.
    """
    from scipy import ndimage  # type: ignore[import-untyped]  # scipy has no types

    if not labels.any():
        return 0.0
    region = ndimage.binary_dilation(labels > 0, iterations=BORDER)
    return float(1 - np.asarray(confidence)[region].mean(dtype=np.float64))


def changed_share(before: NDArray[np.integer], after: NDArray[np.integer]) -> float:
    """The share of the pixels that either prediction (H, W) gives to a structure, and the two do not agree on."""
    structures = np.count_nonzero((before > 0) | (after > 0))
    return np.count_nonzero(before != after) / structures if structures else 0.0


def slice_contents(volume: Volume, axis: int, window: Window) -> NDArray[np.float64]:
    """How much each slice along an axis shows, from 0 to 1: the spread of its grey values in the window."""
    contents = np.empty(slice_count(volume.shape, axis))
    for index in range(len(contents)):
        pixels = take_slice(volume.data, SliceKey(axis, index))
        step_y, step_x = (max(1, side // _COARSE) for side in pixels.shape[:2])
        seen = pixels[::step_y, ::step_x].astype(np.float64)
        contents[index] = np.nan_to_num(seen).clip(window.low, window.high).std()
    largest = contents.max()
    return contents / largest if largest > 0 else np.ones_like(contents)


def worths(evidence: Sequence[Evidence]) -> NDArray[np.float64]:
    """How much the model still has to learn from each slice of an axis: doubt and change, its neighbours' included.

    Where it sees nothing on a slice that counts half, and little where there is nothing beside it either.
    """
    largest = max(said.doubt for said in evidence)
    found = []
    for index, said in enumerate(evidence):
        around = [near for near in evidence[max(0, index - 1) : index + 2] if not near.empty]
        beside = float(np.mean([near.doubt for near in around])) if around else 0.0
        if said.empty:
            found.append(max(EMPTY_RANK * largest, beside / 2))
        else:
            found.append(max(said.doubt + said.changed, beside))
    return np.array(found)


def next_index(
    worth: NDArray[np.float64], annotated: Collection[int], candidates: Collection[int]
) -> int | None:
    """The best of the `candidates` (indices of slices) to annotate next, or None where there is none.

    worth: (N,) of every slice, `worths` or `slice_contents`. The farther from the `annotated` slices, the better.
    Of equally good slices it is the one nearest to the middle, then the first.
    """
    if not candidates:
        return None
    scores = worth * _newness(len(worth), annotated)
    middle = (len(worth) - 1) / 2
    return min(candidates, key=lambda index: (-scores[index], abs(index - middle), index))


def _newness(count: int, annotated: Collection[int]) -> NDArray[np.float64]:
    """Slices to the nearest annotated one; the ends of the axis, where structures are cut, count less.

    Left to itself it takes the middle of the axis first, then the middles of what is left.
    """
    index = np.arange(count)
    gaps = 2 * np.minimum(index, count - 1 - index) + 1
    if annotated:
        gaps = np.minimum(gaps, np.abs(np.subtract.outer(index, sorted(annotated))).min(1))
    return gaps.astype(np.float64)
