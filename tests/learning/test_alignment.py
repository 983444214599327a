"""No part of a pixel is lost on the way to the model's input and back (G8 of docs/reliability.md).

The model is replaced by one that answers with the image it was given, so that only resampling is left to be wrong.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.learning import predict
from napari_samadapt.learning.detail_decoder import embedding_on_detail, slice_grid, targets_on_detail
from napari_samadapt.learning.predict import decode_mask, encode_slice, to_input_pixels
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import build_vit
from napari_samadapt.learning.semantic import SemanticSam, segment_slice

from .conftest import TINY

SHAPES = [(512, 512), (333, 517), (61, 97), (900, 1300), (1024, 700), (256, 256), (40, 31)]
STRIDE = 4  # of SAM's masks, in pixels of its input
DARK, BRIGHT = 0.2, 0.9
MIDDLE = (DARK + BRIGHT) / 2


def disc(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Off the centre in both directions, so that a flip or an exchange of axes moves it."""
    rows, columns = np.indices(shape)
    radius = min(shape) / 5
    return (rows - 0.3 * shape[0]) ** 2 + (columns - 0.62 * shape[1]) ** 2 <= radius**2


def centroid(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(row, column)"""
    return np.argwhere(mask).mean(0)


def tolerance(sam: PromptableSam, shape: tuple[int, int]) -> float:
    """A tenth of a pixel of the slice, or of SAM's masks where those are coarser."""
    return 0.1 * max(1.0, STRIDE * max(shape) / sam.input_size)


def picture(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(mask, BRIGHT, DARK).astype(np.float32)


def seen(sam: PromptableSam, normalised: torch.Tensor) -> torch.Tensor:
    """The grey values (1, 1, S, S) of the model's input."""
    return ((normalised * sam.pixel_std + sam.pixel_mean) / 255)[:, :1]


@pytest.fixture(scope="module", params=[256, 1024], ids=["mini", "official"])
def echo(request: pytest.FixtureRequest) -> PromptableSam:
    """A SAM whose mask is what is bright in its input, at the resolution of SAM's masks."""
    sam = build_vit(TINY, request.param, "tiny")

    def encode(pixels: torch.Tensor) -> tuple[torch.Tensor, tuple[()]]:
        return F.avg_pool2d(seen(sam, pixels), STRIDE), ()

    def decode(features: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, torch.Tensor]:
        return features - MIDDLE, torch.ones(1, 1)

    sam.encode, sam.decode = encode, decode
    return sam


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mask_lies_on_what_was_seen(echo: PromptableSam, shape: tuple[int, int]) -> None:
    shown = disc(shape)
    mask = decode_mask(
        echo, encode_slice(echo, picture(shown)), Prompts(np.array([[5, 5]]), np.array([1]))
    ).mask
    assert np.abs(centroid(mask) - centroid(shown)).max() <= tolerance(echo, shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_prediction_lies_on_what_was_seen(
    echo: PromptableSam, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder sees the slice on a grid of its own; with one that answers with what it sees, only that is left."""
    shown = disc(shape)
    model = SemanticSam(echo, (3,))
    monkeypatch.setattr(echo, "encode", lambda _pixels: (torch.zeros(1, 32, 16, 16), ()))
    monkeypatch.setattr(model.decoder, "features", lambda detail, _embedding: (detail[:, :1],))
    bright = (MIDDLE - 0.5) * 4  # as the decoder scales the grey values
    monkeypatch.setattr(
        model.decoder, "combine", lambda maps: torch.cat([bright - maps[0], maps[0] - bright], 1)
    )
    labels, _ = segment_slice(model, picture(shown))
    assert np.abs(centroid(labels == 3) - centroid(shown)).max() <= 0.1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mask_that_is_a_prompt_lies_where_it_was(echo: PromptableSam, shape: tuple[int, int]) -> None:
    """It is cut at one half on the grid of SAM's masks, so its edge is known less well."""
    shown = disc(shape)
    embedding = encode_slice(echo, picture(shown))
    low = predict._mask_tensor(echo, embedding, Prompts(mask_input=shown))
    back = predict.logits_on_slice(low, echo.input_size, embedding)[0, 0].numpy() > 0
    assert np.abs(centroid(back) - centroid(shown)).max() <= 2 * tolerance(echo, shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 12])
def test_the_edges_of_a_box_lie_on_those_of_what_it_surrounds(
    echo: PromptableSam, shape: tuple[int, int], size: int
) -> None:
    """Edges in the model's input are where the grey value is halfway; one pixel has its centre only, if it shrinks."""
    top, left = shape[0] // 3, shape[1] // 2
    mask = np.zeros(shape, bool)
    mask[top : top + size, left : left + size] = True
    embedding = encode_slice(echo, picture(mask))
    pixels, _, _ = predict._input_pixels(echo, picture(mask))
    weight = (seen(echo, pixels)[0, 0] - DARK)[: embedding.input_size[0], : embedding.input_size[1]].numpy()
    box = np.array([[left, top], [left + size, top + size]]) - 0.5
    corners = to_input_pixels(box, embedding)
    weight[weight < 1e-4] = 0  # what rounding left
    for axis, edges in ((0, corners[:, 1]), (1, corners[:, 0])):
        scale = embedding.input_size[axis] / shape[axis]
        profile = weight.sum(1 - axis)
        middle = (profile * np.arange(len(profile))).sum() / profile.sum()
        assert abs(middle - edges.mean()) / scale <= 0.1
        if size * scale > 2:
            above = np.flatnonzero(profile > profile.max() / 2)
            found = np.array([above[0] - 0.5, above[-1] + 0.5])
            assert np.abs(found - edges).max() / max(scale, 1.0) <= 0.5


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("input_size", [256, 1024])
def test_the_decoder_meets_the_embedding_and_the_labels_where_they_are(
    shape: tuple[int, int], input_size: int
) -> None:
    grid = slice_grid(shape, input_size)
    cells = input_size // 16
    ramp = (torch.arange(cells) + 0.5) * 16  # pixels of the input from its edge
    features = torch.stack([ramp[:, None].expand(cells, cells), ramp.expand(cells, cells)])[None]
    rows, columns = embedding_on_detail(features, grid, input_size)[0].numpy()
    for found, axis in ((rows[:, 0], 0), (columns[0], 1)):
        wanted = (np.arange(len(found)) + 0.5) * 8 / grid.detail[axis] * grid.input[axis]
        inside = (wanted >= ramp[0].item()) & (wanted <= ramp[-1].item())
        np.testing.assert_allclose(found[inside], wanted[inside], atol=1e-2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("input_size", [256, 1024])
def test_labels_on_the_decoders_grid_lie_where_they_were(shape: tuple[int, int], input_size: int) -> None:
    """Regression: of a slice twice as large, every label was half a pixel off.

    Each pixel takes the nearest label, which is up to half a pixel away; where it is always two that are equally near,
    nothing may shift.
    """
    grid = slice_grid(shape, input_size)
    shown = disc(shape)
    kept = targets_on_detail(torch.from_numpy(shown)[None].long(), grid)[
        0, : grid.detail[0], : grid.detail[1]
    ]
    scale = np.array(shape) / grid.detail
    back = (centroid(kept.numpy() > 0) + 0.5) * scale - 0.5
    whole = all(float(step).is_integer() for step in scale)
    assert np.abs(back - centroid(shown)).max() <= (0.1 if whole else 0.5)
