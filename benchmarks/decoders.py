"""The live default (embedding and detail path) against Conv-LoRA's multi-class decoder (Appendix B), few-shot.

    python benchmarks/decoders.py [--cases ct,mr] [--seconds 120] [--seeds 3] [--method decoder-only] [--rates …]

Both see the same five slices and the same fine-tuning loop and seconds; each has its own loss and learning rate
(`--rates`). "queries" start apart by noise (ours), "equal-queries" alike, as the official code's do.
Prints the mean Dice of the slices that were not given, each predicted by itself: mean and deviation over the seeds.
On a CPU the seconds are those of the processor, on one thread, so that the machine need not be quiet.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from few_shot import CASES, Case
from numpy.typing import NDArray

from napari_samadapt.imaging.intensity import auto_window, render_slice
from napari_samadapt.imaging.metrics import label_report
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import SliceKey, Volume, take_slice
from napari_samadapt.learning import adapters
from napari_samadapt.learning.fine_tune import FineTuneConfig, fine_tune
from napari_samadapt.learning.query_decoder import QueryDecoder
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.samples import TrainingSample
from napari_samadapt.learning.semantic import SemanticSam, segment_slice

EQUAL = "equal-queries"


@dataclass(frozen=True, eq=False)
class Material:
    """A case in memory: `images` (Z, H, W) as SAM sees them, `labels` (Z, H, W) with the case's ids alone."""

    volume: Volume
    images: NDArray[np.float32]
    labels: NDArray[np.integer]
    class_ids: tuple[int, ...]
    given: tuple[SliceKey, ...]


def read_case(case: Case, data: Path) -> Material:
    volume = read_volume(data / case.image)
    ids, _ = read_labels(data / case.labels, volume)
    axis, _, places = case.slices.partition(":")
    given = tuple(SliceKey(int(axis), int(place)) for place in places.split(","))
    window = auto_window(volume)
    keys = [SliceKey(int(axis), index) for index in range(volume.shape[int(axis)])]
    images = np.stack([render_slice(volume, key, window) for key in keys])
    return Material(volume, images, np.where(np.isin(ids, case.ids), ids, 0), case.ids, given)


def measure(
    material: Material, name: str, rate: float, options: argparse.Namespace, seed: int
) -> tuple[float, int]:
    """Mean Dice of the slices that were not given, and the steps of the training."""
    torch.manual_seed(seed)
    sam = load_sam(options.model, device=options.device)
    adapters.insert(sam, adapters.AdapterConfig(method=options.method))
    model = SemanticSam(sam, material.class_ids, name.removeprefix("equal-"))
    if name == EQUAL:
        model.decoder = QueryDecoder(sam, len(material.class_ids), noise=0)
    samples = [
        TrainingSample(key, material.images[key.index], take_slice(material.labels, key))
        for key in material.given
    ]
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    config = FineTuneConfig(options.seconds, seed=seed, decoder_rate=rate, clock=clock)
    *_, last = fine_tune(model, samples, config)
    predicted = np.stack([segment_slice(model, image)[0] for image in material.images])
    spacing = material.volume.spacing
    report = label_report(predicted, material.labels, spacing, material.class_ids, exclude=material.given)
    return report.mean_dice, last.step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", default="ct,mr")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--method", default="decoder-only", help="how the encoder is adapted, for both")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rates", default="detail=5e-3,queries=1e-3,equal-queries=1e-3")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rates = {name: float(rate) for name, rate in (pair.split("=") for pair in options.rates.split(","))}
    for case in options.cases.split(","):
        material = read_case(CASES[case], options.data)
        for name, rate in rates.items():
            rows = [measure(material, name, rate, options, seed) for seed in range(options.seeds)]
            dice = np.array([score for score, _ in rows])
            print(
                f"{case:3} {name:13} Dice {dice.mean():.3f} ± {dice.std(ddof=min(1, len(dice) - 1)):.3f}  "
                f"rate {rate:g}  {np.mean([steps for _, steps in rows]):.0f} steps",
                flush=True,
            )


if __name__ == "__main__":
    main()
