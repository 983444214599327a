"""The noisy top-k gate's load-balance loss against reference values."""

import pytest
import torch

from napari_samadapt.learning.adapters.gating import (
    NoisyTopKGate,
    Scores,
    balance_loss,
    expected_load,
    squared_variation,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([8, 0, 0, 0, 0, 0, 0, 0], 8),
        ([1, 1, 1, 1], 0),
        ([3, 1, 0, 0], 2),
        ([2, 1, 1, 0, 0, 0, 0, 0], 16 / 7),
        ([1, 1, 0], 0.75),
        ([5], 0),
    ],
)
def test_a7_squared_variation(values: list[int], expected: float) -> None:
    assert float(squared_variation(torch.tensor(values, dtype=torch.float64))) == pytest.approx(expected)


def test_a8_load() -> None:
    clean = torch.tensor([[1, 0, -1], [0.2, 0.1, 0.3]], dtype=torch.float64)
    noisy = torch.tensor([[1.2, -0.1, -0.7], [-0.2, 0.6, 0.1]], dtype=torch.float64)
    load = expected_load(Scores(clean, torch.full_like(clean, 0.5), noisy), k=1)
    expected = torch.tensor(
        [[0.986097, 0.0081975, 5.4125e-6], [0.211855, 0.5, 0.274253]], dtype=torch.float64
    )
    torch.testing.assert_close(load, expected, rtol=1e-5, atol=0)  # the smallest is Phi(-4.4)
    assert load.sum(0).tolist() == pytest.approx([1.197952, 0.508198, 0.274258], abs=1e-6)
    assert float(squared_variation(load.sum(0))) == pytest.approx(0.529204, abs=1e-6)


def four_experts() -> Scores:
    """One item's clean scores, the deviations of its noise, and its noisy scores."""
    clean = torch.tensor([[0.2, 0.1, 0.3, -0.4]], dtype=torch.float64)
    deviation = torch.tensor([[0.5, 0.3, 0.4, 0.6]], dtype=torch.float64)
    return Scores(clean, deviation, torch.tensor([[0.35, -0.2, 0.38, 0.14]], dtype=torch.float64))


def test_a8_load_of_four_experts() -> None:
    expected = torch.tensor([[0.359424, 0.175324, 0.450262, 0.096800]], dtype=torch.float64)
    torch.testing.assert_close(expected_load(four_experts(), k=1), expected, rtol=0, atol=1e-6)


def test_a8_the_gate_adds_noise_in_proportion_to_the_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, deviation, noisy = four_experts()
    gate = NoisyTopKGate(1, 4, top_k=1, noise_epsilon=0.01).double().train()
    with torch.no_grad():
        gate.weight[0], gate.weight[1] = clean, (deviation - 0.01).expm1().log()  # of softplus, the inverse
    noise = torch.tensor([[0.3, -1.0, 0.2, 0.9]], dtype=torch.float64)
    monkeypatch.setattr(torch, "randn_like", lambda _like: noise)
    choice = gate(torch.ones(1, 1, dtype=torch.float64))
    assert choice.scores is not None
    for ours, expected in zip(choice.scores, (clean, deviation, noisy), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    assert choice.experts.tolist() == [[2]]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a8_load_is_the_chance_to_stay_when_the_own_noise_is_drawn_again(k: int) -> None:
    """Noise drawn evenly over its distribution: as exact as very many draws at random."""
    clean, deviation, noisy = four_experts()
    load = expected_load(four_experts(), k)[0]
    noise = torch.special.ndtri((torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000)
    for expert in range(4):
        again = noisy.repeat(len(noise), 1)
        again[:, expert] = clean[0, expert] + deviation[0, expert] * noise
        stays = (again.topk(k).indices == expert).any(1).double().mean()
        assert load[expert].item() == pytest.approx(stays.item(), abs=1e-4)


def test_a7_all_items_on_one_of_8_experts_cost_0_16() -> None:
    gate = NoisyTopKGate(3, 8, top_k=1, noise_epsilon=0.0).train()
    with torch.no_grad():
        gate.weight[0, :, 5] = 1000  # far above any noise
    choice = gate(torch.ones(25, 3))
    assert choice.experts.unique().tolist() == [5]
    assert balance_loss([choice.scores], 1).item() == pytest.approx(0.16, abs=1e-6)


@pytest.mark.parametrize(("k", "loads"), [(1, [3, 1, 0, 0]), (2, [3, 3, 2, 0]), (4, [4, 4, 4, 4])])
def test_a4_in_evaluation_the_load_is_a_count_without_gradient(k: int, loads: list[int]) -> None:
    gate = NoisyTopKGate(4, 4, k, noise_epsilon=0.01).double().eval()
    with torch.no_grad():
        gate.weight[0] = torch.eye(4)
    pooled = torch.tensor([[4, 3, 0, 0], [9, 1, 0, 0], [2, 0, 1, 0.5], [0, 2, 1, -1]], dtype=torch.float64)
    scores = gate(pooled).scores
    assert expected_load(scores, k).sum(0).tolist() == loads
    assert not balance_loss([scores], k).requires_grad


def test_a7_in_evaluation_too_all_items_on_one_of_8_experts_cost_0_16() -> None:
    gate = NoisyTopKGate(3, 8, top_k=1, noise_epsilon=0.01).eval()
    assert gate(torch.randn(25, 3)).experts.unique().tolist() == [0], (
        "untrained, all are equal: the first one"
    )
    assert balance_loss([gate(torch.randn(25, 3)).scores], 1).item() == pytest.approx(0.16, abs=1e-6)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_gates_reckoned_together_have_the_sum_of_their_terms(k: int) -> None:
    torch.manual_seed(0)
    gates = [NoisyTopKGate(3, 4, k, noise_epsilon=0.01).double() for _ in range(4)]
    items = [5, 2, 5, 1]
    scores = [gate(torch.randn(n, 3).double()).scores for gate, n in zip(gates, items, strict=True)]
    apart = sum(balance_loss([one], k) for one in scores)
    torch.testing.assert_close(balance_loss(scores, k), apart)


def test_a21_uniform_routing_has_the_expected_variation() -> None:
    torch.manual_seed(0)
    gate = NoisyTopKGate(3, 8, top_k=1, noise_epsilon=0.01)
    pooled = torch.zeros(25, 3)
    counts = [gate(pooled).experts[:, 0].bincount(minlength=8).double() for _ in range(1000)]
    assert squared_variation(torch.stack(counts)).mean().item() == pytest.approx(8 / 25, abs=0.02)
