"""The benchmarks are scripts that import one another by their own names; so do their tests."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


def write_pictures(folder: Path, count: int, *, classes: bool = False) -> Path:
    """Discs left of the middle, brighter than the noise round them, 64 x 48; with `classes`, a dark one beside each."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :64]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        x, y = rng.uniform(12, 24), rng.uniform(14, 34)
        bright = (columns - x) ** 2 + (rows - y) ** 2 < 100
        dark = (columns - x - 25) ** 2 + (rows - y) ** 2 < 64
        values = 110 + 80 * bright - 80 * (dark & classes) + rng.normal(0, 8, bright.shape)
        mask = bright + 2 * dark if classes else 255 * bright
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{number}.png")
    return folder
