"""Every rule of what may overwrite what in the annotation. Synchronous; no threads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.masks import merge_class
from napari_samadapt.imaging.volume import SliceKey, take_slice

from .history import Change, OpenDraft, SliceMark, SlicePixels
from .label_pages import LabelPages, Labels, SliceEdit
from .messages import Draft, Indices, LabelClass


@dataclass(frozen=True)
class AdoptRules:
    """What labels that are imported may change: not these `locked` ids. `new` are classes that come with them."""

    locked: tuple[int, ...] = ()
    accepted_too: bool = False
    new: Mapping[int, LabelClass] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """What an import left alone: accepted slices, and voxels on others."""

    slices: int
    voxels: int


class LabelBook(LabelPages):
    """The changes that can be made to the annotation.

    Each is one undo step, and returns it, or None where nothing would change.
    """

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
        labels[protected] = current.labels[protected]
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
        """Restore what the open draft of a slice replaced; what was decided by hand or along other axes since stays."""
        mark = self.marks.get(key)
        if mark is None or mark.draft is None:
            return None
        current, before, mark_before = self._pixels(key), mark.draft.before, mark.draft.mark_before
        after = self._given_back(key, current)
        if mark_before is not None:
            as_before = self._fixed_with(mark_before.draft, before) & (current.labels == before.labels)
            since = current.fixed & ~as_before
            kept = self._crossing(key) | since
            after = SlicePixels(
                np.where(kept, current.labels, before.labels), np.where(kept, current.fixed, before.fixed)
            )
        edit = SliceEdit(key, current, after, mark_before)
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

        Voxels decided by hand, locked classes and slices of other axes that the user touched stay as they are.
        `made_by` are the adapters of those that a model made.
        """
        edits = []
        for key, labels in proposals.items():
            if not self.takes_proposals(key):
                continue
            shown, current = self.displayed(key), self._pixels(key)
            kept = (
                current.fixed
                | self._crossing(key)
                | np.isin(shown, list(locked))
                | np.isin(labels, list(locked))
            )
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
        current = self._pixels(key)
        edit = SliceEdit(key, current, self._given_back(key, current), None)
        return self._apply(f"cleared slice {key.index}", [edit])

    def remove_class(self, removed: LabelClass) -> Change:
        """Empty all voxels of a class; accepted slices stay accepted. Open drafts become the user's own first."""
        gone = self.annotation == removed.id
        fixed = self._fixed & ~gone
        drafts = {key: mark.draft for key, mark in self.marks.items() if mark.draft is not None}
        for key, draft in drafts.items():
            take_slice(fixed, key)[...] |= self._fixed_with(draft, self._pixels(key)) & ~take_slice(gone, key)
        voxels = np.flatnonzero(gone | (fixed != self._fixed))
        before = self.annotation.reshape(-1)[voxels]
        concerned = {
            key: mark for key, mark in self.marks.items() if key in drafts or take_slice(gone, key).any()
        }
        change = Change(
            f"removal of {removed.name}",
            voxels,
            before,
            np.where(before == removed.id, 0, before).astype(np.uint16),
            self._fixed.reshape(-1)[voxels],
            fixed.reshape(-1)[voxels],
            concerned,
            {key: replace(mark, draft=None) for key, mark in concerned.items()},
            {removed.id: removed},
            {removed.id: None},
        )
        self.do(change)
        return change

    def adopt(self, label: str, axis: int, labels: Labels, rules: AdoptRules) -> tuple[Change | None, Kept]:
        """Lay labels (z, y, x) over the annotation, where they are not 0; the slices along `axis` are the user's then.

        A slice of the model becomes what the labels say of it and nothing else. Accepted slices and locked classes
        stay as they are unless the rules say otherwise; slices of other axes that the user touched always do.
        """
        edits, kept_slices, kept_voxels = [], 0, 0
        for index in np.flatnonzero(labels.any(axis=tuple(other for other in range(3) if other != axis))):
            key = SliceKey(axis, int(index))
            mark, current, new = self.marks.get(key), self._pixels(key), take_slice(labels, key)
            if mark is not None and mark.accepted and not rules.accepted_too:
                kept_slices += 1
                continue
            locked = np.isin(current.labels, rules.locked) | np.isin(new, rules.locked)
            held = (locked | self._crossing(key)) & (new > 0)
            taken = (new > 0) & ~held
            kept_voxels += int(np.count_nonzero(held & (new != current.labels)))
            fixed = self._fixed_with(mark.draft if mark else None, current) | taken
            after = SlicePixels(np.where(taken, new, current.labels).astype(np.uint16), fixed)
            edits.append(SliceEdit(key, current, after, SliceMark()))
        kept = Kept(kept_slices, kept_voxels)
        if not edits:
            return None, kept
        return self._apply(label, edits, classes=(dict.fromkeys(rules.new), rules.new)), kept

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
