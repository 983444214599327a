"""What the models are called, how large they are, under which licence and where from.

Importing this imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelText:
    """A model in words. `megabytes` is its file's size; `source` a page that people read."""

    title: str
    sentence: str
    megabytes: int
    licence: str
    source: str


_META = "https://github.com/facebookresearch/segment-anything"

MODEL_TEXTS: Mapping[str, ModelText] = {
    "mini": ModelText(
        "mini", "Bundled; fast without a GPU; trained only on generated images.", 6, "BSD-3-Clause", ""
    ),
    "vit_b": ModelText("SAM ViT-B", "The smallest official SAM.", 375, "Apache-2.0", _META),
    "vit_l": ModelText("SAM ViT-L", "Larger and slower; wants a GPU.", 1250, "Apache-2.0", _META),
    "vit_h": ModelText("SAM ViT-H", "The largest; wants a GPU with much memory.", 2565, "Apache-2.0", _META),
}
"""The models that need no file of the user, by their name."""

FOREIGN_TEXTS: tuple[ModelText, ...] = (
    ModelText(
        "MedSAM",
        "ViT-B for medical images, trained for boxes (medsam_vit_b.pth).",
        375,
        "Apache-2.0",
        "https://github.com/bowang-lab/MedSAM",
    ),
    ModelText(
        "MedicoSAM",
        "ViT-B for medical images, for points and boxes (vit_b_medicosam.pt).",
        375,
        "MIT",
        "https://github.com/computational-cell-analytics/medico-sam",
    ),
)
"""Weights with the shapes of an official SAM that others give away: the user downloads the file and chooses it."""
