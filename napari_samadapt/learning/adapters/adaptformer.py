"""Bottlenecks with a non-linearity: Adaptformer [Chen 2022] beside the MLP, Adapter [Houlsby 2019] behind a layer."""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..segment_anything_modules import window_partition, window_unpartition
from .adapter import Adapter, Sites, twin, wrap
from .cobot import Mixer

Variant = Literal["cobot", "original"]

DROPOUT = 0.1


class AdaptformerBranch(nn.Module):
    """s Up(Dropout(ReLU(Down(LN(x))))) on tokens (..., D); Up starts at zero. With a `mixer` M, M Down for Down."""

    def __init__(self, channels: int, width: int, *, scale: float, norm: bool) -> None:
        super().__init__()
        self.scale = scale
        self.norm = nn.LayerNorm(channels) if norm else nn.Identity()
        self.down = nn.Linear(channels, width)
        self.dropout = nn.Dropout(DROPOUT)
        self.up = nn.Linear(width, channels)
        self.mixer: Mixer | None = None
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for parameter in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(parameter)

    def reduction(self) -> tuple[Tensor, Tensor]:
        """Weight (width, D) and bias (width,) of the down-projection, mixed where there is a mixer."""
        if self.mixer is None:
            return self.down.weight, self.down.bias
        matrix = self.mixer.matrix()
        return matrix @ self.down.weight, matrix @ self.down.bias

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(F.linear(self.norm(x), *self.reduction()))
        out: Tensor = self.scale * self.up(self.dropout(hidden))
        return out


class ParallelMlp(Adapter):
    """MLP(x) + branch(x), x behind norm2: Adaptformer as the official code of SAM-COBOT has it."""

    kept_because = "an Adaptformer has a non-linearity of its own"

    def __init__(self, base: nn.Module, branch: AdaptformerBranch) -> None:
        super().__init__()
        self.base = base
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.branch(x)
        return out

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """A plain Adaptformer, with its mixer folded into the down-projection; a plain one refuses."""
        if self.branch.mixer is None:
            return super().merged()
        branch = twin(self.branch)
        weight, bias = self.branch.reduction()
        branch.down.weight.copy_(weight)
        branch.down.bias.copy_(bias)
        branch.mixer = None
        return ParallelMlp(self.base, branch)


class ParallelBlock(Adapter):
    """A block whose branch reads the tokens before norm2, as in the original Adaptformer."""

    kept_because = ParallelMlp.kept_because
    base: Any

    def __init__(self, base: nn.Module, branch: AdaptformerBranch) -> None:
        super().__init__()
        self.base = base
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        block = self.base
        windows, size = block.norm1(x), block.window_size
        if size:
            windows, padded = window_partition(windows, size)
            attended = window_unpartition(block.attn(windows), size, padded, x.shape[1:3])
        else:
            attended = block.attn(windows)
        x = x + attended
        out: Tensor = x + block.mlp(block.norm2(x)) + self.branch(x)
        return out


class SerialAdapter(Adapter):
    """h + Up(GELU(Down(h))), h = base(x); Up starts at zero."""

    kept_because = "it has a non-linearity of its own"

    def __init__(self, base: nn.Module, channels: int, width: int) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(channels, width)
        self.up = nn.Linear(width, channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.base(x)
        out: Tensor = h + self.up(F.gelu(self.down(h)))
        return out


def attach_adapter(sites: Sites, *, width: int = 2) -> None:
    """Houlsby's two adapters in each block; width 2 fits the count in Conv-LoRA's Table 1, which does not give it."""
    for block in sites.blocks:
        channels = block.mlp.lin1.in_features
        wrap(block, "attn", SerialAdapter, channels, width)
        wrap(block, "mlp", SerialAdapter, channels, width)


def attach_adaptformer(sites: Sites, *, variant: Variant = "cobot", width: int | None = None) -> None:
    """Adaptformer as in SAM-COBOT (own layer norm, scale 1, width 16) or as first published (0.1, width 64)."""
    for index, block in zip(sites.indices, sites.blocks, strict=True):
        channels = block.mlp.lin1.in_features
        if variant == "cobot":
            branch = AdaptformerBranch(channels, width or 16, scale=1.0, norm=True)
            wrap(block, "mlp", ParallelMlp, branch)
        else:
            branch = AdaptformerBranch(channels, width or 64, scale=0.1, norm=False)
            wrap(sites.encoder, f"blocks.{index}", ParallelBlock, branch)
