import numpy as np
import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.learning.predict import (
    ImageEmbedding,
    decode_mask,
    encode_slice,
    prompted_logits,
    to_input_pixels,
)


def click(x: float, y: float) -> Prompts:
    return Prompts(point_coords=np.array([[x, y]]), point_labels=np.array([1]))


@pytest.mark.parametrize("shape", [(40, 50), (50, 40), (64, 64), (7, 200), (33, 20, 3)])
def test_masks_have_the_size_of_the_slice(tiny_sam, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    embedding = encode_slice(tiny_sam, image)
    assert embedding.features.shape == (1, 32, 4, 4)
    prediction = decode_mask(tiny_sam, embedding, click(2, 3))
    assert prediction.mask.shape == shape[:2]
    assert prediction.mask.dtype == bool


def test_a_grey_slice_equals_the_same_slice_in_colour(tiny_sam) -> None:
    grey = np.random.default_rng(0).random((30, 40), dtype=np.float32)
    colour = np.repeat(grey[..., None], 3, axis=2)
    a, b = encode_slice(tiny_sam, grey), encode_slice(tiny_sam, colour)
    torch.testing.assert_close(a.features, b.features)


def test_it_agrees_with_segment_anythings_own_predictor(tiny_sam) -> None:
    from segment_anything import SamPredictor

    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    predictor = SamPredictor(tiny_sam)
    predictor.set_image(image)
    embedding = encode_slice(tiny_sam, image.astype(np.float32) / 255)
    box, points, labels = np.array([10.0, 12, 40, 50]), np.array([[20.0, 30], [50, 9]]), np.array([1, 0])
    _, scores, low_res = predictor.predict(points, labels, box=box, multimask_output=False)
    both = Prompts(points, labels, box)
    logits, _ = prompted_logits(tiny_sam, embedding, both, multimask=False)
    np.testing.assert_allclose(logits[0, 0].detach(), low_res[0], atol=1e-4)
    assert decode_mask(tiny_sam, embedding, both).score == pytest.approx(float(scores[0]), abs=1e-5)
    masks, *_ = predictor.predict(points, labels, multimask_output=False)
    ours = decode_mask(tiny_sam, embedding, Prompts(points, labels)).mask
    assert (ours == masks[0]).mean() > 0.999


def test_one_click_takes_the_best_of_three_and_two_the_single_mask(tiny_sam) -> None:
    embedding = encode_slice(tiny_sam, np.random.default_rng(2).random((64, 64)))
    sparse, dense = tiny_sam.prompt_encoder((torch.tensor([[[5.0, 6.0]]]), torch.ones(1, 1)), None, None)
    _, scores = tiny_sam.decode(embedding.features, (), sparse, dense, multimask=True)
    assert decode_mask(tiny_sam, embedding, click(5, 6)).score == pytest.approx(scores.max().item())
    both = Prompts(point_coords=np.array([[5, 6], [9, 9]]), point_labels=np.array([1, 0]))
    assert decode_mask(tiny_sam, embedding, both).score != pytest.approx(scores.max().item())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 2)), "must be"),
        (np.zeros((0, 4)), "must be"),
        (np.full((4, 4), np.nan), "not finite"),
    ],
)
def test_bad_slices_are_refused(tiny_sam, image: np.ndarray, message: str) -> None:
    with pytest.raises(SamAdaptError, match=message):
        encode_slice(tiny_sam, image)


def test_missing_and_outside_prompts_are_refused(tiny_sam) -> None:
    embedding = encode_slice(tiny_sam, np.zeros((20, 30)))
    with pytest.raises(SamAdaptError, match="no prompt"):
        decode_mask(tiny_sam, embedding, Prompts())
    with pytest.raises(SamAdaptError):
        decode_mask(tiny_sam, embedding, click(30, 5))


def test_pixel_areas_stay_aligned() -> None:
    embedding = ImageEmbedding(torch.zeros(1), (), (64, 32), (16, 8))
    corners = to_input_pixels(np.array([[-0.5, -0.5], [7.5, 15.5], [0, 0]]), embedding)
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [31.5, 63.5], [1.5, 1.5]])


def test_an_answer_is_never_empty(tiny_sam, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: a thin vessel in a box gave no pixel at all, and so nothing to correct."""
    logits = torch.full((1, 1, 16, 16), -9.0)
    logits[..., 4:8, 4:8] = -1.0
    monkeypatch.setattr(tiny_sam, "decode", lambda *_, **__: (logits, torch.tensor([[0.1]])))
    embedding = encode_slice(tiny_sam, np.zeros((64, 64), np.float32))
    mask = decode_mask(tiny_sam, embedding, Prompts(box=np.array([10, 10, 40, 40]))).mask
    assert mask[24, 24]
    assert mask.mean() < 0.2
