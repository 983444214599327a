"""The image encoder in two parts: what comes before the first adapter, and the rest."""

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.adapters.adapter import Adapter
from napari_samadapt.learning.fine_tune import FineTuneConfig, fine_tune
from napari_samadapt.learning.predict import encode_first_blocks, encode_last_blocks
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.samples import TrainingSample
from napari_samadapt.learning.semantic import SemanticSam


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_two_parts_are_the_whole(tiny_sam, depth: int) -> None:
    pixels = torch.randn(2, 3, tiny_sam.input_size, tiny_sam.input_size)
    embedding, fine = tiny_sam.encode_suffix(tiny_sam.encode_prefix(pixels, depth), depth)
    whole, whole_fine = tiny_sam.encode(pixels)
    assert torch.equal(embedding, whole)
    assert all(torch.equal(a, b) for a, b in zip(fine, whole_fine, strict=True))
    assert torch.equal(whole, tiny_sam.image_encoder(pixels))


def test_a_prefix_of_another_device_is_taken_to_the_model(tiny_sam) -> None:
    """One that comes from the disk lies in main memory, wherever the model is."""
    first = encode_first_blocks(tiny_sam, np.zeros((20, 30), np.float32), 1)
    embedding = encode_last_blocks(tiny_sam.to("meta"), first)
    assert {tensor.device.type for tensor in (embedding.features, *embedding.fine)} == {"meta"}


@pytest.mark.parametrize("method", adapters.METHODS)
def test_the_prefix_does_not_feel_the_adapters_behind_it(tiny_sam, method: str) -> None:
    pixels = torch.randn(1, 3, tiny_sam.input_size, tiny_sam.input_size)
    last = len(tiny_sam.image_encoder.blocks) - 1
    plain = [tiny_sam.encode_prefix(pixels, depth).tokens for depth in range(last + 2)]
    adapters.insert(tiny_sam, AdapterConfig(method, blocks=(last,)))
    for parameter in adapters.trainable(tiny_sam).values():
        torch.nn.init.normal_(parameter)
    depth = adapters.first_changed_block(tiny_sam)
    assert depth == {"decoder-only": last + 1, "lst": 0, "sam-adapter": -1}.get(method, last)
    expected = plain[depth] if depth >= 0 else pixels
    assert torch.equal(tiny_sam.encode_prefix(pixels, depth).tokens, expected)


@pytest.mark.parametrize(
    ("method", "depth"), [("conv-lora", 0), ("ssf", -1), ("bitfit", -1), ("decoder-only", None)]
)
def test_adapters_everywhere_leave_no_prefix(tiny_sam, method: str, depth: int | None) -> None:
    adapters.insert(tiny_sam, AdapterConfig(method))
    expected = len(tiny_sam.image_encoder.blocks) if depth is None else depth
    assert adapters.first_changed_block(tiny_sam) == expected


@pytest.mark.parametrize("method", [m for m in adapters.METHODS if m != "decoder-only"])
@pytest.mark.parametrize("blocks", [None, (1,)])
def test_every_adapted_layer_learns_through_the_pool(
    tiny_sam, method: str, blocks: tuple[int, ...] | None
) -> None:
    """Adapters of the patch embedding too, which lies before every block."""
    torch.manual_seed(0)
    adapters.insert(tiny_sam, AdapterConfig(method, blocks=blocks))
    model = SemanticSam(tiny_sam, (7, 40))
    before = {name: adapters.state(adapter) for name, adapter in named_adapters(tiny_sam)}
    config = FineTuneConfig(seconds=None, steps=3, batch_size=2, adapters_from=0.0)
    for _ in fine_tune(model, square_samples(), config):
        pass
    for name, adapter in named_adapters(tiny_sam):
        after = adapters.state(adapter)
        assert any(not torch.equal(after[key], tensor) for key, tensor in before[name].items()), name


def named_adapters(sam: PromptableSam) -> list[tuple[str, Adapter]]:
    return [(name, m) for name, m in sam.named_modules() if isinstance(m, Adapter) and adapters.trainable(m)]


def square_samples() -> list[TrainingSample]:
    labels = np.zeros((2, 40, 40), np.uint16)
    labels[:, 8:20, 8:20], labels[:, 24:36, 20:34] = 7, 40
    images = (labels / 50 + 0.1).astype(np.float32)
    return [TrainingSample(SliceKey(0, i), images[i], labels[i]) for i in range(2)]
