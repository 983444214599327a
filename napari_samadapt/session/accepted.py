"""The accepted slices, and what of them an episode learns from: new ones, known ones, those left out. Main thread."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass

import numpy as np

from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.samples import TrainingSample

from .messages import Episode, LearningPolicy, Origin
from .promotion import split


@dataclass(frozen=True)
class SampleSource:
    """Where the loop gets its material: a sample of an accepted slice (copies), the ids of the classes, the view."""

    sample: Callable[[SliceKey], TrainingSample]
    class_ids: Callable[[], tuple[int, ...]]
    view: Callable[[], Origin]


class AcceptedSlices:
    """A sample of each of them, made when the slice is accepted, or where the view changed when it is needed."""

    def __init__(self, source: SampleSource) -> None:
        self._source = source
        self._samples: dict[SliceKey, TrainingSample] = {}
        self.keys: frozenset[SliceKey] = frozenset()
        self.new: set[SliceKey] = set()
        """Accepted since the last episode began."""
        self._left_out: set[SliceKey] = set()

    def set(self, keys: frozenset[SliceKey]) -> frozenset[SliceKey]:
        """These slices are accepted; returns those that were not before."""
        for key in self._samples.keys() - keys:
            del self._samples[key]
        added = keys - self.keys
        self._forget_but(keys)
        self._samples |= {key: self._source.sample(key) for key in added}
        self.new |= added
        return added

    def renew(self, keys: frozenset[SliceKey]) -> None:
        """The axis or the grey values changed: these are still accepted, and their samples are outdated."""
        self._samples.clear()
        self._forget_but(keys)

    def _forget_but(self, keys: frozenset[SliceKey]) -> None:
        self.keys = keys
        self.new &= keys
        self._left_out &= keys

    def leave_out(self, suspects: Set[SliceKey]) -> None:
        """Do not learn from these, as an update was kept back that did; one accepted anew meanwhile counts again."""
        self._left_out |= suspects & self.keys - self.new

    def take_all(self) -> None:
        """Learn from those that were left out too, as if they were new."""
        self.new |= self._left_out
        self._left_out.clear()

    def samples(self) -> tuple[TrainingSample, ...]:
        """One of every accepted slice, in their order, without those that are left out."""
        missing = self.keys - self._samples.keys()
        self._samples |= {key: self._source.sample(key) for key in missing}
        return tuple(self._samples[key] for key in sorted(self._samples.keys() - self._left_out))

    def parted(self, learned: Set[SliceKey]) -> tuple[tuple[TrainingSample, ...], tuple[TrainingSample, ...]]:
        """The samples that the adapter in use has not learned from, and those that it has."""
        samples = self.samples()
        return (
            tuple(sample for sample in samples if sample.key not in learned),
            tuple(sample for sample in samples if sample.key in learned),
        )

    def class_ids(self, known: Set[int]) -> tuple[int, ...]:
        """The classes that the samples show or the adapter in use knows; none where no sample shows one."""
        shown = {int(class_id) for sample in self.samples() for class_id in np.unique(sample.labels)}
        existing = set(self._source.class_ids())
        return tuple(sorted((shown | known) & existing)) if shown & existing else ()

    def episode(
        self,
        config: AdapterConfig,
        policy: LearningPolicy,
        class_ids: tuple[int, ...],
        origin: Origin | None,
        turn: int,
    ) -> Episode:
        """All accepted slices, but for those that an update is judged by where a trained adapter is in use.

        `origin` is of the adapter in use; another part judges each `turn`. The first episode holds one slice out for
        its first part, if there are enough. None is new any more then.
        """
        samples = self.samples()
        new = tuple(sample for sample in samples if sample.key in self.new)
        held_out: tuple[TrainingSample, ...] = ()
        if origin is not None and origin.trained:
            parts = split(samples, origin.learned - self.new, turn)
            training, judges = parts.training, parts.judges
        else:
            held_out = new[len(new) // 2 :][:1] if len(samples) >= policy.hold_out_from else ()
            training, judges = tuple(sample for sample in samples if sample not in held_out), ()
        self.new.clear()
        return Episode(training, held_out, judges, new, class_ids, config, policy, self._source.view())
