"""The keys of the dock. napari's own Labels keys (1 to 7, M, [ and ]) keep their meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

KEYS = {
    "sign": "T",
    "point": "P",
    "box": "B",
    "scribble": "S",
    "lasso": "L",
    "mask": "D",
    "keep": "K",
    "delete": "Delete",
    "delete too": "Backspace",
    "accept": "A",
    "reject": "R",
    "next": "N",
    "propagate": "G",
    "interpolate": "I",
    "prediction": "V",
    "outline": "O",
    "uncertainty": "U",
    "before": "W",
    "undo": "Control-Z",
    "redo": "Control-Shift-Z",
}


class _Bindable(Protocol):
    @property
    def keymap(self) -> dict[Any, Any]: ...
    def bind_key(self, key: str, function: Any = ..., overwrite: bool = ...) -> Any: ...


class KeyBindings:
    """Binds KEYS on the viewer and on the given layers, and gives back what was bound there before.

    A key pressed on the canvas goes to the active layer first, whose class has keys of its own (P, A and B
    among them), so that our own layers need the bindings too. Other layers are left alone.
    """

    def __init__(self, places: Sequence[_Bindable], actions: Mapping[str, Callable[[], object]]) -> None:
        self._places = tuple(places)
        self._before = [dict(place.keymap) for place in self._places]
        for place in self._places:
            for name, action in actions.items():
                place.bind_key(KEYS[name], _ignoring_argument(action), overwrite=True)

    def close(self) -> None:
        """Restore the keymaps as they were."""
        for place, before in zip(self._places, self._before, strict=True):
            place.keymap.clear()
            place.keymap.update(before)


def _ignoring_argument(action: Callable[[], object]) -> Callable[[Any], None]:
    def pressed(_viewer_or_layer: Any) -> None:
        action()

    return pressed
