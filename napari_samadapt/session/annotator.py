"""A simulated annotator: corrects slices towards a reference as a person with the window would, and counts the effort.

Used by the demonstration, `simulate` and the benchmarks. It sees what is displayed and the reference, and acts through
the same methods of the session that the window calls. What it does costs, in seconds,

    1.5 clicks + 4 boxes + 2 brushes + painted pixels / 100 + 1 for accepting

where a brush is one class painted on one slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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


Spend = Callable[[float], bool]
"""Takes note of seconds that an act took; False when there is no time for another act."""


@dataclass(frozen=True)
class AnnotatorHabits:
    """When the annotator is content: with a mean Dice of `good_enough`, or after `clicks` for each structure.

    A structure below `box_below` Dice is boxed anew, a better one corrected by clicks; they end with the first that
    does not help. If the annotator `paints`, what is still wrong then is painted class by class, the largest error
    first, until the slice's mean Dice is `painted_enough`; else it is accepted. With `waits` the annotator looks on
    until the model has learned from a slice and predicted the volume, and only then goes to the next one.
    """

    good_enough: float = 0.9
    clicks: int = 4
    box_below: float = 0.5
    paints: bool = True
    painted_enough: float = 1.0
    waits: bool = False
    timeout: float = 600.0


@dataclass(frozen=True)
class SliceEffort:
    """One slice: mean Dice of its structures on arrival, after the prompts and at the end, and what it took.

    `accepted` is False where time was up before.
    """

    key: SliceKey
    adapter_version: int
    dice_before: float
    dice_prompted: float
    dice_after: float
    clicks: int
    boxes: int
    painted_pixels: int
    seconds: float
    accepted: bool


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
    with Annotator(session, queue, reference, habits or AnnotatorHabits(), rng) as annotator:
        efforts = tuple(annotator.do_slice(key) for key in keys)
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
    seconds: float = 0.0


class Annotator:
    """Does slices one by one; a context, in which it listens to the session. `spend` hears of every act's seconds."""

    def __init__(
        self,
        session: Session,
        queue: EventQueue,
        reference: NDArray[np.integer],
        habits: AnnotatorHabits,
        rng: np.random.Generator | None = None,
        spend: Spend = lambda _seconds: True,
    ) -> None:
        self._session, self._queue, self._reference = session, queue, reference
        self._habits, self._rng, self._spend = habits, rng, spend
        self.failures: list[str] = []
        self._answers = 0
        self._in_time = True

    def __enter__(self) -> Annotator:
        self._session.drafted.connect(self._on_drafted)
        self._session.failed.connect(self._on_failed)
        return self

    def __exit__(self, *_: object) -> None:
        self._session.drafted.disconnect(self._on_drafted)
        self._session.failed.disconnect(self._on_failed)

    def do_slice(self, key: SliceKey) -> SliceEffort:
        """Look at a slice, correct its structures, accept it; where time is up leave it as it is then."""
        session, habits = self._session, self._habits
        session.look_at(key)
        self._queue.run_posted()
        version, effort = session.adapter_version, _Effort()
        before = self._dice(key)
        for class_id in self._wrong_classes(key):
            if self._in_time and self._dice(key) < habits.good_enough:
                self._prompt(key, class_id, effort)
        prompted = self._dice(key)
        if habits.paints and self._in_time:
            self._paint(key, effort)
        accepted, after = self._in_time, self._dice(key)
        if accepted:
            session.accept(key)
            self._take(effort, ACCEPT_SECONDS)
        if habits.waits:
            self._wait_for_learning()
        return SliceEffort(
            key, version, before, prompted, after,
            effort.clicks, effort.boxes, effort.painted_pixels, effort.seconds, accepted,
        )  # fmt: skip

    def _take(self, effort: _Effort, seconds: float) -> None:
        """Let time pass for an act."""
        effort.seconds += seconds
        self._in_time = self._spend(seconds)

    def _on_drafted(self, _draft: object) -> None:
        self._answers += 1

    def _on_failed(self, message: str) -> None:
        self.failures.append(message)
        self._answers += 1

    def _dice(self, key: SliceKey) -> float:
        return mean_dice(self._session.displayed_slice(key), take_slice(self._reference, key))

    def _wrong_classes(self, key: SliceKey) -> list[int]:
        """The structures on the slice that are not good enough, the largest error first."""
        true, shown = take_slice(self._reference, key), self._session.displayed_slice(key)
        errors = {
            i: np.count_nonzero((true == i) != (shown == i)) for i in np.unique(true[true > 0]).tolist()
        }
        wrong = [i for i in errors if dice(shown == i, true == i) < self._habits.good_enough]
        return sorted(wrong, key=lambda i: (-errors[i], i))

    def _prompt(self, key: SliceKey, class_id: int, effort: _Effort) -> None:
        """Box a structure that is hardly there, else click where it is wrong; take back what made things worse."""
        session, habits, true = self._session, self._habits, take_slice(self._reference, key) == class_id
        session.select_class(class_id)
        before, shown = self._dice(key), self._session.displayed_slice(key) == class_id
        if dice(shown, true) < habits.box_below:
            prompts = Prompts(box=box_of(true, jitter=0.0 if self._rng is None else 2.0, rng=self._rng))
            effort.boxes += 1
            self._take(effort, BOX_SECONDS)
        else:
            prompts = self._with_click(Prompts(mask_input=shown), shown, true, effort)
        self._ask(key, prompts)
        last = -1.0
        while self._in_time and len(prompts.point_coords) < habits.clicks:
            shown = self._session.displayed_slice(key) == class_id
            if not last < dice(shown, true) < habits.good_enough:
                break
            last = dice(shown, true)
            prompts = self._with_click(prompts, shown, true, effort)
            self._ask(key, prompts)
        if self._dice(key) > before:
            session.keep_draft(key)
        else:
            session.clear_prompts(key)

    def _with_click(
        self, prompts: Prompts, shown: NDArray[np.bool_], true: NDArray[np.bool_], effort: _Effort
    ) -> Prompts:
        xy, label = click_in_error(shown, true, self._rng)
        effort.clicks += 1
        self._take(effort, CLICK_SECONDS)
        coords = np.vstack([prompts.point_coords, xy[None]]).astype(np.float32)
        return replace(prompts, point_coords=coords, point_labels=np.append(prompts.point_labels, label))

    def _ask(self, key: SliceKey, prompts: Prompts) -> None:
        answers, timeout = self._answers, self._habits.timeout
        self._session.set_prompts(key, prompts)
        if not self._queue.run_until(lambda: self._answers > answers, timeout):
            raise SamAdaptError(f"No mask came for slice {key.index} within {timeout:g} seconds.")

    def _paint(self, key: SliceKey, effort: _Effort) -> None:
        """Brush over what is wrong, as one stroke for each class, until that is enough."""
        true = take_slice(self._reference, key)
        wrong = self._session.displayed_slice(key) != true
        ids, errors = np.unique(true[wrong], return_counts=True)
        for class_id in ids[np.argsort(-errors, kind="stable")].tolist():
            if not self._in_time or self._dice(key) >= self._habits.painted_enough:
                return
            self._session.begin_edit(key)
            row, column = np.nonzero(wrong & (true == class_id))
            places = [row, column]
            places.insert(key.axis, np.full_like(row, key.index))
            indices: Indices = (places[0], places[1], places[2])
            before = self._session.annotation[indices]
            after = np.full_like(before, class_id)
            self._session.annotation[indices] = after  # as the Labels layer does, in the shared memory
            self._session.record_edit(indices, before, after)
            effort.painted_pixels += len(row)
            self._take(effort, BRUSH_SECONDS + len(row) / PIXELS_PER_SECOND)

    def _wait_for_learning(self) -> None:
        session = self._session

        def settled() -> bool:
            return session.learning_state in ("idle", "off") and not session.refreshing

        if not self._queue.run_until(settled, self._habits.timeout):
            raise SamAdaptError(f"The model was still learning after {self._habits.timeout:g} seconds.")
