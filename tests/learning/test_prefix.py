"""The image encoder in two parts: what comes before the first adapter, and the rest."""

import pytest
import torch

from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_two_parts_are_the_whole(tiny_sam, depth: int) -> None:
    pixels = torch.randn(2, 3, tiny_sam.input_size, tiny_sam.input_size)
    embedding, fine = tiny_sam.encode_suffix(tiny_sam.encode_prefix(pixels, depth), depth)
    whole, whole_fine = tiny_sam.encode(pixels)
    assert torch.equal(embedding, whole)
    assert all(torch.equal(a, b) for a, b in zip(fine, whole_fine, strict=True))
    assert torch.equal(whole, tiny_sam.image_encoder(pixels))


@pytest.mark.parametrize("method", adapters.METHODS)
def test_the_prefix_does_not_feel_the_adapters_behind_it(tiny_sam, method: str) -> None:
    pixels = torch.randn(1, 3, tiny_sam.input_size, tiny_sam.input_size)
    last = len(tiny_sam.image_encoder.blocks) - 1
    plain = [tiny_sam.encode_prefix(pixels, depth).tokens for depth in range(last + 2)]
    adapters.insert(tiny_sam, AdapterConfig(method, blocks=(last,)))
    for parameter in adapters.trainable(tiny_sam).values():
        torch.nn.init.normal_(parameter)
    depth = adapters.first_changed_block(tiny_sam)
    assert depth == (
        last + 1 if method == "decoder-only" else 0 if method in ("lst", "sam-adapter") else last
    )
    assert torch.equal(tiny_sam.encode_prefix(pixels, depth).tokens, plain[depth])


@pytest.mark.parametrize(
    ("method", "depth"), [("conv-lora", 0), ("ssf", 0), ("bitfit", 0), ("decoder-only", None)]
)
def test_adapters_everywhere_leave_no_prefix(tiny_sam, method: str, depth: int | None) -> None:
    adapters.insert(tiny_sam, AdapterConfig(method))
    expected = len(tiny_sam.image_encoder.blocks) if depth is None else depth
    assert adapters.first_changed_block(tiny_sam) == expected
