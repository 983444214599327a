"""Signal connections that are made together and undone together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer


class Connections:
    """Remembers pairs of a signal (Qt, psygnal or napari's) and a slot, to take them apart again."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Any, Callable[..., Any]]] = []

    def add(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Connect `slot` to `signal`."""
        signal.connect(slot)
        self._pairs.append((signal, slot))

    def close(self) -> None:
        """Disconnect everything; a widget that Qt has deleted already is no reason to stop."""
        for signal, slot in self._pairs:
            with contextlib.suppress(RuntimeError, TypeError, ValueError):
                signal.disconnect(slot)
        self._pairs.clear()


def end_timer(timer: QObject) -> None:
    """Stop a timer, or what superqt delays by one, and have Qt delete it on the main thread.

    Left to Python's garbage collector it might be deleted by whatever thread runs that.
    """
    for one in (timer, *timer.findChildren(QTimer)):
        if isinstance(one, QTimer):
            one.stop()
    timer.deleteLater()
