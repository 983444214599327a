"""What each adapter said of each slice, kept small: so that one can see what an update changed. Main thread only."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.volume import SliceKey

LARGEST_BYTES = 64 * 2**20
"""The oldest predictions are forgotten beyond it; a slice of 512 × 512 pixels takes some 3 kB."""


@dataclass(frozen=True, eq=False)
class _Packed:
    data: bytes
    shape: tuple[int, int]


class PastPredictions:
    """The predictions of every slice by the number of the adapter that made them."""

    def __init__(self, limit: int = LARGEST_BYTES) -> None:
        self._limit = limit
        self._kept: dict[tuple[SliceKey, int], _Packed] = {}
        self._bytes = 0

    def put(self, key: SliceKey, version: int, labels: NDArray[np.uint16]) -> None:
        """Keep what adapter `version` says of a slice, (H, W) ids."""
        self._drop((key, version))  # it counts as the newest from now on
        height, width = labels.shape
        packed = _Packed(zlib.compress(np.ascontiguousarray(labels, "<u2").tobytes(), 1), (height, width))
        self._kept[key, version] = packed
        self._bytes += len(packed.data)
        while self._bytes > self._limit and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def versions(self, key: SliceKey) -> tuple[int, ...]:
        """The adapters whose prediction of a slice is kept, the newest prediction last."""
        return tuple(version for kept, version in self._kept if kept == key)

    def get(self, key: SliceKey, version: int) -> NDArray[np.uint16]:
        """What an adapter of `versions` said of a slice, (H, W) ids."""
        packed = self._kept[key, version]
        return np.frombuffer(zlib.decompress(packed.data), "<u2").reshape(packed.shape).astype(np.uint16)

    def _drop(self, which: tuple[SliceKey, int]) -> None:
        if (packed := self._kept.pop(which, None)) is not None:
            self._bytes -= len(packed.data)
