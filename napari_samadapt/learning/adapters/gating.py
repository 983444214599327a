"""Which expert an item gets: noisy top-k gating and its load-balance loss [Shazeer 2017; arXiv 2401.17868, App. A]."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BALANCE_COEFFICIENT = 1e-2


class Choice(NamedTuple):
    """The experts (B, k) int64 of B items and their weights (B, k), which sum to 1.

    `balance_loss` is a scalar in training, None otherwise.
    """

    experts: Tensor
    weights: Tensor
    balance_loss: Tensor | None


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
            values, experts = (pooled @ weight[0]).topk(self.top_k)
            return Choice(experts, self._weights(values), None)
        clean, width = (pooled @ weight).unbind()  # (B, n)
        deviation = F.softplus(width) + self.noise_epsilon
        noisy = torch.addcmul(clean, deviation, torch.randn_like(clean))
        values, order = noisy.topk(min(self.top_k + 1, clean.shape[1]))
        experts, weights = order[:, : self.top_k], self._weights(values[:, : self.top_k])
        importance = torch.zeros_like(clean).scatter(1, experts, weights)
        load = expected_load(clean, noisy, deviation, values, self.top_k)
        variation = squared_variation(torch.stack([importance, load]).sum(1))
        return Choice(experts, weights, BALANCE_COEFFICIENT * variation.sum())

    def _weights(self, values: Tensor) -> Tensor:
        """The softmax over the kept values (B, k). A single one is exactly 1, and has no gradient."""
        return torch.ones_like(values) if self.top_k == 1 else values.softmax(1)


def expected_load(clean: Tensor, noisy: Tensor, deviation: Tensor, top: Tensor, k: int) -> Tensor:
    """P(b, i) (B, n): that expert i stays in the top k when only its own noise is drawn again.

    `top` are the k + 1 largest values of `noisy`, in order; k of them where all n experts are taken.
    """
    if k >= clean.shape[1]:
        return torch.ones_like(clean)
    last_in, first_out = top[:, k - 1 : k + 1].chunk(2, 1)
    threshold = torch.where(noisy > first_out, first_out, last_in)
    stays: Tensor = torch.special.ndtr((clean - threshold) / deviation)
    return stays


def squared_variation(values: Tensor) -> Tensor:
    """CV^2 of vectors (..., n): unbiased variance over the squared mean (...); 0 for a single value."""
    if values.shape[-1] == 1:
        return values.new_zeros(values.shape[:-1])
    variance, mean = torch.var_mean(values, -1)
    return variance / (mean**2 + 1e-10)
