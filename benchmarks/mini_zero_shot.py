"""Dice of prompted masks before any adaptation, on real images that the bundled model never saw.

    python benchmarks/mini_zero_shot.py [--data ../shared/data] [--sets ct,mr,...] [--model mini] [--adapter FILE]
                                        [--jitter PX] [--every N] [--no-baselines] [--report FILE.json]

Every connected part of a label of at least 30 pixels is asked for in every slice: by its box, tight or with every side
off by up to `--jitter` pixels, by one click in its middle, and by up to four more clicks, each in the middle of the
largest wrong region, with the mask so far as a prompt. `scribble` asks for the whole mask by points along a person's
scribbles. `calibration error` compares the IoU that the model predicts with the real one, over all masks. Against it
stands what needs no learning. `mean` is that of the sets. With `--adapter` the same after adaptation. A quick look
(some 25 s): `--every 5 --no-baselines`.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from no_learning import Walker, ellipse_in_box, grey, otsu_in_box
from numpy.typing import NDArray
from region_sets import SETS, Mask, Scribbles

from napari_samadapt.imaging.metrics import dice, iou
from napari_samadapt.imaging.prompts import Prompts, box_of, click_in_error
from napari_samadapt.learning.adapter_file import load_adapter
from napari_samadapt.learning.close_up import Part, cut, decode_closely
from napari_samadapt.learning.predict import ImageEmbedding, encode_slice
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import load_sam

CLICKS = 5
POSITIVE_POINTS, NEGATIVE_POINTS = 8, 4
"""So many points at most are taken along a scribble."""

CLICK_ROWS = ("1 click", *(f"{n} clicks" for n in range(2, CLICKS + 1)))
WALKER_ROWS = tuple(f"random walker, {name}" for name in CLICK_ROWS)
ROWS = ("box", *CLICK_ROWS, "scribble", "calibration error")
BASELINE_ROWS = ("ellipse in the box", "Otsu in the box", WALKER_ROWS[0], WALKER_ROWS[-1])

Answer = Callable[[NDArray[np.float32], NDArray[np.int64], Mask], Mask]
"""The mask for points (N, 2), their labels (N,) and the mask so far."""


@dataclass
class Tally:
    """What was measured on one set: Dice by row, and the predicted and the real IoU of every mask."""

    dice: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    predicted: list[float] = field(default_factory=list)
    real: list[float] = field(default_factory=list)
    slices: int = 0
    seconds: float = 0.0

    def figures(self) -> dict[str, float]:
        """The number of slices and of regions, the calibration error, and the mean Dice of every row."""
        counts = {"slices": self.slices, "regions": len(self.dice["box"])}
        error = {"calibration error": calibration_error(self.predicted, self.real)}
        return counts | error | {name: float(np.mean(values)) for name, values in self.dice.items()}


def calibration_error(predicted: Sequence[float], real: Sequence[float], bins: int = 10) -> float:
    """Expected calibration error: |mean predicted - mean real| over equal bins of the predicted, by their counts."""
    expected, found = np.asarray(predicted, float), np.asarray(real, float)
    which = np.clip((expected * bins).astype(int), 0, bins - 1)
    gaps = np.bincount(which, weights=expected - found, minlength=bins)
    return float(np.abs(gaps).sum() / len(expected))


def next_click(mask: Mask, region: Mask) -> tuple[NDArray[np.float32], int]:
    """`click_in_error`, asked on the part of the slice that holds every error: the same answer, sooner."""
    wrong = mask ^ region
    rows, columns = np.flatnonzero(wrong.any(axis=1)), np.flatnonzero(wrong.any(axis=0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    xy, label = click_in_error(mask[part], region[part])
    return xy + np.array([columns[0], rows[0]], np.float32), label


def corrected(
    region: Mask, answer: Answer, clicks: int = CLICKS, start: Mask | None = None, enough: float = 1.0
) -> list[float]:
    """Dice of the mask after one click, and after every further click into its largest error.

    The first click corrects `start`, or nothing. A mask with a Dice of `enough` needs no more clicks and keeps it.
    """
    mask = np.zeros_like(region) if start is None else start
    points: list[NDArray[np.float32]] = []
    labels: list[int] = []
    scores: list[float] = []
    for _ in range(clicks):
        if dice(mask, region) < enough:
            xy, label = next_click(mask, region)
            points.append(xy)
            labels.append(label)
            mask = answer(np.stack(points), np.array(labels), mask)
        scores.append(dice(mask, region))
    return scores


def points_along(stroke: Mask, count: int) -> NDArray[np.float32]:
    """At most `count` points (N, 2) (x, y) spread over the middle line of a stroke (H, W)."""
    from skimage.morphology import skeletonize

    line = np.argwhere(skeletonize(stroke))  # type: ignore[no-untyped-call]  # as it ships
    chosen: list[NDArray[np.int64]] = list(line[:1])
    far = np.full(len(line), np.inf)
    while 0 < len(chosen) < min(count, len(line)):
        far = np.minimum(far, ((line - chosen[-1]) ** 2).sum(axis=1))
        chosen.append(line[far.argmax()])
    return np.array(chosen, np.float32).reshape(-1, 2)[:, ::-1]


class Asker:
    """Asks a model for the regions of one slice and notes its Dice and its predicted IoU."""

    def __init__(
        self,
        sam: PromptableSam,
        image: NDArray[np.float32],
        tally: Tally,
        jitter: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._sam, self._image, self._tally = sam, image, tally
        self._jitter, self._rng = jitter, rng
        self._embedding = encode_slice(sam, image)
        self._parts: dict[Part, ImageEmbedding] = {}

    def _look(self, part: Part) -> ImageEmbedding:
        if part not in self._parts:
            self._parts[part] = encode_slice(self._sam, cut(self._image, part))
        return self._parts[part]

    def region(self, region: Mask) -> None:
        """Ask by the box, then by clicks."""

        def answer(points: NDArray[np.float32], labels: NDArray[np.int64], mask: Mask) -> Mask:
            previous = mask if mask.any() else None
            return self.ask(Prompts(point_coords=points, point_labels=labels, mask_input=previous), region)

        box = self.ask(Prompts(box=box_of(region, self._jitter, self._rng)), region)
        self._tally.dice["box"].append(dice(box, region))
        note(self._tally, CLICK_ROWS, corrected(region, answer))

    def scribbles(self, drawn: Scribbles) -> None:
        """Ask by points along the strokes."""
        inside = points_along(drawn.positive, POSITIVE_POINTS)
        outside = points_along(drawn.negative, NEGATIVE_POINTS)
        labels = np.repeat([1, 0], [len(inside), len(outside)])
        prompts = Prompts(point_coords=np.concatenate([inside, outside]), point_labels=labels)
        self._tally.dice["scribble"].append(dice(self.ask(prompts, drawn.reference), drawn.reference))

    def ask(self, prompts: Prompts, truth: Mask) -> Mask:
        """The mask for some prompts; its IoU with the truth is noted."""
        answer = decode_closely(self._sam, self._embedding, prompts, self._look)
        self._tally.predicted.append(answer.score)
        self._tally.real.append(iou(answer.mask, truth))
        return answer.mask


def note(tally: Tally, names: Sequence[str], scores: Sequence[float]) -> None:
    """Add one Dice to each of several rows."""
    for name, score in zip(names, scores, strict=True):
        tally.dice[name].append(score)


def measure_baselines(image: NDArray[np.float32], regions: Sequence[Mask], tally: Tally) -> None:
    """Note what needs no learning, for the same regions of a slice."""
    pixels, walker = grey(image), Walker(image)
    for region in regions:
        box = box_of(region)
        boxed = (ellipse_in_box(box, region.shape), otsu_in_box(pixels, box))
        note(tally, BASELINE_ROWS[:2], [dice(mask, region) for mask in boxed])
        note(tally, WALKER_ROWS, corrected(region, lambda points, labels, _: walker.mask(points, labels)))


def measure(name: str, sam: PromptableSam, options: argparse.Namespace) -> Tally:
    """Ask for the regions of one set; every slice is encoded once."""
    tally, begin, seen, drawn = Tally(), time.perf_counter(), 0, 0
    rng = np.random.default_rng(0)
    for picture in SETS[name](options.data):
        regions = picture.regions[-seen % options.every :: options.every]
        scribbles = picture.scribbles[-drawn % options.every :: options.every]
        seen, drawn = seen + len(picture.regions), drawn + len(picture.scribbles)
        if not (regions or scribbles):
            continue
        tally.slices += 1
        asker = Asker(sam, picture.image, tally, options.jitter, rng)
        for region in regions:
            asker.region(region)
        for strokes in scribbles:
            asker.scribbles(strokes)
        if options.baselines:
            measure_baselines(picture.image, regions, tally)
    if not seen:
        raise SystemExit(f"There are no labelled images of the set {name} below {options.data}.")
    tally.seconds = time.perf_counter() - begin
    return tally


def means(figures: Sequence[Mapping[str, float]], rows: Sequence[str]) -> dict[str, float]:
    """The mean over the sets of each row, over those that have it."""
    return {row: float(np.mean([f[row] for f in figures if row in f])) for row in rows}


def table(columns: Mapping[str, Mapping[str, float]], rows: Sequence[str]) -> str:
    """Aligned text: a column for each set, a row for each figure, a dash where there is none."""
    lines = [["", *columns]]
    for row in ("slices", "regions"):
        lines.append([row, *(f"{c[row]:.0f}" if row in c else "–" for c in columns.values())])
    for row in rows:
        lines.append([row, *(f"{c[row]:.3f}" if row in c else "–" for c in columns.values())])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join(f"  {c.rjust(w)}" for c, w in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--model", default="mini", help="a model's name or a checkpoint file")
    parser.add_argument("--adapter", type=Path, help="measure after adaptation with this file")
    parser.add_argument("--every", type=int, default=1, help="ask for every N-th region only")
    parser.add_argument(
        "--jitter", type=float, default=0, help="every side of a box is off by up to so many pixels"
    )
    parser.add_argument("--no-baselines", dest="baselines", action="store_false", help="the model alone")
    parser.add_argument("--report", type=Path, help="write every figure here, as JSON")
    options = parser.parse_args()
    options.sets = options.sets.split(",")
    if unknown := sorted(set(options.sets) - set(SETS)):
        parser.error(f"no such set: {', '.join(unknown)}; there are {', '.join(SETS)}")
    if options.every < 1:
        parser.error("--every is 1 or more")
    return options


def main() -> None:
    options = parse_options()
    sam = load_sam(options.model)
    if options.adapter:
        load_adapter(options.adapter, sam)
    tallies = {}
    for name in options.sets:
        tallies[name] = measure(name, sam, options)
        print(f"{name}: {tallies[name].seconds:.0f} s", file=sys.stderr, flush=True)
    figures = {name: tally.figures() for name, tally in tallies.items()}
    measured = {row for columns in figures.values() for row in columns}
    rows = [row for row in (*ROWS, *BASELINE_ROWS) if row in measured]
    print(table(figures | {"mean": means(list(figures.values()), rows)}, rows))
    if options.report:
        every_row = sorted(measured - {"slices", "regions"})
        report = {
            "model": options.model,
            "adapter": options.adapter and str(options.adapter),
            "every": options.every,
            "jitter": options.jitter,
            "figures": figures | {"mean": means(list(figures.values()), every_row)},
            "measured": {name: vars(tally) for name, tally in tallies.items()},
        }
        options.report.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
