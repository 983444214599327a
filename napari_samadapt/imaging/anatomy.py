"""A made-up upper abdomen: which tissue fills which body, in the order in which they are painted.

Millimetres: x to the patient's left, y to the back, z upwards; 0, 0 is the middle of the body and z = 0 is at
the level of the fourth lumbar vertebra. No patient's anatomy went into it.
"""

from collections.abc import Iterator

import numpy as np

from .anatomy_organs import bowel, great_vessels, kidney, liver, pancreas_and_portal_vessels, spleen, stomach
from .anatomy_trunk import Part, body, chest, muscles, outside, ribs, shared_frame, spine
from .shapes import Grid, warped

EXTENT = (160.0, 384.0, 384.0)
"""Size of the field of view (z, y, x) in mm."""

ORGANS = {
    1: "liver",
    2: "spleen",
    3: "right kidney",
    4: "left kidney",
    5: "stomach",
    6: "aorta",
    7: "inferior vena cava",
    8: "vertebrae",
}


def abdomen_parts(grid: Grid, rng: np.random.Generator) -> Iterator[Part]:
    """Everything in the field of view, from the outside in; later parts cover earlier ones."""
    grid = warped(warped(grid, rng, 3.6, 100.0), rng, 1.5, 30.0)
    surface = body(grid)
    frame = shared_frame(grid, surface, rng)
    yield from outside(surface, frame)
    yield from muscles(frame)
    yield from bowel(frame)
    yield from pancreas_and_portal_vessels(frame)
    yield from stomach(frame)
    yield from liver(frame)
    yield from spleen(frame)
    yield from kidney(frame, -1, 3)
    yield from kidney(frame, 1, 4)
    yield from great_vessels(frame)
    yield from chest(frame)
    yield from spine(frame)
    yield from ribs(frame)
