"""The values that a session hands out and its threads exchange: frozen, made once, never changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.samples import TrainingSample

Post = Callable[[Callable[[], None]], None]
"""Runs a function later on the main thread; may be called from any thread."""

Indices = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]
"""Voxels of a (z, y, x) array: three (N,) arrays z, y, x."""

Writer = Callable[[Indices, NDArray[np.uint16]], None]
"""Writes values (N,) at voxels of the annotation; when it returns they are in the array."""


class Priority(IntEnum):
    """What the predict thread does first; control work (loading or publishing an adapter) goes before all.

    Fits of heads, twins and propagation come after clicks, before any slice.
    """

    CLICK = 0
    SLICE = 1
    NEIGHBOUR = 2
    REST = 3


@dataclass(frozen=True)
class LabelClass:
    """A structure to segment. `id` is what the mask file holds and never changes; `color` is RGB in [0, 1]."""

    id: int
    name: str
    color: tuple[float, float, float]
    locked: bool = False


def episode_seconds(device: torch.device) -> float:
    """How long an episode is unless somebody chooses: a minute, half of it on a GPU."""
    return 60.0 if device.type == "cpu" else 30.0


@dataclass(frozen=True)
class LearningPolicy:
    """When the model learns, and for how long.

    An episode of `seconds` (or `steps`, whichever ends first) starts by itself after every `every_n_slices` newly
    accepted slices, if `enabled`. From `hold_out_from` accepted slices on, a new one is kept out of the first part of
    the episode to measure Dice on. While training, `spare_cores` processor cores are left to the window. A step learns
    from `batch_size` slices, or fewer where the memory is small.
    """

    seconds: float | None = 60.0
    every_n_slices: int = 1
    enabled: bool = True
    steps: int | None = None
    hold_out_from: int = 3
    spare_cores: int = 1
    seed: int = 0
    batch_size: int = 4

    def __post_init__(self) -> None:
        if self.hold_out_from < 2:
            raise SamAdaptError(
                f"Holding out from {self.hold_out_from} slices on leaves none: use 2 or more."
            )
        if self.every_n_slices < 1:
            raise SamAdaptError(f"Learning after every {self.every_n_slices} slices: use 1 or more.")
        if self.seconds is None and self.steps is None:
            raise SamAdaptError("An episode of learning needs a limit: give seconds or steps.")


@dataclass(frozen=True, eq=False)
class Draft:
    """SAM's mask (H, W) bool of one class, as it was just written into the annotation; `score` is its predicted IoU.

    `made_by` is the number of the adapter in use when it was made, 0 for the plain model; so in the other answers.
    """

    key: SliceKey
    class_id: int
    prompts: Prompts = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    score: float
    made_by: int = 0


@dataclass(frozen=True, eq=False)
class PredictRequest:
    """Asks for the mask of one class on one slice; `generation` grows with every request of that slice.

    `previous` (H, W) bool: the mask that the prompts correct, where there is one. A `preview` is answered quickly,
    from the whole slice, and never becomes a draft.
    """

    key: SliceKey
    window: Window
    prompts: Prompts
    class_id: int
    generation: int
    previous: NDArray[np.bool_] | None = field(default=None, repr=False)
    preview: bool = False


@dataclass(frozen=True, eq=False)
class PredictResponse:
    """The answer: a mask (H, W) bool, or why there is none."""

    request: PredictRequest
    mask: NDArray[np.bool_] | None = None
    score: float = 0.0
    failure: str = ""
    made_by: int = 0


@dataclass(frozen=True, eq=False)
class SliceLabels:
    """What the automatic model says of one slice: `labels` (H, W) uint16 class ids; `epoch` numbers the refresh.

    `doubt` in [0, 1] is how unsure it is of them, as `suggestion.doubt` measures it. A slice is told as soon as it was
    looked at, and once more when the slices around it were; `whole` is False where some of them did not count, those
    up to `reach` slices away.
    """

    key: SliceKey
    labels: NDArray[np.uint16] = field(repr=False)
    epoch: int
    doubt: float = 0.0
    made_by: int = 0
    whole: bool = True
    reach: int = 0


@dataclass(frozen=True)
class Propagated:
    """What a propagation from the slice `start` came to: the slices it filled, and a sentence on each class's end."""

    start: SliceKey
    keys: tuple[SliceKey, ...]
    endings: tuple[str, ...]


@dataclass(frozen=True)
class RefreshPlan:
    """Which slices to predict, and where to begin: at `focus`, the slice on screen, and from there outwards.

    Slices next to `focus` that need no prediction are encoded ahead, so that a click on them is answered at once.
    `count` is the number of slices along the axis of `focus`, which may be another one than that of the slices to
    predict; `epoch` grows whenever earlier predictions became outdated.
    `given` holds the ids (H, W) of the accepted slices along the axis, by index.
    """

    epoch: int
    window: Window
    focus: SliceKey
    keys: frozenset[SliceKey]
    count: int
    given: Mapping[int, NDArray[np.uint16]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Origin:
    """What an adapter was trained on: the grey values, the numpy axis of the slices, and Dice where it was measured.

    `learned` are the accepted slices that it has learned from, in this session. `trained` is False where no episode
    has trained it yet: only the automatic decoder's heads were fitted to the slices.
    """

    window: Window
    axis: int
    held_out_dice: float | None = None
    learned: frozenset[SliceKey] = frozenset()
    trained: bool = True


@dataclass(frozen=True, eq=False)
class Episode:
    """What one episode of learning is made from.

    `held_out` are measured on part of the way and then learned from too. By the `judges` the result is compared with
    the adapter in use; `new` are the slices that were accepted since the last episode.
    """

    samples: tuple[TrainingSample, ...]
    held_out: tuple[TrainingSample, ...]
    judges: tuple[TrainingSample, ...]
    new: tuple[TrainingSample, ...]
    class_ids: tuple[int, ...]
    config: AdapterConfig
    policy: LearningPolicy
    origin: Origin

    @property
    def keys(self) -> frozenset[SliceKey]:
        """All the slices of it."""
        return frozenset(sample.key for sample in (*self.samples, *self.held_out, *self.judges))


@dataclass(frozen=True, eq=False)
class EpisodeOutcome:
    """What an episode learned, or None with the reason in plain words ("" where it was dropped on purpose).

    An update that its judges object to counts as nothing learned; the `suspects` are to be left out of learning.
    """

    tensors: Mapping[str, Tensor] | None
    failure: str = ""
    held_out_dice: float | None = None
    suspects: frozenset[SliceKey] = frozenset()
