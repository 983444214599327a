"""What accepted slices say at once: the automatic decoder's heads fitted to them, without a step of training.

The encoder stays as it is, so slices that are already embedded are predicted anew in a moment. On a CT and an MR the
fit was better than an adapter that predicts the new slices badly; one that predicts them well is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import SETTLE_SLICES, class_dice
from napari_samadapt.learning.predict import ImageEmbedding
from napari_samadapt.learning.promptable_sam import Fine
from napari_samadapt.learning.samples import SampleTensors, TrainingSample, stack_samples
from napari_samadapt.learning.semantic import SemanticSam

from .promotion import CONTRADICTS, TOLERANCE

GOOD_ENOUGH = 0.8
"""Dice on the new slices from which on the adapter in use is not touched between episodes."""
JUDGES = 3
"""So many of the slices that the adapter in use has learned from judge a fit, at most."""


@dataclass(frozen=True, eq=False)
class InstantFit:
    """Asks for heads fitted to the `new` slices, and to the `known` ones that the adapter in use has learned from.

    `config` is what episodes train; `version` numbers the result.
    """

    new: tuple[TrainingSample, ...]
    known: tuple[TrainingSample, ...]
    class_ids: tuple[int, ...]
    config: AdapterConfig
    window: Window
    version: int

    @property
    def samples(self) -> tuple[TrainingSample, ...]:
        """The slices to fit to: the new ones first, no more than there is time for."""
        return (*self.new, *self.known)[:SETTLE_SLICES]

    @property
    def keys(self) -> frozenset[SliceKey]:
        """All the slices that the result need not be fitted to again."""
        return frozenset(sample.key for sample in (*self.new, *self.known))


class EmbeddedSlices:
    """Slices with their classes and embeddings, ready for the automatic decoder."""

    def __init__(
        self, model: SemanticSam, samples: Sequence[TrainingSample], embeddings: Sequence[ImageEmbedding]
    ) -> None:
        self._model = model
        self._data = stack_samples(samples, model.class_ids, model.sam.device)
        self._features = torch.cat([embedding.features for embedding in embeddings])
        levels = zip(*(embedding.fine for embedding in embeddings), strict=True)
        self._fine: Fine = tuple(torch.cat(level) for level in levels)

    def fit(self, seed: int) -> None:
        """Let the decoder learn from all of them."""
        rng = torch.Generator().manual_seed(seed)
        self._model.decoder.settle(self._model.sam, self._data, self._features, self._fine, rng)

    def dice(self, places: Sequence[int]) -> list[float]:
        """Dice of what the model says of some of the slices."""
        return [self._dice(self._data.take(one), one) for one in (slice(p, p + 1) for p in places)]

    def _dice(self, data: SampleTensors, one: slice) -> float:
        fine = tuple(level[one] for level in self._fine)
        said = self._model.decode(data.images, self._features[one], fine).argmax(1)
        return class_dice(said, data.targets, len(self._model.class_ids))


@torch.no_grad()
def fit_heads(
    model: SemanticSam, asked: InstantFit, embeddings: Sequence[ImageEmbedding], *, serving: bool
) -> bool:
    """Fit the decoder of a model to slices with these embeddings; False where the adapter in use is to stay.

    `serving`: there is one in use, and the decoder starts as its decoder. What it knows of the new slices is no
    measure where they show a class that it does not know.
    """
    slices = EmbeddedSlices(model, asked.samples, embeddings)
    new = range(min(len(asked.new), len(asked.samples)))
    judges = range(len(new), len(asked.samples))[:JUDGES] if serving else range(0)
    if serving and not model.decoder.blank:
        agreement = slices.dice(new)
        if min(agreement) < CONTRADICTS or _mean(agreement) >= GOOD_ENOUGH:
            return False
    before = slices.dice(judges)
    slices.fit(asked.version)
    return not judges or _mean(slices.dice(judges)) >= _mean(before) - TOLERANCE


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
