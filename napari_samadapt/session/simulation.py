"""A simulated annotator segments a volume while the model learns: Dice of the whole volume against time and clicks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.volume import SliceKey, Volume, slice_count
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.promptable_sam import PromptableSam

from .annotator import Annotator, AnnotatorHabits, SliceEffort
from .headless import EventQueue
from .messages import LearningPolicy, episode_seconds
from .session import Session
from .simulated_time import SimulatedTime
from .suggestion import next_index

CHOICES = ("suggested", "uniform", "random")
_HABITS = AnnotatorHabits(good_enough=0.95, painted_enough=0.95)
_LOOK_SECONDS = 1.0
"""How often the annotator looks up while only the model still works."""


@dataclass(frozen=True)
class SimulationPlan:
    """How slices are chosen, and when it ends: with a mean Dice of `target` over the volume, or a budget used up.

    `choice`: "suggested" by the session, "uniform" (evenly spread, from the middle on, far from those done; with a
    budget of slices the middles of so many equal parts) or "random". `seconds` are simulated; `slices` None means
    all. When all slices are done, the annotator looks on until the model has learned from them and predicted, and
    pays for it. Without `adapts` nothing is learned or predicted.
    """

    choice: str = "suggested"
    slices: int | None = None
    seconds: float = 600.0
    target: float = 0.9
    adapts: bool = True
    seed: int = 0
    habits: AnnotatorHabits = _HABITS

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise SamAdaptError(f"There is no choice {self.choice!r}: use {', '.join(CHOICES)}.")
        if self.slices is not None and self.slices < 1:
            raise SamAdaptError(f"A budget of {self.slices} slices leaves nothing to do: give 1 or more.")
        if not self.seconds > 0:
            raise SamAdaptError(f"A budget of {self.seconds:g} seconds leaves nothing to do: give more.")
        if not 0 < self.target <= 1:
            raise SamAdaptError(f"A target of {self.target:g} is no Dice: give one above 0 and up to 1.")


@dataclass(frozen=True)
class CurvePoint:
    """What was spent until a moment, and Dice of what was displayed then, the mean over the structures.

    `seconds` are simulated; clicks, boxes and painted pixels are those of the slices that are done; `slices` are
    those accepted; `adapter` is the number of the one that predicted, 0 for none.
    """

    seconds: float
    clicks: int
    boxes: int
    painted_pixels: int
    slices: int
    adapter: int
    dice: float


@dataclass(frozen=True)
class SimulationReport:
    """The curve from the beginning to the end, the slices in the order of their annotation, and what went wrong."""

    plan: SimulationPlan
    class_ids: tuple[int, ...]
    axis: int
    points: tuple[CurvePoint, ...]
    slices: tuple[SliceEffort, ...]
    failures: tuple[str, ...]

    @property
    def reached(self) -> CurvePoint | None:
        """The first point at the target, or None."""
        return next((point for point in self.points if point.dice >= self.plan.target), None)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: settings, totals, the curve, and the effort slice by slice."""
        reached = self.reached
        return {
            "settings": {**asdict(self.plan), "classes": list(self.class_ids), "axis": self.axis},
            "totals": {**asdict(self.points[-1]), "seconds_to_target": reached.seconds if reached else None},
            "curve": [asdict(point) for point in self.points],
            "slices": [asdict(effort) for effort in self.slices],
            "failures": list(self.failures),
        }


def simulate(
    volume: Volume,
    reference: NDArray[np.integer],
    sam: PromptableSam,
    plan: SimulationPlan,
    *,
    names: Mapping[int, str],
    window: Window | None = None,
    axis: int | None = None,
    adapter: AdapterConfig | None = None,
    on_point: Callable[[CurvePoint], None] | None = None,
) -> SimulationReport:
    """Annotate `volume` towards `reference` (z, y, x) by `plan`; ids without a name in `names` are background.

    `sam` belongs to the simulation from here on. Raises SamAdaptError when the reference shows none of the ids, or
    the session gives no answer.
    """
    true = np.where(np.isin(reference, list(names)), reference, 0)
    ids = tuple(np.unique(true[true > 0]).tolist())
    if not ids:
        raise SamAdaptError("The reference holds none of the labels: there is nothing to annotate.")
    seconds = episode_seconds(sam.device)
    policy = LearningPolicy(seconds=seconds, enabled=plan.adapts, spare_cores=0, seed=plan.seed)
    queue = EventQueue()
    session = Session(
        volume, sam, post=queue, window=window, axis=axis, classes=names, adapter=adapter, policy=policy
    )
    try:
        return run_plan(session, queue, true, plan, on_point)
    finally:
        session.close()


def run_plan(
    session: Session,
    queue: EventQueue,
    reference: NDArray[np.integer],
    plan: SimulationPlan,
    on_point: Callable[[CurvePoint], None] | None = None,
) -> SimulationReport:
    """As `simulate`, in a session that is open; its policy says whether the model learns. `queue` is its `post`."""
    run = _Run(session, reference, plan, on_point)
    rng = np.random.default_rng(plan.seed)
    with (
        SimulatedTime(session, queue, plan.habits.timeout) as run.time,
        Annotator(session, queue, reference, plan.habits, rng, run.spend) as annotator,
    ):
        run.look()
        while run.goes_on and (key := run.next_key(rng)) is not None:
            run.done(annotator.do_slice(key))
        while run.time.busy and run.goes_on:
            run.spend(min(_LOOK_SECONDS, plan.seconds - run.time.now))
        if run.time.now > run.points[-1].seconds:
            run.look()
    return SimulationReport(
        plan, run.ids, session.axis, tuple(run.points), tuple(run.efforts), tuple(annotator.failures)
    )


def volume_dice(displayed: NDArray[np.integer], reference: NDArray[np.integer]) -> float:
    """Mean Dice over the ids that the reference (z, y, x) holds."""
    ids = np.unique(reference[reference > 0])
    return float(np.mean([dice(displayed == i, reference == i) for i in ids]))


@dataclass
class _Run:
    """A simulation under way."""

    session: Session
    reference: NDArray[np.integer]
    plan: SimulationPlan
    on_point: Callable[[CurvePoint], None] | None
    points: list[CurvePoint] = field(default_factory=list)
    efforts: list[SliceEffort] = field(default_factory=list)
    time: SimulatedTime = field(init=False)
    _seen_adapter: int = 0

    def __post_init__(self) -> None:
        self.ids = tuple(np.unique(self.reference[self.reference > 0]).tolist())

    @property
    def goes_on(self) -> bool:
        """Time is left, and the target was not reached."""
        return self.time.now < self.plan.seconds and self.points[-1].dice < self.plan.target

    def spend(self, seconds: float) -> bool:
        """Let time pass, and look at the volume when another adapter has predicted it."""
        self.time.spend(seconds)
        if self.session.adapter_version != self._seen_adapter and not self.session.refreshing:
            self._seen_adapter = self.session.adapter_version
            self.look()
        return self.goes_on

    def done(self, effort: SliceEffort) -> None:
        """A slice was left."""
        self.efforts.append(effort)
        self.look()

    def look(self) -> None:
        """Measure what is displayed."""
        point = CurvePoint(
            seconds=self.time.now,
            clicks=sum(effort.clicks for effort in self.efforts),
            boxes=sum(effort.boxes for effort in self.efforts),
            painted_pixels=sum(effort.painted_pixels for effort in self.efforts),
            slices=len(self.session.accepted),
            adapter=self.session.adapter_version,
            dice=volume_dice(self.session.displayed(), self.reference),
        )
        self.points.append(point)
        if self.on_point is not None:
            self.on_point(point)

    def next_key(self, rng: np.random.Generator) -> SliceKey | None:
        """The slice to do next; None when there is none, or the budget is used up."""
        axis, done = self.session.axis, {effort.key.index for effort in self.efforts}
        count = slice_count(self.reference.shape, axis)
        if len(done) >= min(self.plan.slices or count, count):
            return None
        if self.plan.choice == "suggested":
            return self.session.suggest()
        left = sorted(set(range(count)) - done)
        if self.plan.choice == "random":
            return SliceKey(axis, int(rng.choice(left)))
        parts = min(self.plan.slices or count, count)
        middles = {int((part + 0.5) * count / parts) for part in range(parts)}
        index = next_index(np.ones(count), done, middles - done)
        return None if index is None else SliceKey(axis, index)
