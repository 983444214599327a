"""Conv-LoRA (arXiv 2401.17868): LoRA whose bottleneck passes a mixture of convolutional experts.

Behaviour follows the official code where it differs from the paper: residual around the experts, GELU and bias in
them, one bottleneck on the fused qkv, scale alpha / r, noise floor 0.01, bicubic interpolation.
The experts run without resampling the map: only the fine rows that the down-sampler reads are evaluated, which is
exact (see `ExpertGeometry`).
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lora import LoRALinear

NOISE_EPSILON = 1e-2
BALANCE_COEFFICIENT = 1e-2


class ExpertGeometry(NamedTuple):
    """One dimension of an expert at scale s on H cells: `up` (3, P, H) and `down` (H, P).

    `up[t]` samples the up-scaled row, shifted by tap t - 1 with the convolution's zero padding, at the P fine rows
    that the down-sampler reads (H for odd s, up to 4 H for even s); `down` weighs them.
    """

    up: Tensor
    down: Tensor


@lru_cache(maxsize=64)
def expert_geometry(cells: int, scale: int) -> ExpertGeometry:
    """The constant matrices of bicubic up-scaling by `scale` and down-scaling back, read off `F.interpolate`."""
    up = _interpolation(cells, cells * scale)  # (sH, H)
    down = _interpolation(cells * scale, cells)  # (H, sH)
    used = down.abs().amax(0) > 0
    padded = F.pad(up, (0, 0, 1, 1))
    taps = torch.stack(
        [padded[t : t + cells * scale] for t in range(3)]
    )  # row p of tap t is fine row p + t - 1
    return ExpertGeometry(taps[:, used], down[:, used])


def _interpolation(source: int, target: int) -> Tensor:
    identity = torch.eye(source, dtype=torch.float64)[
        None, :, :, None
    ]  # (1, source channels, source rows, 1)
    out = F.interpolate(identity, size=(target, 1), mode="bicubic", align_corners=False)
    return out[0, :, :, 0].T


class ConvExpert(nn.Module):
    """E_s(z) = Down_s(GELU(Conv3x3(Up_s(z)))) on maps (B, r, H, W)."""

    def __init__(self, rank: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv = nn.Conv2d(rank, rank, 3, padding=1)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]  # the bias is there

    def forward(self, z: Tensor) -> Tensor:
        if self.scale == 1:
            return F.gelu(self.conv(z))
        rows, columns = (expert_geometry(int(n), self.scale) for n in z.shape[-2:])
        up_r, down_r = rows.up.to(z), rows.down.to(z)
        up_c, down_c = columns.up.to(z), columns.down.to(z)
        tall = torch.einsum("aph,brhw->barpw", up_r, z)
        mixed = torch.einsum("orac,barpw->bcopw", self.conv.weight.to(z), tall)
        fine = torch.einsum("bcopw,cqw->bopq", mixed, up_c) + self.conv.bias.to(z)[:, None, None]  # type: ignore[union-attr]
        return down_r @ F.gelu(fine) @ down_c.T


class ConvLoRALinear(LoRALinear):
    """h = W0 x + b0 + (alpha / r) W_d (z + sum_i G(z)_i E_i(z)), z = W_e x, on tokens (B', H, W, in).

    The gate chooses per leading item B': per window in windowed blocks, per image in global ones. `balance_loss` is
    the load-balance term of the last training forward (a float32 scalar; None before one, and in eval mode).
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, experts: int = 8, top_k: int = 1) -> None:
        super().__init__(base, rank, alpha)
        self.top_k = top_k
        self.experts = nn.ModuleList(ConvExpert(rank, scale) for scale in range(1, experts + 1))
        self.gate = nn.Parameter(torch.zeros(rank, experts))
        self.noise = nn.Parameter(torch.zeros(rank, experts))
        self.balance_loss: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        z = self.bottleneck(x)  # (B', H, W, r)
        maps = z.permute(0, 3, 1, 2)  # (B', r, H, W)
        gates = self._gates(maps.float().mean((2, 3)))
        z = z + self._mixture(maps, gates).permute(0, 2, 3, 1).to(z.dtype)
        h: Tensor = self.base(x)
        return h + self.change(z)

    def merged(self) -> nn.Linear:
        """Conv-LoRA is input-dependent and not linear: raises TypeError."""
        raise TypeError("Conv-LoRA cannot be merged into the weights: its experts depend on the input.")

    def _mixture(self, maps: Tensor, gates: Tensor) -> Tensor:
        out = torch.zeros_like(maps)
        for index, expert in enumerate(self.experts):
            items = gates[:, index].nonzero().squeeze(1)
            if len(items):
                weight = gates[items, index].to(maps.dtype)[:, None, None, None]
                out = out.index_add(0, items, (weight * expert(maps[items])).to(out.dtype))
        return out

    def _gates(self, pooled: Tensor) -> Tensor:
        """Noisy top-k gates (B', n) of pooled bottlenecks (B', r) [Shazeer 2017]; noise in training only."""
        with torch.autocast(pooled.device.type, enabled=False):
            clean = pooled @ self.gate.float()
            if not self.training:
                self.balance_loss = None
                return _top_k_softmax(clean, self.top_k)
            deviation = F.softplus(pooled @ self.noise.float()) + NOISE_EPSILON
            noisy = clean + deviation * torch.randn_like(clean)
            gates = _top_k_softmax(noisy, self.top_k)
            if len(self.experts) > 1:
                load = expected_load(clean, noisy, deviation, self.top_k).sum(0)
                self.balance_loss = BALANCE_COEFFICIENT * (
                    squared_variation(gates.sum(0)) + squared_variation(load)
                )
            return gates


def _top_k_softmax(logits: Tensor, k: int) -> Tensor:
    values, indices = logits.topk(min(k, logits.shape[1]), dim=1)
    return torch.zeros_like(logits).scatter(1, indices, values.softmax(1))


def expected_load(clean: Tensor, noisy: Tensor, deviation: Tensor, k: int) -> Tensor:
    """P(b, i) (B', n): that expert i stays in the top k when only its own noise is drawn again."""
    if k >= clean.shape[1]:
        return torch.ones_like(clean)
    top = noisy.topk(k + 1, dim=1).values
    inside = noisy > top[:, k : k + 1]
    threshold = torch.where(inside, top[:, k : k + 1], top[:, k - 1 : k])
    stays: Tensor = torch.special.ndtr((clean - threshold) / deviation)
    return stays


def squared_variation(values: Tensor) -> Tensor:
    """CV^2 of a vector: unbiased variance over the squared mean; 0 for a single value."""
    if len(values) == 1:
        return values.new_zeros(())
    return values.var() / (values.mean() ** 2 + 1e-10)
