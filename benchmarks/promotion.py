"""What becomes of the model in use when wrong masks are accepted, with and without the gate.

    python benchmarks/promotion.py --data ../shared/data [--steps 40] [--stories clean,inverted] [--seeds 0,1]

A real session on a CT of 30 slices and the bundled `mini`. Each story accepts one slice after another, with an episode
of learning after each. Three of seven are accepted with a wrong mask: inverted (the structures become
background and the background the slice's largest structure), shifted by a quarter of the slice, or with every structure
named as another one. Printed after each episode: mean Dice of what is served on the slices that no story accepts, with
the gate and without it (every update is served), and how far it ever fell from its best before.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np
from few_shot import CASES
from numpy.typing import NDArray

from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import SliceKey, Volume
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.session.headless import EventQueue
from napari_samadapt.session.messages import LearningPolicy
from napari_samadapt.session.session import Session

Labels = NDArray[np.integer]
PATIENCE = 3600.0


def inverted(labels: Labels) -> Labels:
    """The largest structure where nothing was, and nothing where the structures were (H, W)."""
    largest = np.bincount(labels[labels > 0]).argmax()
    return np.where(labels == 0, largest, 0)


def shifted(labels: Labels) -> Labels:
    """The mask (H, W) a quarter of the slice further down and to the right."""
    return np.roll(labels, [size // 4 for size in labels.shape], (0, 1))


def renamed(labels: Labels) -> Labels:
    """Every structure of the slice (H, W) under the name of the next one there."""
    ids = np.unique(labels[labels > 0])
    names = dict(zip(ids.tolist(), np.roll(ids, 1).tolist(), strict=True))
    return np.array([names.get(class_id, 0) for class_id in labels.ravel().tolist()]).reshape(labels.shape)


ORDER, WRONG = (10, 19, 14, 5, 24, 8, 22), (14, 24, 22)
"""The slices as they are accepted, and those of them whose mask is wrong in all stories but the clean one."""
SPOIL: dict[str, Callable[[Labels], Labels]] = {
    "clean": lambda labels: labels,
    "inverted": inverted,
    "shifted": shifted,
    "renamed": renamed,
}


def served(
    story: str, gate: bool, options: argparse.Namespace, seed: int
) -> Iterator[tuple[int, float, str]]:
    """After each episode: the slice accepted before it, Dice of what is served then, and what was told."""
    reference, volume = load_case(options.data)
    queue, told = EventQueue(), list[str]()
    policy = LearningPolicy(seconds=None, steps=options.steps, seed=seed)
    classes = {class_id: f"structure {class_id}" for class_id in CASES["ct"].ids}
    with ExitStack() as stack:
        if not gate:
            stack.enter_context(mock.patch("napari_samadapt.session.trainer.objection", return_value=None))
        session = Session(volume, load_sam("mini"), post=queue, policy=policy, classes=classes)
        stack.callback(session.close)
        session.failed.connect(told.append)
        for index in ORDER:
            labels = SPOIL[story](reference[index]) if index in WRONG else reference[index]
            accept(session, SliceKey(0, index), labels)
            if not queue.run_until(
                lambda: session.learning_state == "idle" and not session.refreshing, PATIENCE
            ):
                raise TimeoutError(f"slice {index} was not learned within {PATIENCE:g} s")
            yield index, score(session, reference), " ".join(told)
            told.clear()


def load_case(data: Path) -> tuple[Labels, Volume]:
    """The labels (z, y, x) that count, and the volume."""
    labels, _ = read_labels(data / CASES["ct"].labels)
    return np.where(np.isin(labels, CASES["ct"].ids), labels, 0), read_volume(data / CASES["ct"].image)


def accept(session: Session, key: SliceKey, labels: Labels) -> None:
    """Paint a slice as `labels` (H, W) and accept it."""
    session.begin_edit(key)
    row, column = np.indices(labels.shape).reshape(2, -1)
    indices = (np.full_like(row, key.index), row, column)
    before, after = session.annotation[indices], labels.reshape(-1).astype(np.uint16)
    session.annotation[indices] = after
    session.record_edit(indices, before, after)
    session.accept(key)


def score(session: Session, reference: Labels) -> float:
    """Mean Dice of the structures on the slices that no story accepts."""
    left = np.setdiff1d(np.arange(len(reference)), ORDER)
    found, true = session.prediction[left], reference[left]
    return float(np.mean([dice(found == i, true == i) for i in CASES["ct"].ids]))


def largest_drop(scores: list[float]) -> float:
    """How far below the best so far the model in use ever was."""
    return float(np.max(np.maximum.accumulate(scores) - scores))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--steps", type=int, default=40, help="of an episode")
    parser.add_argument("--stories", default=",".join(SPOIL))
    parser.add_argument("--seeds", default="0")
    options = parser.parse_args()
    for story in options.stories.split(","):
        for seed in map(int, options.seeds.split(",")):
            for gate in (True, False):
                print(f"{story}, seed {seed}, {'with' if gate else 'without'} the gate", flush=True)
                scores = []
                for index, value, told in served(story, gate, options, seed):
                    scores.append(value)
                    mask = story if index in WRONG else "good"
                    print(f"  slice {index:2} {mask:8}  Dice {value:.3f}  {told}", flush=True)
                print(f"  never fell by more than {largest_drop(scores):.3f}", flush=True)


if __name__ == "__main__":
    main()
