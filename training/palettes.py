"""Colours of the labels of colour images: mucosa, skin, fundus, stained tissue, and any."""

import torch
from torch import Tensor

from .random_fields import Draw
from .tables import LABELS, ROLES, role_of_labels

# Ground and its spread, organs and their spread, what is inside, tubes; each red, green, blue; then the gloss.
_PALETTES = (
    (
        (0.78, 0.42, 0.36),
        0.05,
        (0.80, 0.45, 0.38),
        0.09,
        (0.28, 0.08, 0.08),
        (0.62, 0.22, 0.2),
        1.0,
    ),  # mucosa
    ((0.86, 0.66, 0.55), 0.06, (0.42, 0.26, 0.22), 0.12, (0.25, 0.15, 0.2), (0.25, 0.16, 0.12), 0.25),  # skin
    ((0.75, 0.36, 0.14), 0.06, (0.85, 0.55, 0.25), 0.1, (0.95, 0.8, 0.5), (0.5, 0.15, 0.08), 0.0),  # fundus
    ((0.9, 0.78, 0.86), 0.05, (0.65, 0.38, 0.62), 0.12, (0.36, 0.2, 0.5), (0.85, 0.55, 0.7), 0.0),  # stained
    ((0.5, 0.5, 0.5), 0.25, (0.5, 0.5, 0.5), 0.28, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0.3),  # any
)


def draw_palettes(draw: Draw, volumes: int) -> tuple[Tensor, Tensor]:
    """Colours (V, LABELS, 3) and how glossy each volume is (V,)."""
    device = draw.device
    kind = draw.pick(torch.tensor((0.34, 0.26, 0.12, 0.16, 0.12), device=device).expand(volumes, -1))
    ground, ground_sd, organ, organ_sd, inner, tube, gloss = (
        torch.tensor(column, device=device)[kind] for column in zip(*_PALETTES, strict=True)
    )
    role = role_of_labels(device)
    plain = (role <= ROLES.index("cavity"))[None, :, None]
    mean = torch.where(plain, ground[:, None], organ[:, None])
    mean = torch.where((role == ROLES.index("inside"))[None, :, None], inner[:, None], mean)
    mean = torch.where((role == ROLES.index("tube"))[None, :, None], tube[:, None], mean)
    spread = torch.where(plain[..., 0], ground_sd[:, None], organ_sd[:, None])[..., None]
    brightness, hue = draw.normal(volumes, LABELS, 1), draw.normal(volumes, LABELS, 3)
    return (mean + spread * (brightness + 0.5 * hue)).clamp(0.02, 1), gloss
