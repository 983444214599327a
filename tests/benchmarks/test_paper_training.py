"""How a task is trained by its row's schedule."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from paper_data import Pair, Splits, find_splits
from paper_rows import Schedule, row_of
from paper_tasks import build_task
from paper_training import (
    Progress,
    _optimizer,
    _set_rates,
    _update,
    _validate,
    read_progress,
    train,
    write_progress,
)
from torch import nn

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning import adapters

from ..learning.conftest import make_tiny_sam
from .conftest import write_pictures

ONE = Splits(*3 * ((Pair(Path("a"), Path("b")),),))
KVASIR, NATURAL, MEDICAL = (row_of(key).schedule for key in ("conv-lora/kvasir", "cobot/coco", "cobot/adome"))


class Scripted(nn.Module):
    """One weight on a steep slope, and scores as they are told."""

    def __init__(self, scores: Iterable[float] = (), slope: float = 1000.0) -> None:
        super().__init__()
        self.sam = make_tiny_sam()
        self.weight = nn.Parameter(torch.zeros(1))
        self.told = iter(scores)
        self.slope = slope

    def loss(self, _pair: Pair, _rng: torch.Generator) -> torch.Tensor:
        return self.slope * self.weight.sum()

    def scores(self, _pairs: object, only: tuple[str, ...]) -> dict[str, float]:
        return {only[0]: next(self.told)}


@pytest.mark.parametrize(
    ("decay", "warm_up", "expected"),
    [
        ("linear", 0, [1, 0.75, 0.5, 0.25]),
        ("cosine", 0, [1, 0.8535534, 0.5, 0.1464466]),
        ("cosine", 2, [0.5, 0.8535534, 0.5, 0.1464466]),
        ("none", 0, [1, 1, 1, 1]),
        ("none", 4, [0.25, 0.5, 0.75, 1]),
    ],
)
def test_rates(decay: str, warm_up: float, expected: list[float]) -> None:
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    rates = (1e-4, 3e-4)
    optimizer = torch.optim.Adam(
        [{"params": [p], "rate": rate} for p, rate in zip(parameters, rates, strict=True)]
    )
    for step, shape in enumerate(expected):
        _set_rates(optimizer, decay, step, 4, warm_up)
        found = [group["lr"] for group in optimizer.param_groups]
        assert found == pytest.approx([rate * shape for rate in rates], rel=1e-6)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (KVASIR, [1e-4, 0.75e-4, 0.5e-4, 0.25e-4]),
        (NATURAL, [1.5e-4, 1.280330e-4, 0.75e-4, 0.219670e-4]),
        (MEDICAL, [1.25e-6] * 4),
    ],
)
def test_the_rates_of_a_run_are_those_of_its_schedule(schedule: Schedule, expected: list[float]) -> None:
    """Adam goes by its rate where the gradient stays the same; one image, so one update an epoch."""
    row, task = replace(row_of("conv-lora/kvasir"), schedule=schedule), Scripted(range(4))
    places = [0.0]
    for _ in train(task, row, ONE, Progress("run"), seed=0, steps=4):
        places.append(task.weight.item())
    assert [a - b for a, b in itertools.pairwise(places)] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("schedule", "moved"), [(KVASIR, 1.0), (NATURAL, 1000.0), (MEDICAL, 1000.0)])
def test_gradients_are_clipped_where_the_row_says_so(schedule: Schedule, moved: float) -> None:
    task = Scripted()
    _update(task, schedule, ONE.train, torch.optim.SGD([task.weight], lr=1.0), torch.Generator())
    assert task.weight.item() == pytest.approx(-moved, rel=1e-5)


def test_an_update_is_the_mean_of_its_images() -> None:
    task = Scripted(slope=0.5)
    _update(task, KVASIR, [ONE.train[0]] * 4, torch.optim.SGD([task.weight], lr=1.0), torch.Generator())
    assert task.weight.item() == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("key", "times"), [("conv-lora/kvasir", 1), ("conv-lora/trans10k", 2), ("conv-lora/trans10k-hard", 2)]
)
def test_the_balance_of_the_experts_counts_double_with_many_classes(
    monkeypatch: pytest.MonkeyPatch, key: str, times: int
) -> None:
    task = Scripted()
    monkeypatch.setattr(adapters, "pop_balance_loss", lambda _: 5 * (1 + task.weight.sum()))
    optimizer = torch.optim.SGD([task.weight], lr=1.0)
    schedule = replace(row_of(key).schedule, clip=0.0)
    assert _update(task, schedule, ONE.train, optimizer, torch.Generator()) == 5 * times
    assert task.weight.item() == -(1000 + 5 * times)


@pytest.mark.parametrize(
    ("key", "scores", "best", "stale"),
    [
        ("conv-lora/kvasir", [50, 60, 55, 60], 60, [0, 0, 1, 2]),
        ("conv-lora/kvasir", [50, 40, 51], 51, [0, 1, 0]),
        ("conv-lora/sbu", [10, 5, 7, 4.5], 4.5, [0, 0, 1, 0]),  # BER: less is better
        ("conv-lora/sbu", [5, 10], 5, [0, 1]),
        ("conv-lora/leaf", [math.nan, 30, math.nan, 20], 30, [0, 0, 1, 2]),
    ],
)
def test_the_best_weights_are_kept(key: str, scores: list[float], best: float, stale: list[int]) -> None:
    task, progress, found = Scripted(scores), Progress("run"), []
    for number, score in enumerate(scores):
        nn.init.constant_(task.weight, number)
        _validate(task, row_of(key), ONE.val, progress)
        assert progress.score == score or math.isnan(score)
        found.append(progress.stale)
    assert found == stale
    assert progress.best_score == best
    assert progress.best["weight"].item() == scores.index(best)


@pytest.mark.parametrize(
    ("scores", "epochs"),
    [
        ([50.0] * 30, 11),  # ten validations without a better one
        ([50.0] * 9 + [51.0] + [40.0] * 20, 20),
        ([float(number) for number in range(30)], 30),
    ],
)
def test_the_training_ends_when_its_patience_does(scores: list[float], epochs: int) -> None:
    task = Scripted(scores)
    run = list(train(task, row_of("conv-lora/kvasir"), ONE, Progress("run"), seed=0))
    assert len(run) == epochs
    assert run[-1].finished


def test_in_the_end_the_best_weights_are_back() -> None:
    task, weights = Scripted([10, 30, 20, 25]), []
    for _ in train(task, row_of("conv-lora/leaf"), ONE, Progress("run"), seed=0, steps=4):
        weights.append(task.weight.item())
    assert len({*weights}) == 4
    assert task.weight.item() == weights[1]


def test_a_loss_that_is_no_number_is_told() -> None:
    task = Scripted(slope=math.inf)
    with pytest.raises(SamAdaptError, match="The loss became"):
        _update(task, KVASIR, ONE.train, torch.optim.SGD([task.weight], lr=1.0), torch.Generator())


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """Stopped after the first of two epochs (2 images, one update each): the weights are the same bit for bit."""
    row = row_of("conv-lora/kvasir")
    splits = find_splits(write_pictures(tmp_path / "pictures", 4), seed=0)
    state = tmp_path / "state.pt"

    def task() -> torch.nn.Module:
        torch.manual_seed(0)
        return build_task(make_tiny_sam(), row, adapters.AdapterConfig(method="conv-lora"), 2)

    whole = task()
    assert [p.step for p in train(whole, row, splits, Progress("run"), seed=0, steps=2)] == [1, 2]

    stopped = train(task(), row, splits, Progress("run"), seed=0, steps=2)
    write_progress(state, next(stopped))
    stopped.close()
    resumed, kept = task(), read_progress(state, "run")
    assert (kept.epoch, kept.step, kept.finished) == (1, 1, False)
    assert [p.step for p in train(resumed, row, splits, kept, seed=0, steps=2)] == [2]

    expected, found = adapters.state(whole), adapters.state(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    with pytest.raises(SamAdaptError, match="another run"):
        read_progress(state, "another")


@pytest.mark.parametrize("content", [b"", b"no state at all", None])
def test_a_file_that_is_no_state_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "state.pt"
    if content is None:
        torch.save({"weights": {}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(SamAdaptError, match="no state of a run"):
        read_progress(path, "run")


@pytest.mark.parametrize(
    ("key", "classes"), [("conv-lora/kvasir", False), ("conv-lora/trans10k", True), ("cobot/adome", False)]
)
def test_a3_one_update_leaves_what_is_frozen(tmp_path: Path, key: str, classes: bool) -> None:
    """Neck, relative positions, prompt encoder, buffers: all but adapters and the decoder, bit for bit."""
    row, sam = row_of(key), make_tiny_sam()
    before = {name: tensor.clone() for name, tensor in sam.state_dict().items()}
    task = build_task(sam, row, row.config(row.method), 3).train()
    splits = find_splits(write_pictures(tmp_path, 3, classes=classes), seed=0)
    start, optimizer = adapters.state(task), _optimizer(task, row.schedule)
    for _ in range(2):  # what stands behind a zero matrix moves in the second
        _set_rates(optimizer, "none", 0, 1, 0)
        _update(task, row.schedule, splits.train[:1], optimizer, torch.Generator().manual_seed(0))
    moved = {name for name, tensor in adapters.state(task).items() if not torch.equal(tensor, start[name])}
    whole = key.startswith("cobot")
    decoder = "sam.mask_decoder." if whole else "decoder."
    own = tuple(name for name, _ in task.named_parameters() if ".attn.qkv." in name or ".mlp.branch." in name)
    assert all(name.startswith((decoder, *own)) for name in start)
    assert any(name.startswith(decoder) for name in moved)
    assert moved & {*own}
    adapters.remove(sam)
    after = sam.state_dict()
    assert after.keys() == before.keys()
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) or (whole and name.startswith("mask_decoder.")), name


def test_cobots_own_parameters_learn_at_their_rate() -> None:
    """Official preset: C, P and the hyper-complex matrices a hundred times as fast as the host and gamma."""
    row = row_of("cobot/adome")
    task = build_task(make_tiny_sam(), row, row.config("cobot-lora"), 2)
    rates = {id(group["params"][0]): group["rate"] for group in _optimizer(task, row.schedule).param_groups}
    named = {name: rates[id(parameter)] for name, parameter in adapters.trainable(task).items()}
    fast = {name for name, rate in named.items() if rate == pytest.approx(1.25e-4)}
    assert fast
    assert all(("relation" in name or "layer" in name) for name in fast)
    assert all(rate == pytest.approx(1.25e-6) for name, rate in named.items() if name not in fast)


def test_where_there_is_one_rate_gamma_has_it_too() -> None:
    """SAM-COBOT's code for natural images: one rate and one decay for all."""
    row = row_of("cobot/coco")
    task = build_task(make_tiny_sam(), row, row.config("cobot-lora"), 2)
    groups = _optimizer(task, row.schedule).param_groups
    assert {(group["rate"], group["weight_decay"]) for group in groups} == {(1.5e-4, 5e-5)}


def test_conv_loras_norms_and_biases_do_not_decay() -> None:
    row = row_of("conv-lora/kvasir")
    task = build_task(make_tiny_sam(), row, row.config("conv-lora"), 2)
    groups = _optimizer(task, row.schedule).param_groups
    spared = {id(group["params"][0]) for group in groups if group["weight_decay"] == 0}
    named = adapters.trainable(task)
    found = {name for name, parameter in named.items() if id(parameter) in spared}
    assert found == {name for name in named if "norm" in name or name.endswith("bias")} | {
        name for name, parameter in named.items() if parameter.ndim == 1
    }
    assert any(name.endswith("experts.bias") for name in found)
