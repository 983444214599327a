"""The decoders without prompts, on SAM's own mask decoder at its full width and on `mini`."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from napari_samadapt.learning.class_decoder import ClassDecoder, TrimmedDecoder, semantic_scores
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import VIT_SHAPES, VitShape, build_vit, load_sam

from .conftest import make_tiny_sam

NARROW = VitShape(width=8, depth=1, heads=1, global_blocks=(0,))


@pytest.fixture(scope="module")
def wide_sam() -> PromptableSam:
    """The official decoder at its own width, behind an encoder of one narrow block."""
    assert NARROW.decoder_width == VIT_SHAPES["vit_h"].decoder_width
    torch.manual_seed(0)
    return build_vit(NARROW, 64, "wide").requires_grad_(False)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_counts_are_the_papers(wide_sam: PromptableSam) -> None:
    """3.51 M for the trimmed decoder; 12 classes and 10 queries add 9 tokens of 256 and a linear layer 256 to 13."""
    assert count(TrimmedDecoder(wide_sam)) == 3_505_536
    added = count(ClassDecoder(wide_sam, classes=12)) - 3_505_536
    assert added == 9 * 256 + 257 * 13 == 5_645


def embeddings(sam: PromptableSam, batch: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    side = sam.input_size
    pixels = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return sam.encode(pixels)


def official_masks(sam: PromptableSam, decoder: TrimmedDecoder, features: torch.Tensor) -> torch.Tensor:
    """What segment-anything's own decoder says of each image alone, cut down in the same way."""
    official = copy.deepcopy(sam.mask_decoder)
    trimmed = decoder.trimmed
    official.transformer, official.output_upscaling = trimmed.transformer, trimmed.output_upscaling
    official.mask_tokens = trimmed.mask_tokens
    official.num_mask_tokens = trimmed.mask_tokens.num_embeddings
    shared = trimmed.output_hypernetworks_mlps[0]
    official.output_hypernetworks_mlps = nn.ModuleList([shared] * official.num_mask_tokens)
    sparse, dense = sam.prompt_encoder(points=None, boxes=None, masks=None)
    positions = sam.prompt_encoder.get_dense_pe()
    each = [official.predict_masks(image[None], positions, sparse, dense)[0] for image in features]
    return torch.cat(each)


@pytest.mark.parametrize("queries", [1, 3])
@torch.no_grad()
def test_a_batch_is_what_the_official_decoder_says_one_by_one(wide_sam: PromptableSam, queries: int) -> None:
    decoder = TrimmedDecoder(wide_sam, queries, noise=0.1).eval()
    features, fine = embeddings(wide_sam, 3)
    ours = decoder(wide_sam, features, fine)
    torch.testing.assert_close(ours, official_masks(wide_sam, decoder, features), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_on_mini_a_batch_is_what_its_decoder_says_one_by_one() -> None:
    mini = load_sam("mini")
    decoder = TrimmedDecoder(mini).eval()
    official = copy.deepcopy(mini.mask_decoder)
    official.mask_tokens = decoder.trimmed.mask_tokens
    official.output_hypernetworks_mlps = official.output_hypernetworks_mlps[:1]
    features, fine = embeddings(mini, 2)
    sparse, dense = mini.prompt_encoder(points=None, boxes=None, masks=None)
    positions = mini.prompt_encoder.get_dense_pe()
    for index, ours in enumerate(decoder(mini, features, fine)):
        one = slice(index, index + 1)
        theirs = official(
            features[one], positions, sparse, dense, multimask_output=False, fine=tuple(f[one] for f in fine)
        )[0]
        torch.testing.assert_close(ours[None], theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_shapes_and_equal_tokens_give_equal_masks(wide_sam: PromptableSam) -> None:
    decoder = ClassDecoder(wide_sam, classes=5, queries=4).eval()
    features, fine = embeddings(wide_sam, 2)
    masks, classes = decoder(wide_sam, features, fine)
    assert masks.shape == (2, 4, 16, 16)  # 4 x the embedding's side
    assert classes.shape == (2, 4, 6)
    assert sum(p.numel() for p in decoder.class_head.parameters()) == 257 * 6
    torch.testing.assert_close(masks[:, 1:], masks[:, :1].expand(-1, 3, -1, -1))


def test_a19_shapes_at_1024_pixels() -> None:
    sam = build_vit(NARROW, 1024, "wide")
    decoder = ClassDecoder(sam, classes=12).to("meta")
    masks, classes = decoder(sam.to("meta"), torch.empty(2, 256, 64, 64, device="meta"), ())
    assert masks.shape == (2, 10, 256, 256)
    assert classes.shape == (2, 10, 13)


@torch.no_grad()
def test_noise_sets_the_tokens_apart(wide_sam: PromptableSam) -> None:
    torch.manual_seed(0)
    tokens = TrimmedDecoder(wide_sam, 200, noise=0.02).trimmed.mask_tokens.weight
    assert (tokens - wide_sam.mask_decoder.mask_tokens.weight[:1]).std() == pytest.approx(0.02, rel=0.05)


def test_sam_itself_is_left_as_it_was() -> None:
    sam = make_tiny_sam()
    before = {name: tensor.clone() for name, tensor in sam.state_dict().items()}
    decoder = ClassDecoder(sam, classes=2, queries=3)
    masks, classes = decoder(sam, *embeddings(sam, 2))
    (masks.square().mean() + classes.square().mean()).backward()
    torch.optim.SGD(decoder.parameters(), 0.1).step()
    assert all(p.grad is not None for p in decoder.parameters())
    assert all(p.grad is None for p in sam.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in sam.state_dict().items())


def test_semantic_scores_have_their_reference_values() -> None:
    """Two queries of one pixel row of two pixels, two classes."""
    classes = torch.tensor([[[2.0, 0.0, -1.0], [0.0, 1.0, 0.5]]])
    masks = torch.tensor([[[[1.0, -2.0]], [[-1.0, 3.0]]]])
    expected = torch.tensor([[[[0.666974, 0.278070]], [[0.219697, 0.496073]]]])
    torch.testing.assert_close(semantic_scores(masks, classes), expected, atol=1e-6, rtol=0)
