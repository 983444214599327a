"""How large every class is, counted slice by slice in short turns, so that the window never waits for it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_samadapt.imaging.volume import SliceKey, Volume, slice_count, take_slice

from .connections import end_timer

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session

_TURN_SECONDS = 0.008
_PAUSE_MS = 20


class ClassVolumes:
    """Counts the voxels of every class as displayed, prediction included, and tells them when all are counted."""

    def __init__(self, session: Session, tell: Callable[[Mapping[int, int]], None]) -> None:
        self._session = session
        self._tell = tell
        self._axis = session.axis
        self._counts: dict[int, Counter[int]] = {}
        self._waiting: set[int] = set()
        self._timer = QTimer()
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(self._count_some)
        self.count_all()

    def close(self) -> None:
        """Count no more."""
        end_timer(self._timer)

    def count_all(self) -> None:
        """Count every slice again, along the session's axis."""
        self._axis = self._session.axis
        self._counts.clear()
        self._wait_for(range(slice_count(self._session.volume.shape, self._axis)))

    def count(self, keys: Iterable[SliceKey]) -> None:
        """Count slices that changed; those along another axis cross all."""
        keys = tuple(keys)
        if self._axis != self._session.axis or any(key.axis != self._axis for key in keys):
            self.count_all()
        else:
            self._wait_for(key.index for key in keys)

    def _wait_for(self, indices: Iterable[int]) -> None:
        self._waiting.update(indices)
        if self._waiting and not self._timer.isActive():
            self._timer.start()

    def _count_some(self) -> None:
        """One turn."""
        end = time.perf_counter() + _TURN_SECONDS
        while self._waiting and time.perf_counter() < end:
            key = SliceKey(self._axis, self._waiting.pop())
            shown = take_slice(self._session.annotation, key) + take_slice(self._session.prediction, key)
            self._counts[key.index] = voxels_of(shown)
        if not self._waiting:
            self._timer.stop()
            self._tell(sum(self._counts.values(), Counter()))


def voxels_of(labels: NDArray[np.unsignedinteger]) -> Counter[int]:
    """Number of pixels of every id but 0."""
    counts = np.bincount(labels.ravel())
    return Counter({int(i): int(counts[i]) for i in np.nonzero(counts)[0] if i})


def volume_text(voxels: int, volume: Volume) -> str:
    """Millilitres with three digits; a number of pixels where pixels have no size."""
    if not volume.spatial:
        return f"{voxels:,}".replace(",", "\u2009")
    return millilitres_text(voxels * float(np.prod(volume.spacing)) / 1000)


def millilitres_text(millilitres: float) -> str:
    """With three digits, as far as they mean anything."""
    digits = 0 if millilitres >= 100 else 1 if millilitres >= 10 else 2
    return f"{millilitres:.{digits}f}"
