"""LoRA [Hu 2021]: a frozen linear layer plus a trained low-rank change of its weight."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_samadapt.imaging.errors import SamAdaptError

from .adapter import Adapter, Sites, with_tensors, wrap
from .cobot import Mixer

TARGETS = ("qkv", "q", "k", "v", "proj")
"""The fused qkv weight as one, its three parts by themselves, and the projection behind the attention."""

Start = Literal["identity", "official"]
"""At the frozen SAM, or as SAM-COBOT's code starts LoRA."""


class LowRank(nn.Module):
    """(alpha / r) B A x, with A (r, in) Kaiming-uniform and B (out, r) zero; with a `mixer` M, (alpha / r) B M A x."""

    def __init__(self, inputs: int, outputs: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.lora_a = nn.Parameter(torch.empty(rank, inputs))
        self.lora_b = nn.Parameter(torch.zeros(outputs, rank))
        self.mixer: Mixer | None = None
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def start_as_official(self) -> None:
        """A and B Xavier-normal, as in SAM-COBOT's code: the change is not zero then."""
        nn.init.xavier_normal_(self.lora_a)
        nn.init.xavier_normal_(self.lora_b)

    def down(self) -> Tensor:
        """A, or M A where there is a mixer: (r, in)."""
        return self.lora_a if self.mixer is None else self.mixer.matrix() @ self.lora_a

    def bottleneck(self, x: Tensor) -> Tensor:
        """A x: (..., in) to (..., r)."""
        return x @ self.down().T

    def added_to(self, base: nn.Linear, x: Tensor, z: Tensor) -> Tensor:
        """base(x) + (alpha / r) B z: x (..., in) and z (..., r) to (..., out)."""
        return with_product(base, x, z, self.lora_b, self.scale)


def with_product(base: nn.Linear, x: Tensor, z: Tensor, up: Tensor, scale: float = 1.0) -> Tensor:
    """base(x) + scale z up^T: x (..., in), z (..., r) and up (out, r) to (..., out).

    The product is added within the output of `base`: nothing else of that size is made or read.
    """
    h: Tensor = base(x.flatten(0, -2))
    h.addmm_(z.flatten(0, -2).to(h.dtype), up.T.to(h.dtype), alpha=scale)
    return h.view(*x.shape[:-1], -1)


class LoRALinear(LowRank, Adapter):
    """h = W0 x + b0 + (alpha / r) B A x."""

    base: nn.Linear

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(base.in_features, base.out_features, rank, alpha)
        self.base = base.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.added_to(self.base, x, self.bottleneck(x))

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain linear layer with the change added to a copy of its weight."""
        return with_tensors(self.base, {"weight": self.base.weight + self.scale * self.lora_b @ self.down()})


class PartsLoRA(Adapter):
    """The fused qkv layer (out = 3 D) with a low-rank change of its own for some of q, k and v."""

    base: nn.Linear

    def __init__(self, base: nn.Linear, parts: Mapping[str, LowRank]) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.parts = nn.ModuleDict(parts)

    def forward(self, x: Tensor) -> Tensor:
        down, up = self.factors()
        return with_product(self.base, x, x @ down.T, up)

    def factors(self) -> tuple[Tensor, Tensor]:
        """The changes of all parts as one: A (n r, in) and the scaled B (out, n r), zero in the rows of other parts."""
        third = self.base.out_features // 3
        downs, ups = [], []
        for name, part in self.parts.items():
            before = "qkv".index(name) * third
            downs.append(part.down())  # type: ignore[operator]  # a LowRank
            ups.append(F.pad(part.scale * part.lora_b, (0, 0, before, 2 * third - before)))  # type: ignore[operator]
        return torch.cat(downs), torch.cat(ups, 1)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain linear layer with the changes added to a copy of its weight."""
        down, up = self.factors()
        return with_tensors(self.base, {"weight": self.base.weight + up @ down})


def attach_lora(sites: Sites, *, rank: int = 3, alpha: float = 32.0, targets: str = "qkv") -> None:
    """LoRA on the targets of every block's attention, separated by commas."""
    chosen = [target.strip() for target in targets.split(",")]
    unknown = [target for target in chosen if target not in TARGETS]
    if unknown or ("qkv" in chosen and {"q", "k", "v"} & set(chosen)):
        raise SamAdaptError(
            f"LoRA cannot target {targets!r}: give some of {', '.join(TARGETS)}, qkv without its parts."
        )
    for block in sites.blocks:
        width = block.attn.qkv.in_features
        parts = {part: LowRank(width, width, rank, alpha) for part in chosen if part in ("q", "k", "v")}
        if parts:
            wrap(block, "attn.qkv", PartsLoRA, parts)
        for layer in ("qkv", "proj"):
            if layer in chosen:
                wrap(block, f"attn.{layer}", LoRALinear, rank, alpha)


def attach_lora_qv(sites: Sites, *, rank: int = 4, alpha: float = 4.0, preset: Start = "identity") -> None:
    """LoRA on q and v, as the host of SAM-COBOT: rank 4, scale alpha / rank = 1."""
    attach_lora(sites, rank=rank, alpha=alpha, targets="q,v")
    if preset == "official":
        for block in sites.blocks:
            for part in block.attn.qkv.parts.values():
                part.start_as_official()
