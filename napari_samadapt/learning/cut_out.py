"""From a slice's logits to the mask that is shown: never empty, and held by the box that asked for it."""

import torch
from torch import Tensor

from napari_samadapt.imaging.prompts import Prompts

WALL = 1.0
"""A pixel outside the box is so much (in logits) less likely to belong to the structure."""
LOWEST_LEVEL = -1.0
"""A mask from a box alone is cut out at this logit at the lowest."""
EXTENT_KEPT = 0.92
"""It is cut out as high as it can be with this part of the area that the box around it has at the lowest level."""
_LEVELS = 16


def cut_out(logits: Tensor, prompts: Prompts) -> Tensor:
    """The mask (H, W) bool of logits (H, W).

    A box that was drawn says where the structure ends, if not to the pixel: what lies outside has to be likelier to be
    taken in. Where it is the only prompt, the mask also comes near its sides, as far as the model goes along: a bent
    end of low contrast is less likely than the rest, and is lost at even odds.
    """
    inside = _box_of_pixels(logits, prompts)
    if inside is None or not inside.any():
        return above_even_odds(logits)
    mask = above_even_odds(torch.where(inside, logits, logits - WALL))
    if len(prompts.point_coords):
        return mask
    held = logits.masked_fill(~inside, -torch.inf)
    return mask | (held > _reaching_level(held))


def above_even_odds(logits: Tensor) -> Tensor:
    """Where logits (H, W) are above 0; where none is, what is half as likely as the likeliest pixel.

    Who asks for a structure wants to see where the model would look for it, and can correct that; nothing helps nobody.
    """
    mask = logits > 0
    if mask.any():
        return mask
    probability = logits.sigmoid()
    return probability > probability.max() / 2


def _box_of_pixels(logits: Tensor, prompts: Prompts) -> Tensor | None:
    """The pixels (H, W) bool in the box; None without one, or where it does not count.

    That is so where a click on the structure lies outside, and where it only comes along with a mask, as that of the
    next slice.
    """
    box, clicks = prompts.box, prompts.point_coords
    if box is None or (prompts.mask_input is not None and not len(clicks)):
        return None
    on = clicks[prompts.point_labels == 1]
    if ((on < box[:2]) | (on > box[2:])).any():
        return None
    left, top, right, bottom = box.tolist()
    y, x = (torch.arange(length, device=logits.device) for length in logits.shape)
    inside: Tensor = ((y >= top) & (y <= bottom))[:, None] & ((x >= left) & (x <= right))
    return inside


def _reaching_level(logits: Tensor) -> float:
    """The highest level, 0 to LOWEST_LEVEL, at which a mask is nearly as wide and high as at the lowest."""
    rows, columns = logits.amax(1), logits.amax(0)
    wanted = EXTENT_KEPT * _span(rows, LOWEST_LEVEL) * _span(columns, LOWEST_LEVEL)
    levels = (LOWEST_LEVEL * step / (_LEVELS - 1) for step in range(_LEVELS))
    return next(level for level in levels if _span(rows, level) * _span(columns, level) >= wanted)


def _span(line: Tensor, level: float) -> int:
    """From the first to the last place (L,) above a level, both counted; 0 where there is none."""
    places = (line > level).nonzero()[:, 0]
    return int(places[-1] - places[0]) + 1 if len(places) else 0
