"""The enlargement inside the detail decoder, as matrix products."""

import pytest
import torch
import torch.nn.functional as F

from napari_samadapt.learning.detail_decoder import enlarge_by_products


@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("size", [(13, 16), (2, 5), (1, 1)])
def test_products_enlarge_as_bilinear_interpolation_does(times: int, size: tuple[int, int]) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *size, generator=rng, requires_grad=True)
    wanted = F.interpolate(x, scale_factor=times, mode="bilinear", align_corners=False)
    enlarged = enlarge_by_products(x, times)
    torch.testing.assert_close(enlarged, wanted, rtol=1e-6, atol=1e-6)
    weight = torch.randn(wanted.shape, generator=rng)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (enlarged, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=4e-6)


def test_half_precision_enlarges_to_its_rounding() -> None:
    x = torch.rand(1, 2, 26, 32, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        enlarged = enlarge_by_products(x, 4)
    assert enlarged.dtype == torch.bfloat16
    torch.testing.assert_close(enlarged.float(), wanted, rtol=0, atol=2**-7)
