"""Which accepted slices an update is judged by, whether it may predict, and the adapters to go back to. Main thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np

from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.adapters import AdapterState
from napari_samadapt.learning.samples import TrainingSample

from .messages import Origin

TOLERANCE = 0.1
"""An update may lose this much Dice on the slices it is judged by: learning from others costs some of the fit."""
STRICT = 0.02
"""No more than this where a new slice contradicts the model in use."""
CONTRADICTS = 0.1
"""Dice of the model in use on a new slice below this is no mere mistake: one of the two is wrong.

`benchmarks/promotion.py` on a CT: good updates lost up to 0.05 on their judges, and the model in use had 0.42 to 0.73
on their new slices; inverted, shifted or renamed masks cost 0.04 to 0.45, and it had 0.01 at most on those.
"""
DICE, BOX_DICE = "Dice", "Dice of boxes"
"""What an update is judged by: what it predicts, and what it answers."""
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


def split(samples: Sequence[TrainingSample], learned: Set[SliceKey], turn: int) -> Split:
    """Every fourth of the slices that the adapter in use has learned from, another quarter each `turn`, is kept out.

    No others may judge: a wrong mask would speak for the update that learned from it. The adapter in use has the
    advantage.
    """
    known = [sample for sample in samples if sample.key in learned]
    if len(known) < ENOUGH:
        return Split(tuple(samples), tuple(known))
    stride = min(EVERY, len(known))
    judges = tuple(known[turn % stride :: stride])
    kept_out = {sample.key for sample in judges}
    return Split(tuple(sample for sample in samples if sample.key not in kept_out), judges)


def known_classes(samples: Sequence[TrainingSample], new: Sequence[TrainingSample]) -> frozenset[int]:
    """The classes that other slices than the new ones show: of those alone the model in use can be right or wrong."""
    fresh = {sample.key for sample in new}
    shown = [np.unique(sample.labels) for sample in samples if sample.key not in fresh]
    return frozenset(int(class_id) for ids in shown for class_id in ids if class_id)


@dataclass(frozen=True)
class Objection:
    """Why an update must not predict, and the new slices that are to be left out of learning."""

    reason: str
    suspects: frozenset[SliceKey]


def objection(
    before: float,
    after: float,
    judges: Sequence[SliceKey],
    agreement: Mapping[SliceKey, float],
    what: str = DICE,
) -> Objection | None:
    """Whether an update must not predict: Dice on the judges before and after it, `what` it is the Dice of.

    `agreement` is Dice of the model in use on each new slice. Those that contradict it are the suspects, or else all.
    """
    contradicting = frozenset(key for key, dice in agreement.items() if dice < CONTRADICTS)
    if after >= before - (STRICT if contradicting and what == DICE else TOLERANCE):
        return None
    suspects = contradicting or frozenset(agreement)
    said = (
        f"The update was kept back: on {_numbers(judges)} {what} fell from {before:.2f} to {after:.2f}. "
        "The model in use stays."
    )
    if suspects:
        are, them = ("is", "it") if len(suspects) == 1 else ("are", "them")
        said += (
            f" Look again at what was accepted since: {_numbers(sorted(suspects))} {are} left out "
            f"until you correct and accept {them}, or press Start."
        )
    return Objection(said, suspects)


def _numbers(keys: Sequence[SliceKey]) -> str:
    """ "slice 3" or "slices 3, 7"."""
    return f"slice{'s' * (len(keys) > 1)} {', '.join(str(key.index) for key in keys)}"


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
