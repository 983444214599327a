"""The whole loop without a window: a simulated annotator corrects a few slices, SAM adapts, the rest is predicted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window, auto_window, render_slice
from napari_samadapt.imaging.metrics import label_report
from napari_samadapt.imaging.prompts import Prompts, box_of
from napari_samadapt.imaging.volume import SliceKey, Volume, slice_count, take_slice
from napari_samadapt.learning.fine_tune import TrainProgress
from napari_samadapt.learning.predict import decode_mask, encode_slice
from napari_samadapt.learning.promptable_sam import PromptableSam

from .annotator import AnnotatorHabits, AnnotatorReport, annotate
from .headless import EventQueue
from .messages import LearningPolicy
from .session import Session

ANNOTATED_SLICES = 5
_HABITS = AnnotatorHabits(clicks=2)
_GRACE_SECONDS = 600.0

OnProgress = Callable[[TrainProgress], None]


@dataclass(frozen=True)
class Demonstration:
    """What came out. Dice is the mean over structures, on all slices but the annotated ones.

    `boxed_dice` is that of the plain SAM with a box around every structure of every slice (`boxes` of them);
    `dice_before` and `dice_after` are without any prompt.
    """

    annotated: tuple[SliceKey, ...]
    effort: AnnotatorReport
    boxed_dice: float
    boxes: int
    dice_before: float
    dice_after: float
    steps: int
    mask: Path
    adapter: Path


def demonstrate(
    volume: Volume,
    reference: NDArray[np.integer],
    names: Mapping[int, str],
    sam: PromptableSam,
    folder: Path,
    seconds: float,
    on_progress: OnProgress | None = None,
) -> Demonstration:
    """Annotate five slices of `volume` towards `reference` (z, y, x), adapt for `seconds`, export into `folder`.

    `sam` belongs to the demonstration from here on. Raises SamAdaptError when the folder cannot be written, or the
    session tells that something went wrong.
    """
    keys = spread_slices(reference, volume.default_axis, ANNOTATED_SLICES)
    mask, adapter = folder / "mask.nii.gz", folder / "adapter.safetensors"
    boxed, boxes = _boxed_labels(sam, volume, auto_window(volume), reference, volume.default_axis, keys)
    queue, steps = EventQueue(), [0]
    policy = LearningPolicy(
        seconds=seconds, enabled=False, spare_cores=0
    )  # there is no window to spare a core for
    session = Session(volume, sam, post=queue, classes=names, policy=policy)
    failures: list[str] = []
    session.failed.connect(failures.append)
    session.progress.connect(lambda progress: steps.append(progress.step))
    if on_progress is not None:
        session.progress.connect(on_progress)

    def dice_elsewhere(labels: NDArray[np.integer]) -> float:
        return label_report(labels, reference, volume.spacing, names, keys).mean_dice

    try:
        effort = annotate(session, queue, reference, keys, _HABITS)
        before = dice_elsewhere(session.displayed())
        session.start_learning()
        _wait(session, queue, failures, seconds)
        return Demonstration(
            annotated=keys,
            effort=effort,
            boxed_dice=dice_elsewhere(boxed),
            boxes=boxes,
            dice_before=before,
            dice_after=dice_elsewhere(session.displayed()),
            steps=steps[-1],
            mask=session.export(mask),
            adapter=session.save_adapter(adapter).result(_GRACE_SECONDS),
        )
    finally:
        session.close()


def spread_slices(reference: NDArray[np.integer], axis: int, count: int) -> tuple[SliceKey, ...]:
    """At most `count` slices along `axis`, spread evenly over those that hold a label."""
    others = tuple(other for other in range(3) if other != axis)
    labelled = np.flatnonzero(reference.any(axis=others))
    if not len(labelled):
        raise SamAdaptError("The reference holds no label: there is nothing to demonstrate.")
    # The middles of equal parts, not the ends, where structures are cut off.
    places = (np.arange(count) + 0.5) * len(labelled) / count
    return tuple(SliceKey(axis, int(index)) for index in np.unique(labelled[places.astype(int)]))


def _boxed_labels(
    sam: PromptableSam,
    volume: Volume,
    window: Window,
    reference: NDArray[np.integer],
    axis: int,
    skip: tuple[SliceKey, ...],
) -> tuple[NDArray[np.uint16], int]:
    """What the plain SAM makes of a box around every structure of every other slice, and how many boxes that took."""
    labels, boxes = np.zeros(volume.shape, np.uint16), 0
    for key in (SliceKey(axis, index) for index in range(slice_count(volume.shape, axis))):
        true = take_slice(reference, key)
        ids = np.unique(true[true > 0]).tolist()
        if key in skip or not ids:
            continue
        embedding = encode_slice(sam, render_slice(volume, key, window))
        for class_id in ids:
            prediction = decode_mask(sam, embedding, Prompts(box=box_of(true == class_id)))
            take_slice(labels, key)[prediction.mask] = class_id
            boxes += 1
    return labels, boxes


def _wait(session: Session, queue: EventQueue, failures: list[str], seconds: float) -> None:
    """Until the episode has ended and every slice is predicted."""

    def settled() -> bool:
        learnt = session.learning_state not in ("training", "paused") and session.adapter_version > 0
        return bool(failures) or (learnt and not session.refreshing)

    in_time = queue.run_until(settled, seconds + _GRACE_SECONDS)
    if failures:
        raise SamAdaptError(f"The demonstration stopped: {failures[0]}")
    if not in_time:
        raise SamAdaptError("The demonstration took too long: the machine is too busy. Try it again.")
