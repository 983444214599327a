"""What it gives to join a slice's prediction with its neighbours', by the standard deviation of their weights.

    python benchmarks/neighbours.py [--data ../shared/data] [--seconds 30] [--cases ct,mr,brain1] [--method M]

Five slices are learned from once (processor seconds of one thread); then every slice is predicted from the same
probabilities, alone and with neighbours, the given slices among them. Slices further apart are imitated by leaving
out every second, or two of three, of those that may count. Mean Dice over the ids, on the slices that were not given.
"""

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from few_shot import CASES

from napari_samadapt.imaging.intensity import auto_window, render_slice
from napari_samadapt.imaging.metrics import label_report
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import SliceKey, parse_slices
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import FineTuneConfig
from napari_samadapt.learning.neighbours import LEAST_WEIGHT, Neighbours
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.semantic import class_probabilities, likeliest_class
from napari_samadapt.session.batch import labelled_slices, new_model, run_episode, training_samples

SIGMAS_MM = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)


def weights(sigma: float, spacing: float) -> tuple[float, ...]:
    """Of slices 0, 1, 2 ... away, `spacing` mm each."""
    reach = int(sigma / spacing * math.sqrt(-2 * math.log(LEAST_WEIGHT)))
    return tuple(math.exp(-0.5 * (away * spacing / sigma) ** 2) if away else 1.0 for away in range(reach + 1))


class Learned:
    """A case, and the class probabilities of its slices after learning from five."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        case = CASES[name]
        self.volume = read_volume(options.data / case.image)
        ids, _ = read_labels(options.data / case.labels, self.volume)
        self.ids, self.wanted = sorted(case.ids), np.where(np.isin(ids, case.ids), ids, 0)
        self.given = labelled_slices(self.wanted, parse_slices(case.slices, self.volume))
        window = auto_window(self.volume)
        model = new_model(load_sam("mini"), self.ids, AdapterConfig(options.method), seed=0)
        config = FineTuneConfig(options.seconds, None, seed=0, clock=time.process_time)
        run_episode(model, training_samples(self.volume, window, self.given), config)
        images = (render_slice(self.volume, SliceKey(0, z), window) for z in range(len(ids)))
        self.said = [class_probabilities(model, image) for image in images]

    def dice(self, sigma: float, step: int) -> float:
        """With the neighbours at every `step`-th slice."""
        predicted = np.zeros_like(self.wanted)
        for first in range(step):
            places = range(first, len(self.said), step)
            around = Neighbours(weights(sigma, self.volume.spacing[0] * step), self.ids)
            around.given = {
                at: self.given[SliceKey(0, z)] for at, z in enumerate(places) if SliceKey(0, z) in self.given
            }
            predicted[list(places)] = joined_labels(around, [self.said[z] for z in places], self.ids)
        rows = label_report(predicted, self.wanted, self.volume.spacing, self.ids, tuple(self.given)).rows
        return statistics.mean(row.dice for row in rows)


def joined_labels(around: Neighbours, said: Sequence[torch.Tensor], ids: Sequence[int]) -> np.ndarray:
    """Class ids (Z, H, W) of slices whose probabilities (K + 1, H, W) are joined with those around them."""
    labels = []
    for index in range(len(said) + around.reach):
        if index < len(said):
            around.put(index, said[index])
        if index >= around.reach:
            labels.append(likeliest_class(ids, around.mixed(index - around.reach))[0])
    return np.stack(labels)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--cases", default="ct,mr,brain1")
    parser.add_argument("--method", default="decoder-only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| case | mm between slices | " + " | ".join(f"{sigma:g} mm" for sigma in SIGMAS_MM) + " |")
    print("|---|--:|" + "--:|" * len(SIGMAS_MM))
    for name in options.cases.split(","):
        learned = Learned(name, options)
        for step in (1, 2, 3):
            apart = learned.volume.spacing[0] * step
            cells = " | ".join(f"{learned.dice(sigma, step):.3f}" for sigma in SIGMAS_MM)
            print(f"| {name} | {apart:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
