"""The radiological view, for volumes stored in any order and direction."""

import numpy as np
import pytest

from napari_samadapt.imaging.volume import Source, Volume
from napari_samadapt.ui.view import letter_towards, slice_view

DIRECTIONS = {
    "R": (1, 0, 0),
    "L": (-1, 0, 0),
    "A": (0, 1, 0),
    "P": (0, -1, 0),
    "S": (0, 0, 1),
    "I": (0, 0, -1),
}


def stored(x: str, y: str, z: str) -> Volume:
    """A volume whose x, y and z indices grow towards these anatomical letters."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([DIRECTIONS[letter] for letter in (x, y, z)], float).T
    return Volume(np.zeros((3, 4, 5)), affine, Source(format="nifti"))


@pytest.mark.parametrize(
    ("storage", "name", "order", "orientation", "edges"),
    [
        ("LPS", "axial", (0, 1, 2), ("down", "right"), "RLAP"),
        ("LPS", "coronal", (1, 0, 2), ("up", "right"), "RLSI"),
        ("LPS", "sagittal", (2, 0, 1), ("up", "right"), "APSI"),
        ("RAS", "axial", (0, 1, 2), ("up", "left"), "RLAP"),
        ("RAS", "coronal", (1, 0, 2), ("up", "left"), "RLSI"),
        ("RAS", "sagittal", (2, 0, 1), ("up", "left"), "APSI"),
        ("PIR", "axial", (1, 2, 0), ("down", "left"), "RLAP"),
        ("PIR", "coronal", (2, 1, 0), ("down", "left"), "RLSI"),
        ("PIR", "sagittal", (0, 1, 2), ("down", "right"), "APSI"),
    ],
)
def test_view_is_radiological(storage, name, order, orientation, edges):
    volume = stored(*storage)
    seen = slice_view(volume, volume.anatomical_axis(name))
    assert seen.order == order
    assert seen.orientation == orientation
    assert "".join(seen.edges) == edges


def test_letters_follow_the_affine():
    volume = stored("P", "I", "R")
    assert [letter_towards(volume, axis) for axis in range(3)] == ["R", "I", "P"]
