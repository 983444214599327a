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
from pathlib import Path

import numpy as np
import torch
from live_volumes import read_live_volume
from numpy.typing import NDArray

from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.prompts import Prompts, anchored, click_in_error
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.close_up import cut, decode_closely
from napari_samadapt.learning.fine_tune import FineTuneConfig, fine_tune
from napari_samadapt.learning.predict import encode_slice
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.semantic import segment_slice
from napari_samadapt.session.batch import new_model

GIVEN, EVERY, CLICKS = 2, 3, 8
WORST, GOOD = 0.3, 0.95
Mask = NDArray[np.bool_]
Corrections = Callable[[Prompts], Prompts]


class Slice:
    """A slice as SAM sees it."""

    def __init__(self, sam: PromptableSam, image: NDArray[np.float32]) -> None:
        self._sam, self._image, self._embedding = sam, image, encode_slice(sam, image)

    def corrected(self, shown: Mask, true: Mask, added: Corrections) -> list[float]:
        """Dice of a mask before the first click and after each."""
        prompts, mask, scores = Prompts(mask_input=shown), shown, [dice(shown, true)]
        while len(scores) <= CLICKS:
            if scores[-1] <= GOOD:
                xy, sign = click_in_error(mask, true)
                points = np.vstack([prompts.point_coords, xy])
                prompts = Prompts(points, np.append(prompts.point_labels, sign), mask_input=shown)
                mask = self._ask(added(prompts), mask)
            scores.append(dice(mask, true))
        return scores

    def _ask(self, prompts: Prompts, last: Mask) -> Mask:
        """As a session does: the mask so far goes along."""
        asked = Prompts(prompts.point_coords, prompts.point_labels, mask_input=last if last.any() else None)
        look = decode_closely(
            self._sam, self._embedding, asked, lambda part: encode_slice(self._sam, cut(self._image, part))
        )
        return look.mask


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
            correct_slice(Slice(sam, image), segment_slice(model, image)[0], live.truth([key])[key], rows)
    for name, scores in rows.items():
        cells = " | ".join(f"{score:.3f}" for score in np.mean(scores, 0))
        print(f"| {case} | {name} | {len(scores)} | {cells} |", flush=True)


def correct_slice(
    shown: Slice, predicted: NDArray[np.uint16], true: NDArray[np.uint16], rows: dict[str, list[list[float]]]
) -> None:
    """Note the scores of the structures of a slice."""
    for class_id in np.unique(true[true > 0]):
        mask, wanted = predicted == class_id, true == class_id
        if WORST <= dice(mask, wanted) <= GOOD:
            rows["with"].append(shown.corrected(mask, wanted, anchored))
            rows["without"].append(shown.corrected(mask, wanted, lambda prompts: prompts))


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
