import pytest
import torch
from segment_anything.modeling.image_encoder import Attention

from napari_samadapt.learning.attention import FusedAttention


@pytest.mark.parametrize(("side", "width", "heads"), [(4, 32, 4), (7, 24, 3), (16, 40, 5)])
def test_equals_attention_with_the_full_bias(side: int, width: int, heads: int) -> None:
    torch.manual_seed(0)
    plain = Attention(width, heads, use_rel_pos=True, input_size=(side, side)).double()
    for table in (plain.rel_pos_h, plain.rel_pos_w):
        torch.nn.init.normal_(table)
    fused = FusedAttention(width, heads, use_rel_pos=True, input_size=(side, side)).double()
    fused.load_state_dict(plain.state_dict())
    x = torch.randn(2, side, side, width, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(fused(x), plain(x), rtol=0, atol=1e-12)
    gradients = [
        torch.autograd.grad(layer(x).square().sum(), [x, layer.rel_pos_h]) for layer in (plain, fused)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-10)


def test_position_tables_of_another_size_are_interpolated_as_before() -> None:
    torch.manual_seed(0)
    plain = Attention(32, 4, use_rel_pos=True, input_size=(4, 4))
    torch.nn.init.normal_(plain.rel_pos_h)
    fused = FusedAttention(32, 4, use_rel_pos=True, input_size=(4, 4))
    fused.load_state_dict(plain.state_dict())
    x = torch.randn(1, 6, 6, 32)
    torch.testing.assert_close(fused(x), plain(x))
