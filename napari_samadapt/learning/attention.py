"""SAM's attention with relative positions, without ever holding the (tokens, tokens) bias.

The decomposed bias rel_h[q, kh] + rel_w[q, kw] is a dot product: the query is extended by its row and column terms,
the key by the one-hot code of its row and column. Plain scaled-dot-product attention then does the rest, exactly.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .segment_anything_modules import Attention, get_rel_pos


def attend(attention: Any, x: Tensor, extra: Tensor | None = None) -> Tensor:
    """The output (B, H, W, D) of segment-anything's `Attention` on tokens (B, H, W, D).

    `extra` (2, heads, p, d) are keys and values that every query sees beside the grid's, without a position.
    """
    b, h, w, _ = x.shape
    qkv = attention.qkv(x).reshape(b, h * w, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.unbind(0)  # (B, heads, HW, d)
    depth = q.shape[-1]
    grid = q.reshape(b, attention.num_heads, h, w, depth)
    rows = torch.einsum("bnhwc,hkc->bnhwk", grid, get_rel_pos(h, h, attention.rel_pos_h).to(q.dtype))
    columns = torch.einsum("bnhwc,wkc->bnhwk", grid, get_rel_pos(w, w, attention.rel_pos_w).to(q.dtype))
    q = torch.cat([q * attention.scale, rows.reshape(*q.shape[:3], h), columns.reshape(*q.shape[:3], w)], -1)
    row_code = torch.eye(h, dtype=k.dtype, device=k.device).repeat_interleave(w, 0)  # (HW, H)
    column_code = torch.eye(w, dtype=k.dtype, device=k.device).repeat(h, 1)  # (HW, W)
    code = torch.cat([row_code, column_code], 1).expand(*k.shape[:2], -1, -1)
    k = torch.cat([k, code], -1)
    v = F.pad(v, (0, h + w))  # the fused kernels want one depth for q, k and v
    if extra is not None:
        more = F.pad(extra.to(k.dtype), (0, h + w))[:, None].expand(-1, b, -1, -1, -1)
        k, v = torch.cat([k, more[0]], 2), torch.cat([v, more[1]], 2)
    out = F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :depth]
    projected: Tensor = attention.proj(out.transpose(1, 2).reshape(b, h, w, -1))
    return projected


class FusedAttention(Attention):  # type: ignore[misc]  # segment_anything is not typed
    """segment-anything's `Attention`, same parameters and same result, for global blocks on square grids."""

    def forward(self, x: Tensor) -> Tensor:
        return attend(self, x)


def fuse_global_attention(blocks: Iterable[Any]) -> None:
    """Give the global ones of some blocks the fused attention; the parameters keep their names."""
    for block in blocks:
        if block.window_size == 0:
            block.attn.__class__ = FusedAttention
