"""Conv-LoRA and LoRA against the paper's and the official code's reference values."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.adapters.conv_lora import (
    ConvExpert,
    ConvLoRALinear,
    expected_load,
    squared_variation,
)
from napari_samadapt.learning.adapters.lora import LoRALinear
from napari_samadapt.learning.sam import VIT_SHAPES, build_vit


def naive_expert(expert: ConvExpert, z: torch.Tensor) -> torch.Tensor:
    """The definition: up-scale the map, convolve, GELU, scale it back."""
    up = F.interpolate(z, scale_factor=expert.scale, mode="bicubic") if expert.scale > 1 else z
    y = F.gelu(F.conv2d(up, expert.conv.weight, expert.conv.bias, padding=1))
    return F.interpolate(y, size=z.shape[-2:], mode="bicubic") if expert.scale > 1 else y


def awake(layer: ConvLoRALinear) -> ConvLoRALinear:
    """Random values where training starts at zero."""
    with torch.no_grad():
        for parameter in (layer.lora_b, layer.gate, layer.noise, *(e.conv.bias for e in layer.experts)):
            parameter.normal_(std=0.5)
    return layer


def make_layer(width: int = 16, seed: int = 0, **options: int) -> ConvLoRALinear:
    torch.manual_seed(seed)
    return ConvLoRALinear(nn.Linear(width, 3 * width), rank=3, alpha=32, **options)


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


@pytest.mark.parametrize(("shape", "rows"), [((50, 14, 14), 50), ((2, 8, 8), 2)])
def test_a4_one_expert_for_each_leading_item(shape: tuple[int, int, int], rows: int) -> None:
    layer = awake(make_layer())
    pooled = torch.randn(rows, 3)
    for mode in (True, False):
        gates = layer.train(mode)._gates(pooled)
        assert gates.shape == (rows, 8)
        assert torch.equal(gates.sum(1), torch.ones(rows))
        assert torch.equal(gates.amax(1), torch.ones(rows))
    assert torch.equal(layer._gates(pooled).argmax(1), (pooled @ layer.gate).argmax(1))
    x = torch.randn(*shape, 16)
    assert torch.equal(layer.eval()(x), layer(x))
    assert not torch.equal(layer.train()(x), layer(x))


def test_a5_a_window_only_sees_itself() -> None:
    layer = awake(make_layer()).eval()
    x = torch.randn(6, 5, 5, 16)
    other = x.clone()
    other[2] += 1
    changed = (layer(x) != layer(other)).flatten(1).any(1)
    assert changed.tolist() == [False, False, True, False, False, False]
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(layer(x[order]), layer(x)[order])


def test_a6_only_the_load_trains_the_gate() -> None:
    layer = awake(make_layer()).train()
    x = torch.randn(10, 5, 5, 16)
    (task,) = torch.autograd.grad(layer(x).square().mean(), [layer.gate], allow_unused=True)
    assert task is None or not task.any()
    layer(x)
    assert layer.balance_loss is not None
    for gradient in torch.autograd.grad(layer.balance_loss, [layer.gate, layer.noise]):
        assert gradient.any()
    layer.eval()(x)
    assert layer.balance_loss is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([8, 0, 0, 0, 0, 0, 0, 0], 8),
        ([1, 1, 1, 1], 0),
        ([3, 1, 0, 0], 2),
        ([2, 1, 1, 0, 0, 0, 0, 0], 16 / 7),
        ([1, 1, 0], 0.75),
        ([5], 0),
    ],
)
def test_a7_squared_variation(values: list[int], expected: float) -> None:
    assert float(squared_variation(torch.tensor(values, dtype=torch.float64))) == pytest.approx(expected)


def test_a8_load() -> None:
    clean = torch.tensor([[1, 0, -1], [0.2, 0.1, 0.3]], dtype=torch.float64)
    noisy = torch.tensor([[1.2, -0.1, -0.7], [-0.2, 0.6, 0.1]], dtype=torch.float64)
    load = expected_load(clean, noisy, torch.full_like(clean, 0.5), k=1)
    expected = torch.tensor([[0.986097, 0.0081975, 5.424e-6], [0.211855, 0.5, 0.274253]], dtype=torch.float64)
    torch.testing.assert_close(load, expected, rtol=0, atol=1e-6)
    assert float(squared_variation(load.sum(0))) == pytest.approx(0.529204, abs=1e-6)
    clean, deviation = torch.tensor([[0.2, 0.1, 0.3, -0.4]]), torch.tensor([[0.5, 0.3, 0.4, 0.6]])
    noisy = clean + deviation * torch.tensor([[0.3, -1, 0.2, 0.9]])
    expected = torch.tensor([[0.359424, 0.175324, 0.450262, 0.096800]])
    torch.testing.assert_close(expected_load(clean, noisy, deviation, k=1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", range(1, 9))
@pytest.mark.parametrize("size", [(14, 14), (8, 8), (16, 11), (5, 32)])
def test_experts_without_resampling_equal_the_definition(scale: int, size: tuple[int, int]) -> None:
    torch.manual_seed(scale)
    expert = ConvExpert(3, scale).double()
    nn.init.normal_(expert.conv.bias)
    z = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    ours, definition = expert(z), naive_expert(expert, z)
    torch.testing.assert_close(ours, definition, rtol=0, atol=1e-10)
    wanted = [z, expert.conv.weight]
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), wanted), torch.autograd.grad(definition.square().sum(), wanted),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("scale", "first", "last"),
    [
        (1, 0.0242018257, 0.5436885728),
        (2, 0.0020551922, 1.3395526857),
        (3, 0.0011490280, 2.1462111947),
    ],
)
def test_a10_expert_reference_values(scale: int, first: float, last: float) -> None:
    expert = ConvExpert(1, scale).double()
    nn.init.constant_(expert.conv.weight, 1 / 9)
    x = (torch.arange(16, dtype=torch.float64).reshape(1, 1, 4, 4) / 10) ** 2
    y = expert(x).flatten()
    assert y[0].item() == pytest.approx(first, abs=1e-7)
    assert y[-1].item() == pytest.approx(last, abs=1e-7)


@pytest.mark.parametrize("shape", [(50, 14, 14), (2, 20, 20)])
def test_a11_the_layer_is_its_formula(shape: tuple[int, int, int]) -> None:
    layer = awake(make_layer()).eval()
    x = torch.randn(*shape, 16)
    z = (x @ layer.lora_a.T).permute(0, 3, 1, 2)
    choice = (z.mean((2, 3)) @ layer.gate).argmax(1)
    mixed = torch.stack([naive_expert(layer.experts[int(c)], z[i : i + 1])[0] for i, c in enumerate(choice)])
    expected = layer.base(x) + 32 / 3 * ((z + mixed).permute(0, 2, 3, 1) @ layer.lora_b.T)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-4)


def test_a11_without_experts_it_is_lora() -> None:
    layer = awake(make_layer()).eval()
    plain = LoRALinear(layer.base, 3, 32)
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if k in plain.state_dict()})
    for expert in layer.experts:
        nn.init.zeros_(expert.conv.weight)
        nn.init.zeros_(expert.conv.bias)
    x = torch.randn(4, 7, 7, 16)
    assert torch.equal(layer(x), plain(x))


def test_a12_scale_is_alpha_over_rank() -> None:
    layer = awake(make_layer()).eval()
    assert layer.scale == pytest.approx(10.66667, abs=1e-5)
    x = torch.randn(2, 5, 5, 16)
    change = layer(x) - layer.base(x)
    layer.scale *= 2
    torch.testing.assert_close(layer(x) - layer.base(x), 2 * change, rtol=1e-4, atol=1e-5)


def test_a13_large_activations_stay_finite_and_top_2_is_a_weighted_sum() -> None:
    expert = ConvExpert(1, 1)
    assert torch.isfinite(expert(torch.tensor([[[[100.0, -200.0]]]]))).all()
    layer = awake(make_layer(top_k=2)).eval()
    maps = torch.randn(3, 3, 6, 6)
    gates = layer._gates(maps.mean((2, 3)))
    assert (gates > 0).sum(1).tolist() == [2, 2, 2]
    every = torch.stack([naive_expert(e, maps) for e in layer.experts], 1)
    torch.testing.assert_close(
        layer._mixture(maps, gates), (gates[..., None, None, None] * every).sum(1), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a14_runs_in_other_types(dtype: torch.dtype) -> None:
    layer = awake(make_layer()).to(dtype).train()
    assert layer(torch.randn(9, 6, 6, 16, dtype=dtype)).dtype == dtype
    assert layer.balance_loss is not None
    assert layer.balance_loss.dtype == torch.float32


def test_a14_runs_under_autocast() -> None:
    layer = awake(make_layer()).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(layer(torch.randn(9, 6, 6, 16))).all()
    assert layer.balance_loss is not None
    assert layer.balance_loss.dtype == torch.float32


def test_a15_lora_merges_and_conv_lora_refuses(tiny_sam) -> None:
    other = copy.deepcopy(tiny_sam)
    adapters.insert(tiny_sam, AdapterConfig("lora"))
    for layer in adapters.adapters_of(tiny_sam):
        nn.init.normal_(layer.lora_b, std=0.02)
    pixels = torch.randn(1, 3, 64, 64)
    expected, _ = tiny_sam.encode(pixels)
    adapters.merge(tiny_sam)
    assert not adapters.adapters_of(tiny_sam)
    torch.testing.assert_close(tiny_sam.encode(pixels)[0], expected, rtol=1e-4, atol=1e-5)
    adapters.insert(other, AdapterConfig("conv-lora"))
    with pytest.raises(TypeError, match="cannot be merged"):
        adapters.merge(other)


def test_a16_the_balance_loss_is_collected_once(tiny_sam) -> None:
    adapters.insert(tiny_sam, AdapterConfig("conv-lora"))
    tiny_sam.train()
    tiny_sam.encode(torch.randn(1, 3, 64, 64))
    tiny_sam.encode(torch.randn(1, 3, 64, 64))
    terms = [layer.balance_loss for layer in adapters.adapters_of(tiny_sam)]
    assert len(terms) == 3
    total = adapters.pop_balance_loss(tiny_sam)
    assert total.item() == pytest.approx(sum(term.item() for term in terms))
    assert float(adapters.pop_balance_loss(tiny_sam)) == 0


def test_a21_a_single_expert_needs_no_routing() -> None:
    layer = awake(make_layer(experts=1)).train()
    x = torch.randn(4, 6, 6, 16)
    assert torch.equal(layer(x), layer(x))
    assert layer.balance_loss is None


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


def test_initial_values_have_the_official_bounds() -> None:
    layer = make_layer(width=768)
    assert layer.lora_a.abs().max().item() == pytest.approx(1 / math.sqrt(768), rel=0.05)
    assert not layer.lora_b.any()
    weights = torch.cat([e.conv.weight.flatten() for e in layer.experts])
    assert weights.abs().max().item() == pytest.approx(1 / math.sqrt(27), rel=0.05)
    assert not layer.gate.any()
