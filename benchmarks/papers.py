"""Rerun a row of the Conv-LoRA or SAM-COBOT tables on a folder of images and masks, and print it beside the paper's.

    python benchmarks/papers.py FOLDER --row conv-lora/kvasir [--method lora] [--model vit_b] [--state FILE]

FOLDER holds images/ and masks/ with equal stems, or train/, val/ and test/ that do. Masks of binary rows are black
and white, of the others class numbers (255: ignored; boxes: every number above 0 is an object). With --state the run
goes on where it was stopped. SAM-COBOT's rows start as its code does, unless --set preset=identity. A run is printed
beside the figures of the same method and options, "–" where none are known, of the paper's model where not of this.
The published rows have not been reproduced by this project: the papers' data and SAM's weights are not in it.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from paper_data import Splits, check_objects, find_splits, read_pair
from paper_figures import FROZEN, run_label
from paper_rows import Row, few_shot, row_of
from paper_tasks import Task, build_task
from paper_training import evaluate, read_progress, train, write_progress

from napari_samadapt.arguments import ModelChoice
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.inputs import load_model
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.set_losses import IGNORED, SET_WEIGHTS
from napari_samadapt.learning.structure_losses import BINARY_LOSSES

NOT_REPRODUCED = (
    "Published figures are the paper's, with its data and {model}; this project has not reproduced them."
)
NO_FIGURES = "No published figures of this run are known here."
INTERRUPTED = 130
"""The exit code, as of the program's commands."""

Say = Callable[[str], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 2 with a message for what cannot be run, or 130 when it was interrupted."""
    options = _parser().parse_args(arguments)
    try:
        print(run(options, print))
    except SamAdaptError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "The same command goes on after the last whole epoch." if options.state else "Nothing is kept."
        print(f"Stopped. {kept}", file=sys.stderr)
        return INTERRUPTED
    return 0


def run(options: argparse.Namespace, say: Say) -> str:
    """Train, test and compare; returns the table."""
    row = row_of(options.row)
    method = options.method or row.method
    _refuse_what_has_no_effect(row, method, options)
    config = row.config(method, options.set)
    if config.prompts:
        raise SamAdaptError("Every row trains SAM's mask decoder as a whole: leave prompts out.")
    row = _changed(row, options)
    splits = find_splits(options.folder, options.seed, options.shots)
    if row.task == "boxes":
        check_objects(splits)
    sam = load_model(ModelChoice(options.model or row.model, options.device, options.input_size))
    torch.manual_seed(options.seed)
    task = build_task(sam, row, config, options.classes or _count_classes(row, splits))
    if method != FROZEN:
        _train(task, row, splits, _title(row, config, sam, options, splits), options, say)
    ours = f"ours, {run_label(method, tuple(options.set), sam.model_type)} at {sam.input_size}"
    return compared(row, method, config, sam.model_type, ours, evaluate(task, splits.test))


def _train(task: Task, row: Row, splits: Splits, title: str, options: argparse.Namespace, say: Say) -> None:
    """Train to the end of the schedule, from where the state file is."""
    say(f"{title}; {len(splits.val)} to validate, {len(splits.test)} to test")
    progress = read_progress(options.state, title)
    if options.state:
        write_progress(options.state, progress)  # before an epoch's work depends on it
    for _ in train(task, row, splits, progress, seed=options.seed, steps=options.steps):
        if options.state:
            write_progress(options.state, progress)
        say(
            f"epoch {progress.epoch}, step {progress.step}: loss {progress.loss:.4f}, "
            f"{row.validated} {progress.score:.2f} (best {progress.best_score:.2f})"
        )


def _refuse_what_has_no_effect(row: Row, method: str, options: argparse.Namespace) -> None:
    """Raises SamAdaptError for an option that would change nothing."""
    for name, has_it, why in (
        ("loss", row.task != "classes", "has many classes and one loss"),
        ("set_weights", row.task == "classes", "has a loss without such weights"),
        ("classes", row.task == "classes", "does not tell classes apart"),
    ):
        if getattr(options, name) is not None and not has_it:
            raise SamAdaptError(f"{row.key} {why}: leave --{name.replace('_', '-')} out.")
    if method != FROZEN:
        return
    if row.task != "boxes":
        raise SamAdaptError(f"{row.key} needs a decoder that is trained: SAM as it is cannot be measured.")
    for name in ("set", "shots", "epochs", "steps", "loss", "state"):
        if getattr(options, name):
            raise SamAdaptError(f"The frozen SAM is only measured: leave --{name} out.")


def _changed(row: Row, options: argparse.Namespace) -> Row:
    """The row as it was asked for."""
    if options.shots:
        row = few_shot(row, options.shots)
    changes: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("epochs", "loss", "set_weights")
        if getattr(options, name) is not None
    }
    return replace(row, schedule=replace(row.schedule, **changes))


def _title(
    row: Row, config: AdapterConfig, sam: PromptableSam, options: argparse.Namespace, splits: Splits
) -> str:
    """What tells one run from another."""
    chosen = {
        name: value
        for name, value in config.as_dict().items()
        if name not in ("method", "decoder", "prompts")
    }
    settings = ", ".join(f"{name} {value}" for name, value in chosen.items())
    loss = row.schedule.set_weights if row.task == "classes" else row.schedule.loss
    length = f"{options.steps} steps" if options.steps else f"{row.schedule.epochs} epochs"
    return (
        f"{row.key} with {config.method} ({settings or 'no options'}) on {sam.model_type} {sam.base_sha256[:8]} at "
        f"{sam.input_size} pixels, loss {loss}, {length}, seed {options.seed}, {len(splits.train)} images of data "
        f"{splits.fingerprint}"
    )


def compared(
    row: Row, method: str, config: AdapterConfig, model: str, ours: str, scores: Mapping[str, float]
) -> str:
    """Our row below the published ones, those of this very method and options last; then every other score.

    They are of this model where the paper has it, else of the paper's own, and say so.
    """
    printed = model if any(figure.model == model for figure in row.published) else row.model
    own = row.figures_of(method, config, printed)
    others = [figure for figure in row.published if figure.model == printed and figure not in own]
    lines: list[tuple[str, Sequence[float | None]]] = [
        (f"published, {figure.label}", figure.values) for figure in (*others, *own)
    ]
    if not own:
        lines.append(("published, this run", [None] * len(row.metrics)))
    lines.append((ours, [scores[metric] for metric in row.metrics]))
    width = max(len(name) for name, _ in lines)
    table = [f"{row.title:{width}}" + "".join(f"{metric:>12}" for metric in row.metrics)]
    for name, values in lines:
        cells = ["–" if value is None else f"{value:.2f}" for value in values]
        table.append(f"{name:{width}}" + "".join(f"{cell:>12}" for cell in cells))
    also = [f"{metric} {value:.2f}" for metric, value in scores.items() if metric not in row.metrics]
    if also:
        table.append("also: " + ", ".join(also))
    if others or own:
        table.append(NOT_REPRODUCED.format(model=printed))
    if not own or printed != model:
        table.append(NO_FIGURES)
    return "\n".join(table)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} leaves nothing to train: give 1 or more")
    return number


def _classes(text: str) -> int:
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"{number} is too few with background: give 2 or more")
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
    parser.add_argument("--row", required=True, help="conv-lora/NAME or cobot/NAME")
    parser.add_argument("--method", help=f"default: the paper's; one of {', '.join(adapters.METHODS)}; or {FROZEN}: "
                        "SAM as it is, on rows with boxes")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="an option of it, as rank=4, gated=false, scales=1,2,4 or blocks=0,1")  # fmt: skip
    parser.add_argument("--model", help="vit_b, vit_l, vit_h, mini or a checkpoint; default: the paper's")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--classes", type=_classes, help="of multi-class rows, with background")
    parser.add_argument("--shots", type=_positive, help="train on so few images, chosen by the seed")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=_positive)
    length.add_argument("--steps", type=_positive, help="updates in all, instead of epochs")
    parser.add_argument("--loss", choices=BINARY_LOSSES, help="default: the row's")
    parser.add_argument("--set-weights", choices=SET_WEIGHTS, help="of the loss of a multi-class row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--state", type=Path, help="kept after every epoch; a run goes on from it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
