"""The trunk of the made-up abdomen: outline, wall, muscles, chest, spine and ribs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .shapes import Field, Grid, Point, ellipsoid, join, smooth_noise, tube, within, without

VERTEBRA_PITCH = 34.0
RIB_PITCH = 29.0


@dataclass(frozen=True, eq=False)
class Part:
    """A body of one tissue, painted over what was there; `label` 0 is background.

    `halo` mm of fat are painted around it first, as between real organs.
    """

    tissue: str
    depth: Field
    label: int = 0
    halo: float = 0.0


@dataclass(frozen=True, eq=False)
class Frame:
    """What the organs share: the grid, the cavity around them, the diaphragm above, and roughness."""

    grid: Grid
    cavity: Field
    below_diaphragm: Field
    rough: Field
    fine: Field
    rng: np.random.Generator

    def near(self, point: Point, spread: float = 3.0) -> Point:
        """The point, moved at random: no two abdomens are alike."""
        x, y, z = (np.array(point) + self.rng.normal(0, spread, 3)).tolist()
        return x, y, z

    def line(self, points: list[Point], spread: float = 2.0) -> list[Point]:
        return [self.near(point, spread) for point in points]


def body(grid: Grid) -> Field:
    """Flat at the back, where it lies on the table; a waist in the lower half."""
    waist = (7 * np.sin((grid.z + 20) / 160 * np.pi - 0.6)).astype(np.float32)
    return within(_oval(grid, 2, 162, 118) - waist, grid.y - 117, 36)


def _oval(grid: Grid, y: float, width: float, height: float) -> Field:
    """A cylinder along z, fuller than an ellipse: trunks are not pointed at the sides."""
    right, left = (ellipsoid(grid, (side * 20, y, 0), (width - 20, height, np.inf)) for side in (-1, 1))
    return join(right, left, 8)


def shared_frame(grid: Grid, surface: Field, rng: np.random.Generator) -> Frame:
    cavity = _oval(grid, -6, 132, 88)
    cavity = within(cavity, surface + 20, 10)
    domes = [
        height - 36 * (((grid.x - x) / 72) ** 2 + ((grid.y + 8) / 72) ** 2)
        for x, height in ((-68, 160 + rng.normal(0, 3)), (72, 150 + rng.normal(0, 3)))
    ]
    dome = np.maximum(*domes)
    rough, fine = smooth_noise(grid, rng, 26.0), smooth_noise(grid, rng, 11.0)
    return Frame(grid, cavity, np.asarray((grid.z - dome) * 0.75, np.float32), rough, fine, rng)


def outside(surface: Field, frame: Frame) -> Iterator[Part]:
    grid = frame.grid
    arc = np.abs(ellipsoid(grid, (0, -60, 0), (300, 184, np.inf))) - 1.8
    yield Part("table", within(arc, 90 - grid.y))
    yield Part("skin", surface)
    yield Part("fat", surface + 2.6)
    flank = np.clip(np.abs(grid.x) / 120, 0, 1)
    front = np.exp(-((np.abs(grid.x) - 36) ** 2) / 500) * (grid.y < -20)
    yield Part("muscle", frame.cavity - (3.5 + 6.5 * flank + 6.5 * front + 1.5 * frame.rough))
    yield Part("visceral fat", frame.cavity)


def muscles(frame: Frame) -> Iterator[Part]:
    grid, rough = frame.grid, frame.rough
    for side in (-1, 1):
        erector = ellipsoid(grid, (side * 36, 80, 0), (30, 15, np.inf))
        yield Part("muscle", erector + 1.5 * rough, halo=1.5)
        quadratus = ellipsoid(grid, (side * 68, 66, 30), (20, 9, 75))
        yield Part("muscle", quadratus + rough, halo=1.5)
        psoas = tube(grid, [(side * 26, 50, 110), (side * 34, 48, 60), (side * 44, 42, -20)], [5, 14, 25])
        yield Part("muscle", psoas + rough, halo=2)


def chest(frame: Frame) -> Iterator[Part]:
    """The lungs above the diaphragm, and the heart between them."""
    grid = frame.grid
    mediastinum = ellipsoid(grid, (4, -6, 0), (42, 96, np.inf)) + 3 * frame.rough
    spine_side = ellipsoid(grid, (0, 60, 0), (36, 44, np.inf))
    lungs = without(
        within(frame.cavity + 3, -frame.below_diaphragm, 6), join(mediastinum, spine_side, 10), 10
    )
    yield Part("muscle", lungs - 2.5)
    yield Part("lung", lungs)
    bronchi = within(np.abs(frame.fine) * 6 - 0.9, lungs + 8)
    yield Part("lung vessel", bronchi)
    heart = ellipsoid(grid, frame.near((20, -40, 176)), (56, 40, 40))
    yield Part("muscle", within(heart, frame.cavity + 4, 8), halo=3.0)
    yield Part("blood", within(heart + 11, frame.cavity + 8))


def spine(frame: Frame) -> Iterator[Part]:
    grid = frame.grid
    start = float(frame.rng.uniform(0, VERTEBRA_PITCH))
    level = np.abs(
        (grid.z - start + VERTEBRA_PITCH / 2) % VERTEBRA_PITCH - VERTEBRA_PITCH / 2
    )  # from the middle
    column = ellipsoid(grid, (0, 47, 0), (23, 17, np.inf))
    column = without(column, ellipsoid(grid, (0, 73, 0), (14, 12, np.inf)), 3)
    waist = 1.8 * (1 - np.clip(level / 13, 0, 1)).astype(np.float32)
    block = within(column + waist, level - 13, 3)
    arch = without(
        ellipsoid(grid, (0, 72, 0), (16, 15, np.inf)), ellipsoid(grid, (0, 71, 0), (10.5, 9, np.inf)), 2
    )
    arch = within(arch, level - 11, 3)
    spinous = within(ellipsoid(grid, (0, 88, 0), (3.6, 13, np.inf)), level - 11, 4)
    sides = np.abs(grid.x)
    folded = Grid(sides, grid.y, level, grid.spacing)
    transverse = tube(folded, [(12, 66, 0), (44, 72, 0)], [6, 3.5])
    posterior = join(join(arch, spinous, 4), transverse, 4)
    yield Part("muscle", ellipsoid(grid, (0, 78, 0), (24, 20, np.inf)))
    yield Part("disc", column + 1.5)
    yield Part("csf", ellipsoid(grid, (0, 71, 0), (11, 9.5, np.inf)))
    yield Part("cord", ellipsoid(grid, (0, 71, 0), (5.5, 4.5, np.inf)))
    bone = join(block, posterior, 2)
    yield Part("cortical bone", bone, 8)
    yield Part("cancellous bone", bone + 2.4, 8)


def ribs(frame: Frame) -> Iterator[Part]:
    """Ribs run in the wall, from the back downwards to the front; a slice cuts each of them obliquely."""
    grid = frame.grid
    angle = np.arctan2(np.abs(grid.x), grid.y)  # 0 at the back, pi at the front
    start = float(frame.rng.uniform(0, RIB_PITCH))
    height = grid.z + 72 * angle - start
    off = (height + RIB_PITCH / 2) % RIB_PITCH - RIB_PITCH / 2
    radial = frame.cavity - 5.5
    depth = np.sqrt(radial**2 + (0.7 * off) ** 2) - 4.4
    reach = np.maximum(0.45 - angle, angle - 2.15) * 90
    # Below the last rib there are none.
    depth = within(within(depth, reach, 2), (150 - height), 2)
    yield Part("cortical bone", np.asarray(depth, np.float32))
    yield Part("cancellous bone", np.asarray(depth + 2.2, np.float32))
