"""The pieces of the adapters' benchmark."""

from __future__ import annotations

import itertools

import pytest
import torch
from adapters import (
    NAIVE,
    NaiveExperts,
    Row,
    chosen_methods,
    highest_sum,
    median_ratio,
    parse,
    peak_mib,
    table,
)
from adapters import timed_rounds as rounds_of

from napari_samadapt.learning.adapters import METHODS
from napari_samadapt.learning.adapters.conv_experts import ConvExperts


def test_every_method_has_a_row_and_lora_is_always_there() -> None:
    assert chosen_methods(None) == [*METHODS, NAIVE]
    assert set(chosen_methods("conv-lora, decoder-only")) == {"lora", "conv-lora", "decoder-only"}
    with pytest.raises(ValueError, match="Unknown methods"):
        chosen_methods("lora,brora")


def test_the_highest_running_sum() -> None:
    assert highest_sum([3, -1, 5, -7, 2]) == 7
    assert highest_sum([-4, 1]) == 0


def test_ratios_are_taken_within_a_round() -> None:
    assert median_ratio([2.0, 40.0, 3.0], [1.0, 10.0, 2.0]) == 2.0


def test_actions_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    actions, ticks = [lambda: calls.append("a"), lambda: calls.append("b")], itertools.count()
    times = rounds_of(actions, rounds=2, clock=lambda: float(next(ticks) ** 2))
    assert calls == ["a", "b"] * 3
    assert times == [[5**2 - 4**2, 9**2 - 8**2], [7**2 - 6**2, 11**2 - 10**2]]


def test_peak_memory_sees_what_is_held_at_once() -> None:
    def action() -> None:
        for _ in range(3):
            torch.zeros(2, 2**20)  # 8 MiB, released before the next

    assert peak_mib(action, "cpu") == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize("activation", [True, False])
def test_the_naive_experts_are_the_same_experts(activation: bool) -> None:
    torch.manual_seed(0)
    experts = ConvExperts(3, range(1, 9), activation)
    z, chosen = torch.randn(8, 6, 7, 3), torch.arange(8)
    expected = experts(z, chosen)
    experts.__class__ = NaiveExperts
    torch.testing.assert_close(experts(z, chosen), expected, rtol=0, atol=1e-4)


def test_a_line_for_each_row() -> None:
    lines = table([Row("lora", 11520, 150.0, 1.0, 51.0, 1.0, 64.6)]).splitlines()
    assert len(lines) == 2
    assert "11,520" in lines[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(SystemExit):
        parse(["--device", "cuda"])


def test_both_geometries_are_measured_in_one_run() -> None:
    assert parse([]).geometry == ["mini", "vit-b"]
    with pytest.raises(SystemExit):
        parse(["--geometry", "vit-x"])
