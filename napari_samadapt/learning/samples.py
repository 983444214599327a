"""Accepted slices as training material: samples, batches and augmentation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import SliceKey

from .predict import image_tensor


@dataclass(frozen=True, eq=False)
class TrainingSample:
    """Copies of one accepted slice: `image` (H, W) or (H, W, 3) float32 in [0, 1], `labels` (H, W) of class ids."""

    key: SliceKey
    image: NDArray[np.float32]
    labels: NDArray[np.integer]

    def __post_init__(self) -> None:
        if self.image.shape[:2] != self.labels.shape:
            raise SamAdaptError(
                f"Slice {self.key.index}: the image is {self.image.shape}, its labels {self.labels.shape}."
            )


@dataclass(frozen=True, eq=False)
class SampleTensors:
    """Samples of one size on a device: `images` (N, 3, H, W) float32, `targets` (N, H, W) int64, 0 background."""

    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Tensor | slice) -> "SampleTensors":
        return SampleTensors(self.images[index], self.targets[index])

    def draw(self, count: int, rng: torch.Generator) -> "SampleTensors":
        """Up to `count` different samples."""
        chosen = torch.randperm(len(self), generator=rng)[:count]
        return self.take(chosen.to(self.images.device))


def stack_samples(
    samples: Sequence[TrainingSample], class_ids: Sequence[int], device: torch.device | str
) -> SampleTensors:
    """All samples as tensors; ids become positions in `class_ids` plus one, other ids background.

    Raises SamAdaptError when there is no sample, or their sizes differ.
    """
    if not samples:
        raise SamAdaptError(
            "There is no accepted slice to learn from: accept at least one slice with a label."
        )
    if len({sample.labels.shape for sample in samples}) > 1:
        raise SamAdaptError("The slices to learn from differ in size: use slices of one axis of one volume.")
    images = torch.cat([image_tensor(sample.image) for sample in samples])
    targets = np.stack([_positions(sample.labels, class_ids) for sample in samples])
    return SampleTensors(images.to(device), torch.from_numpy(targets).to(device))


def _positions(labels: NDArray[np.integer], class_ids: Sequence[int]) -> NDArray[np.int64]:
    positions = np.zeros(labels.shape, dtype=np.int64)
    for position, class_id in enumerate(class_ids, start=1):
        positions[labels == class_id] = position
    return positions


def augment(batch: SampleTensors, rng: torch.Generator) -> SampleTensors:
    """Turn, scale, shift and bend each slice a little, and change its contrast, brightness and noise."""
    count, _, height, width = batch.images.shape
    grid = _warp(count, height, width, rng).to(batch.images.device)
    images = F.grid_sample(batch.images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    targets = F.grid_sample(
        batch.targets[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return SampleTensors(change_appearance(images, rng), targets[:, 0].long())


def change_appearance(images: Tensor, rng: torch.Generator) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] in another contrast, brightness and noise."""
    count, _, height, width = images.shape
    gain = 1 + 0.15 * torch.randn(count, 1, 1, 1, generator=rng)
    shift = 0.06 * torch.randn(count, 1, 1, 1, generator=rng)
    gamma = torch.exp(0.15 * torch.randn(count, 1, 1, 1, generator=rng))
    noise = (
        torch.rand(count, 1, 1, 1, generator=rng) * 0.04 * torch.randn(count, 1, height, width, generator=rng)
    )
    gain, shift, gamma, noise = (t.to(images.device) for t in (gain, shift, gamma, noise))
    return ((images.clamp(0, 1) ** gamma - 0.5) * gain + 0.5 + shift + noise).clamp(0, 1)


def _warp(count: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """Sampling grids (B, H, W, 2): rotation up to about 15 degrees, 20 % scale, 8 % shift, smooth bending."""
    angle = math.radians(8) * torch.randn(count, generator=rng)
    scale = torch.exp(0.1 * torch.randn(count, 2, generator=rng))
    shift = 0.06 * torch.randn(count, 2, generator=rng)
    aspect = width / height
    cos, sin = angle.cos(), angle.sin()
    rows = torch.stack([cos * scale[:, 0], -sin * scale[:, 1] / aspect, shift[:, 0]], 1)
    columns = torch.stack([sin * scale[:, 0] * aspect, cos * scale[:, 1], shift[:, 1]], 1)
    grid = F.affine_grid(torch.stack([rows, columns], 1), [count, 1, height, width], align_corners=False)
    bend = 0.025 * torch.randn(count, 2, 5, 5, generator=rng)
    return grid + F.interpolate(bend, size=(height, width), mode="bicubic", align_corners=False).permute(
        0, 2, 3, 1
    )
