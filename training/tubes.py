"""Tubes: curved lines and bifurcating trees of short pieces, drawn once for each volume."""

import math

import torch
from torch import Tensor

from .random_fields import Draw
from .tables import FIRST, GROUPS

SEGMENTS = 31
"""Pieces of a tube: a chain, or a tree of five levels."""


def draw_tubes(draw: Draw, chance: Tensor, threads: Tensor, reach: Tensor) -> Tensor:
    """A table (V, N, len(TUBE_FIELDS)) of snakes (bowel, a single vessel) and bifurcating trees (vessels, airways).

    `chance` (V,): the probability of each tube; `threads` (V,) bool: long trees in the slice, one to five of 256 pixels
    wide; `reach` (V, 3): how far in y, x and z they may begin.
    """
    number = GROUPS["tube"]
    shape = (len(chance), number, SEGMENTS)
    thin = threads[:, None, None]
    tree = draw.chance(0.5, *shape[:2], 1) | thin
    chain, branch, depth, side = _ancestors(draw.device)
    curl = draw.normal(*shape[:2], 1) * 0.15 + draw.normal(*shape) * 0.3
    fork = side * draw.uniform(*shape, low=0.15, high=0.7) + draw.normal(*shape) * 0.1
    start = draw.uniform(*shape[:2], 1, high=2 * math.pi)
    heading = start + torch.where(tree, fork @ branch.T, curl @ chain.T)
    thick = draw.log_uniform(*shape[:2], 1, low=0.018, high=0.11)
    thick = torch.where(tree, thick.clamp_max(0.07), thick)
    thick = torch.where(thin, draw.log_uniform(*shape[:2], 1, low=0.007, high=0.02), thick)
    thinnest = torch.where(thin, 0.0055, 0.014)
    length = torch.where(
        tree,
        draw.uniform(*shape[:2], 1, low=0.15, high=0.4)
        * 0.8**depth
        * draw.uniform(*shape, low=0.7, high=1.3)
        * torch.where(thin, 1.5, 1.0),
        thick * draw.uniform(*shape[:2], 1, low=0.8, high=2.0),
    )
    rise = draw.normal(*shape[:2], 1) * torch.where(draw.chance(0.25, *shape[:2], 1), 1.5, 0.15)
    rise = torch.where(thin, 0.02 * rise, rise)
    step = torch.stack([heading.sin() * rise.cos(), heading.cos() * rise.cos(), rise.sin().expand(shape)], 3)
    step = step * length[..., None]
    way = torch.where(tree[..., None], branch @ step, chain @ step)
    begin = draw.uniform(len(chance), number, 3, low=-1.0) * reach[:, None]
    a = begin[:, :, None] + way - step
    radius = torch.where(tree, thick * 0.8**depth, thick * (1 + 0.12 * draw.normal(*shape)))
    radius = radius.clamp_min(thinnest)
    after = torch.where(tree, (radius * 0.85).clamp_min(thinnest), radius.roll(-1, 2))
    many = torch.where(
        tree,
        draw.integers(3, 6, *shape[:2], 1).float().exp2() - 1,
        8.0 + 24 * draw.uniform(*shape[:2], 1),
    )
    present = draw.chance(chance[:, None, None], *shape[:2], 1) & (
        torch.arange(SEGMENTS, device=draw.device) < many
    )
    wall = draw.uniform(*shape[:2], 1, low=0.4, high=0.85) * (
        draw.chance(0.45, *shape[:2], 1) & (thick > 0.045)
    )
    label = FIRST["tube"] + 2.0 * torch.arange(number, device=draw.device).view(1, -1, 1)
    columns = [
        label,
        *a.unbind(3),
        *step.unbind(3),
        radius,
        after,
        wall,
        present.float(),
        torch.zeros_like(label),
    ]
    return torch.stack([c.expand(shape) for c in columns], 3).flatten(1, 2)


def _ancestors(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which segments lead to which (SEGMENTS, SEGMENTS) in a chain and in a binary tree; the tree's depth and sides."""
    chain = torch.ones(SEGMENTS, SEGMENTS).tril()
    branch = torch.eye(SEGMENTS)
    depth, side = torch.zeros(SEGMENTS), torch.zeros(SEGMENTS)
    for index in range(1, SEGMENTS):
        parent = (index - 1) // 2
        branch[index] += branch[parent]
        depth[index] = depth[parent] + 1
        side[index] = 1 - 2 * (index % 2)
    return chain.to(device), branch.to(device), depth.to(device), side.to(device)
