"""Looking closer: a small structure on a slice larger than the model's input is asked for once more, in a part of it.

A slice is scaled to the model's input, so on a large one what is a few pixels wide is lost. The part is seen at the
slice's own resolution at most: finer than that there is nothing to see.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.prompts import Prompts, box_of

from .predict import ImageEmbedding, MaskPrediction, decode_mask
from .promptable_sam import PromptableSam

SURROUNDINGS = 3.0
"""A part is about so many times as wide as what the prompts ask for."""
LARGEST_PART = 0.75
"""A part that takes more of the slice's longer side shows too little more."""

Part = tuple[int, int, int, int]
"""Rows from the first to before the second, columns from the third to before the fourth."""

Pixel = TypeVar("Pixel", bound=np.generic)
Look = Callable[[Part], ImageEmbedding]
"""The embedding of a part of a slice."""


def cut(image: NDArray[Pixel], part: Part) -> NDArray[Pixel]:
    """A part of a slice (H, W, ...)."""
    top, bottom, left, right = part
    return image[top:bottom, left:right]


def part_around(extent: NDArray[np.floating], shape: tuple[int, int], input_size: int) -> Part | None:
    """The part to look at for an extent (4,) XYXY of a slice (H, W); None where the whole slice does as well.

    Its size grows in steps and its place moves in steps, so that similar prompts share it.
    """
    wanted = max(SURROUNDINGS * float(max(extent[2] - extent[0], extent[3] - extent[1])), input_size)
    side = round(input_size * math.sqrt(2) ** math.ceil(2 * math.log2(wanted / input_size) - 1e-6))
    if side > LARGEST_PART * max(shape):
        return None
    middle = (extent[1] + extent[3]) / 2, (extent[0] + extent[2]) / 2
    top, left = (_start(float(m), side, length) for m, length in zip(middle, shape, strict=True))
    return top, min(top + side, shape[0]), left, min(left + side, shape[1])


def _start(middle: float, side: int, length: int) -> int:
    step = max(1, side // 8)
    return max(0, min(round((middle - side / 2) / step) * step, length - side))


def decode_closely(
    sam: PromptableSam, embedding: ImageEmbedding, prompts: Prompts, look: Look
) -> MaskPrediction:
    """As `decode_mask`; where the structure is small, in a part of the slice too: what the model trusts more is kept.

    A single click does not tell how large the structure is: it is answered from the whole slice.
    """
    whole = decode_mask(sam, embedding, prompts)
    if prompts.single_click:
        return whole
    part = part_around(_extent(prompts, whole.mask), embedding.original_size, sam.input_size)
    if part is None:
        return whole
    near = decode_mask(sam, look(part), _inside(prompts, part))
    if near.score <= whole.score:
        return whole
    mask = np.zeros_like(whole.mask)
    cut(mask, part)[:] = near.mask
    return replace(near, mask=mask)


def _extent(prompts: Prompts, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The box (4,) XYXY around everything that was asked for: box, clicks, the mask so far, else the mask found."""
    corners = [prompts.point_coords, prompts.point_coords]
    if prompts.box is not None:
        corners = [*corners, prompts.box.reshape(2, 2)]
    shown = mask if prompts.box is None else prompts.mask_input
    if shown is not None and shown.any():
        corners = [*corners, box_of(shown).reshape(2, 2)]
    every = np.concatenate(corners).astype(float)
    return np.concatenate([every.min(0), every.max(0)])


def _inside(prompts: Prompts, part: Part) -> Prompts:
    """The prompts in the pixels of a part."""
    top, bottom, left, right = part
    corner = np.array([left, top], np.float32)
    box, mask = prompts.box, prompts.mask_input
    if box is not None:
        high = np.array([right - left, bottom - top], np.float32) - 0.5
        box = np.clip(box.reshape(2, 2) - corner, -0.5, high).reshape(4)
    return Prompts(
        prompts.point_coords - corner, prompts.point_labels, box, None if mask is None else cut(mask, part)
    )
