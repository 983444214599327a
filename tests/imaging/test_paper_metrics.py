"""Scores against values by hand, slow formulas, and what PySODMetrics 1.6.2 gives for the same maps.

PySODMetrics itself is not installed for the tests: it would bring OpenCV and scikit-learn.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_samadapt.imaging import paper_metrics as scores
from napari_samadapt.imaging.errors import SamAdaptError

ROWS, COLUMNS = np.mgrid[:24, :32]
TRUTH = ((ROWS - 9) ** 2 + (COLUMNS - 13) ** 2 <= 49) | ((ROWS > 17) & (COLUMNS > 25))
MAPS = {
    "blurred": 0.5 + 0.5 * np.tanh((6 - np.hypot(ROWS - 10.5, COLUMNS - 12)) / 2.5),
    "wave": 0.5 + 0.5 * np.sin(COLUMNS / 3) * np.cos(ROWS / 4),
    "ramp": (ROWS + COLUMNS) / 54.0,
}
PUBLISHED_CODE = {
    #          MAE           S             weighted F    E adaptive    E mean        E max
    "blurred": (0.154251404, 0.7072816258, 0.663605092, 0.8814686569, 0.7126645343, 0.8896089865),
    "wave": (0.4680504273, 0.397859923, 0.3177890094, 0.2668286918, 0.3969018107, 0.6945969932),
    "ramp": (0.4977334105, 0.3891473201, 0.2681373581, 0.2549766399, 0.3548624618, 0.6701736322),
}

masks = arrays(np.bool_, (5, 6))
maps = arrays(np.float64, (5, 6), elements=st.floats(0, 1, width=32))


@pytest.mark.parametrize("name", MAPS)
def test_as_the_published_code(name: str) -> None:
    values = scores.stretched(MAPS[name])
    ours = (
        scores.mean_absolute_error(values, TRUTH),
        scores.s_measure(values, TRUTH),
        scores.weighted_f_measure(values, TRUTH),
        *(scores.e_measure(values, TRUTH, kind) for kind in ("adaptive", "mean", "max")),
    )
    assert ours == pytest.approx(PUBLISHED_CODE[name], abs=1e-9)


def test_s_measure_by_hand() -> None:
    """Half of a 2 x 4 image is foreground and the prediction flat at 0.5.

    Objects: 2 · 0.5 / (0.25 + 1 + 0) = 0.8 on both sides. The centroid (0.5, 0.5) ends at (1, 1), one right of and
    below it, so the parts are 1 x 1, 1 x 3, 1 x 1, 1 x 3: a flat prediction over a flat truth (1 x 1) counts 1, over a
    varied truth 0.
    """
    truth = np.array([[1, 1, 0, 0], [1, 1, 0, 0]], bool)
    assert scores.s_measure(np.full((2, 4), 0.5), truth) == pytest.approx(0.5 * 0.8 + 0.5 * 2 / 8)


@pytest.mark.parametrize("truth", [np.zeros((3, 4), bool), np.ones((3, 4), bool)])
def test_one_sided_references(truth: np.ndarray) -> None:
    values = np.full((3, 4), 0.25)
    rightness = 0.25 if truth.any() else 0.75
    assert scores.s_measure(values, truth) == pytest.approx(rightness)
    assert scores.mean_absolute_error(values, truth) == pytest.approx(1 - rightness)
    assert scores.balanced_error_rate(values > 0.5, truth) == float(truth.any())
    assert 0 <= scores.e_measure(values, truth) <= 12 / 11


def test_e_measure_by_hand() -> None:
    """A mask that is right everywhere aligns with 1 at every pixel, an inverted one with -1."""
    truth = np.array([[1, 0], [0, 0]], bool)
    assert scores.e_measure(truth.astype(float), truth, "adaptive") == pytest.approx(4 / 3)
    assert scores.e_measure((~truth).astype(float), truth, "adaptive") == pytest.approx(0)


@given(values=maps, truth=masks)
@settings(max_examples=30, deadline=None)
def test_e_measure_pixel_by_pixel(values: np.ndarray, truth: np.ndarray) -> None:
    """The formula as the paper prints it, for every threshold, on whole maps."""

    def aligned(mask: np.ndarray) -> float:
        if truth.all() or not truth.any():
            return float((mask == truth).sum()) / (truth.size - 1)
        a, b = mask - mask.mean(), truth - truth.mean()
        xi = 2 * a * b / (a**2 + b**2 + np.finfo(float).eps)
        return float((((1 + xi) ** 2) / 4).sum()) / (truth.size - 1)

    curve = [aligned((values * 255).astype(int) >= threshold) for threshold in range(256)]
    assert scores.e_measure(values, truth) == pytest.approx(np.mean(curve))
    assert scores.e_measure(values, truth, "max") == pytest.approx(np.max(curve))


def test_weighted_f_without_neighbours() -> None:
    """One object pixel found half, and a far false one: both weights can be written down.

    The object pixel keeps its error 0.5, lessened to what its 7 x 7 neighbourhood carries to it: background pixels
    carry its own error, so the mean is 0.5 again. The false pixel, 5 pixels away, weighs 2 - exp(ln 0.5) = 1.5.
    """
    truth = np.zeros((9, 15), bool)
    truth[4, 4] = True
    values = np.where(truth, 0.5, 0.0)
    values[4, 9] = 1.0
    precision, recall = 0.5 / (0.5 + 1.5), 0.5
    expected = 2 * precision * recall / (precision + recall)
    assert scores.weighted_f_measure(values, truth) == pytest.approx(expected)


def test_weighted_f_forgives_a_hole_with_right_neighbours() -> None:
    """A lone wrong pixel inside counts what the Gaussian leaves of it, not 1."""
    truth = np.ones((15, 15), bool)
    truth[0] = False
    values = truth.astype(float)
    values[8, 8] = 0
    line = np.exp(-(np.arange(-3, 4) ** 2) / 50)
    centre = 1 / line.sum() ** 2
    hits = truth.sum() - centre
    recall = hits / truth.sum()
    assert scores.weighted_f_measure(values, truth) == pytest.approx(2 * recall / (1 + recall))


@given(truth=masks)
def test_perfect_and_inverted(truth: np.ndarray) -> None:
    values = truth.astype(float)
    assert scores.mean_absolute_error(values, truth) == 0
    assert scores.s_measure(values, truth) == pytest.approx(1)
    assert scores.balanced_error_rate(truth, truth) == 0
    assert scores.balanced_error_rate(~truth, truth) == 1
    assert scores.accuracy(truth, truth) == 1
    if truth.any():
        assert scores.weighted_f_measure(values, truth) == pytest.approx(1)


@given(values=maps, truth=masks)
@settings(max_examples=50, deadline=None)
def test_all_lie_between_0_and_1(values: np.ndarray, truth: np.ndarray) -> None:
    for measure in (scores.mean_absolute_error, scores.s_measure, scores.weighted_f_measure):
        assert -1e-12 <= measure(values, truth) <= 1 + 1e-12


def test_balanced_error_rate_by_hand() -> None:
    """One of two foreground pixels missed, one of eight background pixels wrong."""
    truth = np.zeros((2, 5), bool)
    truth[0, :2] = True
    predicted = np.zeros((2, 5), bool)
    predicted[0, 0] = predicted[1, 4] = True
    assert scores.balanced_error_rate(predicted, truth) == pytest.approx((1 / 2 + 1 / 8) / 2)


@pytest.mark.parametrize(("predicted", "expected"), [(13, 13 / 20), (12, 0.0), (20, 1.0), (0, 0.0)], ids=str)
def test_thresholded_jaccard(predicted: int, expected: float) -> None:
    """20 reference pixels: 13 of them are just enough."""
    truth, mask = np.ones(20, bool), np.arange(20) < predicted
    assert scores.thresholded_jaccard(mask, truth) == pytest.approx(expected)


def test_nothing_against_nothing_has_no_jaccard() -> None:
    empty = np.zeros((3, 3), bool)
    assert math.isnan(scores.thresholded_jaccard(empty, empty))


def test_multi_class_by_hand() -> None:
    """Classes 0 to 3 of which 3 appears nowhere; the pixel that is ignored does not count."""
    reference = np.array([[0, 0, 1, 1], [2, 2, 2, 255]])
    predicted = np.array([[0, 1, 1, 1], [2, 2, 0, 3]])
    counts = scores.confusion(predicted, reference, 4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
    assert scores.mean_iou(counts) == pytest.approx((1 / 3 + 2 / 3 + 2 / 3) / 3)
    missed, false = (1 / 2, 0, 1 / 3), (1 / 5, 1 / 5, 0)
    assert scores.mean_balanced_error_rate(counts) == pytest.approx((sum(missed) + sum(false)) / 6)


@given(predicted=masks, truth=masks)
def test_two_classes_agree_with_the_scores_of_masks(predicted: np.ndarray, truth: np.ndarray) -> None:
    counts = scores.confusion(predicted, truth, 2)
    assert np.trace(counts) / truth.size == scores.accuracy(predicted, truth)
    if truth.any() and not truth.all():
        both = scores.mean_balanced_error_rate(counts)
        assert both == pytest.approx(scores.balanced_error_rate(predicted, truth))


def test_an_empty_count_has_no_mean() -> None:
    counts = np.zeros((3, 3), np.int64)
    assert math.isnan(scores.mean_iou(counts))
    assert math.isnan(scores.mean_balanced_error_rate(counts))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: scores.s_measure(np.zeros((2, 2)), np.zeros((2, 3))), r"\(2, 2\).*\(2, 3\)"),
        (lambda: scores.s_measure(np.full((2, 2), 1.5), np.ones((2, 2))), "1.5"),
        (lambda: scores.s_measure(np.full((2, 2), np.nan), np.ones((2, 2))), "nan"),
        (lambda: scores.accuracy(np.zeros((0, 2)), np.zeros((0, 2))), "hold a pixel"),
        (lambda: scores.e_measure(np.zeros((2, 2)), np.zeros((2, 2)), "middle"), "middle"),
        (lambda: scores.confusion(np.array([3]), np.array([0]), 3), "0 to 3 do not fit 3 classes"),
    ],
)
def test_what_does_not_fit_is_said(call: object, words: str) -> None:
    with pytest.raises(SamAdaptError, match=words):
        call()  # type: ignore[operator]
