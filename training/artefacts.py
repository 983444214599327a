"""What the machine adds: sectors and shadows, streaks and rings, projection, light, frames and markers."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .random_fields import Draw, Slices, smooth
from .tissues import COLOUR, ULTRASOUND


def _axes(slices: Slices, device: torch.device) -> tuple[Tensor, Tensor]:
    axis = (torch.arange(slices.size, device=device) + 0.5) / slices.size * 2 - 1
    return axis[:, None], axis[None, :]


def _of(values: Tensor, slices: Slices) -> Tensor:
    """Values (V,) for each image: (I, 1, 1)."""
    return values[slices.owner].view(-1, 1, 1)


def ultrasound(draw: Draw, image: Tensor, slices: Slices) -> Tensor:
    """Speckle, shadows and bright trails along the beams, and fading depth, for images (I, 1, S, S)."""
    volumes, size = slices.volumes, slices.size
    y, x = _axes(slices, draw.device)
    apex = _of(draw.uniform(volumes, low=-2.4, high=-1.1), slices)
    flat = _of(draw.chance(0.35, volumes), slices)
    angle = torch.where(flat, x * 0.7, torch.atan2(x.expand(size, size), y - apex))
    distance = torch.where(flat, y + 1, ((y - apex) ** 2 + x**2).sqrt())
    profile = smooth(draw, slices, 1, 9)[:, 0]
    column = ((angle / 1.5 + 1) / 2 * (size - 1)).long().clamp(0, size - 1)
    beam = profile[:, size // 2].gather(1, column.flatten(1)).view_as(angle)
    begin = _of(draw.uniform(volumes, low=0.4, high=1.8), slices) - apex.clamp_min(-1)
    shadow = torch.sigmoid(8 * (beam.abs() - 1.3)) * torch.sigmoid(12 * (distance - begin))
    sign = _of(torch.where(draw.chance(0.7, volumes), -1.6, 0.7), slices)
    fine = draw.normal(2, len(slices), size, size)
    blurred = (fine + fine.roll(1, 3) + fine.roll(-1, 3)) / 3**0.5 + 0.5 * smooth(draw, slices, 1, size / 4)[
        :, 0
    ]
    speckle = (blurred[0] ** 2 + blurred[1] ** 2).sqrt() / 1.4
    strength = _of(draw.uniform(volumes, low=0.2, high=0.7), slices)
    fade = _of(draw.uniform(volumes, low=-0.3, high=0.6), slices)
    grey = image[:, 0].clamp_min(0.01) * (1 - strength + strength * speckle)
    return (grey * (sign * shadow - fade * (y + 0.5)).exp())[:, None]


def projected(draw: Draw, image: Tensor, depth: Tensor, slices: Slices) -> Tensor:
    """An X-ray: the sum of soft layers, `depth` (I, S, S) thick, over a body whose rim is thin."""
    total = depth / depth.flatten(1).amax(1).clamp_min(1e-3).view(-1, 1, 1)
    share = _of(draw.uniform(slices.volumes, low=0.5, high=0.9), slices)
    soft = F.interpolate(F.adaptive_avg_pool2d(image, 12), size=slices.size, mode="bilinear")
    return (1 - share[:, None]) * (0.5 * image + 0.5 * soft) + share[:, None] * total[:, None] ** 0.7


def streaks(draw: Draw, image: Tensor, slices: Slices, ct: Tensor) -> Tensor:
    """Streaks from a point or rings around the middle, in an eighth of the CT images (I, 1, S, S)."""
    volumes = slices.volumes
    kind = draw.uniform(volumes)
    number = draw.uniform(volumes, low=5, high=40)
    middle = draw.normal(2, volumes) * 0.3
    amount = draw.uniform(volumes, low=0.02, high=0.1)
    chosen = (((kind < 0.12) & ct) | (kind < 0.03))[slices.owner].nonzero()[:, 0]
    if not len(chosen):
        return image
    some = slices.subset(chosen)
    y, x = _axes(some, draw.device)
    dy, dx = y - _of(middle[0], some), x - _of(middle[1], some)
    radius = (dy**2 + dx**2).sqrt()
    rays = torch.sin(torch.atan2(dy.expand_as(radius), dx.expand_as(radius)) * _of(number, some).round()) ** 3
    rings = torch.sin(radius * _of(number, some) * 3)
    wave = torch.where(_of(kind.fmod(0.02) < 0.01, some), rays / (0.6 + 2 * radius), rings * 0.6)
    image[chosen] += (wave * _of(amount, some))[:, None]
    return image


def colour_light(draw: Draw, image: Tensor, slices: Slices, gloss: Tensor) -> Tensor:
    """Light that falls off and highlights, for images (I, 3, S, S)."""
    volumes = slices.volumes
    y, x = _axes(slices, draw.device)
    middle = draw.normal(2, volumes) * 0.3
    radius = (y - _of(middle[0], slices)) ** 2 + (x - _of(middle[1], slices)) ** 2
    fall = draw.uniform(volumes, high=0.9) * draw.chance(0.7, volumes)
    light = torch.exp(-_of(fall, slices) * radius)
    relief = smooth(draw, slices, 1, 14)[:, 0]
    shine = ((relief * light - 1.75) * 6).sigmoid() * _of(gloss * draw.chance(0.8, volumes), slices)
    image = image * (light * (1 + 0.08 * relief))[:, None]
    return image + shine[:, None] * (1 - image)


def framed(
    draw: Draw, images: Tensor, labels: Tensor, looks: Tensor, slices: Slices
) -> tuple[Tensor, Tensor]:
    """Dark borders, sectors and round fields of view hide labels; markers lie over the image at its border."""
    seen = _field_of_view(draw, looks, slices)
    fill = draw.uniform(slices.volumes, high=0.06) * draw.chance(0.4, slices.volumes)
    images = images * seen[:, None] + _of(fill, slices)[:, None] * ~seen[:, None]
    return _markers(draw, images, slices), labels * seen


def _field_of_view(draw: Draw, looks: Tensor, slices: Slices) -> Tensor:
    """What is seen of each image: bool (I, S, S)."""
    volumes, device = slices.volumes, draw.device
    y, x = _axes(slices, device)
    kind = draw.uniform(volumes)
    sound, colour = looks == ULTRASOUND, looks == COLOUR
    border = draw.uniform(4, volumes, high=0.45) * draw.chance(0.6, 4, volumes)
    boxed = (kind < 0.1) | (colour & (kind < 0.3)) | (sound & (kind > 0.7))
    border = (border * boxed)[:, slices.owner].view(4, -1, 1, 1)
    seen = (y > border[0] - 1) & (y < 1 - border[1]) & (x > border[2] - 1) & (x < 1 - border[3])
    radius = draw.uniform(volumes, low=0.75, high=1.25)
    rounded = (((kind > 0.95) & ~sound) | (colour & (kind > 0.6)))[slices.owner].nonzero()[:, 0]
    seen[rounded] &= (y**2 + x**2) < _of(radius, slices.subset(rounded)) ** 2
    apex, opening = draw.uniform(volumes, low=-1.9, high=-1.0), draw.uniform(volumes, low=0.35, high=0.8)
    begin = draw.uniform(volumes, high=0.25) - apex - 1
    fan = (sound & (kind < 0.7))[slices.owner].nonzero()[:, 0]
    if len(fan):
        some = slices.subset(fan)
        down, near = y - _of(apex, some), _of(begin, some)
        far = (down**2 + x**2).sqrt()
        angle = torch.atan2(x.expand_as(far), down.expand_as(far)).abs()
        seen[fan] &= (angle < _of(opening, some)) & (far > near) & (far < near + 1.95)
    return seen


def _markers(draw: Draw, images: Tensor, slices: Slices) -> Tensor:
    """Rows of small bright glyphs and a scale at the border of a seventh of the images (I, 3, S, S)."""
    volumes, size = slices.volumes, slices.size
    shown = draw.chance(0.14, volumes)
    corner = draw.uniform(2, volumes)
    grid = draw.chance(0.5, volumes, 12, 30)
    value = draw.uniform(volumes, low=0.6)
    chosen = shown[slices.owner].nonzero()[:, 0]
    if not len(chosen):
        return images
    some = slices.subset(chosen)
    step = max(1, size // 100)
    index = torch.arange(size, device=draw.device) // step
    high, wide = 12, 30
    top = (_of(corner[0], some) < 0.5) * (size // step - high - 3) + 1
    left = (_of(corner[1], some) < 0.5) * (size // step - wide - 3) + 1
    row, column = index[:, None] - top, index[None, :] - left
    inside = (row >= 0) & (row < high) & (column >= 0) & (column < wide)
    row, column = row.clamp(0, high - 1), column.clamp(0, wide - 1)
    glyph = grid[some.owner].flatten(1).gather(1, (row * wide + column).flatten(1)).view_as(inside)
    glyph &= (row % 6 < 5) & (column % 4 < 3) & inside  # lines of letters, 5 by 3 dots each
    images[chosen] = torch.where(glyph[:, None], _of(value, some)[:, None], images[chosen])
    return images
