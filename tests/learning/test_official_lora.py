"""How SAM-COBOT's code starts LoRA: the preset "official" of `lora-qv`."""

import copy
import math
from pathlib import Path

import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapter_file import AdapterCard, load_adapter, save_adapter
from napari_samadapt.learning.adapters import AdapterConfig, AdapterState
from napari_samadapt.learning.adapters.config import choices_of
from napari_samadapt.learning.adapters.lora import LowRank
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.semantic import SemanticSam

PIXELS = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def embedding(sam: PromptableSam) -> torch.Tensor:
    return sam.encode(PIXELS)[0]


def test_a_and_b_are_xavier_normal() -> None:
    """Deviation √(2 / (inputs + outputs)) of each matrix; the specification's 768 channels and rank 4."""
    low_rank = LowRank(768, 768, 4, 4.0)
    assert not low_rank.lora_b.any()
    assert low_rank.lora_a.abs().max() <= 1 / math.sqrt(768)  # Kaiming-uniform
    low_rank.start_as_official()
    for matrix in (low_rank.lora_a, low_rank.lora_b):
        assert matrix.std().item() == pytest.approx(math.sqrt(2 / (768 + 4)), rel=0.1)
        assert matrix.abs().max().item() > 2.5 * matrix.std().item()  # normal, not uniform


@pytest.mark.parametrize(
    ("options", "frozen"), [({}, True), ({"preset": "identity"}, True), ({"preset": "official"}, False)]
)
def test_only_the_official_start_leaves_the_frozen_sam(tiny_sam, options: dict, frozen: bool) -> None:
    before = embedding(tiny_sam)
    adapters.insert(tiny_sam, AdapterConfig("lora-qv", **options))
    parts = [part for layer in adapters.adapters_of(tiny_sam) for part in layer.parts.values()]
    assert len(parts) == 6
    assert all(bool(part.lora_b.any()) != frozen for part in parts)
    assert torch.equal(embedding(tiny_sam), before) == frozen


def test_it_merges(tiny_sam) -> None:
    before = embedding(tiny_sam)
    adapters.insert(tiny_sam, AdapterConfig("lora-qv", preset="official"))
    adapted = embedding(tiny_sam)
    merged = copy.deepcopy(tiny_sam)
    adapters.merge(merged)
    assert not adapters.adapters_of(merged)
    torch.testing.assert_close(embedding(merged), adapted, rtol=1e-5, atol=1e-5)
    adapters.remove(tiny_sam)
    assert torch.equal(embedding(tiny_sam), before)


def test_it_goes_through_a_file(tiny_sam, tmp_path: Path) -> None:
    path, config = tmp_path / "a.safetensors", AdapterConfig("lora-qv", preset="official")
    adapters.insert(tiny_sam, config)
    model, adapted = SemanticSam(tiny_sam, (1,)), embedding(tiny_sam)
    card = AdapterCard(tiny_sam.base_sha256, "tiny", 64, config, {1: "liver"}, (0.0, 1.0), "axial", 0.9)
    save_adapter(path, AdapterState(1, config, (1,), adapters.state(model)), card)
    adapters.remove(tiny_sam)
    again, read = load_adapter(path, tiny_sam)
    assert read.config.preset == "official"
    assert torch.equal(embedding(again.sam), adapted)


def test_a_card_from_before_there_was_a_choice_means_identity() -> None:
    old = {"method": "lora-qv", "rank": 4, "alpha": 4.0}
    assert AdapterConfig.from_dict(old) == AdapterConfig("lora-qv", preset="identity")


def test_there_is_no_rotation_without_a_mixing_layer() -> None:
    assert choices_of("lora-qv") == {"preset": ("identity", "official")}
    assert choices_of("cobot-lora")["preset"] == ("identity", "official", "unit")
    with pytest.raises(SamAdaptError, match="preset cannot be 'unit': use one of identity, official"):
        AdapterConfig("lora-qv", preset="unit")
