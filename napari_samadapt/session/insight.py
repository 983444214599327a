"""What one can see of the learning: every update, how right the model was, where it is unsure. Main thread only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.metrics import label_report
from napari_samadapt.imaging.volume import SliceKey

from .live_model import LiveModel
from .messages import Post
from .past_predictions import PastPredictions
from .predictor import Predictor, in_plain_words

PLAIN = "the plain model"


@dataclass(frozen=True)
class Update:
    """Something that changed the model in use, or was meant to.

    `kind`: "fit" of heads to an accepted slice, "episode", "load" of a file, "roll back" or "reset". `version` is the
    adapter in use afterwards, 0 for the plain model; for an episode that was kept back or failed, `reason` says why.
    `slices` are those it learned from; `seconds` and `steps` are of computing.
    """

    kind: str
    version: int
    slices: frozenset[SliceKey] = frozenset()
    seconds: float = 0.0
    steps: int = 0
    held_out_dice: float | None = None
    reason: str = ""
    at: float = 0.0
    """Seconds since the session began."""


@dataclass(frozen=True)
class AcceptedSlice:
    """How an accepted slice compares with what the model had said of it before the user touched it.

    `corrections` are the prompts and strokes it took. `made_by` is the adapter that had predicted it, None where none
    had; then there is no `dice`. Dice and HD95 are means over the classes of either; NaN and infinity as in `metrics`.
    """

    key: SliceKey
    at: float
    corrections: int
    made_by: int | None = None
    dice: float | None = None
    hd95_mm: float | None = None


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How unsure adapter `version` is of each pixel of a slice: 1 - margin of the two likeliest classes, (H, W)."""

    key: SliceKey
    version: int
    values: NDArray[np.float32] = field(repr=False)


class Insight:
    """Keeps record for one session, which tells it what happens."""

    changed = Signal()
    """There is another update or accepted slice, or one less."""
    uncertain = Signal(Uncertainty)
    failed = Signal(str)

    def __init__(
        self,
        predictor: Predictor,
        post: Post,
        window: Callable[[], Window],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._predictor, self._post, self._window, self._clock = predictor, post, window, clock
        self._began = clock()
        self.past = PastPredictions()
        self._updates: list[Update] = []
        self._accepted: dict[SliceKey, AcceptedSlice] = {}
        self._corrections: dict[SliceKey, int] = {}
        self._asked: Future[Uncertainty | None] | None = None

    @property
    def updates(self) -> tuple[Update, ...]:
        """What became of the model so far, in order."""
        return tuple(self._updates)

    @property
    def accepted(self) -> tuple[AcceptedSlice, ...]:
        """The slices that are accepted now, in the order in which they were."""
        return tuple(self._accepted.values())

    def describe(self, version: int | None) -> str:
        """Which adapter a number stands for, and where it comes from."""
        if version is None:
            return "drawn by hand"
        made = next((one for one in self._updates if one.version == version and not one.reason), None)
        if version == 0 or made is None:
            return PLAIN if version == 0 else f"adapter {version}"
        count = f"{len(made.slices)} slice{'' if len(made.slices) == 1 else 's'}"
        if made.kind == "fit":
            return f"adapter {version}, fitted at once to {count}"
        if made.kind == "episode":
            return f"adapter {version}, learned from {count} in {made.seconds:.0f} s"
        return f"adapter {version}, loaded from a file"

    # What the session tells.

    def note_update(self, update: Update) -> None:
        """The model in use changed, or was meant to."""
        self._updates.append(replace(update, at=self._now()))
        self.changed.emit()

    def note_corrections(self, keys: Iterable[SliceKey]) -> None:
        """The user prompted or painted on slices."""
        for key in keys:
            self._corrections[key] = self._corrections.get(key, 0) + 1

    def note_accepted(
        self, key: SliceKey, labels: NDArray[np.uint16], pixel_size: tuple[float, float]
    ) -> None:
        """A slice was accepted as `labels` (H, W); pixel size is (row, column) mm."""
        self._accepted.pop(key, None)
        self._accepted[key] = AcceptedSlice(key, self._now(), self._corrections.get(key, 0))
        versions = self.past.versions(key)
        if versions:
            said, version = self.past.get(key, versions[-1]), versions[-1]
            at = self._accepted[key].at
            self._predictor.run(
                lambda _live: slice_agreement(said, labels, pixel_size), urgent=False
            ).add_done_callback(lambda done: self._post(lambda: self._on_measured(key, at, version, done)))
        self.changed.emit()

    def keep_only(self, keys: frozenset[SliceKey]) -> None:
        """Only these slices are accepted still."""
        gone = self._accepted.keys() - keys
        for key in gone:
            del self._accepted[key]
        if gone:
            self.changed.emit()

    def _on_measured(self, key: SliceKey, at: float, version: int, done: Future[tuple[float, float]]) -> None:
        one = self._accepted.get(key)
        if one is None or one.at != at or done.cancelled() or done.exception() is not None:
            return
        dice, hd95 = done.result()
        self._accepted[key] = replace(one, made_by=version, dice=dice, hd95_mm=hd95)
        self.changed.emit()

    def _now(self) -> float:
        return self._clock() - self._began

    # Where the model is unsure.

    def ask_uncertainty(self, key: SliceKey) -> None:
        """Have `uncertain` tell how unsure the model is of a slice; the plain model has nothing to tell.

        It is computed after clicks and before other slices; only the last wish is answered.
        """
        if self._asked is not None:
            self._asked.cancel()
        window = self._window()
        asked = self._predictor.run(lambda live: _uncertainty(live, key, window), urgent=False)
        self._asked = asked
        asked.add_done_callback(lambda done: self._post(lambda: self._on_uncertain(done)))

    def _on_uncertain(self, done: Future[Uncertainty | None]) -> None:
        if done is not self._asked or done.cancelled():
            return
        self._asked = None
        if (error := done.exception()) is not None:
            self.failed.emit(in_plain_words("It is not known where the model is unsure", error))
        elif (found := done.result()) is not None:
            self.uncertain.emit(found)


def _uncertainty(live: LiveModel, key: SliceKey, window: Window) -> Uncertainty | None:
    """Runs on the predict thread."""
    values = live.uncertainty(key, window)
    return None if values is None else Uncertainty(key, live.version, values)


def slice_agreement(
    said: NDArray[np.integer], labels: NDArray[np.integer], pixel_size: tuple[float, float]
) -> tuple[float, float]:
    """Mean Dice and mean HD95 in mm of two slices (H, W) of ids over the classes of either. Runs on any thread."""
    report = label_report(said[np.newaxis], labels[np.newaxis], (1.0, *pixel_size))
    return report.mean_dice, report.mean_hd95_mm
