"""Ways to learn that are not the default: what each gives to few-shot Dice in the same seconds.

    python benchmarks/variants.py [--data ../shared/data] [--seconds 40] [--cases ct,mr] [--seeds 1] [--variants ...]

default   the automatic decoder alone, on one slice
average   an exponential moving average of its weights is what predicts
channels  the slices before and after as the first and the third channel (2.5D)
hard      cross-entropy of the hardest quarter of the pixels
axes      the default's probabilities along all three anatomical axes, averaged

Five slices; processor seconds of one thread. Mean Dice over the ids on the slices that were not given, each predicted
by itself, and joined with its neighbours as in a session.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from live_volumes import LiveVolume, read_live_volume
from neighbours import joined_labels
from numpy.typing import NDArray
from torch import Tensor

from napari_samadapt.imaging.intensity import render_slice
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import FineTuneConfig, fine_tune
from napari_samadapt.learning.losses import class_weights, cross_entropy_and_dice
from napari_samadapt.learning.neighbours import Neighbours, slice_weights
from napari_samadapt.learning.promptable_sam import Fine, PromptableSam
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.samples import SampleTensors, TrainingSample
from napari_samadapt.learning.semantic import SemanticSam, class_probabilities
from napari_samadapt.session.batch import new_model

DECAY = 0.97
"""Of the moving average, for each step."""
HARDEST = 0.25
"""The part of the pixels that counts."""

Shown = Callable[[SliceKey], NDArray[np.float32]]


class Average:
    """The moving average of what is trained."""

    def __init__(self, model: SemanticSam) -> None:
        self.weights = adapters.trainable(model)
        self.mean = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.count = 0

    @torch.no_grad()
    def update(self) -> None:
        self.count += 1
        decay = min(DECAY, self.count / (self.count + 10))
        for name, weight in self.weights.items():
            self.mean[name].lerp_(weight, 1 - decay)

    @torch.no_grad()
    def use(self) -> None:
        for name, weight in self.weights.items():
            weight.copy_(self.mean[name])


def hard_losses(
    model: SemanticSam, sam: PromptableSam, batch: SampleTensors, features: Tensor, fine: Fine, balance: float,
    rng: torch.Generator,
) -> Mapping[str, Tensor]:  # fmt: skip
    """Those of the detail decoder, with the cross-entropy of the hardest pixels; small classes are favoured alike."""
    logits = model.decoder.logits(batch.images, features, sam.input_size)  # type: ignore[operator]
    _, dice = cross_entropy_and_dice(logits, batch.targets, balance)
    weights = class_weights(batch.targets, logits.shape[1], balance)
    each = F.cross_entropy(logits.float(), batch.targets, weight=weights, reduction="none").flatten()
    hardest = each.topk(int(len(each) * HARDEST))
    return {
        "entropy": hardest.values.sum() / weights[batch.targets.flatten()[hardest.indices]].sum(),
        "dice": dice,
    }


def with_neighbours(live: LiveVolume, key: SliceKey) -> NDArray[np.float32]:
    """The slice (H, W, 3) with those before and after it in the outer channels."""
    last = live.keys[-1].index
    around = (max(0, key.index - 1), key.index, min(last, key.index + 1))
    return np.stack([live.image(SliceKey(key.axis, index)) for index in around], -1)


def learn(live: LiveVolume, variant: str, shown: Shown, seconds: float, seed: int) -> SemanticSam:
    """The model after one episode on the five slices."""
    torch.manual_seed(seed)
    model = new_model(load_sam("mini"), live.ids, AdapterConfig("decoder-only"), seed)
    if variant == "hard":
        model.decoder.losses = partial(hard_losses, model)  # type: ignore[method-assign, assignment]
    samples = [
        TrainingSample(key, shown(key), labels.astype(np.int64))
        for key, labels in live.truth(live.five).items()
    ]
    average = Average(model)
    for _ in fine_tune(model, samples, FineTuneConfig(seconds, None, seed, clock=time.process_time)):
        average.update()
    if variant == "average":
        average.use()
    return model


def said_by(live: LiveVolume, model: SemanticSam, variant: str, shown: Shown) -> list[Tensor]:
    """Class probabilities (K + 1, H, W) of every slice."""
    said = [class_probabilities(model, shown(key)) for key in live.keys]
    if variant != "axes":
        return said
    total = torch.stack(said, 1).log()  # (K + 1, z, y, x)
    for axis in (1, 2):
        keys = (SliceKey(axis, index) for index in range(live.labels.shape[axis]))
        across = [class_probabilities(model, render_slice(live.volume, key, live.window)) for key in keys]
        total += torch.stack(across, 1).log().movedim(1, 1 + axis)
    return list((total / 3).softmax(0).movedim(1, 0))


def dice_of(live: LiveVolume, said: Sequence[Tensor], *, joined: bool) -> float:
    """Mean Dice of the slices that were not given; `joined` with their neighbours, or each by itself."""
    weights = slice_weights(live.volume, live.five[0].axis, len(live.ids)) if joined else (1.0,)
    around = Neighbours(weights, live.ids)
    around.given = {key.index: labels for key, labels in live.truth(live.five).items()} if joined else {}
    return live.unseen_dice(joined_labels(around, said, live.ids), live.five)


VARIANTS = ("default", "average", "channels", "hard", "axes")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--cases", default="ct,mr")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| case | variant | by itself | with neighbours |\n|---|---|--:|--:|")
    for case in options.cases.split(","):
        live = read_live_volume(case, options.data)
        for variant in options.variants.split(","):
            shown = partial(with_neighbours, live) if variant == "channels" else live.image
            rows = []
            for seed in range(options.seeds):
                model = learn(live, variant, shown, options.seconds, seed)
                said = said_by(live, model, variant, shown)
                rows.append([dice_of(live, said, joined=joined) for joined in (False, True)])
            alone, joined = (statistics.mean(column) for column in zip(*rows, strict=True))
            print(f"| {case} | {variant} | {alone:.3f} | {joined:.3f} |", flush=True)


if __name__ == "__main__":
    main()
