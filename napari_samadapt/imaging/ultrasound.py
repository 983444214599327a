"""A made-up ultrasound image of the right upper abdomen: sector, speckle, shadows, and a lesion in the liver.

The image forms as on a scanner: scatterers along beams, a point spread function, the envelope, log
compression, and only then the fan. Millimetres: x to the right of the image, y downwards from the skin.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .shapes import Field, blur

STRUCTURES = {1: "lesion", 2: "gallbladder", 3: "kidney"}

PROBE_RADIUS = 52.0
"""Of the curved probe, mm."""
DEPTH = 150.0
HALF_ANGLE = 0.62
BEAMS, SAMPLES = 224, 640
DYNAMIC_RANGE = 56.0
"""dB from black to white."""

_OUTLINES = {1: (-24.0, 66.0, 17.0, 14.0), 2: (12.0, 46.0, 10.0, 21.0), 3: (48.0, 78.0, 19.0, 26.0)}
"""Centre and radii (mm) of each structure before they vary from seed to seed."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A wavy ellipse: centre, radii (mm), turn (radians), and waves of its radius (order, size, phase)."""

    x: float
    y: float
    width: float
    height: float
    turn: float
    waves: tuple[tuple[int, float, float], ...]

    def level(self, x: Field, y: Field) -> Field:
        """1 on the outline, less inside; works on positions of any shape."""
        dx, dy = x - self.x, y - self.y
        along = (dx * np.cos(self.turn) + dy * np.sin(self.turn)) / self.width
        across = (dy * np.cos(self.turn) - dx * np.sin(self.turn)) / self.height
        angle = np.arctan2(across, along)
        wavy = 1 + sum(size * np.cos(order * angle + phase) for order, size, phase in self.waves)
        return np.asarray(np.hypot(along, across) / wavy, np.float32)


def draw_sector(
    rng: np.random.Generator, shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image (H, W) uint8 and labels (H, W) uint8 with the ids of STRUCTURES; black outside the fan."""
    outlines = {number: _vary(_OUTLINES[number], rng, rough=number == 1) for number in STRUCTURES}
    r, angle = _beam_grid()
    x, y = (PROBE_RADIUS + r) * np.sin(angle), (PROBE_RADIUS + r) * np.cos(angle) - PROBE_RADIUS
    echo, loss = _tissue(x, y, r, rng, outlines)
    echo, loss = _shadowing(echo, loss, x, y, r, angle, outlines[2])
    amplitude = _speckle(echo, rng) * 10 ** (-np.cumsum(loss, 0) * (DEPTH / SAMPLES) / 20)
    level = 20 * np.log10(amplitude + 1e-6)
    beams = np.clip((level + 46) / DYNAMIC_RANGE, 0, 1).astype(np.float32)
    return _scan_convert(beams, outlines, shape)


def _beam_grid() -> tuple[Field, Field]:
    """Depth below the probe (mm) and beam angle, (SAMPLES, BEAMS) each."""
    r, angle = np.meshgrid(
        np.linspace(0, DEPTH, SAMPLES, dtype=np.float32),
        np.linspace(-HALF_ANGLE, HALF_ANGLE, BEAMS, dtype=np.float32),
        indexing="ij",
    )
    return r, angle


def _vary(outline: tuple[float, float, float, float], rng: np.random.Generator, *, rough: bool) -> Outline:
    x, y, width, height = outline
    size = 0.07 if rough else 0.03
    waves = tuple(
        (order, float(rng.normal(0, size)), float(rng.uniform(0, 2 * np.pi))) for order in (2, 3, 5, 7)
    )
    x, y = (x + rng.normal(0, 3), y + rng.normal(0, 3))
    width, height = width * rng.uniform(0.9, 1.15), height * rng.uniform(0.9, 1.15)
    return Outline(x, y, width, height, float(rng.uniform(-0.35, 0.35)), waves)


def _tissue(
    x: Field, y: Field, r: Field, rng: np.random.Generator, outlines: dict[int, Outline]
) -> tuple[Field, Field]:
    """Echo strength (dB) and extra attenuation (dB/mm) over what the scanner compensates, on the beams."""
    coarse = blur(rng.standard_normal(x.shape, np.float32), (30, 14))
    coarse /= coarse.std()
    echo = -17 + 1.3 * coarse  # liver
    loss = np.full(x.shape, 0.02, np.float32)
    # Vessels of the liver: dark tubes, some with a bright wall.
    for wall in (True, True, False, False):
        start, turn = (rng.uniform(-60, 10), rng.uniform(38, 112)), rng.uniform(-0.9, 0.9)
        along = (x - start[0]) * np.cos(turn) + (y - start[1]) * np.sin(turn)
        offset = (y - start[1]) * np.cos(turn) - (x - start[0]) * np.sin(turn) + 2 * np.sin(along / 9)
        width = (2.8 if wall else 3.4) * (1 - 0.4 * along / 22)
        distance = np.hypot(offset, np.maximum(np.abs(along) - 20, 0)) - width
        echo = np.where(distance < 0, -46, np.where((distance < 1.3) & wall, -9, echo))
    # The diaphragm: a bright curved line, then little.
    dome = np.hypot(x + 10, y - 18) - 108 + 1.5 * np.sin(x / 15)
    echo = np.where(dome > 1, -31, np.where(dome > -1.2, 0, echo))
    kidney = outlines[3].level(x, y)
    echo = np.where(kidney < 1.06, -9, echo)
    echo = np.where(kidney < 1, -23 + 1.5 * coarse, echo)
    echo = np.where(kidney + 0.05 * coarse < 0.5, -8 + 2 * coarse, echo)
    lesion = outlines[1].level(x, y)
    echo = np.where(lesion < 1.12, -21, echo)
    echo = np.where(lesion < 1, -27 + 2.4 * coarse - 3 * (lesion < 0.45), echo)
    bile = outlines[2].level(x, y)
    echo = np.where(bile < 1.12, -8, echo)
    echo = np.where(bile < 1, -70, echo)
    loss = np.where(bile < 1, -0.22, np.where(lesion < 1, -0.07, loss))
    return _layers(echo, x, r, rng), np.asarray(loss, np.float32)


def _layers(echo: Field, x: Field, r: Field, rng: np.random.Generator) -> Field:
    """Skin, fat with septa, muscle between two fasciae, over the organs."""
    bend = 1.2 * np.sin(x / 17 + rng.uniform(0, 6)) + 0.8 * np.sin(x / 7)
    depth = r + 0.4 * bend
    septa = np.sin(depth * 2.6 + 2.2 * bend) + np.sin(depth * 1.1 - 1.7 * bend)
    fat, muscle = -23 + 4 * septa, -26 + 3 * septa
    for bottom, strength in ((23, -7), (21.8, muscle), (14.5, -8), (13.4, fat), (3.2, -9), (1.2, -3)):
        echo = np.where(depth < bottom, strength, echo)
    return np.asarray(echo, np.float32)


def _shadowing(
    echo: Field, loss: Field, x: Field, y: Field, r: Field, angle: Field, bile: Outline
) -> tuple[Field, Field]:
    """A rib on the left and a stone in the gallbladder reflect the sound and cast shadows."""
    rib = np.hypot((angle + 0.47) * (PROBE_RADIUS + 18), (r - 19) * 1.4) - 4.6
    echo = np.where((rib < 0) & (r < 18.2), 4, np.where(rib < 0, -30, echo))
    loss = np.where(rib < 0, 4.5, loss)
    stone_x, stone_y = bile.x - bile.height * 0.55 * np.sin(bile.turn), bile.y + bile.height * 0.66
    stone = np.hypot(x - stone_x, y - stone_y) - 3.4
    echo = np.where((stone < 0) & (y < stone_y - 0.3), 3, np.where(stone < 0, -25, echo))
    loss = np.where(stone < 0, 5.5, loss)
    return np.asarray(echo, np.float32), np.asarray(loss, np.float32)


def _speckle(echo: Field, rng: np.random.Generator) -> Field:
    """Envelope of random scatterers seen through the beam: fine along it, coarse across and off focus."""
    strength = 10 ** (echo / 20)
    scatter = [rng.standard_normal(echo.shape, np.float32) * strength for _ in range(2)]
    narrow, wide = (
        np.hypot(*(blur(part, sigmas) for part in scatter)) * np.sqrt(sigmas[0] * sigmas[1])
        for sigmas in ((1.5, 0.8), (2.0, 1.5))
    )
    depth = np.linspace(0, 1, len(echo), dtype=np.float32)[:, None]
    focus = np.clip(np.abs(depth - 0.4) * 2, 0, 1)
    return np.asarray(2.2 * ((1 - focus) * narrow + focus * wide), np.float32)


def _scan_convert(
    beams: Field, outlines: dict[int, Outline], shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Put the beams into the fan (linear interpolation), and the outlines into labels at the same pixels."""
    height, width = shape
    step = (DEPTH + 14) / height  # mm per pixel
    rows, columns = np.indices(shape, np.float32)
    x, y = (columns - (width - 1) / 2) * step, rows * step - 10
    radius = np.hypot(x, y + PROBE_RADIUS)
    row = (radius - PROBE_RADIUS) / DEPTH * (SAMPLES - 1)
    column = (np.arctan2(x, y + PROBE_RADIUS) / HALF_ANGLE + 1) / 2 * (BEAMS - 1)
    inside = (row >= 0) & (row <= SAMPLES - 1) & (column >= 0) & (column <= BEAMS - 1)
    top = np.clip(row, 0, SAMPLES - 1.001).astype(int)
    left = np.clip(column, 0, BEAMS - 1.001).astype(int)
    down, right = np.clip(row - top, 0, 1), np.clip(column - left, 0, 1)
    upper = beams[top, left] * (1 - right) + beams[top, left + 1] * right
    lower = beams[top + 1, left] * (1 - right) + beams[top + 1, left + 1] * right
    image = np.where(inside, 255 * (upper * (1 - down) + lower * down), 0)
    labels = np.zeros(shape, np.uint8)
    for number in (3, 1, 2):
        labels[inside & (outlines[number].level(x, y) < 1)] = number
    return np.rint(image).astype(np.uint8), labels
