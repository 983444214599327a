"""Metrics agree with values computed by hand, and obey the laws of distances."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_samadapt.imaging import metrics
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import SliceKey

SPACING = (4.0, 1.0, 2.0)
volumes = arrays(bool, (3, 4, 5))


def block(z: slice, y: slice, x: slice, shape: tuple[int, ...] = (8, 12, 12)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[z, y, x] = True
    return mask


CUBE = block(slice(2, 5), slice(3, 8), slice(3, 8))


@pytest.mark.parametrize(
    ("a", "b", "dice", "iou"),
    [
        ([1, 1, 0, 0], [0, 1, 1, 0], 0.5, 1 / 3),
        ([1, 1, 1, 0], [0, 1, 0, 0], 0.5, 1 / 3),
        ([1, 1], [1, 1], 1.0, 1.0),
        ([1, 0], [0, 1], 0.0, 0.0),
        ([0, 0], [0, 1], 0.0, 0.0),
        ([0, 0], [0, 0], math.nan, math.nan),
    ],
)
def test_overlap_by_hand(a, b, dice, iou):
    values = metrics.dice(np.array(a), np.array(b)), metrics.iou(np.array(a), np.array(b))
    assert values == pytest.approx((dice, iou), nan_ok=True)


@pytest.mark.parametrize(("axis", "millimetres"), list(enumerate(SPACING)))
def test_two_voxels_are_a_step_apart_in_mm(axis, millimetres):
    a = block(slice(1, 2), slice(1, 2), slice(1, 2))
    b = np.roll(a, 3, axis)
    assert metrics.hd95(a, b, SPACING) == pytest.approx(3 * millimetres)
    assert metrics.assd(a, b, SPACING) == pytest.approx(3 * millimetres)


def test_a_line_against_a_longer_line():
    # In one dimension a surface is two ends: 0 and 9 against 0 and 19, with 2 mm steps.
    distances = metrics.surface_distances(np.arange(20) < 10, np.ones(20), (2.0,))
    assert distances.from_predicted.tolist() == [0, 18]
    assert distances.from_reference.tolist() == [0, 20]
    assert distances.assd == pytest.approx(9.5)
    assert distances.hd95 == pytest.approx(19)


def test_nested_squares_in_one_slice():
    # A 2-D contour: the inner square's 8 border pixels of 3 x 3 and the outer one's 16 of 5 x 5.
    inner = block(slice(0, 1), slice(4, 7), slice(4, 7), (1, 11, 11))
    outer = block(slice(0, 1), slice(3, 8), slice(3, 8), (1, 11, 11))
    distances = metrics.surface_distances(inner, outer, (5.0, 1.0, 1.0))
    assert len(distances.from_predicted) == 8
    assert len(distances.from_reference) == 16
    # Every inner pixel is 1 from the outer contour; of the outer ones 12 are 1 away, the corners sqrt(2).
    assert distances.assd == pytest.approx((8 + 12 + 4 * math.sqrt(2)) / 24)
    assert distances.hd95 == pytest.approx(math.sqrt(2))
    assert distances.surface_dice(1.0) == pytest.approx(20 / 24)
    assert distances.surface_dice(0.5) == 0
    assert distances.surface_dice(1.5) == 1


def test_hd95_forgives_the_worst_twentieth():
    a = block(slice(0, 1), slice(0, 1), slice(0, 100), (1, 3, 200))
    b = a.copy()
    b[0, 0, 150] = True
    assert metrics.hd95(a, b, (1.0, 1.0, 1.0)) == 0


def test_one_empty_mask_is_infinitely_far_and_two_are_undefined():
    empty = np.zeros_like(CUBE)
    for a, b in ((CUBE, empty), (empty, CUBE)):
        assert metrics.hd95(a, b, SPACING) == metrics.assd(a, b, SPACING) == math.inf
        assert metrics.surface_dice(a, b, SPACING, 2.0) == 0
    assert math.isnan(metrics.hd95(empty, empty, SPACING))
    assert math.isnan(metrics.surface_dice(empty, empty, SPACING, 2.0))


@given(volumes, volumes)
@settings(deadline=None)
def test_metrics_are_symmetric(a, b):
    for metric in (metrics.dice, metrics.iou):
        assert metric(a, b) == pytest.approx(metric(b, a), nan_ok=True)
    for distance in (metrics.hd95, metrics.assd):
        assert distance(a, b, SPACING) == pytest.approx(distance(b, a, SPACING), nan_ok=True)


@given(volumes)
@settings(deadline=None)
def test_a_mask_is_at_no_distance_from_itself(a):
    if a.any():
        assert metrics.dice(a, a) == metrics.iou(a, a) == metrics.surface_dice(a, a, SPACING, 0.0) == 1
        assert metrics.hd95(a, a, SPACING) == metrics.assd(a, a, SPACING) == 0


@given(volumes, volumes, st.tuples(*[st.integers(0, 3)] * 3))
@settings(deadline=None)
def test_moving_both_masks_changes_nothing(a, b, move):
    if not (a | b).any():
        return
    room = [(step + 1, 4 - step) for step in move]
    near = metrics.surface_distances(np.pad(a, 1), np.pad(b, 1), SPACING)
    far = metrics.surface_distances(np.pad(a, room), np.pad(b, room), SPACING)
    assert near.assd == pytest.approx(far.assd)
    assert near.hd95 == pytest.approx(far.hd95)


@given(volumes, volumes)
@settings(deadline=None)
def test_assd_is_what_brute_force_gives(a, b):
    def surface(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        inside = padded.copy()
        for axis in range(3):
            inside &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
        return np.argwhere(padded & ~inside) * SPACING

    if not (a.any() and b.any()):
        return
    pairs = np.linalg.norm(surface(a)[:, None] - surface(b)[None], axis=2)
    expected = np.concatenate([pairs.min(1), pairs.min(0)]).mean()
    assert metrics.assd(a, b, SPACING) == pytest.approx(expected)


def test_a_report_has_a_row_per_id_and_means_over_what_is_defined():
    reference = CUBE * 3
    predicted = np.roll(reference, 1, 1)
    predicted[0, 0, 0] = 7  # an id that the reference does not have
    report = metrics.label_report(predicted, reference, SPACING, ids=(3, 7, 9))
    row = report.rows[0]
    assert [r.id for r in report.rows] == [3, 7, 9]
    assert row.dice == pytest.approx(0.8)
    assert row.hd95_mm == pytest.approx(1.0)
    assert row.volume_ml == row.reference_volume_ml == pytest.approx(75 * 8 / 1000)
    assert report.rows[1].dice == 0
    assert math.isnan(report.rows[2].dice)
    assert report.mean_dice == pytest.approx(0.4)
    assert report.mean_hd95_mm == pytest.approx(1.0)
    assert report.missed == (7,)
    assert [r.id for r in metrics.label_report(predicted, reference, SPACING).rows] == [3, 7]


def test_one_slice_of_a_volume_is_all_surface_and_an_image_is_not():
    square = block(slice(3, 4), slice(2, 9), slice(2, 9))
    assert len(metrics.surface_distances(square, square, SPACING).from_predicted) == 49
    assert len(metrics.surface_distances(square[3:4], square[3:4], SPACING).from_predicted) == 24
    voxel = np.ones((1, 1, 1))
    assert metrics.hd95(voxel, voxel, SPACING) == 0


def test_a_report_is_valid_json():
    report = metrics.label_report(CUBE * 0, CUBE * 2, SPACING)
    text = json.dumps(report.as_dict(), allow_nan=False)
    assert json.loads(text) == {
        "labels": {
            "2": {
                "dice": 0.0,
                "hd95_mm": None,
                "assd_mm": None,
                "volume_ml": 0.0,
                "reference_volume_ml": 0.6,
            }
        },
        "mean": {"dice": 0.0, "hd95_mm": None, "assd_mm": None},
        "missed": [2],
    }


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_excluded_slices_count_for_nothing(axis):
    reference = CUBE.astype(np.uint8)
    predicted = reference.copy()
    keys = [SliceKey(axis, 3), SliceKey(axis, 4)]
    for key in keys:
        predicted[(slice(None),) * axis + (key.index,)] = 0
    report = metrics.label_report(predicted, reference, SPACING, exclude=keys)
    kept = np.delete(reference, [3, 4], axis).sum()
    assert report.rows[0].dice == 1
    assert report.rows[0].reference_volume_ml == pytest.approx(kept * 8 / 1000)


def test_errors_on_excluded_slices_do_not_reach_the_distances():
    reference = CUBE.astype(np.uint8)
    predicted = reference.copy()
    predicted[3, 11, 11] = 1
    everywhere = metrics.label_report(predicted, reference, SPACING)
    without = metrics.label_report(predicted, reference, SPACING, exclude=[SliceKey(0, 3)])
    assert everywhere.rows[0].assd_mm > 0
    assert without.rows[0].assd_mm == 0
    assert without.mean_dice == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 2)), np.zeros((2, 3)), (1, 1)), "shape"),
        ((np.ones((2, 2)), np.ones((2, 2)), (1, 1, 1)), "2 lengths"),
        ((np.ones((2, 2)), np.ones((2, 2)), (1, 0)), "2 lengths"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, message):
    with pytest.raises(SamAdaptError, match=message):
        metrics.surface_distances(*arguments)
    with pytest.raises(SamAdaptError):
        metrics.label_report(CUBE, CUBE, SPACING, exclude=[SliceKey(1, 12)])
