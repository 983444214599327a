"""Conv-LoRA and LoRA against the paper's and the official code's reference values."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from napari_samadapt.learning.adapters.conv_lora import ConvLoRALinear
from napari_samadapt.learning.adapters.gating import BALANCE_COEFFICIENT, expected_load, squared_variation
from napari_samadapt.learning.adapters.lora import LoRALinear

HOST_READS = {"nonzero", "_local_scalar_dense", "item", "is_nonzero", "equal", "masked_select"}


class RefuseHostReads(TorchDispatchMode):
    """Raises at operations that make the host wait for a value from the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().removeprefix("aten::").split(".")[0]
        masks = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        assert name not in HOST_READS | ({name} if masks else set()), f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


def make_layer(width: int = 16, seed: int = 0, alpha: float = 32, **options) -> ConvLoRALinear:
    torch.manual_seed(seed)
    return ConvLoRALinear(nn.Linear(width, 3 * width), rank=3, alpha=alpha, **options)


def awake(layer: ConvLoRALinear) -> ConvLoRALinear:
    """Random values where training starts at zero."""
    gate = [] if layer.gate is None else [layer.gate.weight]
    bias = [] if layer.experts.bias is None else [layer.experts.bias]
    with torch.no_grad():
        for parameter in (layer.lora_b, *gate, *bias):
            parameter.normal_(std=0.5)
    return layer


def one_by_one(layer: ConvLoRALinear, z: torch.Tensor) -> torch.Tensor:
    """Every expert on every item: maps (B, H, W, r) to (B, n, H, W, r)."""
    count = len(layer.experts.scales)
    return torch.stack([layer.experts(z, torch.full((len(z),), i)) for i in range(count)], 1)


@pytest.mark.parametrize(("shape", "rows"), [((50, 14, 14), 50), ((2, 8, 8), 2)])
def test_a4_one_expert_for_each_leading_item(shape: tuple[int, int, int], rows: int) -> None:
    layer = awake(make_layer())
    x, choices = torch.randn(*shape, 16), []
    layer.gate.register_forward_hook(lambda _gate, _inputs, choice: choices.append(choice))
    assert not torch.equal(layer.train()(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))
    for choice in choices:
        assert choice.experts.shape == (rows, 1)
        assert torch.equal(choice.weights, torch.ones(rows, 1))
    pooled = (x @ layer.lora_a.T).mean((1, 2))
    assert torch.equal(choices[-1].experts[:, 0], (pooled @ layer.gate.weight[0]).argmax(1))


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
    layer = awake(make_layer()).double().train()
    x = torch.randn(10, 5, 5, 16, dtype=torch.float64)
    gate = [layer.gate.weight]
    for task in torch.autograd.grad(layer(x).square().mean(), gate, allow_unused=True):
        assert task is None or not task.any()
    layer(x)
    assert layer.balance_loss is not None
    assert layer.scores is not None
    importance = layer.scores.noisy.argmax(1).bincount(minlength=8).double()
    terms = [squared_variation(v) for v in (importance, expected_load(layer.scores, 1).sum(0))]
    assert layer.balance_loss.item() == pytest.approx(BALANCE_COEFFICIENT * sum(terms).item(), rel=1e-6)
    ours = torch.autograd.grad(layer.balance_loss, [*gate, layer.lora_a], retain_graph=True)
    of_load = torch.autograd.grad(BALANCE_COEFFICIENT * terms[1], [*gate, layer.lora_a])
    for gradient, wanted in zip(ours, of_load, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-14)  # the importance adds none
    assert [bool(gradient.any()) for gradient in (*ours[0], ours[1])] == [True] * 3  # W_g, W_n and W_e
    layer.eval()(x)
    assert layer.balance_loss is not None
    assert not layer.balance_loss.requires_grad


def naive_expert(experts: nn.Module, index: int, maps: torch.Tensor) -> torch.Tensor:
    """The definition on (1, r, H, W): up-scale the map, convolve, GELU, scale it back."""
    size, scale = maps.shape[-2:], experts.scales[index]
    up = F.interpolate(maps, size=[scale * n for n in size], mode="bicubic")
    y = F.gelu(F.conv2d(up, experts.weight[index].permute(0, 3, 2, 1), experts.bias[index], padding=1))
    return F.interpolate(y, size=size, mode="bicubic")


@pytest.mark.parametrize("shape", [(50, 14, 14), (2, 64, 64), (3, 9, 12)])
def test_a11_the_layer_is_its_formula(shape: tuple[int, int, int]) -> None:
    layer = awake(make_layer()).double().eval()
    x = torch.randn(*shape, 16, dtype=torch.float64)
    z = (x @ layer.lora_a.T).permute(0, 3, 1, 2)
    choice = (z.mean((2, 3)) @ layer.gate.weight[0]).argmax(1).tolist()
    mixed = torch.cat([naive_expert(layer.experts, c, z[i : i + 1]) for i, c in enumerate(choice)])
    expected = layer.base(x) + 32 / 3 * ((z + mixed).permute(0, 2, 3, 1) @ layer.lora_b.T)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-12)


def test_a11_without_experts_it_is_lora() -> None:
    layer = awake(make_layer()).eval()
    plain = LoRALinear(layer.base, 3, 32)
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if k in plain.state_dict()})
    nn.init.zeros_(layer.experts.weight)
    nn.init.zeros_(layer.experts.bias)
    x = torch.randn(4, 7, 7, 16)
    assert torch.equal(layer(x), plain(x))


def test_a12_scale_is_alpha_over_rank() -> None:
    layer, double = (awake(make_layer(alpha=alpha)).double().eval() for alpha in (32, 64))
    assert layer.scale == pytest.approx(32 / 3, rel=1e-15)
    x = torch.randn(2, 5, 5, 16, dtype=torch.float64)
    change = layer(x) - layer.base(x)
    torch.testing.assert_close(double(x) - double.base(x), 2 * change, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a13_large_activations_come_out_as_they_are(k: int, dtype: torch.dtype) -> None:
    """Two experts that are GELU alone: 100 stays, -200 becomes 0, whichever is chosen or both."""
    layer = awake(make_layer(scales=(1, 1), top_k=k)).to(dtype).eval()
    with torch.no_grad():
        layer.experts.bias.zero_()
        layer.experts.weight.zero_()[:, :, 1, 1] = torch.eye(3)
    maps = torch.tensor([100.0, -200.0, 0.0], dtype=dtype).expand(2, 4, 5, 3)
    torch.testing.assert_close(layer._mixture(maps), maps.clamp_min(0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("k", [2, 3, 8])
@pytest.mark.parametrize("training", [False, True])
def test_a13_top_k_is_the_sum_weighted_by_the_gates(k: int, training: bool) -> None:
    layer = awake(make_layer(top_k=k)).double().train(training)
    z = torch.randn(3, 6, 6, 3, dtype=torch.float64)
    torch.manual_seed(1)
    choice = layer.gate(z.mean((1, 2)))
    torch.testing.assert_close(choice.weights.sum(1), torch.ones(3).double())
    gates = torch.zeros(3, 8).double().scatter(1, choice.experts, choice.weights)
    assert (gates > 0).sum(1).tolist() == [k, k, k]
    expected = (gates[..., None, None, None] * one_by_one(layer, z)).sum(1)
    torch.manual_seed(1)
    torch.testing.assert_close(layer._mixture(z), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2])
def test_no_operation_waits_for_the_device(k: int) -> None:
    layer = awake(make_layer(top_k=k)).train()
    x = torch.randn(6, 7, 7, 16)
    layer(x)  # makes the constant matrices
    with RefuseHostReads():
        for read in (lambda: x.sum().item(), lambda: x.nonzero(), lambda: x[x > 0], lambda: bool(x.any())):
            with pytest.raises(AssertionError, match="waits for the device"):
                read()
        (layer(x).square().mean() + layer.balance_loss).backward()
        layer.eval()(x)
    assert all(
        parameter.grad is not None for name, parameter in layer.named_parameters() if "base" not in name
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


@pytest.mark.parametrize("reentrant", [False, True])
def test_a16_activation_checkpointing_gives_the_same_loss_and_gradients(reentrant: bool) -> None:
    layer = awake(make_layer()).double().train()
    x = torch.randn(9, 5, 5, 16, dtype=torch.float64, requires_grad=True)
    gradients = []
    for forward in (layer, lambda x: checkpoint(layer, x, use_reentrant=reentrant)):
        torch.manual_seed(3)
        loss = forward(x).square().mean()
        balance = layer.balance_loss
        assert balance is not None
        layer.scores = None
        total = loss + balance if not reentrant else loss
        layer.zero_grad()
        total.backward()
        assert layer.balance_loss is None, "running a block again for its gradients counted its loss twice"
        gradients.append([balance.detach(), layer.lora_a.grad.clone(), layer.experts.weight.grad.clone()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("scale", [1, 2, 5])
def test_a21_a_single_expert_needs_no_routing(scale: int) -> None:
    layer = awake(make_layer(scales=(scale,))).train()
    x = torch.randn(4, 6, 6, 16)
    z = x @ layer.lora_a.T
    expected = layer.added_to(layer.base, x, z + one_by_one(layer, z)[:, 0])
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
    assert layer.gate is None
    assert layer.balance_loss is None


def test_multi_scale_sums_all_experts() -> None:
    layer = awake(make_layer(scales=(1, 2, 4), gated=False)).train()
    z = torch.randn(4, 6, 6, 3)
    torch.testing.assert_close(layer._mixture(z), one_by_one(layer, z).sum(1))
    assert layer.gate is None


def test_a_chosen_set_of_scales_is_routed() -> None:
    layer = awake(make_layer(scales=(1, 2, 4)))
    assert layer.gate.weight.shape == (2, 3, 3)
    assert layer.experts.scales == (1, 2, 4)


def test_paper_literal_is_equations_2_and_3() -> None:
    layer = awake(make_layer(paper_literal=True)).eval()
    assert layer.scale == 1
    assert layer.gate.noise_epsilon == 0
    assert layer.experts.bias is None
    x = torch.randn(5, 7, 7, 16)
    z = x @ layer.lora_a.T
    experts = []
    for weight, scale in zip(layer.experts.weight, layer.experts.scales, strict=True):
        up = F.interpolate(z.permute(0, 3, 1, 2), size=(7 * scale, 7 * scale), mode="bicubic")
        down = F.interpolate(F.conv2d(up, weight.permute(0, 3, 2, 1), padding=1), size=(7, 7), mode="bicubic")
        experts.append(down.permute(0, 2, 3, 1))
    chosen = F.one_hot((z.mean((1, 2)) @ layer.gate.weight[0]).argmax(1), 8)
    mixed = torch.einsum("bn,nbhwr->bhwr", chosen.float(), torch.stack(experts))
    torch.testing.assert_close(layer(x), layer.base(x) + mixed @ layer.lora_b.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"scales": ()}, {"scales": (0, 1)}, {"top_k": 0}, {"experts": 0}])
def test_impossible_options_are_refused(options) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        make_layer(**options)


def test_initial_values_have_the_official_bounds() -> None:
    layer = make_layer(width=768)
    assert layer.lora_a.abs().max().item() == pytest.approx(1 / math.sqrt(768), rel=0.05)
    assert not layer.lora_b.any()
    assert layer.experts.weight.abs().max().item() == pytest.approx(1 / math.sqrt(27), rel=0.05)
    assert not layer.gate.weight.any()
    assert not layer.experts.bias.any()
    layer.train()(torch.randn(2, 3, 3, 768))
    assert layer.scores is not None
    assert layer.scores.deviation.tolist() == [pytest.approx([math.log(2) + 0.01] * 8, rel=1e-6)] * 2
