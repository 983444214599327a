"""Procedural volumes with labels: the sample data and test data. No patient's data went into them.

A seed gives the same volume on every machine, up to rounding in the last digit. All three return the volume,
the labels (z, y, x) uint8 with 0 for background, and the names of the ids.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from .anatomy import EXTENT, ORGANS, abdomen_parts
from .anatomy_trunk import Part
from .shapes import Field, Grid, blur, make_grid, smooth_noise
from .ultrasound import STRUCTURES, draw_sector
from .volume import Source, Volume

Phantom = tuple[Volume, NDArray[np.uint8], dict[int, str]]
Tissues = Mapping[str, tuple[float, float]]
"""Mean and texture (standard deviation) of each tissue in the image's units."""

HOUNSFIELD: Tissues = {
    "air": (-1000, 0),
    "table": (-40, 0),
    "skin": (-10, 5),
    "fat": (-105, 7),
    "visceral fat": (-98, 9),
    "muscle": (58, 8),
    "liver": (104, 4),
    "spleen": (116, 4),
    "kidney cortex": (178, 6),
    "kidney medulla": (146, 6),
    "pancreas": (88, 9),
    "gut wall": (86, 6),
    "gut content": (28, 10),
    "stomach content": (34, 14),
    "stool": (42, 45),
    "gas": (-930, 0),
    "bile": (8, 2),
    "vein": (142, 3),
    "liver vein": (152, 3),
    "artery": (158, 3),
    "blood": (150, 3),
    "lung": (-840, 25),
    "lung vessel": (-250, 60),
    "disc": (82, 6),
    "csf": (14, 2),
    "cord": (42, 3),
    "cortical bone": (520, 60),
    "cancellous bone": (190, 28),
}
"""CT in the portal venous phase, HU."""

T1_SIGNAL: Tissues = {
    "air": (0, 0),
    "table": (0, 0),
    "skin": (300, 20),
    "fat": (880, 30),
    "visceral fat": (800, 35),
    "muscle": (250, 16),
    "liver": (430, 12),
    "spleen": (270, 10),
    "kidney cortex": (345, 12),
    "kidney medulla": (235, 12),
    "pancreas": (460, 22),
    "gut wall": (260, 14),
    "gut content": (170, 40),
    "stomach content": (140, 30),
    "stool": (330, 90),
    "gas": (6, 0),
    "bile": (170, 10),
    "vein": (120, 12),
    "liver vein": (190, 12),
    "artery": (70, 10),
    "blood": (90, 14),
    "lung": (28, 8),
    "lung vessel": (90, 20),
    "disc": (240, 14),
    "csf": (90, 6),
    "cord": (260, 8),
    "cortical bone": (60, 10),
    "cancellous bone": (520, 34),
}
"""MR, spoiled gradient echo without contrast agent, arbitrary units."""


def ct_phantom(seed: int = 0, shape: tuple[int, int, int] = (40, 128, 128)) -> Phantom:
    """An abdominal CT: data (z, y, x) int16 HU; slices are axial, seen as a radiologist sees them."""
    rng = np.random.default_rng(seed)
    grid = make_grid(shape, EXTENT)
    image, labels = _paint(abdomen_parts(grid, rng), grid, HOUNSFIELD, rng)
    image = blur(image, (0, 0.55, 0.55))
    # Photons are scarce in the middle of the body, so the noise is larger there.
    body = np.exp(-((grid.x / 190) ** 2 + (grid.y / 140) ** 2))
    grain = blur(rng.standard_normal(shape, np.float32), (0, 0.5, 0.5))
    image += (8 + 9 * body) * grain / grain.std()
    data = np.clip(np.rint(image), -1024, 3071).astype(np.int16)
    return _volume(data, grid), labels, dict(ORGANS)


def mr_phantom(seed: int = 0, shape: tuple[int, int, int] = (32, 128, 128)) -> Phantom:
    """An abdominal T1-weighted MR: data (z, y, x) int16, with a coil's bias field and ghosts of breathing."""
    rng = np.random.default_rng(seed)
    grid = make_grid(shape, EXTENT)
    image, labels = _paint(abdomen_parts(grid, rng), grid, T1_SIGNAL, rng)
    image = blur(image, (0, 0.45, 0.45))
    from_centre = (grid.x / 170) ** 2 + (grid.y / 120) ** 2
    image *= np.exp(0.2 * smooth_noise(grid, rng, 330.0) + 0.14 * (from_centre - 1))
    step = shape[1] // 5
    image += 0.035 * np.roll(image, step, 1) + 0.025 * np.roll(image, -step, 1)
    noise = rng.normal(0, 20, (2, *shape))
    magnitude = np.hypot(image + noise[0], noise[1])
    data = np.clip(np.rint(magnitude), 0, 4095).astype(np.int16)
    return _volume(data, grid), labels, dict(ORGANS)


def _paint(
    parts: Iterable[Part], grid: Grid, tissues: Tissues, rng: np.random.Generator
) -> tuple[Field, NDArray[np.uint8]]:
    """Image in the tissues' units, and labels: a voxel belongs to the last part that fills half of it."""
    image = np.full(grid.shape, tissues["air"][0], np.float32)
    labels = np.zeros(grid.shape, np.uint8)
    texture = 0.8 * smooth_noise(grid, rng, 9.0) + 0.6 * smooth_noise(grid, rng, 30.0)
    edge = grid.spacing[2]
    for part in parts:
        if part.halo:
            _cover(image, part.depth - part.halo, tissues["visceral fat"], texture, edge)
            labels[part.depth < part.halo] = 0
        _cover(image, part.depth, tissues[part.tissue], texture, edge)
        labels[part.depth < 0] = part.label
    return image, labels


def _cover(image: Field, depth: Field, tissue: tuple[float, float], texture: Field, edge: float) -> None:
    """Blend a tissue into the image (changed in place); over `edge` mm it shares voxels with others."""
    share = np.clip(0.5 - depth / edge, 0, 1)
    mean, spread = tissue
    image += share * (mean + spread * texture - image)


def _volume(data: NDArray[np.int16], grid: Grid) -> Volume:
    """x runs to the left and y to the back, which are negative in RAS."""
    dz, dy, dx = grid.spacing
    affine = np.diag([-dx, -dy, dz, 1.0])
    affine[:3, 3] = -grid.x[0, 0, 0], -grid.y[0, 0, 0], grid.z[0, 0, 0]
    return Volume(data, affine, Source())


def ultrasound_phantom(seed: int = 0, shape: tuple[int, int] = (320, 480)) -> Phantom:
    """An ultrasound picture of liver, gallbladder and kidney with a lesion: data (1, H, W) uint8."""
    image, labels = draw_sector(np.random.default_rng(seed), shape)
    volume = Volume(image[None], np.diag([-1.0, -1.0, 1.0, 1.0]), Source(spatial=False))
    return volume, labels[None], dict(STRUCTURES)
