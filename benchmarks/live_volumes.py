"""The volumes that are learned live: which slices are given, and how what was learned is judged on the others."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from few_shot import CASES
from numpy.typing import NDArray

from napari_samadapt.imaging.intensity import Window, auto_window, render_slice
from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import SliceKey, Volume, parse_slices, put_slice, take_slice
from napari_samadapt.learning.samples import TrainingSample
from napari_samadapt.session.batch import labelled_slices, training_samples
from napari_samadapt.session.classes import first_name


@dataclass(frozen=True, eq=False)
class LiveVolume:
    """A volume with its reference `labels` (z, y, x), which hold no other ids than `ids`; `five` slices to give."""

    name: str
    volume: Volume
    labels: NDArray[np.integer]
    ids: tuple[int, ...]
    window: Window
    five: tuple[SliceKey, ...]

    @property
    def keys(self) -> tuple[SliceKey, ...]:
        """Every slice along the axis of the given ones."""
        axis = self.five[0].axis
        return tuple(SliceKey(axis, index) for index in range(self.labels.shape[axis]))

    @property
    def names(self) -> dict[int, str]:
        """The classes as a session takes them."""
        return {class_id: first_name(class_id) for class_id in self.ids}

    def given(self, count: int) -> tuple[SliceKey, ...]:
        """The five, or of so many equal parts of the volume the middle slices."""
        if count == len(self.five):
            return self.five
        return tuple(self.keys[int((part + 0.5) * len(self.keys) / count)] for part in range(count))

    def image(self, key: SliceKey) -> NDArray[np.float32]:
        """A slice as a model sees it."""
        return render_slice(self.volume, key, self.window)

    def truth(self, given: Sequence[SliceKey]) -> dict[SliceKey, NDArray[np.uint16]]:
        """The reference of the given slices."""
        return labelled_slices(self.labels, given)

    def samples(self, given: Sequence[SliceKey]) -> tuple[TrainingSample, ...]:
        """The given slices to learn from."""
        return training_samples(self.volume, self.window, self.truth(given))

    def predict(self, segment: Callable[[NDArray[np.float32]], NDArray[np.uint16]]) -> NDArray[np.uint16]:
        """The whole volume (z, y, x), slice by slice."""
        predicted = np.zeros(self.labels.shape, np.uint16)
        for key in self.keys:
            put_slice(predicted, key, segment(self.image(key)))
        return predicted

    def unseen_dice(self, predicted: NDArray[np.integer], given: Sequence[SliceKey]) -> float:
        """Mean over the ids of Dice on the slices that were not given."""
        rest = [key for key in self.keys if key not in given]
        found, true = (np.stack([take_slice(ids, key) for key in rest]) for ids in (predicted, self.labels))
        return statistics.mean(dice(found == i, true == i) for i in self.ids)


def read_live_volume(name: str, data: Path) -> LiveVolume:
    """One of `CASES` below the data folder, in the window the product starts with."""
    case = CASES[name]
    volume = read_volume(data / case.image)
    ids, _ = read_labels(data / case.labels, volume)
    labels = np.where(np.isin(ids, case.ids), ids, 0)
    return LiveVolume(name, volume, labels, case.ids, auto_window(volume), parse_slices(case.slices, volume))
