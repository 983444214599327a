"""The annotation, the prediction beneath it, and every rule of what may overwrite what. Synchronous; no threads.

A slice that the user touched (painted, prompted, accepted) belongs to the user: its voxels are shown from the
annotation and the prediction is zero there. Everywhere else the annotation is zero and the prediction shows. So
what is displayed at a voxel is always the sum of both arrays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.masks import merge_class
from napari_samadapt.imaging.volume import SliceKey, take_slice

from .history import Change, History, Marks, OpenDraft, SliceMark, SlicePixels
from .messages import Draft, Indices, Writer
from .predictions import Predictions

Labels = NDArray[np.uint16]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SliceEdit:
    """A slice before and after a change, and the mark it gets; None for a slice given back to the model."""

    key: SliceKey
    before: SlicePixels
    after: SlicePixels
    mark: SliceMark | None


class LabelBook:
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

    # Changes: each is one undo step, and returns it, or None where nothing would change.

    def begin_stroke(self, key: SliceKey) -> Change | None:
        """Take a slice's prediction over, so that a brush or eraser works on what is displayed."""
        if key in self.marks:
            return None
        edit = SliceEdit(key, self._pixels(key), self._taken_over(key), self._mark_by_hand(key))
        return self._apply(f"edit of slice {key.index}", [edit], open_=True)

    def record_stroke(self, axis: int, indices: Indices, before: Labels, after: Labels) -> Change | None:
        """Take note of voxels that were painted in the array already; their slices along `axis` are the user's now."""
        edits = []
        for index in np.unique(indices[axis]):
            chosen = indices[axis] == index
            row, column = (indices[other][chosen] for other in range(3) if other != axis)
            edits.append(
                self._stroke_edit(SliceKey(axis, int(index)), row, column, before[chosen], after[chosen])
            )
        if not edits:
            return None
        places = edits[0].key.index if len(edits) == 1 else f"{edits[0].key.index} to {edits[-1].key.index}"
        return self._apply(f"edit of slice {places}", edits)

    def put_draft(self, draft: Draft, locked: Collection[int]) -> Change | None:
        """Lay SAM's mask over a slice as the region of its class.

        Voxels decided by hand, locked classes and slices of other axes that the user touched stay as they are. A
        mask that follows prompts of the same draft first restores what the previous one replaced.
        """
        key = draft.key
        mark, current = self.marks.get(key), self._pixels(key)
        earlier = mark.draft if mark else None
        fixed = current.fixed
        if earlier is not None and earlier.class_id == draft.class_id:
            before, mark_before, base = earlier.before, earlier.mark_before, earlier.base
        else:
            fixed = self._fixed_with(earlier, current)
            before, mark_before = current, mark
            base = self._taken_over(key).labels if mark is None else current.labels
        labels = merge_class(base, draft.mask, draft.class_id, locked=locked)
        protected = fixed | self._crossing(key)
        labels[protected] = base[protected]
        opened = OpenDraft(draft.class_id, draft.prompts, draft.mask, base, before, mark_before)
        edit = SliceEdit(
            key, current, SlicePixels(labels, fixed), SliceMark(draft=opened, made_by=draft.made_by)
        )
        return self._apply(f"mask on slice {key.index}", [edit])

    def keep_draft(self, key: SliceKey) -> Change | None:
        """Make the open draft of a slice the user's own: later masks leave it alone."""
        mark = self.marks.get(key)
        if mark is None or mark.draft is None:
            return None
        current = self._pixels(key)
        after = SlicePixels(current.labels, self._fixed_with(mark.draft, current))
        kept = SliceMark(made_by=mark.made_by)
        return self._apply(f"mask on slice {key.index}", [SliceEdit(key, current, after, kept)])

    def drop_draft(self, key: SliceKey) -> Change | None:
        """Restore what the open draft of a slice replaced."""
        mark = self.marks.get(key)
        if mark is None or mark.draft is None:
            return None
        edit = SliceEdit(key, self._pixels(key), mark.draft.before, mark.draft.mark_before)
        return self._apply(f"rejected mask on slice {key.index}", [edit])

    def accept(self, key: SliceKey) -> Change | None:
        """Make the slice what is displayed, and mark it accepted."""
        mark, current = self.marks.get(key), self._pixels(key)
        if mark is not None and mark.accepted:
            return None
        after = self._taken_over(key) if mark is None else current
        if mark is not None:
            after = SlicePixels(after.labels, self._fixed_with(mark.draft, current))
        accepted = SliceMark(accepted=True, made_by=self.made_by(key))
        return self._apply(f"accept of slice {key.index}", [SliceEdit(key, current, after, accepted)])

    def propose(
        self,
        label: str,
        proposals: Mapping[SliceKey, Labels],
        locked: Collection[int],
        made_by: Mapping[SliceKey, int] | None = None,
    ) -> Change | None:
        """Give slices the labels (H, W) proposed for them, all in one step, where `takes_proposals` says yes.

        Locked classes and slices of other axes that the user touched stay as they are. `made_by` are the adapters
        of those that a model made.
        """
        edits = []
        for key, labels in proposals.items():
            if not self.takes_proposals(key):
                continue
            shown, current = self.displayed(key), self._pixels(key)
            kept = self._crossing(key) | np.isin(shown, list(locked)) | np.isin(labels, list(locked))
            after = SlicePixels(np.where(kept, shown, labels), current.fixed)
            mark = SliceMark(proposed=True, made_by=(made_by or {}).get(key))
            edits.append(SliceEdit(key, current, after, mark))
        return self._apply(label, edits) if edits else None

    def takes_proposals(self, key: SliceKey) -> bool:
        """True for a slice that the user neither painted, prompted nor accepted."""
        mark = self.marks.get(key)
        return mark is None or mark.proposed

    def clear(self, key: SliceKey) -> Change | None:
        """Empty a slice and give it back to the model; voxels of touched slices along other axes stay."""
        if key not in self.marks:
            return None
        current, kept = self._pixels(key), self._crossing(key)
        after = SlicePixels(np.where(kept, current.labels, 0).astype(np.uint16), current.fixed & kept)
        return self._apply(f"cleared slice {key.index}", [SliceEdit(key, current, after, None)])

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

    # How a change is made.

    def _stroke_edit(
        self, key: SliceKey, row: NDArray[np.intp], column: NDArray[np.intp], before: Labels, after: Labels
    ) -> SliceEdit:
        """A stroke on one slice; `before` and `after` (N,) at its pixels (row, column)."""
        painted = self._pixels(key)  # the array holds the stroke already
        original = painted.labels.copy()
        original[row, column] = before
        mark = self.marks.get(key)
        fixed = self._fixed_with(mark.draft if mark else None, painted)
        labels = painted.labels
        if mark is None:
            labels = original + take_slice(self.prediction, key)
        labels = labels.copy()
        labels[row, column] = after
        fixed[row, column] = True
        return SliceEdit(
            key, SlicePixels(original, painted.fixed), SlicePixels(labels, fixed), self._mark_by_hand(key)
        )

    def _mark_by_hand(self, key: SliceKey) -> SliceMark:
        """The mark of a slice that is painted on: a model's mask that is corrected, or one drawn by hand."""
        by_hand = key not in self.marks and not take_slice(self.prediction, key).any()
        return SliceMark(made_by=None if by_hand else self.made_by(key))

    def _apply(self, label: str, edits: Iterable[SliceEdit], open_: bool = False) -> Change:
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
            label, voxels, before, after, fixed_before, fixed_after, marks_before, marks_after, open_
        )
        self._restore(voxels, after, fixed_after, marks_after)
        self.history.push(change)
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
