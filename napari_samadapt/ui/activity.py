"""Long work of a session in napari's activity dock: determinate, and never updated more than four times a second."""

from __future__ import annotations

import time
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

from napari.utils import progress

from .connections import Connections

if TYPE_CHECKING:
    from napari_samadapt.learning.fine_tune import TrainProgress
    from napari_samadapt.session.session import Session

_EVERY_SECONDS = 0.25
_PER_MILLE = 1000
_NOWHERE = SimpleNamespace(write=lambda _text: None, flush=lambda: None)


class Bar:
    """One bar of the activity dock; it is there only between the first `set` and `close`. Main thread only."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._bar: progress | None = None
        self._shown = 0.0

    def set(self, fraction: float) -> None:
        """Show how far the work is, in [0, 1]; at 1 the bar goes."""
        if fraction >= 1.0:
            self.close()
            return
        now = time.monotonic()
        if self._bar is None:
            # The bar is seen in the window; its text twin on the terminal is not wanted.
            with suppress(RuntimeError):  # Qt has deleted the activity dock: the window is being closed
                self._bar = progress(total=_PER_MILLE, desc=self._text, file=_NOWHERE, leave=False)
        elif now - self._shown < _EVERY_SECONDS:
            return
        if self._bar is None:
            return
        self._shown = now
        step = round(fraction * _PER_MILLE) - self._bar.n
        if step > 0:
            self._bar.update(step)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Activity:
    """Shows how far a session's predictions and episodes are."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._predicting, self._learning = Bar("Predicting slices"), Bar("Learning")
        self._connections = Connections()
        add = self._connections.add
        add(session.refresh_progress, self._on_refresh_progress)
        add(session.progress, self._on_progress)
        add(session.learning_changed, self._on_learning_changed)

    def close(self) -> None:
        """Stop showing."""
        self._connections.close()
        self._predicting.close()
        self._learning.close()

    def _on_refresh_progress(self, done: int, total: int) -> None:
        self._predicting.set(done / total if total else 1.0)

    def _on_progress(self, told: TrainProgress) -> None:
        self._learning.set(told.fraction)

    def _on_learning_changed(self, _state: str = "") -> None:
        if self._session.learning_state not in ("training", "paused"):
            self._learning.close()
