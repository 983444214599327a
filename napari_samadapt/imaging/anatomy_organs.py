"""The organs of the made-up abdomen: bowel, pancreas, stomach, liver, spleen, kidneys and vessels."""

from collections.abc import Iterator

import numpy as np

from .anatomy_trunk import Frame, Part
from .shapes import Field, Grid, Point, ellipsoid, join, tube, within, without


def bowel(frame: Frame) -> Iterator[Part]:
    grid, rng = frame.grid, frame.rng
    for _ in range(30):
        start = np.array([rng.uniform(-70, 95), rng.uniform(-68, 12), rng.uniform(-15, 66)])
        turn = rng.normal(0, 1, (3, 3)) * (26, 17, 12)
        points = [tuple(point) for point in (start + np.cumsum(turn, 0)).tolist()]
        depth = within(tube(grid, points, rng.uniform(9, 12.5)) + 1.2 * frame.fine, frame.cavity + 5, 6)
        yield from _gut(frame, depth, "gut content", gas=float(rng.uniform(-1.6, 0.9)), wall=3.0)
    right = [(-104, 22, -10), (-102, 14, 30), (-92, -20, 52), (-72, -52, 50), (-35, -66, 36)]
    left = [(5, -70, 30), (50, -66, 44), (90, -40, 72), (110, -2, 86), (112, 24, 60), (108, 30, -10)]
    line = frame.line([*right, *left], 3.0)
    colon = tube(grid, line, [25, 24, 22, 19, 18, 17, 17, 17, 17, 15, 14])
    haustra = 2.2 * np.sin(grid.z / 6.5 + grid.x / 9.0).astype(np.float32)
    depth = within(colon + 1.5 * frame.fine + haustra, frame.cavity + 4, 8)
    yield from _gut(frame, depth, "stool", gas=0.25, wall=2.4)


def _gut(
    frame: Frame, depth: Field, content: str, *, gas: float, wall: float, label: int = 0
) -> Iterator[Part]:
    """A hollow organ: wall, content, and above it (to the front) gas where `gas` is positive."""
    yield Part("gut wall", depth, label, halo=2.0)
    lumen = depth + wall
    yield Part(content, lumen, label)
    inside = lumen < -2
    if gas > 0 and inside.any():
        front, back = np.percentile(frame.grid.y[inside], (0.5, 99.5))
        level = front + min(gas, 0.9) * 0.75 * (back - front)
        yield Part("gas", within(lumen + 0.5, frame.grid.y - np.float32(level), 2), label)


def pancreas_and_portal_vessels(frame: Frame) -> Iterator[Part]:
    grid = frame.grid
    mesentery = frame.line([(4, 8, 88), (0, -6, 78), (-2, -16, 40), (2, -20, -10)])
    yield Part("artery", tube(grid, mesentery, [4.5, 4.5, 4, 3.5]))
    for _ in range(9):
        start = (frame.rng.uniform(-25, 25), frame.rng.uniform(-25, 0), frame.rng.uniform(0, 60))
        end = (frame.rng.uniform(-70, 80), frame.rng.uniform(-60, -15), start[2] - frame.rng.uniform(0, 40))
        yield Part("vein", tube(grid, [start, end], [2.6, 1.4]))
    line = frame.line([(-40, 2, 62), (-30, -12, 74), (0, -16, 86), (38, -4, 98), (72, 18, 108)], 3.0)
    lobules = 2.6 * frame.fine
    yield Part("pancreas", tube(grid, line, [15, 13, 9, 9.5, 8]) + lobules, halo=2.0)
    portal = frame.line([(-14, -16, -10), (-15, -10, 60), (-17, -4, 82), (-36, -8, 100), (-55, -12, 112)])
    yield Part("vein", tube(grid, portal, [5, 6, 7.5, 7, 6]))
    splenic = frame.line([(-17, -4, 84), (20, 2, 96), (55, 18, 106), (84, 28, 110)])
    yield Part("vein", tube(grid, splenic, [5.5, 5, 4.5, 4]))


def stomach(frame: Frame) -> Iterator[Part]:
    line = frame.line([(66, 16, 134), (70, 2, 118), (58, -32, 98), (18, -50, 84), (-22, -42, 82)], 4.0)
    depth = tube(frame.grid, line, [34, 33, 28, 21, 14]) + 1.6 * frame.rough
    depth = within(within(depth, frame.cavity + 3, 10), frame.below_diaphragm + 3, 8)
    yield from _gut(frame, depth, "stomach content", gas=0.3, wall=3.6, label=5)


def liver(frame: Frame) -> Iterator[Part]:
    grid = frame.grid
    depth = ellipsoid(grid, frame.near((-72, -4, 108)), (80, 84, 58))
    depth = join(depth, ellipsoid(grid, frame.near((4, -46, 122)), (72, 36, 30)), 22)
    depth = join(depth, ellipsoid(grid, frame.near((-98, 6, 66)), (34, 52, 50)), 18)
    depth = within(within(depth + 1.8 * frame.rough, frame.cavity + 2, 8), frame.below_diaphragm + 2, 8)
    gallbladder = tube(grid, frame.line([(-48, -28, 84), (-56, -52, 66)]), [9, 14]) + 0.7 * frame.rough
    fissure = within(np.abs(grid.x + 16 + 0.12 * grid.y) - 1.8, grid.y + 34)
    fissure = within(fissure, grid.z - 122)
    hilum = ellipsoid(grid, (-34, -10, 92), (15, 8, 10))
    depth = without(without(depth, fissure, 3), hilum, 8)
    yield Part("liver", depth, 1, halo=1.5)
    for path, width in _liver_vessels(frame):
        yield Part("liver vein", within(tube(grid, path, [width, width * 0.5]), depth + 4), 1)
    yield Part("gut wall", gallbladder, halo=0.5)
    yield Part("bile", gallbladder + 1.8)


def _liver_vessels(frame: Frame) -> Iterator[tuple[list[Point], float]]:
    """Hepatic veins fan out from the vena cava under the dome; the portal vein branches from the hilum."""
    for end in ((-125, 20, 112), (-85, -55, 118), (-5, -60, 124)):
        yield frame.line([(-26, 4, 138), end], 4.0), 6.5
    for start, end in (
        ((-50, -10, 110), (-105, 10, 100)),
        ((-50, -10, 110), (-100, -45, 92)),
        ((-75, 0, 106), (-95, 40, 120)),
        ((-85, 3, 102), (-110, 5, 68)),
        ((-50, -10, 110), (-8, -42, 116)),
        ((-8, -42, 116), (40, -50, 120)),
    ):
        yield frame.line([start, end], 3.0), 5.5


def spleen(frame: Frame) -> Iterator[Part]:
    grid = frame.grid
    depth = ellipsoid(grid, frame.near((104, 26, 108)), (38, 56, 48))
    depth = without(depth, ellipsoid(grid, (58, 4, 112), (46, 42, 60)), 8)
    depth = within(within(depth + 1.4 * frame.rough, frame.cavity + 2, 8), frame.below_diaphragm + 2, 8)
    yield Part("spleen", depth, 2, halo=2.5)


def kidney(frame: Frame, side: int, label: int) -> Iterator[Part]:
    """side: -1 right, 1 left, a little higher."""
    grid, lift = frame.grid, 12 if side > 0 else 0
    x, y, z = frame.near((side * 72, 42, 58 + lift))
    axis = [(x - side * 11, y + 7, z + 28), (x, y, z), (x + side * 8, y - 3, z - 28)]
    depth = tube(grid, axis, [21, 26, 22]) + 0.8 * frame.rough
    sinus = ellipsoid(grid, (x - side * 20, y - 8, z), (18, 8, 17))
    depth = without(depth, sinus, 5)
    yield Part("visceral fat", depth - 4.5)
    yield Part("kidney cortex", depth, label, halo=3.0)
    columns = 3.2 * np.sin(grid.z / 4.2 + grid.y / 5.5 + grid.x / 5.0).astype(np.float32)
    yield Part("kidney medulla", depth + 7.5 + columns, label)
    inner = within(ellipsoid(grid, (x - side * 6, y - 4, z), (13, 7, 20)) + 1.6 * frame.fine, depth + 6)
    yield Part("visceral fat", inner)
    vessel_end = (side * 18 - 6, 18.0, z + 8)
    yield Part("vein", tube(grid, [(x - side * 16, y - 8, z + 2), vessel_end], [4.5, 4.5]))


def great_vessels(frame: Frame) -> Iterator[Part]:
    grid = frame.grid
    for side in (-1, 1):
        crus = tube(grid, [(side * 14, 26, 40), (side * 16, 24, 100), (side * 20, 18, 160)], [4, 6.5, 7])
        yield Part("muscle", crus + frame.fine)
    aorta = tube(
        grid, frame.line([(5, 19, -10), (3, 17, 60), (3, 18, 110), (7, 24, 170)]), [8.5, 9.5, 10.5, 11]
    )
    cava = frame.line([(-21, 22, -10), (-23, 19, 50), (-27, 10, 100), (-26, 2, 140), (-20, -6, 175)])
    flat = Grid(grid.x, grid.y * 1.25 - 3, grid.z, grid.spacing)
    yield Part("vein", tube(flat, cava, [12, 12, 12, 13, 14]), 7, halo=1.0)
    yield Part("artery", aorta, 6, halo=1.5)
