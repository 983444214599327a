"""Conv-LoRA's experts without resampling against their definition, which resamples."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_samadapt.learning.adapters.conv_experts import ConvExperts, _interpolation

SCALES = tuple(range(1, 9))
GRIDS = [(14, 14), (16, 16), (32, 32), (64, 64), (8, 8), (16, 11), (5, 32)]


def naive_expert(experts: ConvExperts, index: int, z: torch.Tensor) -> torch.Tensor:
    """The definition on (B, H, W, r): up-scale the map, convolve, GELU, scale it back."""
    scale, maps = experts.scales[index], z.permute(0, 3, 1, 2)
    up = F.interpolate(maps, scale_factor=scale, mode=experts.mode) if scale > 1 else maps
    y = F.conv2d(
        up,
        experts.weight[index].permute(0, 3, 2, 1),
        None if experts.bias is None else experts.bias[index],
        padding=1,
    )
    y = F.gelu(y) if experts.activation else y
    y = F.interpolate(y, size=maps.shape[-2:], mode=experts.mode) if scale > 1 else y
    return y.permute(0, 2, 3, 1)


def make_experts(rank: int = 3, scales: tuple[int, ...] = SCALES, **options) -> ConvExperts:
    torch.manual_seed(0)
    experts = ConvExperts(rank, scales, **options)
    if experts.bias is not None:
        nn.init.normal_(experts.bias)
    return experts


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("activation", [True, False])
def test_experts_without_resampling_equal_the_definition(grid: tuple[int, int], mode, activation) -> None:
    experts = make_experts(mode=mode, activation=activation)
    z, every = torch.randn(8, *grid, 3), torch.arange(8)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        experts, z = experts.to(dtype), z.to(dtype)
        ours = experts(z, every)
        definition = torch.cat([naive_expert(experts, i, z[i : i + 1]) for i in range(8)])
        torch.testing.assert_close(ours, definition, rtol=0, atol=tolerance)


@pytest.mark.parametrize("grid", [(7, 9), (14, 14), (16, 16), (5, 32)])
@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("activation", [True, False])
def test_gradients_equal_the_definitions_expert_by_expert(grid: tuple[int, int], mode, activation) -> None:
    experts = make_experts(mode=mode, activation=activation).double()
    z = torch.randn(8, *grid, 3, dtype=torch.float64, requires_grad=True)
    wanted = [z, *experts.parameters()]
    ours = torch.autograd.grad(experts(z, torch.arange(8)).square().mean(), wanted)
    definition = torch.cat([naive_expert(experts, i, z[i : i + 1]) for i in range(8)])
    for a, b in zip(ours, torch.autograd.grad(definition.square().mean(), wanted), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_every_item_gets_its_own_expert() -> None:
    experts = make_experts(rank=2, scales=(4, 1, 3)).double()
    z, chosen = torch.randn(5, 6, 6, 2, dtype=torch.float64), torch.tensor([2, 0, 0, 1, 2])
    for item, index in enumerate(chosen.tolist()):
        expected = naive_expert(experts, index, z[item : item + 1])[0]
        torch.testing.assert_close(experts(z, chosen)[item], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", SCALES)
def test_a9_odd_scales_of_an_identity_change_nothing(scale: int) -> None:
    experts = make_experts(rank=1, scales=(scale,), activation=False).double()
    with torch.no_grad():
        experts.weight.zero_()[..., 1, 1, :] = 1
    z = torch.randn(1, 9, 9, 1, dtype=torch.float64)
    difference = (experts(z, torch.tensor([0])) - z).abs().max()
    assert (difference < 1e-12) == (scale % 2 == 1)


def test_a9_round_trip_reference_values() -> None:
    experts = make_experts(rank=1, scales=(2,), activation=False).double()
    with torch.no_grad():
        experts.weight.zero_()[..., 1, 1, :] = 1
    x = (torch.arange(16, dtype=torch.float64) / 10).square().reshape(1, 4, 4, 1)
    up = _interpolation(4, 8, "bicubic")
    assert (up @ x[0, ..., 0] @ up.T)[0, :4].tolist() == pytest.approx(
        [-0.0170397949, -0.0172790527, -0.0179406738, -0.0117236328], abs=1e-10
    )
    for mode, expected in (
        ("bicubic", [-0.0040256453, 0.0055801153, 0.0360995722, 0.0856662703]),
        ("bilinear", [0.0225, 0.0425, 0.0825, 0.1325]),
    ):
        experts.mode = mode
        assert experts(x, torch.tensor([0]))[0, 0, :, 0].tolist() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ("scale", "activation", "first", "last"),
    [
        (1, True, 0.0242018257, 0.5436885728),
        (2, True, 0.0020551922, 1.3395526857),
        (3, True, 0.0011490280, 2.1462111947),
        (1, False, 0.0466666667, 0.7133333333),
    ],
)
def test_a10_expert_reference_values(scale: int, activation: bool, first: float, last: float) -> None:
    experts = ConvExperts(1, (scale,), activation).double()
    nn.init.constant_(experts.weight, 1 / 9)
    x = (torch.arange(16, dtype=torch.float64).reshape(1, 4, 4, 1) / 10) ** 2
    y = experts(x, torch.tensor([0])).flatten()
    assert y[0].item() == pytest.approx(first, abs=1e-10)
    assert y[-1].item() == pytest.approx(last, abs=1e-10)


def test_matrices_made_in_inference_mode_serve_training() -> None:
    experts = make_experts(scales=(2,))
    z = torch.randn(1, 3, 17, 3, requires_grad=True)
    with torch.inference_mode():
        experts(z.detach(), torch.tensor([0]))
    experts(z, torch.tensor([0])).sum().backward()
    assert z.grad is not None
