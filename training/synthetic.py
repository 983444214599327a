"""Generated images with label maps, on which `mini` is trained. No image comes from a patient.

A phantom is either a body (an outline with wall and cavity, organs, pairs, rows, tubes, trees and lesions; see
`shapes`) or a set of regions (the argmax of smooth noise). Every phantom has three dimensions: a plain image is its
middle slice, and some images show the slices below and above in their first and last channel. A look follows: CT,
MR, ultrasound, X-ray, colour or anything (see `tissues` and `appearance`).

The rule of labels: 0 is outside or nothing, 1 the body's ground; for k >= 1 the labels 2k and 2k + 1 belong to one
organ, 2k being its wall and 2k + 1 what is inside it. The labels are below LABELS, which is below 128.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .appearance import Scene, render
from .random_fields import Draw, Slices
from .raster import Canvas, make_grid, region_labels
from .shapes import draw_phantom
from .tables import LABELS, LAYOUTS
from .tissues import LOOKS, XRAY, pick_looks

__all__ = [
    "LABELS",
    "LOOKS",
    "SyntheticBatch",
    "SyntheticVolumes",
    "organ_of",
    "synthetic_batch",
    "synthetic_volumes",
]

REGIONS = 0.2
"""The share of phantoms without a body."""

NEIGHBOURS = 0.12
"""The share of images whose channels are three neighbouring slices."""


@dataclass(frozen=True)
class SyntheticBatch:
    """`images` (B, 3, S, S) float32 in [0, 1]; `labels` (B, S, S) int64, 0 outside the body or nothing.

    `looks` (B,) int64: the index into LOOKS of each image. `organ_of(labels)` merges an organ's parts.
    """

    images: Tensor
    labels: Tensor
    looks: Tensor


@dataclass(frozen=True)
class SyntheticVolumes:
    """`images` (B, Z, 3, S, S) float32 in [0, 1]; `labels` (B, Z, S, S) int64; `looks` (B,) as in SyntheticBatch.

    A label keeps its id, its mean and its texture in every slice of a volume.
    """

    images: Tensor
    labels: Tensor
    looks: Tensor


def organ_of(labels: Tensor) -> Tensor:
    """The organ of each label, of any shape: 2k for 2k and 2k + 1; 0 and 1 stay as they are."""
    return torch.where(labels > 1, labels // 2 * 2, labels)


def synthetic_batch(
    count: int, size: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> SyntheticBatch:
    """`count` images of `size` x `size` pixels; the same generator state gives the same images."""
    draw = Draw(generator, torch.device(device))
    stacked = draw.chance(NEIGHBOURS, count)
    spacing = draw.log_uniform(count, low=0.01, high=0.05) * stacked
    owner = torch.arange(count, device=draw.device).repeat_interleave(torch.where(stacked, 3, 1))
    first = torch.where(stacked, 3, 1).cumsum(0) - torch.where(stacked, 3, 1)
    step = torch.arange(len(owner), device=draw.device) - first[owner] - stacked[owner].long()
    slices = Slices(owner, step * spacing[owner], spacing, size)
    images, labels, looks = _pictures(draw, slices)
    middle = first + stacked.long()
    channels = images[middle]
    for channel, away in ((0, -1), (2, 1)):
        channels[stacked, channel] = images[middle[stacked] + away, channel]
    return SyntheticBatch(channels, labels[middle], looks)


def synthetic_volumes(
    count: int, slices: int, size: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> SyntheticVolumes:
    """`count` phantoms of `slices` equally spaced slices of `size` x `size` pixels."""
    draw = Draw(generator, torch.device(device))
    spacing = draw.log_uniform(count, low=0.012, high=0.09)
    owner = torch.arange(count, device=draw.device).repeat_interleave(slices)
    step = torch.arange(slices, device=draw.device).repeat(count) - (slices - 1) / 2
    stack = Slices(owner, step * spacing[owner], spacing * (slices - 1) / 2, size)
    images, labels, looks = _pictures(draw, stack)
    return SyntheticVolumes(
        images.view(count, slices, 3, size, size), labels.view(count, slices, size, size), looks
    )


def _pictures(draw: Draw, slices: Slices) -> tuple[Tensor, Tensor, Tensor]:
    """Images (I, 3, S, S) and labels (I, S, S) of the slices, and the looks (V,) of their volumes."""
    looks, layouts = pick_looks(draw, slices.volumes)
    close = (layouts == LAYOUTS.index("close")) | (layouts == LAYOUTS.index("lesion"))
    scale = draw.uniform(slices.volumes, low=0.85, high=1.25)
    scale = torch.where(close, draw.uniform(slices.volumes, low=0.5, high=1.1), scale)
    grid = make_grid(draw, slices, draw.normal(slices.volumes) * 0.25, scale)
    phantom = draw_phantom(draw, layouts, slices.half)
    canvas = Canvas(grid, phantom, looks == XRAY)
    canvas.solids()
    canvas.tubes()
    labels = canvas.labels()
    plain = (draw.chance(REGIONS, slices.volumes) & (looks != XRAY))[slices.owner].nonzero()[:, 0]
    if len(plain):
        regions = region_labels(draw, slices.subset(plain))
        labels[plain] = (2 * regions + 2) * (regions > 0)
    depth = canvas.depth.view_as(labels).float() / 65536 if len(canvas.depth) else canvas.depth
    images, labels = render(draw, Scene(labels, depth, looks, slices))
    return images, labels, looks
