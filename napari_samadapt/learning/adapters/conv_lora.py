"""Conv-LoRA (arXiv 2401.17868): LoRA whose bottleneck passes a mixture of convolutional experts.

Behaviour follows the official code where it differs from the paper: residual around the experts, GELU and bias in
them, one bottleneck on the fused qkv, scale alpha / r, noise floor 0.01. `paper_literal` is the paper's Eq. 2-3 to
the letter instead.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .adapter import CannotMergeError, Sites
from .conv_experts import ConvExperts, Interpolation
from .gating import NoisyTopKGate, Scores, balance_loss
from .lora import LoRALinear

NOISE_EPSILON = 1e-2


class ConvLoRALinear(LoRALinear):
    """h = W0 x + b0 + (alpha / r) W_d (z + sum_i G(z)_i E_i(z)), z = W_e x, on tokens (B', H, W, in).

    The gate chooses per leading item B': per window in windowed blocks, per image in global ones. `scores` are the
    gate's in the last training forward; None before one, in eval mode and without a gate.

    Options:
      experts, scales: the scales of the experts, 1 ... `experts` unless `scales` names them. A single expert needs
        no gate.
      top_k: how many experts an item gets.
      gated: False sums all experts instead of choosing (the paper's multi-scale ablation, Table 4).
      paper_literal: Eq. 2-3 as printed: no residual z, scale 1 whatever alpha is, bare convolutions without GELU and
        bias, no noise floor.
      interpolation: how the experts scale up and down.
    """

    def __init__(
        self,
        base: nn.Linear,
        rank: int,
        alpha: float,
        experts: int = 8,
        top_k: int = 1,
        *,
        scales: Sequence[int] | None = None,
        gated: bool = True,
        paper_literal: bool = False,
        interpolation: Interpolation = "bicubic",
    ) -> None:
        super().__init__(base, rank, rank if paper_literal else alpha)
        chosen = tuple(range(1, experts + 1)) if scales is None else tuple(scales)
        if not chosen or min(chosen) < 1 or top_k < 1:
            raise ValueError(f"Expert scales {chosen} and top {top_k}: all must be 1 or more.")
        self.residual = not paper_literal
        self.experts = ConvExperts(rank, chosen, activation=not paper_literal, mode=interpolation)
        epsilon = 0.0 if paper_literal else NOISE_EPSILON
        routed = gated and len(chosen) > 1
        self.gate = NoisyTopKGate(rank, len(chosen), top_k, epsilon) if routed else None
        self.scores: Scores | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: all but the scores, which belong to the graph of one forward."""
        return self.__dict__ | {"scores": None}

    @property
    def balance_loss(self) -> Tensor | None:
        """The load-balance term of the last training forward: a float32 scalar."""
        return balance_loss_of([self])

    def forward(self, x: Tensor) -> Tensor:
        z = self.bottleneck(x)  # (B', H, W, r)
        with torch.autocast(x.device.type, enabled=False):  # so small that half precision would gain nothing
            maps = z.to(torch.promote_types(z.dtype, torch.float32))
            mixed = self._mixture(maps)
            bottleneck = maps + mixed if self.residual else mixed
        return self.added_to(self.base, x, bottleneck)

    def merged(self) -> nn.Linear:
        """Conv-LoRA is input-dependent and not linear: raises CannotMergeError."""
        raise CannotMergeError(
            "Conv-LoRA cannot be merged into the weights: its experts depend on the input. "
            "Save it as an adapter file instead."
        )

    def _mixture(self, maps: Tensor) -> Tensor:
        """sum_i G(z)_i E_i(z) of maps (B', H, W, r), in the same shape."""
        if self.gate is None:
            every = torch.arange(len(self.experts.scales), device=maps.device)
            return self._weighted(maps, every.expand(len(maps), -1), None)
        choice = self.gate(maps.mean((1, 2)))
        if not _recomputing():
            self.scores = choice.scores
        return self._weighted(maps, choice.experts, choice.weights)

    def _weighted(self, maps: Tensor, chosen: Tensor, weights: Tensor | None) -> Tensor:
        """Sum over k of the experts `chosen` (B', k), times `weights` (B', k) where given and k > 1."""
        k = chosen.shape[1]
        if k > 1:
            maps = maps.repeat_interleave(k, 0)  # (B' k, H, W, r)
        out: Tensor = self.experts(maps, chosen.reshape(-1))
        if k == 1:
            return out
        out = out.view(-1, k, *out.shape[1:])
        return out.sum(1) if weights is None else torch.einsum("bk,bkhwr->bhwr", weights, out)


def attach_conv_lora(
    sites: Sites, *, rank: int = 3, alpha: float = 32.0, experts: int = 8, top_k: int = 1,
    scales: tuple[int, ...] | None = None, gated: bool = True, paper_literal: bool = False,
    interpolation: Interpolation = "bicubic",
) -> None:  # fmt: skip
    """Conv-LoRA on the fused qkv of every block; the options are those of `ConvLoRALinear`."""
    for block in sites.blocks:
        block.attn.qkv = ConvLoRALinear(
            block.attn.qkv, rank, alpha, experts, top_k,
            scales=scales, gated=gated, paper_literal=paper_literal, interpolation=interpolation,
        )  # fmt: skip


def balance_loss_of(layers: Sequence[ConvLoRALinear]) -> Tensor | None:
    """The sum of the layers' load-balance terms, a float32 scalar; None where there is none."""
    gates = [(layer.scores, layer.gate.top_k) for layer in layers if layer.scores and layer.gate]
    if not gates:
        return None
    return balance_loss([scores for scores, _ in gates], gates[0][1]).float()


def _recomputing() -> bool:
    """Inside a backward pass, where activation checkpointing runs the layer once more for its gradients only."""
    return torch._C._current_graph_task_id() != -1
