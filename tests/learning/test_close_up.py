"""Looking closer at small structures on slices larger than the model's input."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.learning import close_up
from napari_samadapt.learning.close_up import Part, cut, decode_closely, part_around
from napari_samadapt.learning.predict import ImageEmbedding, MaskPrediction, encode_slice

BOX = Prompts(box=np.array([99.5, 149.5, 119.5, 159.5]))


@pytest.mark.parametrize(
    ("extent", "shape", "expected"),
    [
        ((100, 150, 120, 160), (400, 300), (120, 184, 80, 144)),  # 3 x 20 pixels are less than the input
        ((100, 150, 130, 160), (400, 300), (110, 201, 66, 157)),  # 3 x 30, up to the next step of the size
        ((0, 0, 10, 10), (400, 300), (0, 64, 0, 64)),  # at the edge
        ((0, 0, 10, 10), (80, 80), None),  # hardly more to see
        ((10, 10, 200, 200), (400, 300), None),  # large itself
        ((0, 0, 10, 10), (400, 30), (0, 64, 0, 30)),  # a narrow slice
    ],
)
def test_parts(extent: tuple[float, ...], shape: tuple[int, int], expected: Part | None) -> None:
    assert part_around(np.array(extent, float), shape, 64) == expected


@given(
    st.tuples(st.integers(65, 900), st.integers(65, 900)),
    st.tuples(*[st.floats(0, 1)] * 4),
)
def test_a_part_holds_what_was_asked_for(shape: tuple[int, int], corners: tuple[float, ...]) -> None:
    far = np.array([shape[1], shape[0]]) - 0.5
    points = np.array(corners).reshape(2, 2) * far - 0.25
    extent = np.concatenate([points.min(0), points.max(0)])
    part = part_around(extent, shape, 64)
    if part is not None:
        top, bottom, left, right = part
        assert 0 <= top < bottom <= shape[0]
        assert 0 <= left < right <= shape[1]
        assert left - 0.5 <= extent[0]
        assert extent[2] <= right - 0.5
        assert top - 0.5 <= extent[1]
        assert extent[3] <= bottom - 0.5


def answers(scores: list[float], asked: list[Prompts], monkeypatch: pytest.MonkeyPatch) -> None:
    """`decode_mask` gives full masks of these scores, and notes what it was asked for."""

    def decode(_sam: object, embedding: ImageEmbedding, prompts: Prompts) -> MaskPrediction:
        asked.append(prompts)
        return MaskPrediction(np.ones(embedding.original_size, bool), scores[len(asked) - 1])

    monkeypatch.setattr(close_up, "decode_mask", decode)


@pytest.mark.parametrize(("scores", "pixels"), [([0.5, 0.8], 64 * 64), ([0.8, 0.5], 400 * 300)])
def test_the_mask_that_the_model_trusts_more_is_kept(
    tiny_sam, monkeypatch: pytest.MonkeyPatch, scores: list[float], pixels: int
) -> None:
    image = np.zeros((400, 300), np.float32)
    asked: list[Prompts] = []
    answers(scores, asked, monkeypatch)
    found = decode_closely(
        tiny_sam, encode_slice(tiny_sam, image), BOX, lambda part: encode_slice(tiny_sam, cut(image, part))
    )
    assert found.mask.shape == image.shape
    assert found.mask.sum() == pixels
    assert found.score == 0.8
    top, _, left, _ = 120, 184, 80, 144
    assert asked[1].box is not None
    assert BOX.box is not None
    np.testing.assert_allclose(asked[1].box, BOX.box - [left, top, left, top])
    if pixels < image.size:
        assert found.mask[top, left]
        assert not found.mask[top - 1, left]


def test_every_prompt_moves_into_the_part(tiny_sam, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((400, 300), np.float32)
    asked: list[Prompts] = []
    answers([0.5, 0.8], asked, monkeypatch)
    previous = np.zeros(image.shape, bool)
    previous[150:160, 100:120] = True
    prompts = replace(
        BOX, mask_input=previous, point_coords=np.array([[110, 155]]), point_labels=np.array([1])
    )
    embedding = encode_slice(tiny_sam, image)
    decode_closely(tiny_sam, embedding, prompts, lambda part: encode_slice(tiny_sam, cut(image, part)))
    moved = asked[1]
    assert moved.mask_input is not None
    assert moved.mask_input.sum() == previous.sum()
    assert moved.mask_input[int(moved.point_coords[0, 1]), int(moved.point_coords[0, 0])]


@pytest.mark.parametrize(
    ("prompts", "shape"),
    [
        (Prompts(point_coords=np.array([[110, 155]]), point_labels=np.array([1])), (400, 300)),
        (BOX, (160, 120)),
    ],
)
def test_a_single_click_and_a_small_slice_are_asked_for_once(
    tiny_sam, monkeypatch: pytest.MonkeyPatch, prompts: Prompts, shape: tuple[int, int]
) -> None:
    asked: list[Prompts] = []
    answers([0.5], asked, monkeypatch)
    if shape == (160, 120):
        monkeypatch.setattr(type(tiny_sam), "input_size", property(lambda _: 256))
    embedding = ImageEmbedding(*[np.empty(0)] * 2, shape, shape)  # type: ignore[arg-type]

    def never(part: Part) -> ImageEmbedding:
        raise AssertionError(part)

    decode_closely(tiny_sam, embedding, prompts, never)
    assert len(asked) == 1
