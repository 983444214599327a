"""Should an episode go on from the last adapter, or start from the base? Five slices accepted one after the other.

    python benchmarks/continuing.py [--data ../shared/data] [--seconds 10] [--seeds 2] [--method conv-lora]

After each slice an episode learns from all slices so far: once on the model that the episode before left (the slices
before are rehearsed), once on a fresh one. Prints mean Dice of the slices that are never given. The seconds are those
of the processor on one thread, so the machine need not be quiet.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from few_shot import CASES, Case
from numpy.typing import NDArray

from napari_samadapt.imaging.intensity import auto_window
from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import SliceKey, Volume, parse_slices, put_slice
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import FineTuneConfig
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.semantic import SemanticSam, carry_decoder_over
from napari_samadapt.session.batch import (
    labelled_slices,
    new_model,
    predict_volume,
    run_episode,
    training_samples,
)

ORDER = (2, 0, 4, 1, 3)
"""The middle slice comes first, then the outer ones."""


class Annotated:
    """A volume of which one slice after the other is given, and the model that follows."""

    def __init__(self, data: Path, case: Case, method: str) -> None:
        self.volume: Volume = read_volume(data / case.image)
        ids, _ = read_labels(data / case.labels, self.volume)
        self.labels: NDArray[np.int64] = np.where(np.isin(ids, case.ids), ids, 0).astype(np.int64)
        self.case, self.window = case, auto_window(self.volume)
        self.adapter = AdapterConfig(method, last_blocks=3)
        keys = parse_slices(case.slices, self.volume)
        self.given = labelled_slices(self.labels, [keys[place] for place in ORDER])

    def run(self, *, goes_on: bool, seconds: float, seed: int) -> list[float]:
        """Mean Dice after one, two, ... slices."""
        found: list[float] = []
        last: SemanticSam | None = None
        for count in range(1, len(self.given) + 1):
            slices = dict(list(self.given.items())[:count])
            model = self._model(slices, last if goes_on else None, seed)
            config = FineTuneConfig(seconds, None, seed + count, clock=time.process_time)
            run_episode(model, training_samples(self.volume, self.window, slices), config)
            found.append(self._dice(model))
            last = model
        return found

    def _model(
        self, slices: Mapping[SliceKey, NDArray[np.uint16]], last: SemanticSam | None, seed: int
    ) -> SemanticSam:
        class_ids = sorted({int(i) for labels in slices.values() for i in np.unique(labels)} - {0})
        if last is None:
            return new_model(load_sam("mini", device="cpu"), class_ids, self.adapter, seed)
        model = SemanticSam(last.sam, sorted({*class_ids, *last.class_ids}), self.adapter.decoder)
        carry_decoder_over(last, model)
        return adapters.twin(model)

    def _dice(self, model: SemanticSam) -> float:
        axis = next(iter(self.given)).axis
        said, wanted = predict_volume(model, self.volume, axis, self.window), self.labels.copy()
        for key, labels in self.given.items():
            for volume in (said, wanted):
                put_slice(volume, key, np.zeros_like(labels))
        return statistics.mean(dice(said == i, wanted == i) for i in self.case.ids)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", default="ct,mr")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--method", default="conv-lora")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| case | episode | " + " | ".join(f"{n} slices" for n in range(1, 6)) + " |")
    print("|---|---|" + "--:|" * 5)
    for case in options.cases.split(","):
        annotated = Annotated(options.data, CASES[case], options.method)
        found: dict[str, list[list[float]]] = defaultdict(list)
        for seed in range(options.seeds):
            for name, goes_on in (("goes on", True), ("from the base", False)):
                found[name].append(annotated.run(goes_on=goes_on, seconds=options.seconds, seed=seed))
                sys.stderr.write(f"{case} {name} {found[name][-1]}\n")
        for name, runs in found.items():
            means = (statistics.mean(at) for at in zip(*runs, strict=True))
            print(f"| {case} | {name} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


if __name__ == "__main__":
    main()
