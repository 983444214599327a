"""The grey value and texture of every label of a volume, for each way of looking at it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .random_fields import Draw, Slices
from .tables import LABELS, LAYOUTS, ROLES, role_of_labels

LOOKS = ("ct", "mr", "ultrasound", "xray", "colour", "generic")
LOOK_WEIGHTS = (0.30, 0.25, 0.08, 0.05, 0.08, 0.24)
CT, MR, ULTRASOUND, XRAY, COLOUR, GENERIC = range(len(LOOKS))

_LAYOUT_WEIGHTS = {  # torso, head, close, vessels, lesion, cells, threads
    "ct": (6, 1.5, 2, 0.7, 0.2, 0.2, 0.2),
    "mr": (4, 3, 2, 0.5, 0.3, 0.2, 0.3),
    "ultrasound": (0.3, 0.3, 5, 0.5, 2, 0.3, 0),
    "xray": (6, 1.5, 2, 0.5, 0.2, 0.0, 0.3),
    "colour": (0.2, 0.0, 2, 2, 3, 2, 1.2),
    "generic": (3, 2, 3, 1.5, 1.5, 1, 1.2),
}

CLASSES = 9
# CT: air, lung, fat, soft tissue, bone or contrast medium.
_CT_MEANS = ((0.0, 0.02), (0.0, 0.14), (0.16, 0.36), (0.45, 0.7), (0.85, 1.05))
_CT_ROLES = {
    "outside": (1, 0, 0, 0, 0),
    "ground": (0, 0, 0.6, 0.4, 0),
    "wall": (0, 0, 0.1, 0.6, 0.3),
    "cavity": (0, 0.15, 0.35, 0.5, 0),
    "free": (0, 0, 0.3, 0.4, 0.3),
    "organ": (0, 0.08, 0.05, 0.8, 0.07),
    "pair": (0, 0.25, 0.02, 0.63, 0.1),
    "row": (0, 0, 0, 0.25, 0.75),
    "tube": (0.1, 0.03, 0, 0.6, 0.27),
    "lesion": (0.03, 0, 0.12, 0.7, 0.15),
    "inside": (0.22, 0, 0.1, 0.48, 0.2),
}
# The rest: five classes of dark to bright, whose means differ from volume to volume.
_OTHER_MEANS = ((0.0, 0.1), (0.1, 0.3), (0.3, 0.55), (0.5, 0.8), (0.75, 1.0))


@dataclass(frozen=True)
class Tissues:
    """`means`, `coarse`, `fine` (V, LABELS): mean and the strength of two textures; `noise` (V,): its sd."""

    means: Tensor
    coarse: Tensor
    fine: Tensor
    noise: Tensor


def pick_looks(draw: Draw, volumes: int) -> tuple[Tensor, Tensor]:
    """A look and a layout (V,) for each volume."""
    looks = draw.pick(torch.tensor(LOOK_WEIGHTS, device=draw.device).expand(volumes, -1))
    weights = torch.tensor([_LAYOUT_WEIGHTS[name] for name in LOOKS], device=draw.device)
    assert weights.shape[1] == len(LAYOUTS)
    return looks, draw.pick(weights[looks])


def draw_tissues(draw: Draw, looks: Tensor, labels: Tensor, slices: Slices) -> Tissues:
    """Means and textures; labels that touch in `labels` (I, S, S) differ by a share of the noise."""
    volumes = len(looks)
    noise = draw.log_uniform(volumes, low=0.004, high=0.1)
    noise = torch.where(looks == CT, draw.log_uniform(volumes, low=0.008, high=0.06), noise)
    noise = torch.where((looks == ULTRASOUND) | (looks == COLOUR) | (looks == XRAY), noise * 0.4, noise)
    means = _means(draw, looks)
    least = (noise * draw.uniform(volumes, low=0.5, high=2.0)).clamp_min(0.02)
    least = torch.where((looks == CT) | (looks == COLOUR), least, least.clamp_min(0.04))
    means = _apart(means, _touching(labels, slices), least)
    strength = draw.uniform(volumes, LABELS) * draw.chance(0.5, volumes, LABELS)
    strength = strength * draw.uniform(volumes, 1, high=0.1) * torch.where(looks == CT, 0.4, 1.0)[:, None]
    strength[:, 0] = 0
    choice = draw.uniform(volumes, LABELS)
    return Tissues(means, strength * choice, strength * (1 - choice), noise)


def _means(draw: Draw, looks: Tensor) -> Tensor:
    volumes, device = len(looks), draw.device
    ct = (looks == CT)[:, None]
    low, high = torch.tensor(_CT_MEANS, device=device).T
    other_low, other_high = torch.tensor(_OTHER_MEANS, device=device).T
    share = draw.uniform(volumes, len(low))
    classes = torch.where(ct, low + share * (high - low), other_low + share * (other_high - other_low))
    ct_roles = torch.tensor([_CT_ROLES[role] for role in ROLES], device=device, dtype=torch.float32)
    # The other looks prefer a few classes for each role, others in every volume.
    free_roles = draw.uniform(volumes, len(ROLES), len(low)) ** 3
    role = role_of_labels(device)
    weights = torch.where(ct[:, :, None], ct_roles, free_roles)[:, role]
    member = draw.pick(weights)
    soft = draw.log_uniform(volumes, low=0.02, high=0.1)[:, None].expand(-1, LABELS)
    spread = torch.where(ct & (member != 3), 0.02, soft)
    means = classes.gather(1, member) + spread * draw.normal(volumes, LABELS)
    sound = (looks == ULTRASOUND)[:, None]
    means = torch.where(sound, 0.15 + 0.8 * means, means)
    dark = (draw.chance(0.8, volumes) | (looks == MR)) & (looks != COLOUR)
    means[:, 0] = torch.where(dark | (looks == CT), draw.uniform(volumes, high=0.03), means[:, 0])
    return means.clamp(0, 1.1)


def _touching(labels: Tensor, slices: Slices) -> Tensor:
    """Which labels of a volume touch: bool (V, LABELS, LABELS)."""
    flat = torch.zeros(slices.volumes * LABELS * LABELS, dtype=torch.bool, device=labels.device)
    first = (slices.owner * LABELS).view(-1, 1, 1) + labels[:, ::2, ::2]
    for other in (labels[:, ::2, 1::2], labels[:, 1::2, ::2]):
        rows, columns = other.shape[1:]
        flat[(first[:, :rows, :columns] * LABELS + other).flatten()] = True
    square = flat.view(-1, LABELS, LABELS)
    return (square | square.transpose(1, 2)) & ~torch.eye(LABELS, dtype=torch.bool, device=labels.device)


def _apart(means: Tensor, touching: Tensor, least: Tensor) -> Tensor:
    """Push the means (V, LABELS) of touching labels apart until most differ by `least` (V,)."""
    order = torch.arange(LABELS, device=means.device)
    tie = torch.where(order[:, None] > order, 1.0, -1.0)
    fixed = (order > 0).float()
    for _ in range(8):
        gap = means[:, :, None] - means[:, None, :]
        side = torch.where(gap == 0, tie, gap.sign())
        push = (least[:, None, None] * 1.1 - gap.abs()).clamp_min(0) * side * touching
        means = (means + 0.5 * push.sum(2).clamp(-0.15, 0.15) * fixed).clamp(0, 1.05)
    return means
