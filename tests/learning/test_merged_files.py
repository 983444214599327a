"""A model with merged adapters is a plain SAM: its weights are a checkpoint like any other."""

from pathlib import Path

import pytest
import torch
from torch import nn

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapter_file import AdapterCard, load_adapter, save_adapter
from napari_samadapt.learning.adapters import METHODS, AdapterConfig, AdapterState, CannotMergeError
from napari_samadapt.learning.merging import merge_file, save_merged
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.semantic import SemanticSam

from .conftest import make_tiny_sam

PLAIN = [method for method, text in METHODS.items() if text.merges_into == "plain weights"]
PIXELS = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def trained(sam: PromptableSam, method: str, **options: object) -> PromptableSam:
    """With adapters whose values are random."""
    torch.manual_seed(0)
    adapters.insert(sam, AdapterConfig(method, **options))
    for parameter in adapters.trainable(sam).values():
        nn.init.normal_(parameter, std=0.05)
    return sam


@torch.no_grad()
def embedding(sam: PromptableSam, pixels: torch.Tensor = PIXELS) -> torch.Tensor:
    return sam.encode(pixels)[0]


@pytest.mark.parametrize("method", PLAIN)
def test_a_plain_sam_takes_the_merged_weights(tiny_sam, method: str) -> None:
    merged = trained(tiny_sam, method)
    adapters.merge(merged)
    plain = make_tiny_sam().eval()
    assert list(plain.state_dict()) == list(merged.state_dict())
    plain.load_state_dict(merged.state_dict())
    assert torch.equal(embedding(plain), embedding(merged))


def test_a_merged_model_is_saved_and_loaded_as_a_checkpoint(tmp_path: Path) -> None:
    pixels = torch.randn(1, 3, 256, 256)
    sam = trained(load_sam("mini"), "cobot-lora", preset="official")
    before = embedding(sam, pixels)
    save_merged(tmp_path / "merged.pth", sam)
    again = load_sam(tmp_path / "merged.pth")
    assert torch.equal(embedding(sam, pixels), before), "the model keeps its adapters"
    adapters.merge(sam)
    assert torch.equal(embedding(again, pixels), embedding(sam, pixels))
    torch.testing.assert_close(embedding(again, pixels), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", [*PLAIN, "cobot-adaptformer"])
def test_b8_unmerging_brings_the_adapters_and_the_frozen_weights_back(tiny_sam, method: str) -> None:
    weights = {name: tensor.clone() for name, tensor in tiny_sam.state_dict().items()}
    plain = list(tiny_sam.modules())
    before, modules = embedding(trained(tiny_sam, method)), list(tiny_sam.modules())
    merged = adapters.merge(tiny_sam)
    assert (list(tiny_sam.modules()) == modules) == (method == "decoder-only")
    adapters.unmerge(tiny_sam, merged)
    assert list(tiny_sam.modules()) == modules
    assert torch.equal(embedding(tiny_sam), before)
    adapters.remove(tiny_sam)
    assert list(tiny_sam.modules()) == plain
    assert all(torch.equal(tensor, weights[name]) for name, tensor in tiny_sam.state_dict().items())


@pytest.mark.parametrize("method", ["ssf", "cobot-ssf"])
def test_shifts_of_the_neck_have_no_place_in_a_sam(tiny_sam, method: str) -> None:
    """The convolutions there have no bias: one that merging invented would be lost with the file."""
    sam = trained(tiny_sam, method, neck=True)
    before, modules = embedding(sam), list(sam.modules())
    with pytest.raises(CannotMergeError, match="no bias that could take the shift"):
        adapters.merge(sam)
    assert list(sam.modules()) == modules
    assert torch.equal(embedding(sam), before)


def test_a_folded_adaptformer_computes_what_it_did_bit_by_bit(tiny_sam) -> None:
    folded = trained(tiny_sam, "cobot-adaptformer", preset="official")
    before = embedding(folded)
    adapters.merge(folded)
    assert torch.equal(embedding(folded), before)


def test_what_stays_an_adapter_is_no_checkpoint(tiny_sam, tmp_path: Path) -> None:
    """Nor is a model for smaller inputs, whose position embeddings are resized."""
    sam = trained(load_sam("mini"), "cobot-adaptformer")
    with pytest.raises(CannotMergeError, match="use the adapter file"):
        save_merged(tmp_path / "sam.pth", sam)
    tiny_sam.model_type = "vit_b"
    with pytest.raises(CannotMergeError, match="inputs of 64 pixels"):
        save_merged(tmp_path / "sam.pth", trained(tiny_sam, "lora"))
    assert list(tmp_path.iterdir()) == []


def test_relative_positions_for_other_inputs_are_refused(tmp_path: Path) -> None:
    """They have another length: without a sentence of their own the file would be told to be damaged."""
    sam = trained(load_sam("mini"), "attention-tuning")
    longer = {
        name: torch.cat([tensor, tensor]) if ".rel_pos_" in name else tensor
        for name, tensor in adapters.state(SemanticSam(sam, (1,))).items()
    }
    state = AdapterState(1, AdapterConfig("attention-tuning"), (1,), longer)
    card = AdapterCard(sam.base_sha256, "mini", 512, state.config, {1: "liver"}, (0.0, 1.0), "axial")
    path = save_adapter(tmp_path / "a.safetensors", state, card)
    told = r"trained for inputs of 512 pixels.*takes 256.*rel_pos.*input_size=512"
    with pytest.raises(SamAdaptError, match=told):
        load_adapter(path, load_sam("mini"))
    with pytest.raises(SamAdaptError, match=told):
        merge_file(path, load_sam("mini"), tmp_path / "merged.pth")
    assert list(tmp_path.iterdir()) == [path]
