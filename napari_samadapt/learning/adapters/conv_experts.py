"""Conv-LoRA's convolutional experts, evaluated exactly but without ever resampling a map.

An expert is E_s(z) = Down_s(GELU(Conv3x3(Up_s(z)))) [arXiv 2401.17868, Eq. 3; GELU and bias from the official code].
Up- and down-scaling are linear and separable: constant matrices along rows and along columns. The convolution's
three taps along an axis are three shifted copies of the up-scaling matrix, and only the fine rows and columns that
the down-scaling reads are evaluated: one for each token for odd s, four for even s (two for s = 2), instead of s.
What remains is a chain of matrix products. Each item brings the matrices and the kernel of its own expert, so one
batched chain serves all items whatever was chosen, and no choice is ever read back by the host.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Interpolation = Literal["bicubic", "bilinear"]


class Axis(NamedTuple):
    """The constant matrices of n experts along one axis of H tokens.

    `up` (n, 3 P, H): row (p, t) samples the up-scaled line at fine position p + t - 1, with the convolution's zero
    padding, for the P fine positions p that the down-scaling reads. `down` (n, H, P) weighs those positions; None
    where nothing stands between the convolution and the down-scaling: `up` is then multiplied by it, and P = H.
    Experts that read fewer positions than others are padded with zeros.
    """

    up: Tensor
    down: Tensor | None


@lru_cache(maxsize=64)
def axis_matrices(
    cells: int, scales: tuple[int, ...], mode: Interpolation, activation: bool, dtype: torch.dtype,
    device: torch.device,
) -> Axis:  # fmt: skip
    """`Axis` of `cells` tokens for experts of these scales, with or without an activation in them."""
    with torch.inference_mode(False), torch.no_grad():  # what is kept must also serve training
        pairs = [_expert_axis(cells, scale, mode) for scale in scales]
        if not activation:
            folded = torch.stack([torch.einsum("hp,ptw->htw", down, up) for up, down in pairs])
            return Axis(folded.flatten(1, 2).to(device, dtype), None)
        longest = max(len(up) for up, _ in pairs)
        ups = torch.stack([F.pad(up, (0, 0, 0, 0, 0, longest - len(up))) for up, _ in pairs])
        downs = torch.stack([F.pad(down, (0, longest - down.shape[1])) for _, down in pairs])
        return Axis(ups.flatten(1, 2).to(device, dtype), downs.to(device, dtype))


def _expert_axis(cells: int, scale: int, mode: Interpolation) -> tuple[Tensor, Tensor]:
    """`up` (P, 3, H) and `down` (H, P) of one expert, float64, read off torch's own interpolation."""
    fine = cells * scale
    up, down = _interpolation(cells, fine, mode), _interpolation(fine, cells, mode)  # (sH, H) and (H, sH)
    padded = F.pad(up, (0, 0, 1, 1))
    taps = torch.stack([padded[t : t + fine] for t in range(3)], 1)  # (sH, 3, H)
    read = down.abs().amax(0) > 0
    return taps[read], down[:, read]


def _interpolation(source: int, target: int, mode: Interpolation) -> Tensor:
    """The matrix (target, source) of `F.interpolate` along one axis."""
    identity = torch.eye(source, dtype=torch.float64)[None, :, :, None]  # (1, source, source, 1)
    return F.interpolate(identity, size=(target, 1), mode=mode, align_corners=False)[0, :, :, 0].T


class ConvExperts(nn.Module):
    """n experts on maps of r channels, one scale each; `activation` also gives them the bias of the official code."""

    def __init__(
        self, rank: int, scales: Sequence[int], activation: bool = True, mode: Interpolation = "bicubic"
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.activation = activation
        self.mode: Interpolation = mode
        bound = 1 / math.sqrt(9 * rank)  # of PyTorch's convolutions
        kernels = torch.empty(len(self.scales), rank, 3, 3, rank).uniform_(-bound, bound)
        self.weight = nn.Parameter(kernels)  # (expert, out, column, row, in): as the product below reads it
        self.bias = nn.Parameter(torch.zeros(len(self.scales), rank)) if activation else None

    def forward(self, z: Tensor, chosen: Tensor) -> Tensor:
        """Apply expert `chosen[i]` (B,) int64 to map z[i]: (B, H, W, r) to the same shape, in z's type."""
        b, h, w, r = z.shape
        rows = self._axis(h, z, chosen)
        columns = rows if w == h else self._axis(w, z, chosen)
        kernels = self.weight.to(z.dtype).index_select(0, chosen).view(b, 1, 3 * r, 3 * r)  # (B, 1, o b, a c)
        lines = z.transpose(2, 3).reshape(b, h, r * w)  # (B, H, c w)
        tall = torch.bmm(rows.up, lines).view(b, -1, 3 * r, w)  # (B, P, a c, w)
        points = tall.shape[1]
        mixed = torch.bmm(kernels.expand(-1, points, -1, -1).reshape(-1, 3 * r, 3 * r), tall.flatten(0, 1))
        fine = torch.bmm(mixed.view(b, points * r, 3 * w), columns.up.view(b, -1, 3 * w).mT)  # (B, P o, Q)
        if rows.down is not None and columns.down is not None and self.bias is not None:
            bias = self.bias.to(z.dtype).index_select(0, chosen)[:, None, :, None]
            fine = F.gelu(fine.view(b, points, r, -1).add_(bias)).view_as(fine)
            narrow = torch.bmm(fine, columns.down.mT)  # (B, P o, W)
            fine = torch.bmm(rows.down, narrow.view(b, -1, r * w))  # (B, H, o W)
        return fine.view(b, h, r, w).transpose(2, 3)

    def _axis(self, cells: int, z: Tensor, chosen: Tensor) -> Axis:
        """The matrices of each item's own expert: n becomes B."""
        up, down = axis_matrices(cells, self.scales, self.mode, self.activation, z.dtype, z.device)
        return Axis(up.index_select(0, chosen), None if down is None else down.index_select(0, chosen))
