"""The masks of one volume as the user makes them: classes, prompts, drafts, edits, accept, undo. Main thread only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window, auto_window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, Volume, slice_count, take_slice

from .classes import ClassTable
from .history import Change
from .label_book import LabelBook
from .messages import Draft, Indices, LabelClass, PredictRequest, PredictResponse, Writer

Labels = NDArray[np.uint16]


class Labelling(ABC):
    """What a session is without its models: it asks for masks and tells what changed, and does not know who answers."""

    drafted = Signal(Draft)
    previewed = Signal(PredictResponse)
    """The answer to a `preview`, never one that is older than what was told last."""
    labels_changed = Signal(object)
    """The slices (a tuple of SliceKey) whose annotation changed; their prediction may have changed with it."""
    classes_changed = Signal()
    prompts_changed = Signal(SliceKey)
    failed = Signal(str)

    def __init__(
        self,
        volume: Volume,
        window: Window | None,
        axis: int | None,
        classes: Mapping[int, str] | Sequence[str] | None,
    ) -> None:
        self._volume = volume
        self._window = window or auto_window(volume)
        self._axis = volume.default_axis if axis is None else axis
        slice_count(volume.shape, self._axis)  # refuses an axis that does not exist
        self._classes = ClassTable(classes)
        self._book = LabelBook(volume.shape)
        self._prompts: dict[SliceKey, Prompts] = {}
        self._generation = 0
        self._asked: dict[SliceKey, int] = {}  # the generation whose answer each slice waits for
        self._outdated = 0  # previews up to this generation are told no more

    @abstractmethod
    def _ask(self, request: PredictRequest) -> None:
        """Have a click answered; `_on_answered` takes the answer."""

    @abstractmethod
    def _on_changed(self, keys: tuple[SliceKey, ...]) -> None:
        """Slices of the annotation, or what the user made of them, have just changed."""

    # What there is.

    @property
    def volume(self) -> Volume:
        """The volume; read-only."""
        return self._volume

    @property
    def window(self) -> Window:
        """The grey values that the user and the model see."""
        return self._window

    @property
    def axis(self) -> int:
        """The numpy axis along which slices are annotated and predicted."""
        return self._axis

    @property
    def annotation(self) -> Labels:
        """(z, y, x) uint16 ids, 0 background: the array itself, shared with the window; zero on untouched slices."""
        return self._book.annotation

    @property
    def prediction(self) -> Labels:
        """(z, y, x) uint16 ids that the automatic model says; zero on slices that the user touched."""
        return self._book.prediction

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes, by id."""
        return self._classes.all

    @property
    def active_class(self) -> int:
        """Id of the class that prompts ask for; 0 when there is no class."""
        return self._classes.active

    @property
    def prompts(self) -> Mapping[SliceKey, Prompts]:
        """The prompts shown, of every slice that has some."""
        return MappingProxyType(self._prompts)

    @property
    def accepted(self) -> frozenset[SliceKey]:
        """The slices that were accepted and not changed since."""
        return frozenset(key for key, mark in self._book.marks.items() if mark.accepted)

    @property
    def edited(self) -> frozenset[SliceKey]:
        """The slices that the user touched and has not accepted."""
        return frozenset(key for key, mark in self._book.marks.items() if not mark.accepted)

    @property
    def can_undo(self) -> str | None:
        """What undo would take back."""
        return self._book.history.undo_label

    @property
    def can_redo(self) -> str | None:
        """What redo would do again."""
        return self._book.history.redo_label

    def slice_state(self, key: SliceKey) -> str:
        """ "accepted", "edited" or "empty"."""
        mark = self._book.marks.get(key)
        return "empty" if mark is None else "accepted" if mark.accepted else "edited"

    def made_by(self, key: SliceKey) -> int | None:
        """Number of the adapter whose mask a slice shows, 0 for the plain model; None for one drawn by hand."""
        return self._book.made_by(key)

    def displayed(self) -> Labels:
        """A copy (z, y, x) of what is displayed: the user's slices, and the prediction everywhere else."""
        return self._book.displayed_volume()

    def set_writer(self, writer: Writer) -> None:
        """Route writes to the annotation through `writer`, such as a napari layer's `data_setitem`."""
        self._book.writer = writer

    # Classes.

    def add_class(self, name: str) -> LabelClass:
        """A new class with a fresh id; it becomes the active one."""
        added = self._classes.add(name)
        self.classes_changed.emit()
        return added

    def rename_class(self, class_id: int, name: str) -> None:
        """Give a class another name; its id stays."""
        self._classes.rename(class_id, name)
        self.classes_changed.emit()

    def set_locked(self, class_id: int, locked: bool) -> None:
        """Keep the class's voxels from being changed by drafts, or no longer."""
        self._classes.set_locked(class_id, locked)
        self.classes_changed.emit()

    def remove_class(self, class_id: int) -> None:
        """Remove a class that no voxel of the annotation has; SamAdaptError otherwise."""
        removed = self._classes.get(class_id)
        if count := int(np.count_nonzero(self._book.annotation == class_id)):
            raise SamAdaptError(
                f"{removed.name} still has {count:,} voxels: erase them before you remove the class."
            )
        self._classes.remove(class_id)
        self._book.predictions.forget_class(class_id)
        self.classes_changed.emit()

    def select_class(self, class_id: int) -> None:
        """Make a class the one that prompts ask for."""
        self._classes.select(class_id)
        self.classes_changed.emit()

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
        return self._step(self._book.undo())

    def redo(self) -> str | None:
        """Do again what was taken back; returns what it was."""
        return self._step(self._book.redo())

    def _step(self, change: Change | None) -> str | None:
        """After undo or redo: the prompts of each slice are those of its draft, if it has one now."""
        if change is None:
            return None
        self._ensure_classes(change.before, change.after)
        for key in change.marks_after:
            self._forget_prompts(key)
            mark = self._book.marks.get(key)
            if mark is not None and mark.draft is not None:
                self._prompts[key] = mark.draft.prompts
                self.prompts_changed.emit(key)
        self._changed(change)
        return change.label

    def _changed(self, change: Change | None) -> None:
        if change is None:
            return
        keys = tuple(change.marks_after)
        self._on_changed(keys)
        self.labels_changed.emit(keys)

    def _forget_prompts(self, key: SliceKey) -> None:
        """Drop the prompts of a slice, and the answer it waits for."""
        self._asked.pop(key, None)
        if self._prompts.pop(key, None) is not None:
            self.prompts_changed.emit(key)

    def _ensure_classes(self, *ids: Labels) -> None:
        if self._classes.ensure(np.unique(np.concatenate(ids)).tolist()):
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
