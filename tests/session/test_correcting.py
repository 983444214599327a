"""A click that takes away from a mask takes away there, and leaves the rest."""

import statistics

import numpy as np
import pytest
from scipy import ndimage

from napari_samadapt.imaging.intensity import auto_window
from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.phantom import ct_phantom
from napari_samadapt.imaging.prompts import Prompts, click_in_error
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.session.live_model import LiveModel
from napari_samadapt.session.messages import PredictRequest

KEY = SliceKey(0, 4)


@pytest.fixture(scope="module")
def structures():
    """A phantom, and a structure of its slice with a mask of it that is too large on one side."""
    volume, labels, _ = ct_phantom(2, (9, 128, 128))
    found = []
    for class_id in np.unique(labels[KEY.index])[1:]:
        true = labels[KEY.index] == class_id
        if true.sum() > 100:
            moved = ndimage.shift(true.astype(np.uint8), (0, 5), order=0) > 0
            found.append((true, true | moved))
    return volume, found


def test_a_negative_click_improves_a_mask(structures) -> None:
    volume, found = structures
    live = LiveModel(volume, load_sam("mini"))
    before, after = [], []
    for true, mask in found:
        xy, sign = click_in_error(mask, true)
        prompts = Prompts([xy], [sign], mask_input=mask)
        answer = live.mask(PredictRequest(KEY, auto_window(volume), prompts, 1, 1)).mask
        before.append(dice(mask, true))
        after.append(dice(answer, true))
        assert sign == 0
    assert statistics.mean(after) > statistics.mean(before)
