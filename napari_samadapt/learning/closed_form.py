"""Heads without a training step: a regression from features under some pixels to the classes there.

A prediction follows an accepted slice at once. The ridge regression is in closed form, and the features are pretrained
for exactly that (training/train_detail.py), as in R2-D2 (arXiv 1805.08136); the logistic regression goes on from it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PIXELS, ALL_PIXELS = 4096, 20480
"""Pixels of each slice that the regression sees, at most, and of all slices together."""
RIDGE = 1.5e-3
"""Weight of the penalty, as a share of the features' mean square; about what the pretraining found best."""
SHARPNESS = 10.0
"""The regression answers about 0 or 1: this makes logits of it."""
STEPS, PULL = 30, 1e-4
"""Steps of the logistic regression, and the weight of the penalty on going away from where it starts."""


def features_at(maps: Sequence[Tensor], points: Tensor) -> Tensor:
    """Features (B, N, D) under pixels `points` (B, N), row-major numbers on the first map's grid.

    The maps (B, C, h, w) are enlarged to that grid bilinearly and stacked: D is the sum of their channels.
    """
    height, width = maps[0].shape[2:]
    y, x = points // width, points % width
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)[:, None]
    columns = [
        F.grid_sample(m.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)[:, :, 0]
        for m in maps
    ]
    return torch.cat(columns, 1).transpose(1, 2)


def balanced_pixels(targets: Tensor, rng: torch.Generator, count: int = PIXELS) -> Tensor:
    """Row-major numbers (B, count) of pixels of targets (B, H, W), with weight 1 / sqrt(area of their class there)."""
    flat = targets.flatten(1)
    areas = torch.zeros(len(flat), int(flat.max()) + 1, device=flat.device)
    areas.scatter_add_(1, flat, torch.ones_like(flat, dtype=areas.dtype))
    weights = areas.gather(1, flat).rsqrt()
    return torch.multinomial(weights.cpu(), count, replacement=True, generator=rng).to(flat.device)


def ridge(features: Tensor, answers: Tensor, penalty: Tensor | float = RIDGE) -> Tensor:
    """Weights (D + 1, K) from features (N, D), with a 1 appended, to answers (N, K), in the least squares sense."""
    x = F.pad(features, (0, 1), value=1.0)
    gram = x.T @ x / len(x)
    scale = penalty * gram.diagonal().mean()
    weights: Tensor = torch.linalg.solve(gram + scale * torch.eye(len(gram)).to(gram), x.T @ answers / len(x))
    return weights


def ridge_heads(features: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (D, K) and bias (K,) of logits, from features (N, D) and one-hot answers (N, K)."""
    weights = SHARPNESS * ridge(features, answers)
    return weights[:-1], weights[-1]


@torch.enable_grad()
def logistic_heads(features: Tensor, targets: Tensor, weights: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (D, K) and bias (K,) that make the targets (N,) of features (N, D) likelier than those given do.

    Some steps of L-BFGS on the cross-entropy, each feature measured by its mean square.
    """
    x = F.pad(features.detach(), (0, 1), value=1.0)
    scale = x.square().mean(0).sqrt().clamp_min(1e-6)
    x = x / scale
    start = torch.cat([weights, bias[None]]).detach() * scale[:, None]
    found = start.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([found], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x @ found, targets) + PULL * (found - start).square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    fitted = found.detach() / scale[:, None]
    return fitted[:-1], fitted[-1]
