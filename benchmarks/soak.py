"""Volumes opened, predicted and closed, again and again: does the memory of the process grow?

    python benchmarks/soak.py [--volumes 200] [--warm-up 20]

Each round opens a generated volume of another size, starts a session on `mini`, asks for a mask, accepts a slice, waits
until heads fitted to it predict another slice, exports and closes. Prints JSON: the resident memory (MB) after the
warm-up and at the end, each the median of five rounds, and the growth in percent; exit code 1 beyond 5 %.
"""

from __future__ import annotations

import argparse
import gc
import json
import queue
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]  # it has no types

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.imaging.volume import SliceKey, Volume
from napari_samadapt.imaging.writing import write_labels
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.session.session import Session

MOST_PERCENT = 5.0
_MEDIAN_OF = 5
_WAIT_SECONDS = 60.0


def ball(rng: np.random.Generator) -> Volume:
    """A bright ball in noise, of a random size."""
    shape = tuple(int(size) for size in rng.integers((8, 80, 80), (16, 160, 160)))
    z, y, x = (np.linspace(-1, 1, size) for size in shape)
    inside = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 < 0.3
    data = (inside * 200 + rng.normal(30, 8, shape)).astype(np.int16)
    return Volume(data, np.diag([-1.0, -1.0, 2.0, 1.0]))


def one_round(volume: Volume, folder: Path) -> None:
    """Open, click, accept, predict, export, close; RuntimeError where something does not come."""
    posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    session = Session(volume, load_sam("mini"), post=posted.put)

    def until(condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _WAIT_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"{what} did not come")
            try:
                posted.get(timeout=0.05)()
            except queue.Empty:
                continue

    try:
        session.set_policy(replace(session.policy, every_n_slices=1000))
        middle = volume.shape[session.axis] // 2
        key = SliceKey(session.axis, middle)
        height, width = (size for axis, size in enumerate(volume.shape) if axis != session.axis)
        box = np.array([0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height], np.float32)
        session.set_prompts(key, Prompts(box=box))
        until(lambda: bool(session.displayed().any()), "the mask")
        session.accept(key)
        until(lambda: bool(session.prediction.any()), "the prediction")
        session.export(folder / "masks.nii.gz")
    finally:
        session.close()
    for file in folder.iterdir():
        file.unlink()


def resident_mb() -> float:
    """What the process holds of the memory, in MB."""
    gc.collect()
    return float(psutil.Process().memory_info().rss / 1e6)


def soak(volumes: int, warm_up: int, told: Callable[[int, float], None] = lambda *_: None) -> dict[str, Any]:
    """Rounds on so many volumes, after a warm-up; the memory before and after."""
    rng, found = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "out"
        folder.mkdir()
        for number in range(warm_up + volumes):
            volume = ball(rng)
            path = Path(made) / "scan.nii.gz"
            path.unlink(missing_ok=True)
            write_labels(path, np.clip(volume.data, 0, None).astype(np.uint16), volume)
            one_round(read_volume(path), folder)
            found.append(resident_mb())
            told(number, found[-1])
    before = float(np.median(found[warm_up - _MEDIAN_OF : warm_up]))
    after = float(np.median(found[-_MEDIAN_OF:]))
    return {
        "volumes": volumes, "before_mb": round(before, 1), "after_mb": round(after, 1),
        "growth_percent": round(100 * (after / before - 1), 2), "every_20th_mb": [round(mb) for mb in found[::20]],
    }  # fmt: skip


def main() -> None:
    """Read the command line, run, print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--volumes", type=int, default=200)
    parser.add_argument("--warm-up", type=int, default=20)
    given = parser.parse_args()
    told = soak(
        given.volumes,
        given.warm_up,
        lambda number, mb: print(f"{number + 1}: {mb:.0f} MB", file=sys.stderr, flush=True),
    )
    json.dump(told, sys.stdout, indent=2)
    sys.stdout.write("\n")
    sys.exit(1 if told["growth_percent"] > MOST_PERCENT else 0)


if __name__ == "__main__":
    main()
