"""A complete SAM of 64 pixels with random weights: builds in milliseconds, no download."""

import pytest
import torch

from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import VitShape, build_vit

TINY = VitShape(width=32, depth=3, heads=4, global_blocks=(2,), window=3, decoder_width=32, patch=16)


def make_tiny_sam(seed: int = 0) -> PromptableSam:
    """4 x 4 tokens, so that windows of 3 are padded as in the official models."""
    torch.manual_seed(seed)
    sam = build_vit(TINY, 64, "tiny")
    for name, parameter in sam.named_parameters():
        if "pos" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    sam.base_sha256 = "0" * 64
    sam.requires_grad_(False)
    return sam


@pytest.fixture
def tiny_sam() -> PromptableSam:
    return make_tiny_sam()
