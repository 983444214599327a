"""Which accepted slices an update is judged by, whether it may predict, and the adapters to go back to. Main thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from napari_samadapt.learning.adapters import AdapterState
from napari_samadapt.learning.samples import TrainingSample

from .messages import Origin

TOLERANCE = 0.02
"""The update may lose this much Dice on the slices it is judged by."""
EVERY = 4
"""One of so many slices is kept out of an episode."""
ENOUGH = 3
"""With fewer known slices none is kept out: the update is judged by what it learned from again."""
KEPT = 5
"""So many adapters can be gone back to."""
KEPT_BYTES = 256 * 2**20
"""Fewer where they are larger together; the last one is always kept."""


@dataclass(frozen=True, eq=False)
class Split:
    """The slices an episode learns from, and those that its result is judged by."""

    training: tuple[TrainingSample, ...]
    judges: tuple[TrainingSample, ...]


def split(samples: Sequence[TrainingSample], new: Sequence[TrainingSample], turn: int) -> Split:
    """New slices are always learned from; every fourth of the others, another quarter each `turn`, is kept out.

    The adapter in use has learned from the judges in an earlier episode, so it has the advantage.
    """
    fresh = {sample.key for sample in new}
    known = [sample for sample in samples if sample.key not in fresh]
    if len(known) < ENOUGH:
        return Split(tuple(samples), tuple(known))
    stride = min(EVERY, len(known))
    judges = tuple(known[turn % stride :: stride])
    kept_out = {sample.key for sample in judges}
    return Split(tuple(sample for sample in samples if sample.key not in kept_out), judges)


def objection(
    before: float, after: float, judges: Sequence[TrainingSample], new: Sequence[TrainingSample]
) -> str:
    """Why an update must not predict, or "" where it may: Dice on the judges before and after it."""
    if after >= before - TOLERANCE:
        return ""
    said = (
        f"The update was kept back: on slices {_numbers(judges)} Dice fell from {before:.2f} to {after:.2f}. "
        "The model in use stays."
    )
    return f"{said} Look again at what was accepted since: slices {_numbers(new)}." if new else said


def _numbers(samples: Sequence[TrainingSample]) -> str:
    return ", ".join(str(sample.key.index) for sample in samples)


@dataclass(eq=False)
class Earlier:
    """The adapters that predicted before the one in use, newest last."""

    kept: list[tuple[AdapterState, Origin]] = field(default_factory=list)

    def put(self, adapter: AdapterState, origin: Origin) -> None:
        """Another adapter follows this one; the oldest that are too many are forgotten."""
        self.kept.append((adapter, origin))
        while len(self.kept) > 1 and (len(self.kept) > KEPT or sum(map(_size, self.kept)) > KEPT_BYTES):
            del self.kept[0]


def _size(entry: tuple[AdapterState, Origin]) -> int:
    return sum(tensor.nbytes for tensor in entry[0].tensors.values())
