"""The scores of the Conv-LoRA and SAM-COBOT tables, for one image each; Dice and Jaccard are in `metrics`.

`prediction` (H, W) float: probabilities in [0, 1]. `reference` (H, W) bool. Scores in [0, 1], more is better, but
for errors. A table's figure is the mean over its images, except mIoU and MBER, which count pixels of all images.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, distance_transform_edt  # type: ignore[import-untyped]

from .errors import SamAdaptError
from .metrics import iou

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

THRESHOLDS = 256
JACCARD_THRESHOLD = 0.65
"""ISIC 2018: a lesion whose Jaccard index is lower counts as missed."""
_EPS = float(np.finfo(np.float64).eps)


def stretched(prediction: NDArray[Any]) -> Map:
    """The prediction stretched to reach from 0 to 1, as the tables measure S, E and F; a flat one as it is."""
    values = np.asarray(prediction, dtype=np.float64)
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else values


def mean_absolute_error(prediction: NDArray[Any], reference: NDArray[Any]) -> float:
    """Mean of |prediction - reference|; less is better."""
    values, truth = _checked(prediction, reference)
    return float(np.abs(values - truth).mean())


def s_measure(prediction: NDArray[Any], reference: NDArray[Any], alpha: float = 0.5) -> float:
    """Structure measure [Fan et al., ICCV 2017]: alpha · object part + (1 - alpha) · region part, at least 0.

    Without foreground it is 1 - the mean prediction, without background the mean prediction.
    """
    values, truth = _checked(prediction, reference)
    share = float(truth.mean())
    if share == 0:
        return 1 - float(values.mean())
    if share == 1:
        return float(values.mean())
    objects = share * _object_score(values[truth]) + (1 - share) * _object_score(1 - values[~truth])
    return max(0.0, alpha * objects + (1 - alpha) * _region_score(values, truth))


def _object_score(values: Map) -> float:
    """2 x / (x² + 1 + σ) of the values that should all be 1 (equation 5, λ = 1/2, sample deviation)."""
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    mean = float(values.mean())
    return 2 * mean / (mean**2 + 1 + deviation)


def _region_score(values: Map, truth: Mask) -> float:
    """Structural similarity of the four parts round the centroid of the foreground, weighted by area (equation 8)."""
    row, column = (int(np.rint(c)) + 1 for c in np.argwhere(truth).mean(0))
    score = 0.0
    for rows in (slice(None, row), slice(row, None)):
        for columns in (slice(None, column), slice(column, None)):
            part = values[rows, columns]
            if part.size:
                similarity = _similarity(part, truth[rows, columns].astype(np.float64))
                score += part.size / values.size * similarity
    return score


def _similarity(x: Map, y: Map) -> float:
    """4 x̄ ȳ σxy / ((x̄² + ȳ²)(σx² + σy²)); 1 where both sides are 0 (both flat, or both empty), else 0 for 0 above."""
    mean_x, mean_y = float(x.mean()), float(y.mean())
    freedom = max(x.size - 1, 1)
    both = float(((x - mean_x) * (y - mean_y)).sum()) / freedom
    spread = float(((x - mean_x) ** 2).sum() + ((y - mean_y) ** 2).sum()) / freedom
    above, below = 4 * mean_x * mean_y * both, (mean_x**2 + mean_y**2) * spread
    if above == 0:
        return 1.0 if below == 0 else 0.0
    return above / below


def e_measure(prediction: NDArray[Any], reference: NDArray[Any], kind: str = "mean") -> float:
    """Enhanced-alignment measure [Fan et al., IJCAI 2018] of the thresholded prediction.

    kind "mean" and "max": over 256 thresholds (Conv-LoRA's tables print the mean); "adaptive": at twice the mean
    prediction, at most 1. The sum over pixels is divided by their number less one, as every published code does.
    """
    values, truth = _checked(prediction, reference)
    if kind == "adaptive":
        chosen = values >= min(2 * float(values.mean()), 1.0)
        hits, falls = np.count_nonzero(chosen & truth), np.count_nonzero(chosen & ~truth)
        return float(_alignment(np.array([hits]), np.array([falls]), truth)[0])
    if kind not in ("mean", "max"):
        raise SamAdaptError(f"The E-measure has no kind {kind!r}: use mean, max or adaptive.")
    levels = (values * (THRESHOLDS - 1)).astype(np.int64)
    curve = _alignment(_at_least(levels[truth]), _at_least(levels[~truth]), truth)
    return float(curve.max() if kind == "max" else curve.mean())


def _at_least(levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(256,): how many of the levels reach 255, 254, … 0."""
    return np.bincount(levels, minlength=THRESHOLDS)[::-1].cumsum()


def _alignment(hits: NDArray[np.int64], falls: NDArray[np.int64], truth: Mask) -> Map:
    """The measure (T,) of T masks with `hits` pixels inside the truth and `falls` outside.

    Only four pairs (mask, truth) of values exist, so the four products are weighed by how often each occurs.
    """
    size, positive = truth.size, np.count_nonzero(truth)
    chosen = hits + falls
    if positive in (0, size):
        agreeing = chosen if positive else size - chosen
        return agreeing / max(size - 1, 1)
    mask_mean, truth_mean = chosen / size, positive / size
    total = np.zeros(len(hits))
    counts = ((hits, 1, 1), (falls, 1, 0), (positive - hits, 0, 1), (size - positive - falls, 0, 0))
    for count, mask_value, truth_value in counts:
        a, b = mask_value - mask_mean, truth_value - truth_mean
        aligned = 2 * a * b / (a**2 + b**2 + _EPS)
        total += count * (aligned + 1) ** 2 / 4
    return total / max(size - 1, 1)


def weighted_f_measure(prediction: NDArray[Any], reference: NDArray[Any], beta_squared: float = 1.0) -> float:
    """Weighted F-measure [Margolin et al., CVPR 2014]; 0 without foreground.

    An error inside the object is lessened by neighbours that are right (Gaussian 7 × 7, σ 5); outside it weighs up to
    twice as much with the distance to the object, in pixels (equations 9 to 16).
    """
    values, truth = _checked(prediction, reference)
    if not truth.any():
        return 0.0
    error = np.abs(values - truth)
    distance, nearest = distance_transform_edt(~truth, return_indices=True)
    carried = np.where(truth, error, error[tuple(nearest)])
    smooth = convolve(carried, _gaussian(), mode="constant")
    error = np.where(truth & (smooth < error), smooth, error)
    importance = np.where(truth, 1.0, 2 - np.exp(math.log(0.5) / 5 * distance))
    weighted = error * importance
    hits = np.count_nonzero(truth) - weighted[truth].sum()
    recall = 1 - weighted[truth].mean()
    precision = hits / (hits + weighted[~truth].sum() + _EPS)
    return float((1 + beta_squared) * recall * precision / (recall + beta_squared * precision + _EPS))


def _gaussian() -> Map:
    """(7, 7), σ 5, sum 1."""
    line = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 5.0**2))
    kernel = np.outer(line, line)
    return np.asarray(kernel / kernel.sum())


def balanced_error_rate(predicted: NDArray[Any], reference: NDArray[Any]) -> float:
    """Mean of the shares of wrong pixels in foreground and background, of those the reference has; less is better."""
    ours, theirs = _checked_masks(predicted, reference)
    wrong = ours ^ theirs
    return float(np.mean([wrong[part].mean() for part in (theirs, ~theirs) if part.any()]))


def thresholded_jaccard(predicted: NDArray[Any], reference: NDArray[Any]) -> float:
    """The Jaccard index, or 0 where it is below 0.65 (ISIC); NaN where both masks are empty."""
    value = iou(predicted, reference)
    return 0.0 if value < JACCARD_THRESHOLD else value


def accuracy(predicted: NDArray[Any], reference: NDArray[Any]) -> float:
    """The share of pixels with the right value; masks or class numbers."""
    predicted, reference = np.asarray(predicted), np.asarray(reference)
    _check_shapes(predicted, reference)
    return float((predicted == reference).mean())


def confusion(
    predicted: NDArray[Any], reference: NDArray[Any], classes: int, ignore: int = 255
) -> NDArray[np.int64]:
    """(classes, classes): pixels by class number in the reference (row) and the prediction (column).

    Pixels whose reference is `ignore` are left out. Matrices of several images add up.
    Raises SamAdaptError for another number outside 0 … classes - 1.
    """
    predicted, reference = np.asarray(predicted, np.int64), np.asarray(reference, np.int64)
    _check_shapes(predicted, reference)
    counted = reference != ignore
    rows, columns = reference[counted], predicted[counted]
    both = np.concatenate([rows, columns])
    if len(both) and not 0 <= both.min() <= both.max() < classes:
        raise SamAdaptError(
            f"Class numbers {both.min()} to {both.max()} do not fit {classes} classes: use 0 to {classes - 1}."
        )
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def mean_iou(counts: NDArray[np.int64]) -> float:
    """mIoU of a confusion matrix, over the classes that prediction or reference have."""
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    present = union > 0
    return float((hits[present] / union[present]).mean()) if present.any() else math.nan


def mean_balanced_error_rate(counts: NDArray[np.int64]) -> float:
    """MBER of a confusion matrix: each class against the rest, over the classes that the reference has and lacks."""
    hits, actual = np.diag(counts), counts.sum(1)
    others = counts.sum() - actual
    usable = (actual > 0) & (others > 0)
    missed = 1 - hits[usable] / actual[usable]
    false = (counts.sum(0) - hits)[usable] / others[usable]
    return float((missed + false).mean() / 2) if usable.any() else math.nan


def _checked(prediction: NDArray[Any], reference: NDArray[Any]) -> tuple[Map, Mask]:
    values, truth = np.asarray(prediction, np.float64), np.asarray(reference, bool)
    _check_shapes(values, truth)
    if not (values.min() >= 0 and values.max() <= 1):
        raise SamAdaptError(
            f"The prediction has values from {values.min():.3g} to {values.max():.3g}: give probabilities in [0, 1]."
        )
    return values, truth


def _checked_masks(predicted: NDArray[Any], reference: NDArray[Any]) -> tuple[Mask, Mask]:
    ours, theirs = np.asarray(predicted, bool), np.asarray(reference, bool)
    _check_shapes(ours, theirs)
    return ours, theirs


def _check_shapes(predicted: NDArray[Any], reference: NDArray[Any]) -> None:
    if predicted.shape != reference.shape or not predicted.size:
        raise SamAdaptError(
            f"The prediction has shape {predicted.shape}, the reference {reference.shape}: "
            "they must agree and hold a pixel."
        )
