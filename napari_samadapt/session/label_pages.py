"""The annotation, the prediction beneath it, what is the user's, and how a change is written. Main thread only.

A slice that the user touched (painted, prompted, accepted) belongs to the user: its voxels are shown from the
annotation and the prediction is zero there. Everywhere else the annotation is zero and the prediction shows. So
what is displayed at a voxel is always the sum of both arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.volume import SliceKey, take_slice

from .history import Change, ClassChange, History, Marks, OpenDraft, SliceMark, SlicePixels
from .messages import Indices, Writer
from .predictions import Predictions

Labels = NDArray[np.uint16]
Mask = NDArray[np.bool_]
_NO_CLASSES: ClassChange = {}


@dataclass(frozen=True, eq=False)
class SliceEdit:
    """A slice before and after a change, and the mark it gets; None for a slice given back to the model."""

    key: SliceKey
    before: SlicePixels
    after: SlicePixels
    mark: SliceMark | None


@dataclass(frozen=True, eq=False)
class Pages:
    """All that a label book holds, but for what the model says: `annotation` and `fixed` (z, y, x), marks, history."""

    annotation: Labels
    fixed: Mask
    marks: Mapping[SliceKey, SliceMark]
    done: tuple[Change, ...] = ()
    undone: tuple[Change, ...] = ()


class LabelPages:
    """Owns `annotation` (z, y, x) uint16 and the predictions; writes to the annotation go through `writer`."""

    def __init__(self, shape: tuple[int, int, int], history: History | None = None) -> None:
        self.annotation: Labels = np.zeros(shape, np.uint16)
        self.predictions = Predictions(shape)
        self.writer: Writer = self._write
        self.history = history or History()
        self.marks: dict[SliceKey, SliceMark] = {}
        self._fixed: Mask = np.zeros(shape, bool)

    @property
    def prediction(self) -> Labels:
        """(z, y, x) uint16 ids of the predictions in sight: zero on slices that the user touched."""
        return self.predictions.shown

    def pages(self) -> Pages:
        """A copy of everything there is now."""
        done, undone = self.history.steps
        return Pages(self.annotation.copy(), self._fixed.copy(), dict(self.marks), done, undone)

    def take_up(self, pages: Pages) -> None:
        """Go on from there, in a book that nobody has written in."""
        for key in pages.marks:
            self.predictions.cover(key)
        self.annotation[...] = pages.annotation
        self._fixed[...] = pages.fixed
        self.marks.update(pages.marks)
        self.history.take_up(pages.done, pages.undone)

    def displayed(self, key: SliceKey) -> Labels:
        """A copy of what the user sees on a slice: (H, W) ids."""
        shown: Labels = take_slice(self.annotation, key) + take_slice(self.prediction, key)
        return shown

    def displayed_volume(self) -> Labels:
        """A copy of what the user sees of the whole volume: (z, y, x) ids."""
        return self.annotation + self.prediction

    def made_by(self, key: SliceKey) -> int | None:
        """Number of the adapter that made what a slice shows, 0 for the plain model; None where no model did.

        A mask that was corrected by hand keeps the adapter it came from; of several the last one counts.
        """
        mark = self.marks.get(key)
        return self.predictions.made_by(key) if mark is None else mark.made_by

    def put_prediction(self, key: SliceKey, labels: Labels, made_by: int = 0) -> bool:
        """Show what the model, with this adapter, says of a slice; False where the slice is the user's by now."""
        if key in self.marks:
            self.predictions.keep_beneath(key, labels, made_by)
            return False
        self.predictions.show(key, labels, made_by, self._crossing(key))
        return True

    def do(self, change: Change) -> None:
        """Make a change, which is one undo step."""
        self._restore(change.voxels, change.after, change.fixed_after, change.marks_after)
        self.history.push(change)

    def undo(self) -> Change | None:
        """Take the newest change back."""
        if (change := self.history.undo()) is not None:
            self._restore(change.voxels, change.before, change.fixed_before, change.marks_before)
        return change

    def redo(self) -> Change | None:
        """Do what was taken back again."""
        if (change := self.history.redo()) is not None:
            self._restore(change.voxels, change.after, change.fixed_after, change.marks_after)
        return change

    # How a change is written.

    def _apply(
        self,
        label: str,
        edits: Iterable[SliceEdit],
        *,
        open_: bool = False,
        classes: tuple[ClassChange, ClassChange] = (_NO_CLASSES, _NO_CLASSES),
    ) -> Change:
        """Write the slices and remember how they were."""
        parts = []
        marks_before: dict[SliceKey, SliceMark | None] = {}
        marks_after: dict[SliceKey, SliceMark | None] = {}
        for edit in edits:
            changed = (edit.before.labels != edit.after.labels) | (edit.before.fixed != edit.after.fixed)
            row, column = np.nonzero(changed)
            parts.append(
                (
                    self._flat(edit.key, row, column),
                    edit.before.labels[changed],
                    edit.after.labels[changed],
                    edit.before.fixed[changed],
                    edit.after.fixed[changed],
                )
            )
            marks_before[edit.key], marks_after[edit.key] = self.marks.get(edit.key), edit.mark
        voxels, before, after, fixed_before, fixed_after = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        change = Change(
            label,
            voxels,
            before,
            after,
            fixed_before,
            fixed_after,
            marks_before,
            marks_after,
            *classes,
            open_,
        )
        self.do(change)
        return change

    def _restore(self, voxels: NDArray[np.intp], labels: Labels, fixed: Mask, marks: Marks) -> None:
        """Put one side of a change in place: labels and `fixed` (N,) at flat `voxels`, and the slices' marks."""
        different = self.annotation.reshape(-1)[voxels] != labels
        if different.any():
            z, y, x = np.unravel_index(voxels[different], self.annotation.shape)
            self.writer((z, y, x), labels[different])
        self._fixed.reshape(-1)[voxels] = fixed
        released = []
        for key, mark in marks.items():
            if mark is not None and key not in self.marks:
                self.predictions.cover(key)
            elif mark is None and key in self.marks:
                released.append(key)
            if mark is None:
                self.marks.pop(key, None)
            else:
                self.marks[key] = mark
        for key in released:
            self.predictions.uncover(key, self._crossing(key))

    def _write(self, indices: Indices, values: Labels) -> None:
        self.annotation[indices] = values

    def _pixels(self, key: SliceKey) -> SlicePixels:
        """Copies of a slice of the annotation."""
        return SlicePixels(take_slice(self.annotation, key).copy(), take_slice(self._fixed, key).copy())

    def _taken_over(self, key: SliceKey) -> SlicePixels:
        """The slice as it is displayed, as labels of the annotation."""
        return SlicePixels(self.displayed(key), take_slice(self._fixed, key).copy())

    def _given_back(self, key: SliceKey, current: SlicePixels) -> SlicePixels:
        """What the annotation holds of a slice that is the model's again: its voxels on touched slices."""
        kept = self._crossing(key)
        return SlicePixels(np.where(kept, current.labels, 0).astype(np.uint16), current.fixed & kept)

    def _fixed_with(self, draft: OpenDraft | None, current: SlicePixels) -> Mask:
        """Where the user decided, an open draft that is kept included."""
        fixed = current.fixed.copy()
        if draft is not None:
            fixed |= draft.mask & (current.labels == draft.class_id)
        return fixed

    def _crossing(self, key: SliceKey) -> Mask:
        """(H, W) pixels of a slice that lie on touched slices along other axes: those belong to the user."""
        crossing = np.zeros(take_slice(self.annotation, key).shape, bool)
        rows_axis = next(axis for axis in range(3) if axis != key.axis)
        for other in self.marks:
            if other.axis == rows_axis:
                crossing[other.index, :] = True
            elif other.axis != key.axis:
                crossing[:, other.index] = True
        return crossing

    def _flat(self, key: SliceKey, row: NDArray[np.intp], column: NDArray[np.intp]) -> NDArray[np.intp]:
        """Flat positions in the volume of pixels (row, column) of a slice."""
        places = [row, column]
        places.insert(key.axis, np.full_like(row, key.index))
        return np.ravel_multi_index(tuple(places), self.annotation.shape)
