"""LoRA [Hu 2021]: a frozen linear layer plus a trained low-rank change of its weight."""

import math

import torch
from torch import Tensor, nn


class LoRALinear(nn.Module):
    """h = W0 x + b0 + (alpha / r) B A x, with A (r, in) Kaiming-uniform and B (out, r) zero: unchanged at the start."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self.lora_a = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def bottleneck(self, x: Tensor) -> Tensor:
        """A x: (..., in) to (..., r)."""
        return x @ self.lora_a.T

    def change(self, z: Tensor) -> Tensor:
        """(alpha / r) B z: (..., r) to (..., out)."""
        return (z @ self.lora_b.T) * self.scale

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.base(x)
        return h + self.change(self.bottleneck(x))

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain linear layer with the change added to a copy of its weight."""
        linear = nn.Linear(self.base.in_features, self.base.out_features, self.base.bias is not None)
        linear.load_state_dict(self.base.state_dict())
        linear.weight += self.scale * self.lora_b @ self.lora_a
        return linear.to(self.base.weight).requires_grad_(False)
