"""Undo and redo: every change of the annotation as the voxels and slice marks before and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey

from .messages import LabelClass

T = TypeVar("T", bound=np.generic)

_LARGEST_HISTORY = 256 * 2**20  # bytes; the oldest changes are forgotten beyond it


@dataclass(frozen=True, eq=False)
class SlicePixels:
    """One slice of the annotation: `labels` (H, W) uint16, and `fixed` (H, W) bool, where the user decided by hand."""

    labels: NDArray[np.uint16]
    fixed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class OpenDraft:
    """A mask of SAM that further prompts may still replace.

    `base` is the slice that the mask was laid over; `before` and `mark_before` are the slice as it was before the
    first prompt, a prediction not yet taken over.
    """

    class_id: int
    prompts: Prompts
    mask: NDArray[np.bool_]
    base: NDArray[np.uint16]
    before: SlicePixels
    mark_before: SliceMark | None

    @property
    def nbytes(self) -> int:
        """Memory held by the arrays."""
        arrays = (self.mask, self.base, self.before.labels, self.before.fixed)
        return sum(array.nbytes for array in arrays)


@dataclass(frozen=True, eq=False)
class SliceMark:
    """A slice that the user touched: accepted or only edited, with or without an open draft.

    A `proposed` one holds what propagation or interpolation made of it, and nobody changed or accepted it since.
    `made_by` is the number of the adapter that made its mask, 0 for the plain model; None for one drawn by hand.
    """

    accepted: bool = False
    draft: OpenDraft | None = None
    proposed: bool = False
    made_by: int | None = None


Marks = Mapping[SliceKey, SliceMark | None]
ClassChange = Mapping[int, LabelClass | None]
"""Classes by id; None is one that does not exist."""


@dataclass(frozen=True, eq=False)
class Change:
    """One undo step.

    `voxels` (N,) are flat positions in the (z, y, x) array; `before` and `after` (N,) uint16 their labels,
    `fixed_before` and `fixed_after` (N,) bool whether the user had decided them by hand. The marks are those of
    every slice concerned; None is a slice not touched. The classes are those that the change takes away or brings. An
    `open` change takes in the stroke that follows it there.
    """

    label: str
    voxels: NDArray[np.intp]
    before: NDArray[np.uint16]
    after: NDArray[np.uint16]
    fixed_before: NDArray[np.bool_]
    fixed_after: NDArray[np.bool_]
    marks_before: Marks
    marks_after: Marks
    classes_before: ClassChange = field(default_factory=dict)
    classes_after: ClassChange = field(default_factory=dict)
    open: bool = False

    @property
    def nbytes(self) -> int:
        """Memory held by the change."""
        arrays = (self.voxels, self.before, self.after, self.fixed_before, self.fixed_after)
        drafts = (mark.draft for mark in self.marks_after.values() if mark is not None)
        return sum(array.nbytes for array in arrays) + sum(draft.nbytes for draft in drafts if draft)


def joined(first: Change, second: Change) -> Change:
    """One change that does `first` and then `second`; it is called as the second is."""
    voxels = np.union1d(first.voxels, second.voxels)
    before = _spread(voxels, (second.voxels, second.before), (first.voxels, first.before))
    after = _spread(voxels, (first.voxels, first.after), (second.voxels, second.after))
    fixed_before = _spread(voxels, (second.voxels, second.fixed_before), (first.voxels, first.fixed_before))
    fixed_after = _spread(voxels, (first.voxels, first.fixed_after), (second.voxels, second.fixed_after))
    return Change(
        second.label,
        voxels,
        before,
        after,
        fixed_before,
        fixed_after,
        {**second.marks_before, **first.marks_before},
        {**first.marks_after, **second.marks_after},
        {**second.classes_before, **first.classes_before},
        {**first.classes_after, **second.classes_after},
    )


def _spread(voxels: NDArray[np.intp], *parts: tuple[NDArray[np.intp], NDArray[T]]) -> NDArray[T]:
    """Values at sorted `voxels`; a later part wins over an earlier one."""
    values = np.zeros(voxels.shape, parts[0][1].dtype)
    for places, part in parts:
        values[np.searchsorted(voxels, places)] = part
    return values


@dataclass
class History:
    """What can be undone and redone, newest last."""

    limit: int = _LARGEST_HISTORY
    _done: list[Change] = field(default_factory=list)
    _undone: list[Change] = field(default_factory=list)

    @property
    def undo_label(self) -> str | None:
        """What `undo` would take back."""
        return self._done[-1].label if self._done else None

    @property
    def redo_label(self) -> str | None:
        """What `redo` would do again."""
        return self._undone[-1].label if self._undone else None

    @property
    def steps(self) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
        """What can be undone and what can be redone, the next one last."""
        return tuple(self._done), tuple(self._undone)

    def take_up(self, done: Sequence[Change], undone: Sequence[Change]) -> None:
        """Go on from these steps instead."""
        self._done, self._undone = list(done), list(undone)

    def push(self, change: Change) -> None:
        """Remember a change that was just made; what had been undone is forgotten."""
        if (
            self._done
            and self._done[-1].open
            and self._done[-1].marks_after.keys() == change.marks_after.keys()
        ):
            change = joined(self._done.pop(), change)
        self._done.append(change)
        self._undone.clear()
        while len(self._done) > 1 and sum(kept.nbytes for kept in self._done) > self.limit:
            del self._done[0]

    def undo(self) -> Change | None:
        """The change to take back; it becomes the one to redo."""
        return self._move(self._done, self._undone)

    def redo(self) -> Change | None:
        """The change to do again."""
        return self._move(self._undone, self._done)

    @staticmethod
    def _move(source: list[Change], target: list[Change]) -> Change | None:
        if not source:
            return None
        target.append(source.pop())
        return target[-1]
