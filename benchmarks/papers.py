"""Rerun a row of the Conv-LoRA or SAM-COBOT tables on a folder of images and masks, and print it beside the paper's.

    python benchmarks/papers.py FOLDER --row conv-lora/kvasir [--method lora] [--model vit_b] [--state FILE]

FOLDER holds images/ and masks/ with equal stems, or train/, val/ and test/ that do. Masks of binary rows are black
and white, of the others class numbers (255: ignored; boxes: every number above 0 is an object). With --state the run
goes on where it was stopped. The published rows have not been reproduced by this project: the papers' data and SAM's
weights are not in it.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from paper_data import Splits, find_splits, read_pair
from paper_rows import Row, Schedule, row_of
from paper_tasks import build_task
from paper_training import evaluate, read_progress, train, write_progress

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning import adapters
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.set_losses import IGNORED, SET_WEIGHTS
from napari_samadapt.learning.structure_losses import BINARY_LOSSES

NOT_REPRODUCED = (
    "Published figures are the paper's, with its data and {model}; this project has not reproduced them."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with a message for what cannot be run."""
    options = _parser().parse_args(arguments)
    try:
        print(run(options, print))
    except SamAdaptError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace, say: Callable[[str], object]) -> str:
    """Train, test and compare; returns the table."""
    row = row_of(options.row)
    changed = {
        name: getattr(options, name)
        for name in ("epochs", "loss", "set_weights")
        if getattr(options, name) is not None
    }
    row = replace(row, schedule=_changed(row, changed))
    method = options.method or row.method
    config = adapters.AdapterConfig.from_words(method, options.set)
    splits = find_splits(options.folder, options.seed, row.shots)
    sam = load_sam(options.model or row.model, device=options.device, input_size=options.input_size)
    torch.manual_seed(options.seed)
    task = build_task(sam, row, config, options.classes or _count_classes(row, splits))
    title = _title(row, config, sam, options, len(splits.train))
    say(f"{title}; {len(splits.val)} to validate, {len(splits.test)} to test")
    progress = read_progress(options.state, title)
    for _ in train(task, row, splits, progress, seed=options.seed, steps=options.steps):
        if options.state:
            write_progress(options.state, progress)
        say(
            f"epoch {progress.epoch}, step {progress.step}: loss {progress.loss:.4f}, "
            f"{row.validated} {progress.score:.2f} (best {progress.best_score:.2f})"
        )
    ours = f"ours, {method}, {sam.model_type} at {sam.input_size}"
    return compared(row, ours, evaluate(task, splits.test))


def _changed(row: Row, changes: Mapping[str, Any]) -> Schedule:
    if "loss" in changes and row.task == "classes":
        raise SamAdaptError(f"{row.key} has many classes and one loss: leave --loss out.")
    return replace(row.schedule, **changes)


def _title(
    row: Row, config: adapters.AdapterConfig, sam: PromptableSam, options: argparse.Namespace, images: int
) -> str:
    """What tells one run from another."""
    chosen = config.options if config.blocks is None else {**config.options, "blocks": config.blocks}
    settings = ", ".join(f"{name} {value}" for name, value in chosen.items())
    loss = row.schedule.set_weights if row.task == "classes" else row.schedule.loss
    length = f"{options.steps} steps" if options.steps else f"{row.schedule.epochs} epochs"
    return (
        f"{row.key} with {config.method} ({settings or 'no options'}) on {sam.model_type} {sam.base_sha256[:8]} at "
        f"{sam.input_size} pixels, loss {loss}, {length}, seed {options.seed}, {images} images"
    )


def compared(row: Row, ours: str, scores: dict[str, float]) -> str:
    """Our row, the published ones above it, and every other score below."""
    figures = {f"published, {method}": values for method, values in row.published.items()}
    figures[ours] = tuple(scores[metric] for metric in row.metrics)
    width = max(map(len, figures))
    lines = [f"{row.title:{width}}" + "".join(f"{metric:>12}" for metric in row.metrics)]
    lines += [
        f"{name:{width}}" + "".join(f"{value:12.2f}" for value in values) for name, values in figures.items()
    ]
    others = [f"{metric} {value:.2f}" for metric, value in scores.items() if metric not in row.metrics]
    if others:
        lines.append("also: " + ", ".join(others))
    lines.append(
        NOT_REPRODUCED.format(model=row.model) if row.published else "This row has no published figures."
    )
    return "\n".join(lines)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} leaves nothing to train: give 1 or more")
    return number


def _count_classes(row: Row, splits: Splits) -> int:
    """Two for binary rows, else one more than the largest number in a training mask."""
    if row.task != "classes":
        return 2
    masks = (read_pair(pair, binary=False)[1] for pair in splits.train)
    return 1 + max(int(mask[mask != IGNORED].max(initial=1)) for mask in masks)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--row", required=True, help="conv-lora/NAME, conv-lora/few-shot-N or cobot/NAME")
    parser.add_argument("--method", help=f"default: the paper's; one of {', '.join(adapters.METHODS)}")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="an option of it, as rank=4, gated=false, scales=1,2,4 or blocks=0,1")  # fmt: skip
    parser.add_argument("--model", help="vit_b, vit_l, vit_h, mini or a checkpoint; default: the paper's")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--classes", type=int, help="of multi-class rows, with background")
    parser.add_argument("--epochs", type=_positive)
    parser.add_argument("--steps", type=_positive, help="updates in all, instead of epochs")
    parser.add_argument("--loss", choices=BINARY_LOSSES, help="default: the row's")
    parser.add_argument("--set-weights", choices=SET_WEIGHTS, help="of the loss of a multi-class row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--state", type=Path, help="kept after every epoch; a run goes on from it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
