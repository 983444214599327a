import numpy as np
import pytest
import torch

from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.semantic import SemanticSam, embedding_on_detail, segment_slice, slice_grid


@pytest.mark.parametrize(
    "shape", [(40, 50), (64, 64), (9, 70), (600, 300), (4, 5), (8, 8), (1, 1), (1, 1200)]
)
def test_logits_lie_on_the_slice(tiny_sam: PromptableSam, shape: tuple[int, int]) -> None:
    model = SemanticSam(tiny_sam, (3, 900))
    assert model(torch.rand(2, 3, *shape)).shape == (2, 3, *shape)
    labels, confidence = segment_slice(model, np.random.default_rng(0).random(shape))
    assert labels.shape == confidence.shape == shape
    assert labels.dtype == np.uint16
    assert set(np.unique(labels)) <= {0, 3, 900}
    assert (confidence >= 1 / 3 - 1e-6).all()


def test_a_tiny_slice_can_be_learnt(tiny_sam: PromptableSam) -> None:
    model = SemanticSam(tiny_sam, (1,)).train()
    model(torch.rand(2, 3, 4, 5)).square().mean().backward()
    gradients = [parameter.grad for parameter in model.decoder.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (33, 50), (128, 128), (21, 64)])
def test_the_embedding_meets_the_pixels_it_came_from(shape: tuple[int, int]) -> None:
    """An embedding that holds its own position, in slice pixels, must read the cell centres of the detail path."""
    grid = slice_grid(shape, 64)
    cells = (torch.arange(4) + 0.5) * 16  # centres of stride-16 cells in the square input
    y = cells / grid.input[0] * shape[0]
    x = cells / grid.input[1] * shape[1]
    features = torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]
    on_detail = embedding_on_detail(features, grid, 64)[0]
    for axis, positions in enumerate((y, x)):
        wanted = (torch.arange(on_detail.shape[1 + axis]) + 0.5) * 8
        seen = on_detail[axis].select(1 - axis, 0)
        inside = (wanted >= positions[0]) & (wanted <= positions[-1])
        assert inside.any()
        torch.testing.assert_close(seen[inside], wanted[inside], rtol=1e-4, atol=1e-3)
