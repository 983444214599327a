"""What the automatic model says of every slice: shown where the slice is not the user's, kept beneath where it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.volume import SliceKey, take_slice

Labels = NDArray[np.uint16]
Mask = NDArray[np.bool_]


class Predictions:
    """`shown` (z, y, x) uint16 holds the predictions in sight. Which slices are the user's is the caller's business."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shown: Labels = np.zeros(shape, np.uint16)
        self._covered: dict[SliceKey, Labels] = {}
        self._made_by: dict[SliceKey, int] = {}

    def made_by(self, key: SliceKey) -> int | None:
        """Number of the adapter that predicted a slice last, 0 for the plain model; None where none did."""
        return self._made_by.get(key)

    def show(self, key: SliceKey, labels: Labels, made_by: int, hidden: Mask) -> None:
        """Put a prediction (H, W) in sight, but for the `hidden` (H, W) pixels."""
        self._made_by[key] = made_by
        shown = labels.astype(np.uint16)
        shown[hidden] = 0
        take_slice(self.shown, key)[...] = shown

    def keep_beneath(self, key: SliceKey, labels: Labels, made_by: int) -> None:
        """Remember a prediction of a slice that is the user's."""
        self._made_by[key] = made_by
        self._covered[key] = labels.copy()

    def cover(self, key: SliceKey) -> None:
        """Take the prediction of a slice from sight; it comes back when the slice is given back."""
        shown = take_slice(self.shown, key)
        self._covered[key] = shown.copy()
        shown[...] = 0

    def uncover(self, key: SliceKey, hidden: Mask) -> None:
        """Show again what the model said of a slice, or of those that cross it."""
        said = self._covered.pop(key, None)
        if said is not None:
            take_slice(self.shown, key)[...] = np.where(hidden, 0, said)

    def forget_makers(self) -> None:
        """Slices along another axis follow: no adapter said what is in sight of any of these."""
        self._made_by.clear()

    def clear(self) -> None:
        """Forget everything the model said."""
        self.shown.fill(0)
        self._covered.clear()
        self._made_by.clear()

    def forget_class(self, class_id: int) -> None:
        """Take a class out of the predictions."""
        for labels in (self.shown, *self._covered.values()):
            labels[labels == class_id] = 0
