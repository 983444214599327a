"""Conv-LoRA and LoRA inside a SAM encoder."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.sam import VIT_SHAPES, VitShape, build_vit


def rouse(sam) -> None:
    """Random values where training starts at zero."""
    for parameter in adapters.trainable(sam).values():
        nn.init.normal_(parameter, std=0.02)


@pytest.mark.parametrize("method", ["lora", "conv-lora", "decoder-only"])
@pytest.mark.parametrize("training", [False, True])
def test_a1_inserting_changes_nothing_at_first(tiny_sam, method: str, training: bool) -> None:
    pixels = torch.randn(2, 3, 64, 64)
    before, _ = tiny_sam.encode(pixels)
    adapters.insert(tiny_sam, AdapterConfig(method))
    tiny_sam.train(training)
    after, _ = tiny_sam.encode(pixels)
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    ("name", "lora", "conv_lora"),
    [("vit_b", 110_592, 119_232), ("vit_l", 294_912, 312_192), ("vit_h", 491_520, 514_560)],
)
def test_a2_trainable_parameters_equal_the_papers(name: str, lora: int, conv_lora: int) -> None:
    for method, count in (("lora", lora), ("conv-lora", conv_lora)):
        with torch.device("meta"):
            sam = build_vit(VIT_SHAPES[name], 1024, name)
            adapters.insert(sam, AdapterConfig(method))
        assert sum(p.numel() for p in adapters.trainable(sam).values()) == count


def test_a15_lora_merges_and_conv_lora_refuses(tiny_sam) -> None:
    other = copy.deepcopy(tiny_sam)
    adapters.insert(tiny_sam, AdapterConfig("lora"))
    for layer in adapters.adapters_of(tiny_sam):
        nn.init.normal_(layer.lora_b, std=0.02)
    pixels = torch.randn(1, 3, 64, 64)
    expected, _ = tiny_sam.encode(pixels)
    adapters.merge(tiny_sam)
    assert not adapters.adapters_of(tiny_sam)
    torch.testing.assert_close(tiny_sam.encode(pixels)[0], expected, rtol=1e-5, atol=1e-5)
    adapters.insert(other, AdapterConfig("conv-lora"))
    with pytest.raises(TypeError, match="cannot be merged"):
        adapters.merge(other)


def test_a16_the_balance_loss_is_collected_once(tiny_sam) -> None:
    """It is that of the last forward alone, summed over the blocks, and asked for once."""
    adapters.insert(tiny_sam, AdapterConfig("conv-lora"))
    rouse(tiny_sam.train())
    pixels, totals = torch.randn(2, 3, 64, 64), []
    for earlier in (0, 1):
        for _ in range(earlier):
            tiny_sam.encode(torch.randn(3, 3, 64, 64))
        torch.manual_seed(0)
        tiny_sam.encode(pixels)
        terms = [layer.balance_loss for layer in adapters.adapters_of(tiny_sam)]
        assert len(terms) == 3
        total = adapters.pop_balance_loss(tiny_sam)
        assert total.item() == pytest.approx(sum(term.item() for term in terms), rel=1e-6)
        assert float(adapters.pop_balance_loss(tiny_sam)) == 0
        totals.append(total.item())
    assert totals[0] == totals[1]


def test_a16_the_same_loss_with_activation_checkpointing(tiny_sam) -> None:
    adapters.insert(tiny_sam, AdapterConfig("conv-lora"))
    rouse(tiny_sam)
    pixels, found = torch.randn(2, 3, 64, 64), []
    for use_reentrant in (None, False, True):
        torch.manual_seed(0)
        tokens = tiny_sam.train().encode_prefix(pixels, 0).tokens.requires_grad_(True)
        for block in tiny_sam.image_encoder.blocks:
            run = block if use_reentrant is None else partial(checkpoint, block, use_reentrant=use_reentrant)
            tokens = run(tokens)
        loss = adapters.pop_balance_loss(tiny_sam).item()
        tokens.square().mean().backward()
        found.append((loss, adapters.pop_balance_loss(tiny_sam).item()))
    assert found[0][0] > 0
    assert found == [(found[0][0], 0.0)] * 3


def test_a4_routes_windows_one_by_one_and_whole_images_in_global_blocks(tiny_sam) -> None:
    adapters.insert(tiny_sam, AdapterConfig("conv-lora"))
    rows: list[int] = []
    for layer in adapters.adapters_of(tiny_sam):
        layer.gate.register_forward_hook(lambda _gate, inputs, _choice: rows.append(len(inputs[0])))
    tiny_sam.encode(torch.randn(2, 3, 64, 64))
    assert rows == [2 * 4, 2 * 4, 2]  # 4 x 4 tokens are cut into 2 x 2 windows of 3


def test_a4_images_of_1024_pixels_have_25_windows_each() -> None:
    """64 x 64 tokens are padded to 70 x 70 and cut into 5 x 5 windows of 14."""
    sam = build_vit(VitShape(width=8, depth=2, heads=1, global_blocks=(1,)), 1024, "narrow")
    adapters.insert(sam, AdapterConfig("conv-lora"))
    rouse(sam)
    choices, tokens = [], torch.randn(2, 64, 64, 8)
    for block, layer in zip(sam.image_encoder.blocks, adapters.adapters_of(sam), strict=True):
        layer.gate.register_forward_hook(lambda _gate, _inputs, choice: choices.append(choice))
        block(tokens)
    for choice, rows in zip(choices, (2 * 25, 2), strict=True):
        assert choice.experts.shape == (rows, 1)
        assert torch.equal(choice.weights, torch.ones(rows, 1))


@pytest.mark.parametrize("method", ["lora", "conv-lora"])
def test_a3_only_the_adapters_learn(tiny_sam, method: str) -> None:
    adapters.insert(tiny_sam, AdapterConfig(method))
    rouse(tiny_sam)
    names = adapters.trainable(tiny_sam)
    assert all(".qkv." in name and ".base." not in name for name in names)
    before = copy.deepcopy(tiny_sam.state_dict())
    optimizer = torch.optim.AdamW(names.values(), lr=0.1)
    features, _ = tiny_sam.train().encode(torch.randn(1, 3, 64, 64))
    (features.square().mean() + adapters.pop_balance_loss(tiny_sam)).backward()
    optimizer.step()
    changed = {
        name for name, tensor in tiny_sam.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert changed == set(names)


def test_a22_removing_gives_the_original_layers_back(tiny_sam) -> None:
    originals = [block.attn.qkv for block in tiny_sam.image_encoder.blocks]
    pixels = torch.randn(1, 3, 64, 64)
    before, _ = tiny_sam.encode(pixels)
    adapters.insert(tiny_sam, AdapterConfig("conv-lora"))
    for layer in adapters.adapters_of(tiny_sam):
        nn.init.normal_(layer.lora_b)
    assert not torch.equal(tiny_sam.encode(pixels)[0], before)
    adapters.remove(tiny_sam)
    assert [block.attn.qkv for block in tiny_sam.image_encoder.blocks] == originals
    assert torch.equal(tiny_sam.encode(pixels)[0], before)


def test_a22_saved_tensors_give_the_same_output(tiny_sam) -> None:
    other = copy.deepcopy(tiny_sam)
    pixels = torch.randn(1, 3, 64, 64)
    for sam in (tiny_sam, other):
        adapters.insert(sam, AdapterConfig("conv-lora"))
    rouse(tiny_sam)
    adapters.load(other, adapters.state(tiny_sam))
    assert torch.equal(other.encode(pixels)[0], tiny_sam.encode(pixels)[0])
