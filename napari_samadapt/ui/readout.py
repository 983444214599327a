"""What the status bar says under the mouse: the place in the patient in mm, the grey value, the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Labels as NapariLabels
from numpy.typing import NDArray

from napari_samadapt.imaging.intensity import looks_like_ct
from napari_samadapt.imaging.volume import Volume

from .contributions import NAMES_KEY, VOLUME_KEY

UNIT_KEY = (
    "napari-samadapt unit"  # layer.metadata entry: the unit of the grey values, "" where it is not known
)
_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))  # of growing and falling x, y, z of the RAS world


class Labels(NapariLabels):  # type: ignore[misc]  # napari is untyped to mypy
    """napari's Labels with our status text; of the same name, because napari tells the type of a layer by it."""

    def get_status(self, position: Any = None, **details: Any) -> dict[str, str]:
        """As napari's, with the text of `reading`. napari asks on a thread of its own."""
        status: dict[str, str] = super().get_status(position, **details)
        volume = self.metadata.get(VOLUME_KEY)
        if volume is None or position is None:
            return status
        voxel = np.asarray(self.world_to_data(position) if details.get("world") else position)[-3:]
        place, value = reading(volume, voxel, self.metadata.get(UNIT_KEY, ""))
        label = self.get_value(position, **details)
        name = self.metadata.get(NAMES_KEY, {}).get(int(label), "") if label else ""
        status["coords"], status["value"] = place, "   ".join(filter(None, (value, name)))
        status["coordinates"] = "   ".join(filter(None, (place, status["value"])))
        return status


ReadingLabels = Labels


def unit_of(volume: Volume) -> str:
    """The unit of the grey values, where it is known."""
    return "HU" if looks_like_ct(volume) else ""


def reading(volume: Volume, voxel: Sequence[float] | NDArray[Any], unit: str = "") -> tuple[str, str]:
    """The place of a voxel position (z, y, x) and the value there in words; empty outside the volume.

    Places are in mm with the letter of the side they lie on; without a physical size in pixels x, y (and slice).
    """
    index = np.round(np.asarray(voxel, float)).astype(int)
    if not all(0 <= part < size for part, size in zip(index, volume.shape, strict=True)):
        return "", ""
    z, y, x = (int(part) for part in index)
    values = np.atleast_1d(volume.data[z, y, x])
    text = ", ".join(f"{float(value):.6g}" for value in values)
    if not volume.spatial:
        return f"x {x}  y {y}" + (f"  slice {z}" if volume.shape[0] > 1 else ""), text
    world = (volume.affine @ np.array([x, y, z, 1.0]))[:3]
    parts = [
        f"{letters[0 if mm >= 0 else 1]} {abs(mm):.1f}" for mm, letters in zip(world, _LETTERS, strict=True)
    ]
    return "  ".join(parts) + " mm", f"{text} {unit}".strip()
