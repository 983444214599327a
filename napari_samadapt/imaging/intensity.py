"""Which grey values are shown: one window per volume, and the same picture for the user and for the model.

CT presets are in HU. Everything else is windowed by percentiles of the volume, never of one slice, so that a
tissue keeps its grey value from slice to slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .volume import SliceKey, Volume, take_slice

_SAMPLE_VOXELS = 2_000_000  # percentiles of more voxels cost seconds and change nothing
_PADDING_SHARE = 0.05  # a minimum shared by more voxels than this is background, not tissue
_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class Window:
    """The grey values shown as black (`low`) and white (`high`), in the volume's units; low < high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise SamAdaptError(
                f"A window needs two finite values, low below high; these are {self.low} and {self.high}."
            )


CT_WINDOWS: Mapping[str, Window] = MappingProxyType(
    {
        "soft tissue": Window(-160.0, 240.0),
        "lung": Window(-1350.0, 150.0),
        "bone": Window(-500.0, 1300.0),
        "brain": Window(0.0, 80.0),
    }
)


def looks_like_ct(volume: Volume) -> bool:
    """True where the values look like HU: told by the DICOM modality, else by their range."""
    if volume.source.modality:
        return volume.source.modality == "CT"
    if volume.is_color or volume.source.format == "image" or volume.data.dtype.kind in "bu":
        return False
    values = _tissue_values(volume)
    if values.size == 0:
        return False
    low, middle, high, top = np.percentile(values, (5, 50, 95, 99.9))
    has_fat_or_air = values.min() <= -90 and float(np.mean(values < -20)) >= 0.02
    in_range = low >= -2100 and middle <= 400 and high <= 3200 and 100 <= top <= 40_000
    return bool(has_fat_or_air and in_range)


def auto_window(volume: Volume) -> Window:
    """The window to start with: soft tissue for CT, 8-bit pictures whole, else the 0.5 to 99.5 percentiles."""
    if volume.is_color or (volume.source.format == "image" and volume.data.dtype == np.uint8):
        return Window(0.0, 255.0)
    if looks_like_ct(volume):
        return CT_WINDOWS["soft tissue"]
    return _percentile_window(volume)


def named_window(volume: Volume, name: str) -> Window:
    """The window called `name`: a key of CT_WINDOWS, "auto" or "percentile"."""
    if name == "auto":
        return auto_window(volume)
    if name == "percentile":
        return _percentile_window(volume)
    if name not in CT_WINDOWS:
        raise SamAdaptError(f"There is no window {name!r}: use auto, percentile, {', '.join(CT_WINDOWS)}.")
    return CT_WINDOWS[name]


def render_slice(volume: Volume, key: SliceKey, window: Window) -> NDArray[np.float32]:
    """The slice as the user and the model see it: (H, W) or (H, W, 3) float32 in [0, 1]; NaN becomes 0."""
    pixels = take_slice(volume.data, key).astype(np.float64)  # large offsets would lose precision in float32
    pixels -= window.low
    pixels /= window.high - window.low
    np.clip(np.nan_to_num(pixels, copy=False, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0, out=pixels)
    return pixels.astype(np.float32)


def _percentile_window(volume: Volume) -> Window:
    values = _tissue_values(volume)
    if values.size == 0:
        return Window(0.0, 1.0)
    low, high = (float(value) for value in np.percentile(values, _PERCENTILES))
    if not low < high:
        low, high = float(values.min()), float(values.max())
    # A constant volume has no contrast to show; any window around it is as good.
    return Window(low, high) if low < high else Window(low - 0.5, low + max(0.5, abs(low) * 1e-6))


def _tissue_values(volume: Volume) -> NDArray[Any]:
    """(N,) float64 finite values of an even sample, without the background that fills the edges of many scans."""
    flat = volume.data.reshape(-1)
    values = flat[:: max(1, flat.size // _SAMPLE_VOXELS)].astype(np.float64)
    values = values[np.abs(values) < 1e30]  # drops NaN, Inf and the 3.4e38 some programs write for "no value"
    if volume.source.padding is not None:
        low, high = volume.source.padding
        values = values[(values < low) | (values > high)]
    if values.size == 0:
        return values
    lowest = values.min()
    inside = values[values > lowest]
    return inside if inside.size and values.size - inside.size > _PADDING_SHARE * values.size else values
