"""A simulated annotator: corrects slices towards a reference as a person with the window would, and counts the effort.

Used by the demonstration without a display and by the benchmarks. It sees what is displayed and the reference, and
acts through the same methods of the session that the window calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.prompts import Prompts, box_of, click_in_error
from napari_samadapt.imaging.volume import SliceKey, take_slice

from .headless import EventQueue
from .messages import Indices
from .session import Session

CLICK_SECONDS = 1.5
BOX_SECONDS = 4.0
ACCEPT_SECONDS = 1.0
BRUSH_SECONDS = 2.0
"""Taking the brush in hand, once for each class that is painted on a slice."""
PIXELS_PER_SECOND = 100.0
"""Area that a brush of some ten pixels corrects in a second, aiming included. An assumption, not a measurement."""


@dataclass(frozen=True)
class AnnotatorHabits:
    """When the annotator is content: with a Dice of `good_enough`, or after `clicks` for one structure.

    What is still wrong then is painted if `paints`, else accepted. With `waits` the annotator looks on until the
    model has learned from a slice and predicted the volume, and only then goes to the next one.
    """

    good_enough: float = 0.9
    clicks: int = 4
    paints: bool = True
    waits: bool = False
    timeout: float = 600.0


@dataclass(frozen=True)
class SliceEffort:
    """One slice: mean Dice of its structures on arrival, after the prompts and when accepted, and what it took."""

    key: SliceKey
    adapter_version: int
    dice_before: float
    dice_prompted: float
    dice_accepted: float
    clicks: int
    boxes: int
    painted_pixels: int
    seconds: float


@dataclass(frozen=True)
class AnnotatorReport:
    """The slices in the order of their annotation, and sentences that the session told meanwhile."""

    slices: tuple[SliceEffort, ...]
    failures: tuple[str, ...]

    @property
    def clicks(self) -> int:
        """Clicks on all slices."""
        return sum(effort.clicks for effort in self.slices)

    @property
    def boxes(self) -> int:
        """Boxes on all slices."""
        return sum(effort.boxes for effort in self.slices)

    @property
    def painted_pixels(self) -> int:
        """Pixels painted on all slices."""
        return sum(effort.painted_pixels for effort in self.slices)

    @property
    def seconds(self) -> float:
        """Simulated time of a person, without waiting for the computer."""
        return sum(effort.seconds for effort in self.slices)


def annotate(
    session: Session,
    queue: EventQueue,
    reference: NDArray[np.integer],
    keys: Sequence[SliceKey],
    habits: AnnotatorHabits | None = None,
    rng: np.random.Generator | None = None,
) -> AnnotatorReport:
    """Correct and accept slices one after the other.

    `queue` is the session's `post`. `reference` (z, y, x) holds the true ids, each of them a class of the session.
    With `rng` clicks and boxes vary as a person's would; without it they are always the same.
    Raises SamAdaptError for an id that is no class, and where the session gives no answer in time.
    """
    annotator = _Annotator(session, queue, reference, habits or AnnotatorHabits(), rng)
    session.drafted.connect(annotator.on_drafted)
    session.failed.connect(annotator.on_failed)
    try:
        efforts = tuple(annotator.do_slice(key) for key in keys)
    finally:
        session.drafted.disconnect(annotator.on_drafted)
        session.failed.disconnect(annotator.on_failed)
    return AnnotatorReport(efforts, tuple(annotator.failures))


def mean_dice(displayed: NDArray[np.integer], reference: NDArray[np.integer]) -> float:
    """Mean Dice over the ids that are in either array (H, W); 1 where there are none."""
    ids = sorted((set(np.unique(displayed).tolist()) | set(np.unique(reference).tolist())) - {0})
    return float(np.mean([dice(displayed == i, reference == i) for i in ids])) if ids else 1.0


@dataclass
class _Effort:
    clicks: int = 0
    boxes: int = 0
    painted_pixels: int = 0
    brushes: int = 0

    @property
    def seconds(self) -> float:
        prompting = self.clicks * CLICK_SECONDS + self.boxes * BOX_SECONDS
        painting = self.brushes * BRUSH_SECONDS + self.painted_pixels / PIXELS_PER_SECOND
        return prompting + painting + ACCEPT_SECONDS


@dataclass
class _Annotator:
    session: Session
    queue: EventQueue
    reference: NDArray[np.integer]
    habits: AnnotatorHabits
    rng: np.random.Generator | None
    failures: list[str] = field(default_factory=list)
    _answers: int = 0

    def on_drafted(self, _draft: object) -> None:
        self._answers += 1

    def on_failed(self, message: str) -> None:
        self.failures.append(message)
        self._answers += 1

    def do_slice(self, key: SliceKey) -> SliceEffort:
        """Look at a slice, correct its structures, accept it."""
        self.session.look_at(key)
        self.queue.run_posted()
        version, effort = self.session.adapter_version, _Effort()
        true = take_slice(self.reference, key)
        before = mean_dice(self._displayed(key), true)
        for class_id in self._wrong_classes(key):
            self._prompt(key, class_id, effort)
        prompted = mean_dice(self._displayed(key), true)
        if self.habits.paints:
            self._paint(key, effort)
        accepted = mean_dice(self._displayed(key), true)
        self.session.accept(key)
        if self.habits.waits:
            self._wait_for_learning()
        return SliceEffort(
            key, version, before, prompted, accepted,
            effort.clicks, effort.boxes, effort.painted_pixels, effort.seconds,
        )  # fmt: skip

    def _displayed(self, key: SliceKey) -> NDArray[np.uint16]:
        shown: NDArray[np.uint16] = take_slice(self.session.annotation, key) + take_slice(
            self.session.prediction, key
        )
        return shown

    def _wrong_classes(self, key: SliceKey) -> list[int]:
        """The structures on the slice that are not good enough, the largest error first."""
        true, shown = take_slice(self.reference, key), self._displayed(key)
        errors = {
            i: np.count_nonzero((true == i) != (shown == i)) for i in np.unique(true[true > 0]).tolist()
        }
        wrong = [i for i in errors if dice(shown == i, true == i) < self.habits.good_enough]
        return sorted(wrong, key=lambda i: (-errors[i], i))

    def _prompt(self, key: SliceKey, class_id: int, effort: _Effort) -> None:
        """Box a structure that is not there, click where it is wrong; take the mask back if it made things worse."""
        session, true = self.session, take_slice(self.reference, key) == class_id
        session.select_class(class_id)
        shown = self._displayed(key) == class_id
        first = dice(shown, true)
        if shown.any():
            prompts = self._with_click(Prompts(mask_input=shown), shown, true)
            effort.clicks += 1
        else:
            prompts = Prompts(box=box_of(true, jitter=0.0 if self.rng is None else 2.0, rng=self.rng))
            effort.boxes += 1
        for _ in range(self.habits.clicks):
            self._ask(key, prompts)
            shown = self._displayed(key) == class_id
            clicked = len(prompts.point_coords)
            if dice(shown, true) >= self.habits.good_enough or clicked >= self.habits.clicks:
                break
            prompts = self._with_click(prompts, shown, true)
            effort.clicks += 1
        if dice(self._displayed(key) == class_id, true) > first:
            session.keep_draft(key)
        else:
            session.clear_prompts(key)

    def _with_click(self, prompts: Prompts, shown: NDArray[np.bool_], true: NDArray[np.bool_]) -> Prompts:
        xy, label = click_in_error(shown, true, self.rng)
        coords = np.vstack([prompts.point_coords, xy[None]]).astype(np.float32)
        return replace(prompts, point_coords=coords, point_labels=np.append(prompts.point_labels, label))

    def _ask(self, key: SliceKey, prompts: Prompts) -> None:
        answers = self._answers
        self.session.set_prompts(key, prompts)
        if not self.queue.run_until(lambda: self._answers > answers, self.habits.timeout):
            raise SamAdaptError(f"No mask came for slice {key.index} within {self.habits.timeout:g} seconds.")

    def _paint(self, key: SliceKey, effort: _Effort) -> None:
        """Brush over everything that is still wrong, as one stroke for each class."""
        true = take_slice(self.reference, key)
        wrong = self._displayed(key) != true
        if not wrong.any():
            return
        self.session.begin_edit(key)
        for class_id in np.unique(true[wrong]).tolist():
            row, column = np.nonzero(wrong & (true == class_id))
            places = [row, column]
            places.insert(key.axis, np.full_like(row, key.index))
            indices: Indices = (places[0], places[1], places[2])
            before = self.session.annotation[indices]
            after = np.full_like(before, class_id)
            self.session.annotation[indices] = after  # as the Labels layer does, in the shared memory
            self.session.record_edit(indices, before, after)
            effort.brushes += 1
            effort.painted_pixels += len(row)

    def _wait_for_learning(self) -> None:
        session = self.session

        def settled() -> bool:
            return session.learning_state in ("idle", "off") and not session.refreshing

        if not self.queue.run_until(settled, self.habits.timeout):
            raise SamAdaptError(f"The model was still learning after {self.habits.timeout:g} seconds.")
