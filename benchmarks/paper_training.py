"""Train a task by a row's schedule, keep the weights that validate best, and go on where a run was stopped."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from paper_data import Pair, Splits
from paper_rows import Row, Schedule
from paper_tasks import ERRORS, Task
from torch import Tensor, nn

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters.cobot import Relation, Slot
from napari_samadapt.learning.precision import autocast


@dataclass
class Progress:
    """What a run has come to after an epoch; `best` are the weights with the best validation so far.

    `run` names what was run, so that a state file of another run is refused. `stale`: epochs without a better score.
    """

    run: str
    epoch: int = 0
    step: int = 0
    loss: float = math.nan
    score: float = math.nan
    best_score: float = math.nan
    stale: int = 0
    finished: bool = False
    weights: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)


def read_progress(path: Path | None, run: str) -> Progress:
    """The state file's progress, or a fresh one. Raises SamAdaptError when it is none, or of another run."""
    if path is None or not path.exists():
        return Progress(run)
    try:
        values = torch.load(path, weights_only=True, map_location="cpu")
        known = set(values) == {part.name for part in fields(Progress)}
    except (OSError, EOFError, RuntimeError, UnpicklingError, TypeError):
        known = False
    if not known:
        raise SamAdaptError(f"{path.name} is no state of a run, or damaged: name another file.")
    if values["run"] != run:
        raise SamAdaptError(
            f"{path.name} is the state of another run ({values['run']}), not of {run}: name another file."
        )
    return Progress(**values)


def write_progress(path: Path, progress: Progress) -> None:
    """Replace the file in one step, so that it is whole whenever the run ends.

    Raises SamAdaptError when it cannot be written; the file is as it was then.
    """
    part = path.with_name(path.name + ".part")
    try:
        torch.save(vars(progress), part)
        part.replace(path)
    except (OSError, RuntimeError) as error:
        raise SamAdaptError(
            f"{path} cannot be written: check that its folder exists and has room; the same command goes on "
            "from what the file holds."
        ) from error


def train(
    task: Task, row: Row, splits: Splits, progress: Progress, *, seed: int, steps: int | None = None
) -> Iterator[Progress]:
    """Go on from `progress` to the end of the schedule; yields it after every epoch. Then `task` has the best weights.

    `steps`: updates in all, instead of the row's epochs. What is random in an epoch depends on the seed and its number
    alone, so a run that was stopped ends as one that was not.
    """
    schedule = row.schedule
    optimizer = _optimizer(task, schedule)
    if progress.epoch:
        adapters.load(task, progress.weights)
        optimizer.load_state_dict(progress.optimizer)
    batches = math.ceil(len(splits.train) / schedule.batch)
    total = steps or schedule.epochs * batches
    while not progress.finished:
        _train_epoch(task, schedule, splits.train, optimizer, progress, seed, total)
        _validate(task, row, splits.val, progress)
        progress.weights, progress.optimizer = adapters.state(task), optimizer.state_dict()
        worn_out = schedule.patience is not None and progress.stale >= schedule.patience
        progress.finished = worn_out or progress.step >= total
        yield progress
    adapters.load(task, progress.best)


def _train_epoch(
    task: Task, schedule: Schedule, pairs: Sequence[Pair], optimizer: torch.optim.Optimizer, progress: Progress,
    seed: int, total: int,
) -> None:  # fmt: skip
    """One pass over the pairs in a new order, or what is left of `total` updates."""
    rng = torch.Generator().manual_seed(10_000 * seed + progress.epoch)
    torch.manual_seed(10_000 * seed + progress.epoch)  # of dropout and of noise in the gates
    order = torch.randperm(len(pairs), generator=rng).tolist()
    warm_up = schedule.warm_up * math.ceil(len(pairs) / schedule.batch)
    task.train()
    losses = []
    for start in range(0, len(pairs), schedule.batch):
        if progress.step == total:
            break
        _set_rates(optimizer, schedule.decay, progress.step, total, warm_up)
        chosen = [pairs[i] for i in order[start : start + schedule.batch]]
        losses.append(_update(task, schedule, chosen, optimizer, rng))
        progress.step += 1
    progress.epoch += 1
    progress.loss = sum(losses) / len(losses)


def _update(
    task: Task, schedule: Schedule, pairs: Sequence[Pair], optimizer: torch.optim.Optimizer, rng: torch.Generator
) -> float:  # fmt: skip
    """One update from the pairs, one after the other; returns their mean loss."""
    optimizer.zero_grad()
    total = 0.0
    for pair in pairs:
        with autocast(task.sam.device):
            loss = task.loss(pair, rng)
        loss = (loss + schedule.balance * adapters.pop_balance_loss(task.sam)) / len(pairs)
        if loss.requires_grad:  # an image without any box teaches nothing
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    if not math.isfinite(total):
        raise SamAdaptError(f"The loss became {total}: the row cannot be trained so; check its images.")
    if schedule.clip:
        torch.nn.utils.clip_grad_norm_(
            [p for g in optimizer.param_groups for p in g["params"]], schedule.clip
        )
    optimizer.step()
    return total


def _validate(task: Task, row: Row, pairs: Sequence[Pair], progress: Progress) -> None:
    """Measure on the validation pairs, and keep the weights when they are better than any before."""
    progress.score = evaluate(task, pairs, [row.validated])[row.validated]
    sign = -1 if row.validated in ERRORS else 1
    first = not progress.best
    if first or sign * progress.score > sign * progress.best_score or math.isnan(progress.best_score):
        progress.best, progress.best_score, progress.stale = adapters.state(task), progress.score, 0
    else:
        progress.stale += 1


@torch.no_grad()
def evaluate(task: Task, pairs: Sequence[Pair], only: Sequence[str] = ()) -> dict[str, float]:
    """The task's scores in eval mode, float32."""
    task.eval()
    return task.scores(pairs, only)


def _optimizer(task: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """COBOT's own parameters have their rate where the row gives one; else all have one, gamma too.

    As in the official codes: Conv-LoRA's AdamW spares norms and biases of its decay, SAM-COBOT's Adam nothing.
    """
    cobot = {
        id(p) for module in task.modules() if isinstance(module, Slot | Relation) for p in module.parameters()
    }
    factors = adapters.learning_rates(task)
    groups = []
    for name, parameter in adapters.trainable(task).items():
        rate = schedule.rate
        if schedule.cobot_rate is not None and id(parameter) in cobot:
            rate = schedule.cobot_rate * factors.get(name, 1.0)
        spared = schedule.optimizer == "adamw" and (parameter.ndim < 2 or name.endswith("bias"))
        decay = 0.0 if spared else schedule.weight_decay
        groups.append({"params": [parameter], "rate": rate, "weight_decay": decay})
    kind = torch.optim.AdamW if schedule.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=0.0)


def _set_rates(optimizer: torch.optim.Optimizer, decay: str, step: int, total: int, warm_up: float) -> None:
    """The rates of one step: up in a line, then down in a line or half a cosine, or level."""
    left = 1 - step / total
    shape = {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "none": 1.0}[decay]
    rise = min(1.0, (step + 1) / warm_up) if warm_up else 1.0
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * shape * rise
