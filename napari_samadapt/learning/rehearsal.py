"""Prompts on the bundled samples, so that a mask decoder that learns one volume does not forget how others look."""

from functools import lru_cache
from importlib import resources

import numpy as np
import torch
from torch import Tensor

from napari_samadapt.imaging.intensity import auto_window, render_slice
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import SliceKey, take_slice

from .precision import autocast
from .predict import image_tensor
from .promptable_sam import Fine
from .prompted import prompted_loss
from .semantic import SemanticSam

SAMPLES = {
    "sample_ct.nii.gz": "sample_ct_labels.nii.gz",
    "sample_mr.nii.gz": "sample_mr_labels.nii.gz",
    "sample_ultrasound.png": "sample_ultrasound_labels.nii.gz",
}
EVERY = 5
"""Every so many slices of a sample are used."""


@lru_cache(maxsize=1)
def sample_slices() -> tuple[tuple[Tensor, Tensor], ...]:
    """Labelled slices of the samples: images (1, 3, H, W) in [0, 1] and class ids (1, H, W)."""
    folder, found = resources.files("napari_samadapt.resources"), []
    for image, labels in SAMPLES.items():
        with resources.as_file(folder / image) as path:
            volume = read_volume(path)
        with resources.as_file(folder / labels) as path:
            ids, _ = read_labels(path, volume)
        window = auto_window(volume)
        for key in (SliceKey(0, index) for index in range(0, volume.shape[0], EVERY)):
            shown = take_slice(ids, key).astype(np.int64)
            if shown.any():
                found.append((image_tensor(render_slice(volume, key, window)), torch.from_numpy(shown)[None]))
    return tuple(found)


class Rehearsal:
    """The samples as a model sees them; a slice is embedded when it is first asked for."""

    def __init__(self, model: SemanticSam) -> None:
        self._model = model
        self._seen: dict[int, tuple[Tensor, Fine]] = {}

    def loss(self, rng: torch.Generator, *, anew: bool = False) -> Tensor:
        """`prompted_loss` on one of the slices, embedded `anew` where the encoder has changed."""
        slices, sam = sample_slices(), self._model.sam
        index = int(torch.randint(len(slices), (1,), generator=rng))
        image, targets = slices[index]
        if anew or index not in self._seen:
            self._seen[index] = self._embed(image.to(sam.device))
        with autocast(sam.device):
            return prompted_loss(sam, *self._seen[index], targets, rng)

    @torch.no_grad()
    def _embed(self, image: Tensor) -> tuple[Tensor, Fine]:
        """As in use: without the noise that some adapters have while they are trained."""
        training = self._model.training
        self._model.eval()
        with autocast(self._model.sam.device):
            seen = self._model.embed(image)
        self._model.train(training)
        return seen
