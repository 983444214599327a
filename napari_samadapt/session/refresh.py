"""Which slices still have to be predicted, and what comes back of them. Main thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey, take_slice

from .label_book import LabelBook
from .messages import RefreshPlan, SliceLabels
from .predictor import Predictor
from .suggestion import NO_EVIDENCE, Evidence, changed_share


class Refresh:
    """Keeps the prediction up to date: the slice on screen first, then outwards through the volume.

    Slices that the user touched are left out. Predictions stay in sight until newer ones replace them.
    """

    predicted = Signal(SliceKey)
    progress = Signal(int, int)

    def __init__(self, predictor: Predictor, book: LabelBook, window: Window, axis: int) -> None:
        self._predictor = predictor
        self._book = book
        self._window = window
        self._axis = axis
        self._epoch = 0
        self._focus = SliceKey(axis, self._count // 2)
        self._waiting: set[SliceKey] = set()
        self._told: dict[SliceKey, bool] = {}  # in this epoch, and whether wholly
        self._before: dict[SliceKey, NDArray[np.uint16]] = {}  # of those that are not told wholly yet
        self._reach = 0
        self._given: Mapping[int, NDArray[np.uint16]] = {}
        self._total = 0
        self._active = False
        self.known: dict[SliceKey, Evidence] = {}
        """The slices along the axis that have a prediction, and how sure it is."""

    @property
    def axis(self) -> int:
        """The numpy axis of the slices that are predicted."""
        return self._axis

    @property
    def waiting(self) -> int:
        """Number of slices that are still to come."""
        return len(self._waiting)

    @property
    def unseen(self) -> int:
        """Number of those that no adapter said anything of along this axis."""
        return len(self._waiting - self.known.keys())

    @property
    def _count(self) -> int:
        return int(self._book.annotation.shape[self._axis])

    def begin(self, window: Window, axis: int, *, active: bool) -> None:
        """Predict everything again; without an automatic model (`active` False) nothing is predicted any more.

        What was predicted along another axis stays in sight until slices of this one replace it.
        """
        if axis != self._axis:
            if self._focus.axis != axis:
                self._focus = SliceKey(axis, int(self._book.annotation.shape[axis]) // 2)
            self._book.predictions.forget_makers()
            self.known.clear()
        if not active:
            self._book.predictions.clear()
            self.known.clear()
        self._window, self._axis, self._active = window, axis, active
        self._epoch += 1
        slices = {SliceKey(axis, index) for index in range(self._count)} if active else set()
        self._waiting = slices - self._book.marks.keys()
        self._total = len(self._waiting)
        self._told, self._before = {}, {}
        self._given = self._accepted(slices)
        self._predictor.refresh(self._plan(self._waiting))
        if active:
            self.progress.emit(0, self._total)

    def look_at(self, key: SliceKey) -> None:
        """Go on from another slice on screen; along another axis it is encoded for clicks alone."""
        if key != self._focus:
            self._focus = key
            self._predictor.look(self._plan(()))

    def again(self, keys: Iterable[SliceKey]) -> None:
        """Predict changed slices that were given back to the model, and go on from what is accepted now.

        What it said since the last update is in sight again already, and was said with the slices around in mind. Those
        around a slice that is accepted now, or no longer, are told anew.
        """
        changed = {key for key in keys if key.axis == self._axis}
        given, indices = self._accepted(changed), {key.index for key in changed}
        heard = given.keys() | (indices & self._given.keys())
        wanted = changed - self._book.marks.keys() - self._told.keys()
        if not self._active or not (wanted or heard):
            return
        self._given = {index: labels for index, labels in self._given.items() if index not in indices} | given
        anew = self._told_near(heard) - self._book.marks.keys()
        wanted |= anew
        self._total += len(wanted - self._waiting)
        self._waiting |= wanted
        # What was seen of the slices around those may be forgotten.
        self._predictor.look(self._plan(wanted | self._told_near(key.index for key in anew)))

    def take(self, result: SliceLabels) -> bool:
        """Show a prediction; False for one that is outdated, or kept beneath as the slice is the user's by now.

        One that is not whole is no news of a slice that was told wholly.
        """
        if result.epoch != self._epoch:
            return False
        key, self._reach = result.key, result.reach
        self._waiting.discard(key)
        shown = (result.whole or not self._told.get(key)) and self._put(result)
        if shown:
            self.predicted.emit(key)
        self.progress.emit(self._total - len(self._waiting), self._total)
        return shown

    def _put(self, result: SliceLabels) -> bool:
        key, labels = result.key, result.labels
        self.known[key] = Evidence(result.doubt, self._changed(result), not labels.any())
        self._told[key] = result.whole
        return self._book.put_prediction(key, labels, result.made_by)

    def _changed(self, result: SliceLabels) -> float:
        """The share of a slice that the last adapter changed: compared with nothing of this refresh."""
        key, known = result.key, self.known.get(result.key)
        if known is None:
            return 0.0
        if key not in self._told:
            self._before[key] = take_slice(self._book.prediction, key).copy()
        before = self._before.pop(key, None) if result.whole else self._before.get(key)
        return known.changed if before is None else changed_share(before, result.labels)

    def evidence(self) -> list[Evidence] | None:
        """What the automatic model said of every slice along the axis; None before it said anything."""
        if not self.known:
            return None
        return [self.known.get(SliceKey(self._axis, index), NO_EVIDENCE) for index in range(self._count)]

    def _plan(self, keys: Iterable[SliceKey]) -> RefreshPlan:
        count = int(self._book.annotation.shape[self._focus.axis])
        return RefreshPlan(self._epoch, self._window, self._focus, frozenset(keys), count, self._given)

    def _told_near(self, indices: Iterable[int]) -> set[SliceKey]:
        """The slices told in this epoch that are within reach of some, but for accepted ones."""
        near = {index + away for index in indices for away in range(-self._reach, self._reach + 1)}
        return {key for key in self._told if key.index in near - self._given.keys()}

    def _accepted(self, keys: Iterable[SliceKey]) -> dict[int, NDArray[np.uint16]]:
        """Those of the slices that are accepted, copied for another thread to read."""
        marks = self._book.marks
        return {
            key.index: take_slice(self._book.annotation, key).copy()
            for key in keys
            if key in marks and marks[key].accepted
        }
