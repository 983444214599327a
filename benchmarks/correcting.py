"""Clicks that correct what is predicted: Dice after each, with a click on the mask added for SAM, and without.

    python benchmarks/correcting.py [--data ../shared/data] [--cases ct,mr] [--seconds 20]

The automatic decoder learns two slices for so many processor seconds. Then, on every third slice that was not given,
each structure that it predicts with a Dice of 0.3 to 0.95 is corrected by up to eight clicks, each deep in the largest
error, until Dice is above 0.95; SAM's mask decoder is the plain one. Prints mean Dice before the first click and after
each.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from live_volumes import read_live_volume
from mini_zero_shot import Asker, Tally, corrected
from numpy.typing import NDArray

from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.prompts import Prompts, anchored
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import FineTuneConfig, fine_tune
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.semantic import segment_slice
from napari_samadapt.session.batch import new_model

GIVEN, EVERY, CLICKS = 2, 3, 8
WORST, GOOD = 0.3, 0.95
Mask = NDArray[np.bool_]
Added = Callable[[Prompts], Prompts]


def scores(asker: Asker, shown: Mask, true: Mask, added: Added) -> list[float]:
    """Dice of a mask before the first click and after each; as in a session the mask so far goes along."""

    def answer(points: NDArray[np.float32], labels: NDArray[np.int64], last: Mask) -> Mask:
        prompts = added(Prompts(points, labels, mask_input=shown))
        return asker.ask(replace(prompts, mask_input=last if last.any() else None), true)

    return [dice(shown, true), *corrected(true, answer, CLICKS, shown, GOOD)]


def measure(case: str, options: argparse.Namespace) -> None:
    """Print the rows of a case."""
    live, sam = read_live_volume(case, options.data), load_sam("mini")
    given = live.given(GIVEN)
    model = new_model(sam, live.ids, AdapterConfig("decoder-only"), seed=0)
    config = FineTuneConfig(options.seconds, None, seed=0, clock=time.process_time)
    for _ in fine_tune(model, live.samples(given), config):
        pass
    rows: dict[str, list[list[float]]] = {"with": [], "without": []}
    for key in live.keys[::EVERY]:
        if key not in given:
            image = live.image(key)
            correct_slice(
                Asker(sam, image, Tally()), segment_slice(model, image)[0], live.truth([key])[key], rows
            )
    for name, found in rows.items():
        cells = " | ".join(f"{score:.3f}" for score in np.mean(found, 0))
        print(f"| {case} | {name} | {len(found)} | {cells} |", flush=True)


def correct_slice(
    asker: Asker, predicted: NDArray[np.uint16], true: NDArray[np.uint16], rows: dict[str, list[list[float]]]
) -> None:
    """Note the scores of the structures of a slice."""
    for class_id in np.unique(true[true > 0]):
        mask, wanted = predicted == class_id, true == class_id
        if WORST <= dice(mask, wanted) <= GOOD:
            rows["with"].append(scores(asker, mask, wanted, anchored))
            rows["without"].append(scores(asker, mask, wanted, lambda prompts: prompts))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", default="ct,mr")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| case | click on the mask | structures | before | "
        + " | ".join(map(str, range(1, CLICKS + 1)))
        + " |"
    )
    print("|---|---|--:|" + "--:|" * (CLICKS + 1))
    for case in options.cases.split(","):
        measure(case, options)


if __name__ == "__main__":
    main()
