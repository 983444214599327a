"""The labels of phantoms and the tables that describe them, with one row for each solid or piece of a tube.

Lengths are in half image sides before the view is scaled. Labels come in pairs: 2k is an organ or its wall, 2k + 1
what is inside it. A higher label lies above a lower one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

FIELDS = (
    "label", "cy", "cx", "cz", "ry", "rx", "rz", "angle", "power", "bend", "rough", "wall", "shear_y", "shear_x",
    "present", "free",
)  # fmt: skip
"""The columns of a table of solids (V, N, columns): bent super-ellipsoids whose centre moves with z."""

TUBE_FIELDS = ("label", "ay", "ax", "az", "dy", "dx", "dz", "start", "end", "wall", "present", "free")
"""The columns of a table of tube pieces (V, N, columns): from a to a + d, with a radius at either end."""

GROUPS = {"free": 2, "organ": 14, "pair": 6, "row": 12, "tube": 6, "lesion": 6}
"""How many pairs of labels each kind of structure has, in the order of the labels."""

FIRST = {name: 4 + 2 * sum(list(GROUPS.values())[:index]) for index, name in enumerate(GROUPS)}
LABELS = 4 + 2 * sum(GROUPS.values())

ROLES = ("outside", "ground", "wall", "cavity", *GROUPS, "inside")

LAYOUTS = ("torso", "head", "close", "vessels", "lesion", "cells", "threads")
PRESENT = {  # the probability of each kind in each of LAYOUTS
    "outline": (1.0, 1.0, 0.1, 0.3, 0.1, 0.1, 0.15),
    "wall": (0.8, 1.0, 0.2, 0.1, 0.0, 0.0, 0.0),
    "free": (0.25, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0),
    "organ": (0.55, 0.4, 0.6, 0.2, 0.12, 0.85, 0.06),
    "pair": (0.5, 0.7, 0.25, 0.1, 0.05, 0.4, 0.0),
    "row": (0.75, 0.25, 0.3, 0.0, 0.02, 0.8, 0.0),
    "tube": (0.35, 0.25, 0.35, 0.85, 0.12, 0.02, 0.6),
    "lesion": (0.25, 0.3, 0.3, 0.15, 0.6, 0.2, 0.08),
}


def role_of_labels(device: torch.device) -> Tensor:
    """The index into ROLES (LABELS,) of each label."""
    roles = [0, 1, 2, 3]
    for name, number in GROUPS.items():
        roles += [ROLES.index(name), len(ROLES) - 1] * number
    return torch.tensor(roles, device=device)


@dataclass(frozen=True)
class Body:
    """The outline of each volume's body, every field (V,); `layers` (V, 2): where wall and cavity begin."""

    ry: Tensor
    rx: Tensor
    cy: Tensor
    cx: Tensor
    power: Tensor
    taper: Tensor
    layers: Tensor


@dataclass(frozen=True)
class Phantom:
    """`solids` (V, N, len(FIELDS)), `tubes` (V, N, len(TUBE_FIELDS)); `rim` (V,): fat around an organ."""

    body: Body
    solids: Tensor
    tubes: Tensor
    rim: Tensor
