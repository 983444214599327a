import numpy as np
import pytest
import torch

from napari_samadapt.learning.detail_decoder import embedding_on_detail, slice_grid
from napari_samadapt.learning.method_texts import DECODER_TEXTS
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.semantic import DECODERS, SemanticSam, carry_decoder_over, segment_slice


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    "shape", [(40, 50), (64, 64), (9, 70), (600, 300), (4, 5), (8, 8), (1, 1), (1, 1200)]
)
def test_probabilities_lie_on_the_slice(
    tiny_sam: PromptableSam, shape: tuple[int, int], decoder: str
) -> None:
    model = SemanticSam(tiny_sam, (3, 900), decoder)
    probabilities = model(torch.rand(2, 3, *shape))
    assert probabilities.shape == (2, 3, *shape)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, *shape))
    labels, confidence = segment_slice(model, np.random.default_rng(0).random(shape))
    assert labels.shape == confidence.shape == shape
    assert labels.dtype == np.uint16
    assert set(np.unique(labels)) <= {0, 3, 900}
    assert (confidence >= 1 / 3 - 1e-6).all()


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_tiny_slice_can_be_learnt(tiny_sam: PromptableSam, decoder: str) -> None:
    model = SemanticSam(tiny_sam, (1,), decoder).train()
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


def test_the_registry_and_the_words_name_the_same_decoders() -> None:
    assert list(DECODERS) == list(DECODER_TEXTS)


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_classes_that_are_added_later_leave_the_others_as_they_were(
    tiny_sam: PromptableSam, decoder: str
) -> None:
    """Ten more classes need more mask queries, too; without what is new the answer is the old one."""
    torch.manual_seed(0)
    old = SemanticSam(tiny_sam, (3, 900), decoder)
    for parameter in old.decoder.parameters():
        parameter.normal_(std=0.3)
    new = SemanticSam(tiny_sam, (5, 900, 3, *range(10, 19)), decoder)
    carry_decoder_over(old, new)
    before, after = old.decoder.state_dict(), new.decoder.state_dict()
    rows = [name for name in after if name.startswith(old.decoder.class_rows)]
    assert len(rows) == (4 if decoder == "detail" else 2)
    for name in rows:
        assert torch.equal(after[name][[0, 3, 2]], before[name][:3]), name
        if old.decoder.more_rows:
            assert torch.equal(after[name][-1], before[name][-1])
    assert all(torch.equal(after[n][: len(t)], t) for n, t in before.items() if n not in rows)


@torch.no_grad()
def test_what_no_query_claims_is_shared_out_evenly(tiny_sam: PromptableSam) -> None:
    decoder = SemanticSam(tiny_sam, (3, 900), "queries").decoder
    head = decoder.answer.class_head
    head.weight.zero_()
    head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 50.0]))  # every query: "no object"
    images = torch.rand(1, 3, 20, 30)
    shares = decoder.probabilities(tiny_sam, images, torch.rand(1, 32, 4, 4), ())
    torch.testing.assert_close(shares, torch.full((1, 3, 20, 30), 1 / 3))
