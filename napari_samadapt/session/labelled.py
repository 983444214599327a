"""The masks of one volume, their classes and prompts: what there is, and how others are told. Main thread only."""

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
from napari_samadapt.imaging.volume import SliceKey, Volume, slice_count

from .classes import ClassTable
from .history import Change, ClassChange
from .label_book import LabelBook
from .messages import Draft, LabelClass, PredictRequest, PredictResponse, Writer
from .work import DONE, NOTED, Act, Recorder, Settings

Labels = NDArray[np.uint16]


class Labelled(ABC):
    """The state of a session without its models, and the table of classes."""

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
        self._recorder: Recorder | None = None

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

    def displayed_slice(self, key: SliceKey) -> Labels:
        """A copy (H, W) of what is displayed of a slice."""
        return self._book.displayed(key)

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
        self._note_classes()
        return added

    def rename_class(self, class_id: int, name: str) -> None:
        """Give a class another name; its id stays."""
        self._classes.rename(class_id, name)
        self._note_classes()

    def recolor_class(self, class_id: int, color: tuple[float, float, float]) -> None:
        """Give a class another colour, RGB in [0, 1]."""
        self._classes.recolor(class_id, color)
        self._note_classes()

    def set_locked(self, class_id: int, locked: bool) -> None:
        """Keep the class's voxels from being changed by drafts, or no longer."""
        self._classes.set_locked(class_id, locked)
        self._note_classes()

    def remove_class(self, class_id: int) -> None:
        """Remove a class and its voxels, in one undo step; accepted slices stay accepted.

        SamAdaptError for a locked class.
        """
        removed = self._classes.get(class_id)
        if removed.locked:
            raise SamAdaptError(f"{removed.name} is locked: unlock it before you remove it.")
        change = self._book.remove_class(removed)
        self._classes.remove(class_id)
        for key in change.marks_after:
            self._forget_prompts(key)
        self._on_classes_replaced(change.classes_after)
        self._changed(change)

    def select_class(self, class_id: int) -> None:
        """Make a class the one that prompts ask for."""
        self._classes.select(class_id)
        self._note_classes()

    def _note_classes(self) -> None:
        self._record(NOTED)
        self.classes_changed.emit()

    # How others are told.

    @property
    def _settings(self) -> Settings:
        return Settings(self._classes.state, dict(self._prompts), self._window, self._axis)

    def _record(self, kind: str, change: Change | None = None) -> None:
        if self._recorder is not None:
            self._recorder(Act(kind, self._settings, change))

    def _changed(self, change: Change | None, kind: str = DONE) -> None:
        """Tell of a change that was done, undone or redone; also where an act of the user changed no voxel."""
        self._record(kind if change else NOTED, change if kind == DONE else None)
        if change is None:
            return
        keys = tuple(change.marks_after)
        self._on_changed(keys)
        self.labels_changed.emit(keys)

    def _on_classes_replaced(self, classes: ClassChange) -> None:
        """Classes went or came with a change: the predictions follow."""
        for class_id, wanted in classes.items():
            if wanted is None:
                self._book.predictions.forget_class(class_id)
        if classes:
            self.classes_changed.emit()

    def _forget_prompts(self, key: SliceKey) -> None:
        """Drop the prompts of a slice, and the answer it waits for."""
        self._asked.pop(key, None)
        if self._prompts.pop(key, None) is not None:
            self.prompts_changed.emit(key)
