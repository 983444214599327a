"""What is written of the pretrained detail path."""

import math

import torch

from napari_samadapt.learning.detail_decoder import DetailDecoder
from napari_samadapt.learning.sam import load_sam
from training.train_detail import at_fresh_size


def test_features_of_fresh_size_say_the_same() -> None:
    torch.manual_seed(0)
    decoder = DetailDecoder(load_sam("mini"), 2).eval()
    with torch.no_grad():
        for weight in (p for p in decoder.parameters() if p.ndim == 4):
            weight.mul_(3)
    detail, embedding = torch.rand(1, 3, 32, 40), torch.rand(1, 128, 4, 5)
    before = decoder.features(detail, embedding)
    small = at_fresh_size({n: p for n, p in decoder.named_parameters() if not n.startswith("heads.")})
    decoder.load_state_dict(small, strict=False)
    for a, b in zip(before, decoder.features(detail, embedding), strict=True):
        torch.testing.assert_close(a, b, atol=2e-2, rtol=2e-2)
    assert math.isclose(float(small["joint.0.0.weight"].norm()), math.sqrt(96 / 3), rel_tol=1e-4)


def test_the_bundled_features_have_fresh_size() -> None:
    bundled = {n: p.float() for n, p in DetailDecoder(load_sam("mini"), 2).named_parameters()}
    for name, tensor in at_fresh_size(
        {n: p for n, p in bundled.items() if not n.startswith("heads.")}
    ).items():
        torch.testing.assert_close(tensor, bundled[name].detach(), rtol=2e-3, atol=1e-3)
