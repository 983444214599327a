"""The brush is round in millimetres, whatever the voxels are and along whichever axis is painted."""

import numpy as np
import pytest

from napari_samadapt.imaging.volume import Source, Volume
from napari_samadapt.ui.layers import VolumeLayers


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (7.5, 0.5, 0.5), (16.8, 0.95, 0.95), (0.8, 3.0, 0.9)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_stroke_reaches_as_far_in_every_direction(viewer, spacing, axis):
    shape = (41, 41, 41)
    volume = Volume(
        np.zeros(shape, np.uint8),
        np.diag([-spacing[2], -spacing[1], spacing[0], 1.0]),
        Source(format="nifti"),
    )
    labels = np.zeros(shape, np.uint16)
    layers = VolumeLayers(viewer, volume, labels, np.zeros_like(labels), lambda: labels)
    row, column = (other for other in range(3) if other != axis)
    viewer.dims.order = (axis, row, column)
    layers.annotation.brush_size = 15
    layers.annotation.paint((20, 20, 20), 1)
    painted = np.argwhere(labels)
    assert (painted[:, axis] == 20).all()
    reach = {side: (np.ptp(painted[:, side]) + 1) * spacing[side] for side in (row, column)}
    assert abs(reach[row] - reach[column]) <= max(spacing[row], spacing[column])
    area = len(painted) * spacing[row] * spacing[column]
    assert area == pytest.approx(np.pi / 4 * reach[row] * reach[column], rel=0.3)
