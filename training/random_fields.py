"""Random numbers and smooth random fields, shared by every part of the image generator."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draw:
    """Random numbers from one generator, moved to `device`."""

    generator: torch.Generator
    device: torch.device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return (
            self._moved(torch.rand(shape, generator=self.generator, device=self.generator.device))
            * (high - low)
            + low
        )

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        return self.uniform(*shape, low=math.log(low), high=math.log(high)).exp()

    def normal(self, *shape: int) -> Tensor:
        return self._moved(torch.randn(shape, generator=self.generator, device=self.generator.device))

    def chance(self, probability: float | Tensor, *shape: int) -> Tensor:
        """Bool of `shape`: true with `probability` (a number, or a tensor that broadcasts to `shape`)."""
        return self.uniform(*shape) < probability

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """int64 of `shape` from `low` to `high - 1`."""
        return (self.uniform(*shape) * (high - low)).long() + low

    def pick(self, weights: Tensor) -> Tensor:
        """One index (...) for each row of `weights` (..., N), drawn in proportion to them."""
        ladder = weights.cumsum(-1)
        place = self.uniform(*weights.shape[:-1], 1) * ladder[..., -1:]
        return (place > ladder).sum(-1).clamp_max(weights.shape[-1] - 1)

    def _moved(self, numbers: Tensor) -> Tensor:
        return numbers.to(self.device)


@dataclass(frozen=True)
class Slices:
    """Which slice of which volume each image is; lengths are in half image sides.

    `owner` (I,) int64: the volume of each image; `z` (I,): the height of its slice, 0 in the middle;
    `half` (V,): half the height of each volume's stack, 0 for a single slice; `size`: pixels along a side.
    """

    owner: Tensor
    z: Tensor
    half: Tensor
    size: int

    @property
    def volumes(self) -> int:
        return len(self.half)

    def __len__(self) -> int:
        return len(self.owner)

    def subset(self, images: Tensor) -> "Slices":
        """The slices of some images; the volumes stay as they are."""
        return Slices(self.owner[images], self.z[images], self.half, self.size)


def power(base: Tensor, exponent: Tensor) -> Tensor:
    """`base ** exponent` for a base that is not negative; far faster on a CPU than the operator."""
    return (base.log() * exponent).exp()


def bell(square: Tensor) -> Tensor:
    """exp(-square), exactly 0 where it hardly differs: numbers below the normal range are very slow to multiply."""
    return square.clamp_max(10).neg().exp() * (square < 10)


def smooth(draw: Draw, slices: Slices, channels: int, cells: float | Tensor, most: int = 0) -> Tensor:
    """Smooth noise (I, channels, S, S) of zero mean and unit variance, coherent between slices of a volume.

    `cells`: bumps along a side; a tensor (V,) of these needs their upper bound `most`.
    """
    size, volumes = slices.size, slices.volumes
    if not isinstance(cells, Tensor):
        most, cells = math.ceil(cells), torch.full((volumes,), float(cells), device=draw.device)
    knots = most + 4
    place = (torch.arange(size, device=draw.device) + 0.5) / size * cells[:, None] + 1
    place = place + draw.uniform(volumes, 1)
    away = place[:, :, None] - torch.arange(knots, device=draw.device)
    basis = bell(1.4 * away**2)
    basis = (basis / basis.pow(2).sum(2, keepdim=True).sqrt())[slices.owner]  # (I, S, knots)
    coarse = _coherent(draw, slices, cells, channels * knots * knots)
    count = len(slices)
    coarse = coarse.view(count, knots, channels * knots)
    rows = torch.bmm(basis, coarse).view(count, size * channels, knots)
    return torch.bmm(rows, basis.transpose(1, 2)).view(count, size, channels, size).transpose(1, 2)


def _coherent(draw: Draw, slices: Slices, cells: Tensor, length: int) -> Tensor:
    """White noise (I, length) that turns slowly from slice to slice of a volume."""
    first = draw.normal(slices.volumes, length)[slices.owner]
    turn = (slices.z * cells[slices.owner] * 0.8)[:, None]
    second = draw.normal(slices.volumes, length)[slices.owner]
    return turn.cos() * first + turn.sin() * second
