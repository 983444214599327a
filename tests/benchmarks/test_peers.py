"""The peers of the live benchmark learn what they are shown."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import peers
import pytest
import torch
from peers import SIGMAS, UNet, filters, random_forest, sam_features, u_net, with_place

from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.samples import TrainingSample


def square(row: int, column: int, side: int = 12, class_id: int = 7) -> TrainingSample:
    """A bright square on a dark slice of 36 x 45 pixels, labelled `class_id`."""
    labels = np.zeros((36, 45), np.int64)
    labels[row : row + side, column : column + side] = class_id
    noise = np.random.default_rng(row).normal(0.2, 0.02, labels.shape)
    return TrainingSample(SliceKey(0, row), np.where(labels > 0, 0.8, noise).astype(np.float32), labels)


GIVEN = (square(4, 5), square(16, 25))
OTHER = square(9, 14)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes by steps."""

    def fractions(_started: float, _seconds: float) -> Iterator[float]:
        yield from (step / 30 for step in range(30))

    monkeypatch.setattr(peers, "_fractions", fractions)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("changes", [{}, {"flips": True}, {"place": True}])
def test_a_u_net_learns_a_square(changes: dict[str, bool]) -> None:
    segment = u_net(GIVEN, (7,), 1.0, 0, peers.UNetConfig(width=4, levels=3, rate=1e-2, **changes))
    found = segment(OTHER.image)
    assert found.shape == OTHER.image.shape
    assert found.dtype == np.uint16
    assert dice(found == 7, OTHER.labels == 7) > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (17, 32), (31, 5)])
def test_a_u_net_answers_for_every_pixel_of_any_size(shape: tuple[int, int]) -> None:
    net = UNet(inputs=1, outputs=3, width=2, levels=3).eval()
    assert net(torch.zeros(2, 1, *shape)).shape == (2, 3, *shape)


@pytest.mark.parametrize("features", [filters, with_place(filters)])
def test_a_forest_learns_a_square_and_grows_once_at_least(features: peers.Features) -> None:
    segment = random_forest(GIVEN, (7,), 1e-9, 0, features)
    found = segment(OTHER.image)
    assert found.shape == OTHER.image.shape
    assert dice(found == 7, OTHER.labels == 7) > 0.8


def test_ids_that_are_no_class_are_background() -> None:
    segment = random_forest([*GIVEN, square(20, 3, 6, class_id=9)], (7,), 1e-9, 0, filters)
    assert set(np.unique(segment(OTHER.image))) <= {0, 7}


def test_a_forest_ends_when_it_is_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    fit = peers.RandomForestClassifier.fit
    monkeypatch.setattr(peers, "TREES", 2 * peers.AT_ONCE)
    monkeypatch.setattr(
        peers.RandomForestClassifier,
        "fit",
        lambda self, *data: (fitted.append(self.n_estimators), fit(self, *data))[1],
    )
    random_forest(GIVEN, (7,), 1e9, 0, lambda image: image[..., None])
    assert fitted == [peers.AT_ONCE, 2 * peers.AT_ONCE]


def test_filters_of_a_plain_slice_say_nothing_but_its_grey_value() -> None:
    found = filters(np.full((9, 11), 0.3, np.float32))
    assert found.shape == (9, 11, 1 + 8 * len(SIGMAS))
    grey = [0, *range(1, found.shape[2], 8)]
    assert np.allclose(found[..., grey], 0.3, atol=1e-5)
    assert np.ptp(found, axis=(0, 1)).max() < 1e-5
    assert np.abs(np.delete(found, grey, axis=2)).max() < 0.01  # sampled kernels do not sum to 0 exactly


def test_eigenvalues_are_those_of_numpy() -> None:
    yy, yx, xx = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    expected = np.linalg.eigvalsh(np.stack([np.stack([yy, yx], -1), np.stack([yx, xx], -1)], -1))
    assert np.allclose(np.stack(peers._eigenvalues(yy, yx, xx)[::-1], -1), expected, atol=1e-5)


def test_place_is_y_and_x_of_the_pixel() -> None:
    found = with_place(lambda image: image[..., None])(np.zeros((3, 5), np.float32))
    assert found[..., 1].tolist() == [[y] * 5 for y in (0, 0.5, 1)]
    assert found[..., 2].tolist() == [[0, 0.25, 0.5, 0.75, 1]] * 3


def test_a_sams_features_lie_on_the_pixels() -> None:
    image = np.zeros((40, 60), np.float32)
    image[28:36, 8:16] = 1
    found = sam_features(load_sam("mini"))(image)
    assert found.shape[:2] == image.shape
    assert np.array_equal(found[..., 0], image)
    finest = found[..., 1 + 128 : 1 + 128 + 24]  # stride 2 on the input
    unlike = np.abs(finest - np.median(finest, axis=(0, 1))).sum(-1)
    middle = [
        float(np.average(axis, weights=unlike * (unlike > unlike.max() / 2)))
        for axis in np.indices(image.shape)
    ]
    assert middle == pytest.approx([31.5, 11.5], abs=2)
