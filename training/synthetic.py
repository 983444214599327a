"""Batches of generated images with label maps, on which `mini` is trained. No image comes from a patient.

Two families: the argmax of smooth noise at random scales, and bodies: a warped outline with layers of wall and
organs, lumens, tubes and touching copies inside. A random appearance follows: few tissue classes, so that
neighbours hardly differ, texture, blur, noise, speckle, bias field, gamma, inversion, low resolution, windowing,
sectors, shadows, rings and colour.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class SyntheticBatch:
    """`images` (B, 3, S, S) float32 in [0, 1]; `labels` (B, S, S) int64, 0 outside the body or nothing."""

    images: Tensor
    labels: Tensor


def synthetic_batch(count: int, size: int, generator: torch.Generator) -> SyntheticBatch:
    """`count` images of `size` x `size` pixels; the same generator state gives the same images."""
    draw = Draw(generator)
    noise_count = int((draw.uniform(count) < 0.25).sum())
    parts = [noise_labels(noise_count, size, draw), body_labels(count - noise_count, size, draw)]
    labels = torch.cat([part for part in parts if len(part)])
    images = appearance(labels, draw)
    return SyntheticBatch(images, labels)


@dataclass(frozen=True)
class Draw:
    """Random numbers from one generator."""

    generator: torch.Generator

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(shape, generator=self.generator) * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=self.generator)

    def smooth(self, count: int, channels: int, size: int, cells: int) -> Tensor:
        """Smooth noise (count, channels, size, size) with about `cells` bumps along a side, unit variance."""
        coarse = self.normal(count, channels, cells + 3, cells + 3)
        fine = F.interpolate(
            coarse, size=size + 2 * (size // (cells + 1)), mode="bicubic", align_corners=False
        )
        margin = size // (cells + 1)
        fine = fine[:, :, margin : margin + size, margin : margin + size]
        return fine / fine.std(dim=(2, 3), keepdim=True).clamp_min(1e-3)


def noise_labels(count: int, size: int, draw: Draw) -> Tensor:
    """Label maps (B, S, S): the argmax of smooth noise whose scale differs from label to label."""
    maps = []
    for _ in range(count):
        cells = [int(c) for c in draw.integers(2, 14, 2)]
        number = int(draw.integers(3, 10, 1))
        fields = torch.cat([draw.smooth(1, number, size, c) for c in cells], dim=1)[0]
        maps.append((fields + 0.6 * draw.normal(2 * number, 1, 1)).argmax(0))
    return torch.stack(maps) if maps else torch.empty(0, size, size, dtype=torch.int64)


def _grid(count: int, size: int, draw: Draw) -> tuple[Tensor, Tensor]:
    """Coordinates (B, S, S) in [-1, 1], warped smoothly, turned and stretched."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    coarse = draw.smooth(count, 2, size, 3) * draw.uniform(count, 1, 1, 1, high=0.09)
    fine = draw.smooth(count, 2, size, 10) * draw.uniform(count, 1, 1, 1, high=0.025)
    warp = coarse + fine
    return y + warp[:, 0], x + warp[:, 1]


def _super_ellipse(
    y: Tensor, x: Tensor, cy: Tensor, cx: Tensor, ry: Tensor, rx: Tensor, angle: Tensor, power: Tensor
) -> Tensor:
    """|u/rx|^p + |v/ry|^p (B, S, S): below 1 inside; every parameter is (B,)."""
    cy, cx, ry, rx, angle, power = (t.view(-1, 1, 1) for t in (cy, cx, ry, rx, angle, power))
    cos, sin = angle.cos(), angle.sin()
    u = (x - cx) * cos + (y - cy) * sin
    v = (y - cy) * cos - (x - cx) * sin
    return (u / rx).abs() ** power + (v / ry).abs() ** power


SHAPES = 26


def body_labels(count: int, size: int, draw: Draw) -> Tensor:
    """Label maps (B, S, S): a body with wall layers, organs, hollow organs, tubes and touching copies."""
    if not count:
        return torch.empty(0, size, size, dtype=torch.int64)
    y, x = _grid(count, size, draw)
    labels = torch.zeros(count, size, size, dtype=torch.int64)
    zero = torch.zeros(count)
    ry, rx = draw.uniform(count, low=0.55, high=1.15), draw.uniform(count, low=0.55, high=1.15)
    tilt, power = draw.normal(count) * 0.3, draw.uniform(count, low=1.7, high=3.5)
    cy, cx = draw.normal(count) * 0.08, draw.normal(count) * 0.08
    body = _super_ellipse(y, x, cy, cx, ry, rx, tilt, power)
    full_frame = draw.uniform(count).view(-1, 1, 1) < 0.15
    inside = (body < 1) | full_frame
    labels[inside] = 1
    for layer in (2, 3):  # skin, fat, muscle, skull: thin shells
        shrink = draw.uniform(count, low=0.015, high=0.14).view(-1, 1, 1) * (layer - 1)
        present = draw.uniform(count).view(-1, 1, 1) < 0.6
        labels[(body < (1 - shrink).clamp_min(0.2) ** 2.2) & present] = layer
    next_label = 4
    previous = (zero, zero, zero + 0.2, zero + 0.2, zero)
    for _ in range(SHAPES):
        present = (draw.uniform(count) < 0.62).view(-1, 1, 1)
        previous = _one_shape(labels, y, x, inside & present, next_label, previous, draw)
        next_label += 2
    return labels


Shape = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def _one_shape(
    labels: Tensor, y: Tensor, x: Tensor, where: Tensor, label: int, previous: Shape, draw: Draw
) -> Shape:
    """Draw one organ (label, and label + 1 for what is inside) in each image, in place."""
    count = len(labels)
    radius = torch.exp(draw.uniform(count, low=math.log(0.025), high=math.log(0.5)))
    aspect = torch.exp(draw.normal(count) * 0.45)
    ry, rx = radius * aspect.sqrt(), radius / aspect.sqrt()
    cy, cx = draw.uniform(count, low=-0.85, high=0.85), draw.uniform(count, low=-0.85, high=0.85)
    angle = draw.uniform(count, high=math.pi)
    # Touching copies: the same size beside the last one (kidney pairs, bowel loops, vertebrae).
    copy = draw.uniform(count) < 0.2
    direction = draw.uniform(count, high=2 * math.pi)
    step = (previous[2] + previous[3]) * draw.uniform(count, low=0.95, high=1.3)
    ry, rx = torch.where(copy, previous[2], ry), torch.where(copy, previous[3], rx)
    cy = torch.where(copy, previous[0] + step * direction.sin(), cy)
    cx = torch.where(copy, previous[1] + step * direction.cos(), cx)
    angle = torch.where(copy, previous[4], angle)

    field = _super_ellipse(y, x, cy, cx, ry, rx, angle, draw.uniform(count, low=1.4, high=4.0))
    # A tube or a bean: the shape bent along a parabola, long and thin.
    bent = draw.uniform(count) < 0.3
    bend = (draw.normal(count) * 1.5).view(-1, 1, 1) * (x - cx.view(-1, 1, 1)) ** 2
    tube = _super_ellipse(y - bend, x, cy, cx, ry * 0.35, rx * 1.8, angle, torch.full((count,), 2.0))
    field = torch.where(bent.view(-1, 1, 1), tube, field)
    shape = (field < 1) & where
    labels[shape] = label
    hollow = (draw.uniform(count) < 0.3).view(-1, 1, 1)
    wall = draw.uniform(count, low=0.35, high=0.85).view(-1, 1, 1)
    labels[(field < wall**2) & where & hollow] = label + 1
    return cy, cx, ry, rx, angle


LABELS = 4 + 2 * SHAPES


def appearance(labels: Tensor, draw: Draw) -> Tensor:
    """Images (B, 3, S, S) in [0, 1] of label maps (B, S, S)."""
    count, size = len(labels), labels.shape[-1]
    image = _paint(labels, draw)
    image = image + _textures(labels, draw)
    image = _blur(image, draw)
    image = _zoom(image, draw)
    bias = (draw.smooth(count, 1, size, 2) * draw.uniform(count, 1, 1, 1, high=0.25)).exp()
    image = image * torch.where(draw.uniform(count, 1, 1, 1) < 0.5, bias, torch.ones_like(bias))
    image = _noise(image, draw)
    image = _artefacts(image, draw)
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    image = (image - low) / (high - low).clamp_min(1e-3)
    cut = draw.uniform(count, 2, 1, 1, high=0.25) * (draw.uniform(count, 1, 1, 1) < 0.6)
    image = ((image - cut[:, :1]) / (1 - cut[:, :1] - cut[:, 1:])).clamp(0, 1)  # a random window
    image = image ** torch.exp(draw.normal(count, 1, 1, 1) * 0.3)
    inverted = draw.uniform(count, 1, 1, 1) < 0.15
    image = torch.where(inverted, 1 - image, image)
    return image.expand(-1, 3, -1, -1).contiguous() if image.shape[1] == 1 else image


def _paint(labels: Tensor, draw: Draw) -> Tensor:
    """A mean for each label: few tissue classes, small differences between labels of one class."""
    count = len(labels)
    channels = 3
    tissues = draw.uniform(count, 9, channels)
    grey = (draw.uniform(count, 1, 1) < 0.8).float()
    tissues = grey * tissues[..., :1] + (1 - grey) * tissues
    number = draw.integers(2, 10, count, 1).expand(-1, LABELS)
    member = (draw.uniform(count, LABELS) * number).long()
    means = torch.gather(tissues, 1, member[..., None].expand(-1, -1, channels))
    spread = draw.uniform(count, 1, 1, high=0.12)
    means = means + spread * draw.normal(count, LABELS, 1)
    dark = (draw.uniform(count) < 0.75).view(-1, 1)
    means[:, 0] = torch.where(dark, torch.zeros(()), means[:, 0])
    flat = torch.gather(means, 1, labels.flatten(1)[..., None].expand(-1, -1, channels))
    return flat.transpose(1, 2).reshape(count, channels, *labels.shape[1:])


def _textures(labels: Tensor, draw: Draw) -> Tensor:
    """Smooth and fine texture (B, 1, S, S) whose strength differs from label to label."""
    count, size = len(labels), labels.shape[-1]
    coarse = draw.smooth(count, 1, size, int(draw.integers(6, 40, 1)))
    fine = draw.smooth(count, 1, size, int(draw.integers(size // 4, size // 2, 1)))
    strength = draw.uniform(count, LABELS, high=0.1) * (draw.uniform(count, LABELS) < 0.5)
    choice = (draw.uniform(count, LABELS) < 0.5).float()
    strength[:, 0] = 0
    flat = labels.flatten(1)
    amount = torch.gather(strength, 1, flat).view(count, 1, size, size)
    mix = torch.gather(choice, 1, flat).view(count, 1, size, size)
    return amount * (mix * coarse + (1 - mix) * fine)


def _blur(image: Tensor, draw: Draw) -> Tensor:
    """Gaussian blur with a sigma of its own for each image, up to 1.2 % of the side."""
    size = image.shape[-1]
    sigma = draw.uniform(len(image), high=0.012 * size).clamp_min(0.2)
    reach = math.ceil(2.5 * 0.012 * size)
    taps = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-(taps**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(image.shape[1], 0)
    flat = image.reshape(1, -1, size, size)
    flat = F.conv2d(
        F.pad(flat, (reach, reach, 0, 0), mode="replicate"), kernel[:, None, None], groups=len(kernel)
    )
    flat = F.conv2d(
        F.pad(flat, (0, 0, reach, reach), mode="replicate"), kernel[:, None, :, None], groups=len(kernel)
    )
    return flat.view_as(image)


def _zoom(image: Tensor, draw: Draw) -> Tensor:
    """A third of the images are acquired at a lower resolution and enlarged."""
    size = image.shape[-1]
    chosen = draw.uniform(len(image)) < 0.35
    small = max(24, int(size * float(draw.uniform(1, low=0.3, high=0.8))))
    if chosen.any():
        low = F.interpolate(image[chosen], size=small, mode="area")
        image = image.clone()
        image[chosen] = F.interpolate(low, size=size, mode="bicubic", align_corners=False)
    return image


def _noise(image: Tensor, draw: Draw) -> Tensor:
    count, _, size, _ = image.shape
    white = draw.normal(count, 1, size, size)
    correlated = draw.smooth(count, 1, size, size // 2)
    kind = draw.uniform(count, 1, 1, 1)
    noise = torch.where(kind < 0.5, white, correlated)
    additive = noise * draw.uniform(count, 1, 1, 1, high=0.09)
    speckle = image * noise * draw.uniform(count, 1, 1, 1, high=0.45)
    return image + torch.where(kind.fmod(0.25) < 0.19, additive, speckle)


def _artefacts(image: Tensor, draw: Draw) -> Tensor:
    """Shadows and a sector (ultrasound), rings or streaks (CT), and light that falls off (endoscopy)."""
    count, size = len(image), image.shape[-1]
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    kind = draw.uniform(count).view(-1, 1, 1, 1)
    apex = draw.uniform(count, 1, 1, low=-2.2, high=-1.05)
    angle = torch.atan2(x.expand(count, -1, -1), y - apex)
    profile = draw.smooth(count, 1, size, 8)[:, 0]
    column = ((angle / math.pi * 2 + 1) / 2 * (size - 1)).long().clamp(0, size - 1)
    shadow = torch.gather(profile[:, 0], 1, column.flatten(1)).view(count, 1, size, size)
    opening = draw.uniform(count, 1, 1, low=0.35, high=0.8)
    sector = ((angle.abs() < opening) & (y > -1.0)).float()[:, None]
    ultrasound = image * torch.sigmoid(1.5 + shadow * 1.2) * sector
    radius = ((x - draw.normal(count, 1, 1) * 0.2) ** 2 + (y - draw.normal(count, 1, 1) * 0.2) ** 2).sqrt()
    rings = 0.03 * torch.sin(radius * draw.uniform(count, 1, 1, low=20, high=90))[:, None]
    light = torch.exp(-1.2 * radius**2)[:, None]
    image = torch.where(kind < 0.07, ultrasound, image)
    image = torch.where((kind > 0.9) & (kind < 0.95), image + rings, image)
    return torch.where(kind > 0.95, image * light, image)
