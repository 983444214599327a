"""The demonstration without a window, on a small volume with a tiny SAM."""

import numpy as np
import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.reading import read_labels
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.adapter_file import read_adapter
from napari_samadapt.session.demonstration import demonstrate, spread_slices


@pytest.mark.parametrize(
    ("labelled", "count", "expected"),
    [
        (range(10), 5, [1, 3, 5, 7, 9]),
        (range(4, 8), 2, [5, 7]),
        ([0, 9], 5, [0, 9]),
        ([3], 5, [3]),
    ],
)
def test_slices_are_spread_over_those_with_labels(labelled, count, expected):
    reference = np.zeros((2, 10, 3), np.uint8)
    reference[0, list(labelled), 1] = 4
    assert spread_slices(reference, 1, count) == tuple(SliceKey(1, index) for index in expected)


def test_a_reference_without_labels_is_refused():
    with pytest.raises(SamAdaptError, match="no label"):
        spread_slices(np.zeros((3, 3, 3)), 0, 5)


def test_the_whole_loop(tmp_path, volume, sam):
    reference = np.zeros(volume.shape, np.uint8)
    reference[:, 6:16, 5:14] = 5
    seen = []
    done = demonstrate(volume, reference, {5: "kidney"}, sam, tmp_path, 0.5, seen.append)
    assert len(done.annotated) == 5
    assert done.boxes == 1
    assert done.dice_before == 0
    assert 0 <= done.dice_after <= 1
    assert done.steps == seen[-1].step > 0
    mask, _ = read_labels(done.mask, volume)
    for key in done.annotated:
        np.testing.assert_array_equal(
            mask[key.index], reference[key.index], "accepted slices are the reference"
        )
    assert read_adapter(done.adapter)[1].classes == {5: "kidney"}
