"""What helps the user from slice to slice: propagation, interpolation, the next slice to annotate. Main thread only.

What it makes is proposed: slices that the user painted or accepted stay as they are, and nothing is learned from a
proposal before the user accepts it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from psygnal import Signal

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.masks import merge_class
from napari_samadapt.imaging.shape_interpolation import interpolate_shapes
from napari_samadapt.imaging.volume import SliceKey, slice_count, slice_spacing, take_slice

from .keeping import Keeping
from .labelling import Labels
from .messages import Post, Propagated
from .predictor import in_plain_words
from .propagation import Followed, Propagation, Regions, Runs, Trust, Way
from .suggestion import Evidence, next_index, slice_contents, worths

DIRECTIONS = {"both": (1, -1), "up": (1,), "down": (-1,)}
"""Steps along the axis: up is towards larger indices."""


class Assistance(Keeping):
    """Labelling with help. What runs a model and predicts is the session's."""

    propagated = Signal(Propagated)
    """A propagation has ended; its slices are proposed."""
    propagation_progress = Signal(int, int)
    """Slices done, and how many it may become."""

    _propagation: Propagation
    _propagation_start: tuple[SliceKey, object]

    @abstractmethod
    def _evidence(self) -> Sequence[Evidence] | None:
        """What the automatic model says of every slice along the axis; None before there is one."""

    @property
    def proposed(self) -> frozenset[SliceKey]:
        """The slices that hold a proposal which was neither changed nor accepted yet; they are `edited` too."""
        return frozenset(key for key, mark in self._book.marks.items() if mark.proposed)

    @property
    def propagating(self) -> bool:
        """True while a propagation is under way."""
        return self._propagation.running

    def propagate(
        self, key: SliceKey, direction: str = "both", limit: int | None = None, trust: Trust | None = None
    ) -> None:
        """Carry the classes of an accepted slice to its neighbours "up", "down" or in "both" directions.

        A class goes on until its mask can no longer be trusted, or at most `limit` slices far; all end before a
        slice that the user painted or accepted. Then `propagated` tells what came of it: one undo step.
        """
        ways = self._ways(key, direction, limit)
        self._propagation_start = (key, self._view)
        self._propagation.start(ways, self._window, trust or Trust())

    def cancel_propagation(self) -> None:
        """Drop the propagation that is under way: no slice changes."""
        self._propagation.cancel()

    def interpolate(self, first: SliceKey, last: SliceKey) -> tuple[SliceKey, ...]:
        """Propose the shapes between two accepted slices of one axis for the slices there; one undo step.

        Returns the slices that got a proposal: those in between that the user neither painted nor accepted.
        """
        for key in (first, last):
            self._check_accepted(key)
        if first.axis != last.axis or abs(first.index - last.index) < 2:
            raise SamAdaptError(
                f"There is no slice between slice {first.index} of axis {first.axis} and slice {last.index} of axis "
                f"{last.axis}: choose two accepted slices of one axis that are further apart."
            )
        first, last = sorted((first, last))
        keys = [SliceKey(first.axis, index) for index in range(first.index + 1, last.index)]
        start, end = (take_slice(self._book.annotation, key) for key in (first, last))
        between = interpolate_shapes(start, end, len(keys), slice_spacing(self._volume, first.axis))
        proposals = dict(zip(keys, between, strict=True))
        return self._propose(f"interpolation from slice {first.index} to {last.index}", proposals)

    def suggest(self) -> SliceKey | None:
        """The slice where annotating helps most now; None when every slice along the axis is accepted."""
        slices = {key.index for key in self._keys_along_axis()}
        touched = {key.index for key in self._book.marks if key.axis == self._axis}
        accepted = {key.index for key in self.accepted if key.axis == self._axis}
        evidence = self._evidence()
        worth = worths(evidence) if evidence else slice_contents(self._volume, self._axis, self._window)
        index = next_index(worth, touched, slices - touched or slices - accepted)
        return None if index is None else SliceKey(self._axis, index)

    @property
    def _view(self) -> object:
        """What a propagation depends on: when it changes under way, nothing comes of it."""
        return self._window, self._axis

    def _begin_assistance(self, run: Runs, post: Post) -> None:
        """To be called once, as soon as there is a predict thread to run on."""
        self._propagation = Propagation(run, post)
        self._propagation.progress.connect(self.propagation_progress.emit)
        self._propagation.finished.connect(self._on_propagation_finished)
        self._propagation.failed.connect(self._on_propagation_failed)

    def _keys_along_axis(self) -> Iterable[SliceKey]:
        count = slice_count(self._volume.shape, self._axis)
        return (SliceKey(self._axis, index) for index in range(count))

    def _ways(self, key: SliceKey, direction: str, limit: int | None) -> list[Way]:
        """The slices ahead in each direction, and the regions that set out."""
        if direction not in DIRECTIONS:
            raise SamAdaptError(f"There is no direction {direction!r}: use both, up or down.")
        if limit is not None and limit < 1:
            raise SamAdaptError(f"A propagation over {limit} slices goes nowhere: use 1 or more.")
        self._check_accepted(key)
        labels = take_slice(self._book.annotation, key)
        ids = [i for i in np.unique(labels[labels > 0]).tolist() if i not in self._classes.locked]
        if not ids:
            raise SamAdaptError(
                f"Slice {key.index} has no label to propagate: choose an accepted slice that shows an unlocked class."
            )
        regions = {class_id: labels == class_id for class_id in ids}
        return [Way(self._ahead(key, step, limit), regions) for step in DIRECTIONS[direction]]

    def _ahead(self, key: SliceKey, step: int, limit: int | None) -> tuple[SliceKey, ...]:
        """The slices from `key` on, to the end of the volume, the limit, or the first one that is the user's."""
        count = slice_count(self._volume.shape, key.axis)
        indices = range(key.index + step, count if step > 0 else -1, step)
        ahead = []
        for index in indices[:limit]:
            if not self._book.takes_proposals(SliceKey(key.axis, index)):
                break
            ahead.append(SliceKey(key.axis, index))
        return tuple(ahead)

    def _check_accepted(self, key: SliceKey) -> None:
        if key not in self.accepted:
            raise SamAdaptError(f"Slice {key.index} is not accepted: accept it first, then go on from it.")

    def _propose(
        self, label: str, proposals: dict[SliceKey, Labels], made_by: Mapping[SliceKey, int] | None = None
    ) -> tuple[SliceKey, ...]:
        for key in proposals:
            if self._book.takes_proposals(key):
                self._forget_prompts(key)
        change = self._book.propose(label, proposals, self._classes.locked, made_by)
        self._changed(change)
        return tuple(change.marks_after) if change else ()

    def _on_propagation_finished(
        self, found: dict[SliceKey, Followed], endings: list[tuple[int, SliceKey, str]]
    ) -> None:
        start, view = self._propagation_start
        proposals = {}
        if view == self._view and start in self.accepted:
            proposals = {key: self._merged(key, one.regions) for key, one in found.items()}
        made_by = {key: one.made_by for key, one in found.items()}
        keys = self._propose(f"propagation from slice {start.index}", proposals, made_by)
        names = self._classes.names
        sentences = tuple(
            f"{names[class_id]} ends before slice {key.index}: {reason}."
            for class_id, key, reason in endings
            if class_id in names
        )
        self.propagated.emit(Propagated(start, keys, sentences))

    def _merged(self, key: SliceKey, regions: Regions) -> Labels:
        """What is displayed on a slice, with these regions in place of those of the same classes."""
        labels = self._book.displayed(key)
        for class_id, region in regions.items():
            if class_id in self._classes:
                labels = merge_class(labels, region, class_id)
        return labels

    def _on_propagation_failed(self, error: BaseException) -> None:
        self.failed.emit(in_plain_words("The propagation stopped", error))
