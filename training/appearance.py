"""Images of label maps: painting, acquisition (blur, low resolution, noise) and the window."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .artefacts import colour_light, framed, projected, streaks, ultrasound
from .palettes import draw_palettes
from .random_fields import Draw, Slices, bell, power, smooth
from .tables import LABELS
from .tissues import COLOUR, CT, GENERIC, MR, ULTRASOUND, XRAY, Tissues, draw_tissues


@dataclass(frozen=True)
class Scene:
    """Labels (I, S, S), the summed thickness of every layer (I, S, S) or (0,), and each volume's look (V,)."""

    labels: Tensor
    depth: Tensor
    looks: Tensor
    slices: Slices

    def of(self, values: Tensor) -> Tensor:
        """A value (V, ...) of each volume for each image, to multiply images (I, 1, S, S) with."""
        return values[self.slices.owner].view(-1, 1, 1, 1)

    def has(self, *looks: int) -> Tensor:
        """Indices of the images with one of these looks."""
        looked = self.looks[self.slices.owner]
        return torch.isin(looked, torch.tensor(looks, device=looked.device)).nonzero()[:, 0]

    def places(self) -> Tensor:
        """Where each pixel's label lies in a flat table (V * LABELS): (I * S * S,)."""
        return (self.labels + (self.slices.owner * LABELS).view(-1, 1, 1)).flatten()

    def subset(self, images: Tensor) -> "Scene":
        """Some of the images."""
        depth = self.depth[images] if len(self.depth) else self.depth
        return Scene(self.labels[images], depth, self.looks, self.slices.subset(images))


def render(draw: Draw, scene: Scene) -> tuple[Tensor, Tensor]:
    """Images (I, 3, S, S) in [0, 1], and the labels (I, S, S) that are still seen in them."""
    tissues = draw_tissues(draw, scene.looks, scene.labels, scene.slices)
    camera = Camera(draw, scene.slices)
    colour = scene.has(COLOUR)
    grey = scene.has(CT, MR, ULTRASOUND, XRAY, GENERIC)
    size = scene.slices.size
    images = torch.empty(len(scene.slices), 3, size, size, device=draw.device)
    if len(grey):
        images[grey] = _grey(draw, scene.subset(grey), tissues, camera)
    if len(colour):
        images[colour] = _coloured(draw, scene.subset(colour), tissues, camera)
    return framed(draw, images.clamp(0, 1), scene.labels, scene.looks, scene.slices)


def _paint(values: Tensor, scene: Scene) -> Tensor:
    """The values (V, LABELS) of the labels, as images (I, 1, S, S)."""
    return values.flatten().index_select(0, scene.places()).view(-1, 1, *scene.labels.shape[1:])


def _textures(draw: Draw, scene: Scene, tissues: Tissues) -> Tensor:
    slices = scene.slices
    cells = draw.log_uniform(slices.volumes, low=8, high=40)
    coarse = smooth(draw, slices, 1, cells, 40)
    fine = smooth(draw, slices, 1, slices.size / 3)
    return coarse * _paint(tissues.coarse, scene) + fine * _paint(tissues.fine, scene)


def _grey(draw: Draw, scene: Scene, tissues: Tissues, camera: "Camera") -> Tensor:
    """Images (I, 1, S, S) of the looks without colour."""
    slices, looks, volumes = scene.slices, scene.looks, scene.slices.volumes
    image = _paint(tissues.means, scene) + _textures(draw, scene, tissues)
    flat = scene.has(XRAY)
    if len(flat):
        image[flat] = projected(draw, image[flat], scene.depth[flat], slices.subset(flat))
    uneven = draw.uniform(volumes, high=0.35) * draw.chance(0.55, volumes)
    uneven = torch.where(looks == MR, draw.uniform(volumes, high=0.45), uneven) * (
        (looks != CT) & (looks != XRAY)
    )
    image = image * (scene.of(uneven) * smooth(draw, slices, 1, 1.6)).exp()
    image = camera.take(image, slices)
    speckled = draw.chance(0.12, volumes) & (looks == GENERIC)
    image = camera.noise(image, slices, tissues.noise, speckled, looks == MR)
    sound = scene.has(ULTRASOUND)
    if len(sound):
        image[sound] = ultrasound(draw, image[sound], slices.subset(sound))
    image = camera.enlarge(image, slices)
    image = streaks(draw, image, slices, looks == CT)
    return _window(draw, image, scene)


def _window(draw: Draw, image: Tensor, scene: Scene) -> Tensor:
    """Full range, then a random window with saturation, gamma and inversion; the same for a whole volume."""
    volumes, looks, owner = scene.slices.volumes, scene.looks, scene.slices.owner
    device = image.device
    sample = image[:, 0, 1::3, 1::3].flatten(1).sort(1).values
    ends = sample[:, len(sample[0]) // 500], sample[:, -1 - len(sample[0]) // 200]
    lowest = torch.full((volumes,), 9.0, device=device).scatter_reduce(0, owner, ends[0], "amin")
    highest = torch.full((volumes,), -9.0, device=device).scatter_reduce(0, owner, ends[1], "amax")
    cut = draw.uniform(2, volumes, high=0.12) * draw.chance(0.6, volumes)
    wide = (highest - lowest).clamp_min(1e-3)
    low, high = lowest + cut[0] * wide, highest - cut[1] * wide
    ct = looks == CT
    low = torch.where(ct, draw.normal(volumes) * 0.02 - 0.02, low)
    high = torch.where(ct, 1.05 + draw.normal(volumes) * 0.04, high)
    image = ((image - scene.of(low)) / scene.of(high - low)).clamp(0, 1)
    gamma = (draw.normal(volumes) * torch.where(ct, 0.1, 0.3)).exp()
    image = power(image, scene.of(gamma))
    swapped = scene.of(draw.chance(0.12, volumes) & (looks != ULTRASOUND)).float()
    return swapped + (1 - 2 * swapped) * image


def _coloured(draw: Draw, scene: Scene, tissues: Tissues, camera: "Camera") -> Tensor:
    """Images (I, 3, S, S): mucosa, skin, fundus, stained tissue."""
    palettes, glossy = draw_palettes(draw, scene.slices.volumes)
    image = torch.cat([_paint(channel, scene) for channel in palettes.unbind(2)], 1)
    image = image * (1 + 2 * _textures(draw, scene, tissues) + 0.1 * smooth(draw, scene.slices, 1, 5))
    image = colour_light(draw, image, scene.slices, glossy)
    image = camera.take(image, scene.slices)
    never = torch.zeros(scene.slices.volumes, dtype=torch.bool, device=draw.device)
    image = camera.noise(image, scene.slices, tissues.noise, never, never)
    return camera.enlarge(image, scene.slices)


class Camera:
    """How each volume is acquired: blur, a lower resolution for about 45 %, and noise at that resolution."""

    def __init__(self, draw: Draw, slices: Slices) -> None:
        volumes, size, device = slices.volumes, slices.size, draw.device
        self.draw, self.size = draw, size
        zoomed = draw.chance(0.45, volumes)
        rate = torch.where(zoomed, draw.uniform(volumes, low=0.35, high=0.95), 1.0)
        squeeze = torch.where(zoomed & draw.chance(0.25, volumes), draw.uniform(volumes, low=0.4), 1.0)
        across = draw.chance(0.5, volumes)
        rates = torch.stack(
            [torch.where(across, rate, rate * squeeze), torch.where(across, rate * squeeze, rate)]
        )
        small = (rates * size).round().clamp(min(24, size), size)  # (2, V)
        rates = small / size
        index = torch.arange(size, device=device)
        blur = draw.uniform(volumes, low=0.3, high=0.9) + draw.uniform(
            volumes, high=0.008 * size
        ) * draw.chance(0.4, volumes)
        sigma = (blur**2 + (0.4 / rates) ** 2 - 0.15).sqrt()
        place = (index + 0.5) / rates[..., None] - 0.5
        away = place[..., None] - index
        down = bell((away / sigma[..., None, None]) ** 2 / 2)
        down = down / down.sum(3, keepdim=True).clamp_min(1e-6)
        self.down = down * (index < small[..., None])[..., None]  # (2, V, S, S)
        place = ((index + 0.5) * rates[..., None] - 0.5).clamp_min(0)
        place = torch.minimum(place, small[..., None] - 1)
        self.up = (1 - (place[..., None] - index).abs()).clamp_min(0)
        self.zoomed = rates.amin(0) < 1

    def take(self, image: Tensor, slices: Slices) -> Tensor:
        """Images (I, C, S, S) blurred; a smaller one lies in the upper left corner."""
        return self._apply(self.down, image, slices.owner)

    def enlarge(self, image: Tensor, slices: Slices) -> Tensor:
        """Images (I, C, S, S) of small ones in the upper left corner."""
        chosen = self.zoomed[slices.owner].nonzero()[:, 0]
        if len(chosen):
            image[chosen] = self._apply(self.up, image[chosen], slices.owner[chosen])
        return image

    @staticmethod
    def _apply(matrices: Tensor, image: Tensor, owner: Tensor) -> Tensor:
        count, channels, size, _ = image.shape
        wide = image.transpose(1, 2).reshape(count, size, channels * size)
        wide = torch.bmm(matrices[0][owner], wide).view(count, size * channels, size)
        wide = torch.bmm(wide, matrices[1][owner].transpose(1, 2))
        return wide.view(count, size, channels, size).transpose(1, 2).contiguous()

    def noise(self, image: Tensor, slices: Slices, sd: Tensor, speckled: Tensor, rician: Tensor) -> Tensor:
        """Gaussian, correlated, multiplied or (magnitude) noise of each volume's `sd` (V,)."""
        draw, owner = self.draw, slices.owner
        volumes = slices.volumes
        noise = draw.normal(len(image), 1, self.size, self.size)
        chosen = draw.chance(0.35, volumes)[owner].nonzero()[:, 0]
        if len(chosen):
            some = noise[chosen]
            some = some + 0.7 * (some.roll(1, 2) + some.roll(-1, 2))
            noise[chosen] = 0.5 * (some + 0.7 * (some.roll(1, 3) + some.roll(-1, 3)))
        strong = draw.uniform(volumes, low=0.1, high=0.4) * speckled
        plain, strong = (sd * ~speckled)[owner].view(-1, 1, 1, 1), strong[owner].view(-1, 1, 1, 1)
        image = image + noise * (plain + strong * image)
        return torch.maximum(image, -image * rician[owner].view(-1, 1, 1, 1))
