"""What SAM-COBOT's rows of natural images do to a picture: put it into a square, then turn, crop and recolour it.

SonarSAM's loader is followed, on which the official code is built, in the order, in the nearest pixel for picture and
mask, and in the strength of the colours. But boxes are drawn round the moved masks; the loader moves the boxes
themselves, which makes them wider when they turn.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_samadapt.learning.predict import resize
from napari_samadapt.learning.promptable_sam import scaled_size

TURN = 30.0
"""Degrees, to either side."""
KEPT_AREA = (0.6, 1.0)
ASPECT = (3 / 4, 4 / 3)
"""Width by height of the part that a crop keeps."""
COLOUR = 0.2
"""Brightness and contrast are multiplied by 1 - COLOUR to 1 + COLOUR."""
GREY = (0.299, 0.587, 0.114)
"""What red, green and blue are to brightness (ITU-R BT.601)."""


def letterbox(image: Tensor, labels: NDArray[np.int64], side: int) -> tuple[Tensor, NDArray[np.int64]]:
    """A picture (1, 3, H, W) in [0, 1] and its labels (H, W) in the middle of a black square of `side` pixels."""
    height, width = size = scaled_size(labels.shape, side)
    top, left = (side - height) // 2, (side - width) // 2
    edges = (left, side - width - left, top, side - height - top)
    pixels = F.pad(resize(image, size).clamp(0, 1), edges)
    numbers = torch.from_numpy(labels)[None, None].double()
    numbers = F.pad(F.interpolate(numbers, size=size, mode="nearest-exact"), edges)
    return pixels, numbers[0, 0].long().numpy()


def augment(
    image: Tensor, labels: NDArray[np.int64], rng: torch.Generator
) -> tuple[Tensor, NDArray[np.int64]]:
    """A square picture (1, 3, S, S) in [0, 1] and its labels (S, S) below 2^24, moved alike; its colours alone change.

    What comes from outside is black and of no class.
    """
    together = torch.cat([image, torch.from_numpy(labels)[None, None].to(image)], 1)
    grid = F.affine_grid(draw_warp(rng)[None], list(together.shape), align_corners=False)
    moved = F.grid_sample(together, grid.to(image), mode="nearest", padding_mode="zeros", align_corners=False)
    return _recolour(moved[:, :3], rng), moved[0, 3].long().cpu().numpy()


def draw_warp(rng: torch.Generator) -> Tensor:
    """Where a pixel comes from (2, 3), from -1 to 1 over the square: a crop out of the turned picture, scaled up."""
    angle = math.radians(_uniform(-TURN, TURN, rng))
    width, height = _draw_crop(rng)
    x, y = _uniform(width - 1, 1 - width, rng), _uniform(height - 1, 1 - height, rng)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cos, -sin], [sin, cos]])
    return turn @ torch.tensor([[width, 0.0, x], [0.0, height, y]])


def _draw_crop(rng: torch.Generator) -> tuple[float, float]:
    """Shares of the side that a crop keeps, (width, height): area and log aspect uniform, drawn until it fits."""
    while True:
        area = _uniform(*KEPT_AREA, rng)
        aspect = math.exp(_uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), rng))
        width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if max(width, height) <= 1:
            return width, height


def _recolour(image: Tensor, rng: torch.Generator) -> Tensor:
    """Another brightness and contrast (about the mean grey), in one order or the other."""
    brightness, contrast = (_uniform(1 - COLOUR, 1 + COLOUR, rng) for _ in range(2))
    first = _uniform(0, 1, rng) < 0.5
    if first:
        image = (image * brightness).clamp(0, 1)
    grey = (image * image.new_tensor(GREY)[:, None, None]).sum(1).mean()
    image = ((image - grey) * contrast + grey).clamp(0, 1)
    return image if first else (image * brightness).clamp(0, 1)


def _uniform(low: float, high: float, rng: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng))
