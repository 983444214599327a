"""Which expert an item gets: noisy top-k gating and its load-balance loss [Shazeer 2017; arXiv 2401.17868, App. A]."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BALANCE_COEFFICIENT = 1e-2


class Scores(NamedTuple):
    """What a gate thought of n experts, for its load balance: each (B, n), or (L, B, n) of L gates.

    `noisy` is `clean` plus noise of the standard deviation `deviation`; its largest values were chosen. In evaluation
    there is no noise, no `deviation` and no gradient.
    """

    clean: Tensor
    deviation: Tensor | None
    noisy: Tensor


class Choice(NamedTuple):
    """The experts (B, k) int64 of B items and their weights (B, k), which sum to 1."""

    experts: Tensor
    weights: Tensor
    scores: Scores


class NoisyTopKGate(nn.Module):
    """Scores each item's pooled bottleneck p (B, r): p W_g + (softplus(p W_n) + epsilon) N(0, 1); best k of n kept.

    The noise is added in training only. Everything is computed in float32, or in float64 for float64.
    """

    def __init__(self, rank: int, experts: int, top_k: int, noise_epsilon: float) -> None:
        super().__init__()
        self.top_k = min(top_k, experts)
        self.noise_epsilon = noise_epsilon
        self.weight = nn.Parameter(torch.zeros(2, rank, experts))  # W_g and W_n

    def forward(self, pooled: Tensor) -> Choice:
        weight = self.weight.to(pooled.dtype)
        if not self.training:
            scores = pooled @ weight[0]
            return Choice(*_chosen(scores, self.top_k), Scores(scores.detach(), None, scores.detach()))
        clean, width = (pooled @ weight).unbind()  # (B, n)
        deviation = F.softplus(width) + self.noise_epsilon
        noisy = torch.addcmul(clean, deviation, torch.randn_like(clean))
        return Choice(*_chosen(noisy, self.top_k), Scores(clean, deviation, noisy))


def _chosen(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The best k experts of logits (..., n), and the softmax over them.

    The weight of a single one is exactly 1, and has no gradient.
    """
    if k == 1:
        experts = logits.detach().argmax(-1, keepdim=True)
        return experts, torch.ones_like(logits[..., :1])
    values, experts = logits.topk(k)
    return experts, values.softmax(-1)


def balance_loss(scores: Sequence[Scores], k: int) -> Tensor:
    """The sum of the load-balance terms of gates that keep k experts, a scalar of at least float32.

    Gates that saw equally many items are reckoned together: on many small tensors the calls are what takes time.
    """
    alike: dict[torch.Size, list[Scores]] = {}
    for one in scores:
        alike.setdefault(one.clean.shape, []).append(one)
    terms = [_balance(_stacked(group), k) for group in alike.values()]
    return BALANCE_COEFFICIENT * torch.stack(terms).sum()


def _stacked(group: Sequence[Scores]) -> Scores:
    """The scores of L gates, all in training or all in evaluation."""
    deviations = [one.deviation for one in group if one.deviation is not None]
    return Scores(
        torch.stack([one.clean for one in group]),
        torch.stack(deviations) if deviations else None,
        torch.stack([one.noisy for one in group]),
    )


def _balance(scores: Scores, k: int) -> Tensor:
    """CV^2 of the importance and of the load, summed over L gates: a scalar of scores (L, B, n)."""
    experts, weights = _chosen(scores.noisy, k)
    importance = torch.zeros_like(scores.clean).scatter(-1, experts, weights)
    return squared_variation(torch.stack([importance, expected_load(scores, k)]).sum(-2)).sum()


def expected_load(scores: Scores, k: int) -> Tensor:
    """P(b, i), in the shape of the scores: that expert i stays in the top k when only its own noise is drawn again.

    In evaluation, where nothing is drawn, 1 for the experts that were chosen and 0 for the others.
    """
    clean, deviation, noisy = scores
    if k >= clean.shape[-1]:
        return torch.ones_like(clean)
    if deviation is None:
        return torch.zeros_like(clean).scatter(-1, _chosen(noisy, k)[0], 1.0)
    last_in, first_out = noisy.topk(k + 1).values[..., k - 1 :].chunk(2, -1)
    threshold = torch.where(noisy > first_out, first_out, last_in)
    stays: Tensor = torch.special.ndtr((clean - threshold) / deviation)
    return stays


def squared_variation(values: Tensor) -> Tensor:
    """CV^2 of vectors (..., n): unbiased variance over the squared mean (...); 0 for a single value."""
    if values.shape[-1] == 1:
        return values.new_zeros(values.shape[:-1])
    variance, mean = torch.var_mean(values, -1)
    return variance / (mean**2 + 1e-10)
