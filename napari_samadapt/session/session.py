"""The application without a window: what the user does goes in, signals tell what changed. Main thread only.

Encoding, decoding and predicting run on the predict thread, learning on the train thread; their results come back
through the `post` that the session is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window, auto_window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, Volume, slice_count, take_slice
from napari_samadapt.imaging.writing import write_labels
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import TrainProgress
from napari_samadapt.learning.promptable_sam import PromptableSam

from .classes import ClassTable
from .history import Change
from .label_book import LabelBook
from .messages import Draft, Indices, LabelClass, LearningPolicy, Post, Writer

Labels = NDArray[np.uint16]


class Session:
    """One volume, its masks, and the SAM that adapts to them."""

    drafted = Signal(Draft)
    labels_changed = Signal(object)
    """The slices (a tuple of SliceKey) of the annotation, or of what covers the prediction, that changed."""
    predicted = Signal(SliceKey)
    progress = Signal(TrainProgress)
    learning_changed = Signal(str)
    adapter_changed = Signal(int)
    classes_changed = Signal()
    prompts_changed = Signal(SliceKey)
    failed = Signal(str)
    refresh_progress = Signal(int, int)
    """Slices predicted since the last adapter, and all there are to predict."""

    def __init__(
        self,
        volume: Volume,
        sam: PromptableSam,
        *,
        post: Post,
        window: Window | None = None,
        axis: int | None = None,
        classes: Mapping[int, str] | Sequence[str] | None = None,
        adapter: AdapterConfig | None = None,
        policy: LearningPolicy | None = None,
    ) -> None:
        """Start both threads. `sam` belongs to the session from here on.

        `window` and `axis` default to those that suit the volume; `classes` are {id: name} or names for ids from
        1; `adapter` defaults to Conv-LoRA, `policy` to 60 s of learning after each accepted slice (30 s on a GPU).
        """
        self._volume = volume
        self._window = window or auto_window(volume)
        self._axis = volume.default_axis if axis is None else axis
        slice_count(volume.shape, self._axis)  # refuses an axis that does not exist
        self._classes = ClassTable(classes)
        self._book = LabelBook(volume.shape)
        self._prompts: dict[SliceKey, Prompts] = {}
        self._policy = policy or LearningPolicy(seconds=60.0 if sam.device.type == "cpu" else 30.0)
        self._config = adapter or AdapterConfig()

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
    def policy(self) -> LearningPolicy:
        """When the model learns."""
        return self._policy

    @property
    def config(self) -> AdapterConfig:
        """The adapter that is trained."""
        return self._config

    @property
    def learning_state(self) -> str:
        """ "idle", "training", "paused", or "off" where episodes do not start by themselves."""
        return "idle" if self._policy.enabled else "off"

    @property
    def adapter_version(self) -> int:
        """Number of the adapter that predicts now; 0 for the plain model. No number is used twice."""
        return 0

    @property
    def can_undo(self) -> str | None:
        """What undo would take back."""
        return self._book.history.undo_label

    @property
    def can_redo(self) -> str | None:
        """What redo would do again."""
        return self._book.history.redo_label

    def slice_state(self, key: SliceKey) -> str:
        """ "accepted", "edited", "predicted" or "empty"."""
        mark = self._book.marks.get(key)
        if mark is not None:
            return "accepted" if mark.accepted else "edited"
        return "empty"

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
        self._book.forget_class(class_id)
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
        if self._classes.ensure(np.unique(after).tolist()):
            self.classes_changed.emit()
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
        self._changed(change)
        return change.label if change else None

    def redo(self) -> str | None:
        """Do again what was taken back; returns what it was."""
        change = self._book.redo()
        self._changed(change)
        return change.label if change else None

    def _forget_prompts(self, key: SliceKey) -> None:
        if self._prompts.pop(key, None) is not None:
            self.prompts_changed.emit(key)

    def _changed(self, change: Change | None) -> None:
        if change is not None:
            self.labels_changed.emit(tuple(change.marks_after))

    # Learning.

    def set_policy(self, policy: LearningPolicy) -> None:
        """When the model learns from now on; a running episode is not touched."""
        self._policy = policy
        self.learning_changed.emit(self.learning_state)

    def set_method(self, config: AdapterConfig) -> None:
        """Train another kind of adapter; what was learned is dropped."""

    def start_learning(self) -> None:
        """Start an episode now; SamAdaptError when no accepted slice has a label."""

    def pause(self) -> None:
        """Hold the running episode after its current step."""

    def resume(self) -> None:
        """Go on with a paused episode."""

    def stop(self) -> None:
        """End the running episode and use what it learned."""

    def reset_adapter(self) -> None:
        """Go back to the plain model: drop what was learned and the predictions."""

    def apply_adapter(self, path: str | Path) -> "Future[None]":
        """Load an adapter, add its classes, and predict with it; what goes wrong is told by `failed` too."""
        raise NotImplementedError

    def save_adapter(self, path: str | Path) -> "Future[Path]":
        """Write the adapter that predicts now as a file; what goes wrong is told by `failed` too."""
        raise NotImplementedError

    # View and files.

    def set_window(self, window: Window) -> None:
        """Change the grey values that are seen; everything is predicted again."""
        self._window = window

    def set_axis(self, axis: int) -> None:
        """Annotate along another axis: open drafts are kept, prompts dropped, everything is predicted again."""
        slice_count(self._volume.shape, axis)
        for key in tuple(self._prompts):
            self.keep_draft(key)
        self._axis = axis

    def look_at(self, key: SliceKey) -> None:
        """Tell which slice is on screen: it is encoded and predicted first, then its neighbours, then the rest."""

    def export(self, path: str | Path) -> Path:
        """Write what is displayed, on the source's grid, with the classes' names beside it; returns the path."""
        return write_labels(path, self.displayed(), self._volume, self._classes.names)

    def close(self) -> None:
        """Stop both threads within two seconds; a running episode is dropped."""
