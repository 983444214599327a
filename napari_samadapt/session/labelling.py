"""What the user does to the masks of one volume: prompts, drafts, edits, accept, undo and redo. Main thread only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, take_slice

from .history import Change, ClassChange
from .labelled import Labelled
from .messages import Draft, Indices, PredictRequest, PredictResponse
from .work import NOTED, REDONE, UNDONE

Labels = NDArray[np.uint16]


class Labelling(Labelled):
    """What a session is without its models: it asks for masks and tells what changed, and does not know who answers."""

    # Prompts and drafts.

    def set_prompts(self, key: SliceKey, prompts: Prompts) -> None:
        """Ask SAM for a mask of the active class; the draft follows. Prompts without content take it back."""
        if prompts.empty:
            self.clear_prompts(key)
            return
        shape = take_slice(self._book.annotation, key).shape
        prompts.check_inside((shape[0], shape[1]))
        active = self._classes.get(self._classes.active)
        if active.locked:
            raise SamAdaptError(f"{active.name} is locked: unlock it, or choose another class.")
        self._prompts[key] = prompts
        self._record(NOTED)
        self.prompts_changed.emit(key)
        self._generation += 1
        self._asked[key] = self._outdated = self._generation
        previous = self._mask_to_correct(key, prompts, active.id)
        self._ask(PredictRequest(key, self._window, prompts, active.id, self._generation, previous))

    def preview(self, key: SliceKey, prompts: Prompts) -> None:
        """Ask what mask these prompts would give, while they are still being drawn; `previewed` tells.

        Nothing changes, and there is nothing to undo. Nothing is told of a locked class, of a slice that still waits
        for a mask, and of prompts that `set_prompts` came after.
        """
        height, width = take_slice(self._book.annotation, key).shape
        active = self._classes.active
        if prompts.empty or not active or active in self._classes.locked or key in self._asked:
            return
        prompts.check_inside((height, width))
        self._generation += 1
        previous = self._mask_to_correct(key, prompts, active)
        self._ask(
            PredictRequest(key, self._window, prompts, active, self._generation, previous, preview=True)
        )

    def _mask_to_correct(self, key: SliceKey, prompts: Prompts, class_id: int) -> NDArray[np.bool_] | None:
        """The open draft's mask, where these prompts add points to those that it came from."""
        mark = self._book.marks.get(key)
        draft = mark.draft if mark else None
        if draft is None or draft.class_id != class_id or not prompts.extends(draft.prompts):
            return None
        return draft.mask if draft.mask.any() else None

    def clear_prompts(self, key: SliceKey) -> None:
        """Take the draft of a slice and its prompts back."""
        self._forget_prompts(key)
        self._changed(self._book.drop_draft(key))

    def keep_draft(self, key: SliceKey) -> None:
        """Make the open draft the user's own and drop its prompts: the next prompt is for another object."""
        self._forget_prompts(key)
        self._changed(self._book.keep_draft(key))

    # Edits.

    def begin_edit(self, key: SliceKey) -> None:
        """Call before a stroke: the slice's prediction becomes the annotation that brush and eraser work on."""
        self._changed(self._book.begin_stroke(key))

    def record_edit(self, indices: Indices, before: Labels, after: Labels) -> None:
        """Take note of painted voxels (three (N,) arrays z, y, x) and their ids (N,) before and after."""
        self._ensure_classes(after)
        change = self._book.record_stroke(
            self._axis, indices, before.astype(np.uint16), after.astype(np.uint16)
        )
        for key in change.marks_after if change else ():
            self._forget_prompts(key)
        self._changed(change)

    def accept(self, key: SliceKey) -> None:
        """Make the slice exactly what is displayed, and learn from it."""
        self._forget_prompts(key)
        self._changed(self._book.accept(key))

    def reject(self, key: SliceKey) -> None:
        """Take the draft and its prompts back; where there is none, clear the slice."""
        self._forget_prompts(key)
        self._changed(self._book.drop_draft(key) or self._book.clear(key))

    def undo(self) -> str | None:
        """Take the last change back; returns what it was."""
        change = self._book.undo()
        return self._step(change, UNDONE, change.before, change.classes_before) if change else None

    def redo(self) -> str | None:
        """Do again what was taken back; returns what it was."""
        change = self._book.redo()
        return self._step(change, REDONE, change.after, change.classes_after) if change else None

    def _step(self, change: Change, kind: str, labels: Labels, classes: ClassChange) -> str:
        """After undo or redo: the prompts of each slice are those of its draft, if it has one now."""
        self._classes.change(classes)
        self._ensure_classes(labels)
        for key in change.marks_after:
            self._forget_prompts(key)
            mark = self._book.marks.get(key)
            if mark is not None and mark.draft is not None:
                self._prompts[key] = mark.draft.prompts
                self.prompts_changed.emit(key)
        self._on_classes_replaced(classes)
        self._changed(change, kind)
        return change.label

    def _ensure_classes(self, labels: Labels) -> None:
        if self._classes.ensure(np.unique(labels).tolist()):
            self.classes_changed.emit()

    def _on_answered(self, response: PredictResponse) -> None:
        request = response.request
        if request.preview:
            if request.generation > self._outdated and response.mask is not None:
                self._outdated = request.generation
                self.previewed.emit(response)
            return
        if self._asked.get(request.key) != request.generation:
            return
        del self._asked[request.key]
        if response.mask is None:
            self.failed.emit(response.failure)
        elif request.class_id in self._classes.locked:
            name = self._classes.get(request.class_id).name
            self.failed.emit(f"{name} was locked before its mask came: unlock it, and prompt again.")
        elif request.class_id in self._classes:
            draft = Draft(
                request.key,
                request.class_id,
                request.prompts,
                response.mask,
                response.score,
                response.made_by,
            )
            self._changed(self._book.put_draft(draft, self._classes.locked))
            self.drafted.emit(draft)
