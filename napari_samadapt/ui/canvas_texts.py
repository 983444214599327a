"""Words on the canvas: the anatomical letters at its edges, and in a corner which view and grey values are seen."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.components.overlays import TextOverlay

_PLACES = {
    "samadapt left": "middle_left",
    "samadapt right": "middle_right",
    "samadapt top": "top_center",
    "samadapt bottom": "bottom_center",
    "samadapt view": "bottom_left",
}
_LETTER_SIZE, _TEXT_SIZE = 14, 9


class CanvasTexts:
    """Overlays on the canvas, as long as a session is open."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._window = self._view = ""

    def close(self) -> None:
        """Take the words off the canvas."""
        for name in _PLACES:
            self._viewer.canvas.overlays.pop(name, None)

    def show_letters(self, letters: tuple[str, str, str, str]) -> None:
        """Show anatomical letters at the left, right, top and bottom."""
        for name, letter in zip(_PLACES, letters, strict=False):
            self._show(name, letter, _LETTER_SIZE)

    def show_view(self, text: str) -> None:
        """Say which slices are seen."""
        self._view = text
        self._show_corner()

    def show_window(self, text: str) -> None:
        """Say which grey values are seen."""
        self._window = text
        self._show_corner()

    def _show_corner(self) -> None:
        self._show("samadapt view", "\n".join(filter(None, (self._view, self._window))), _TEXT_SIZE)

    def _show(self, name: str, text: str, size: int) -> None:
        overlay = self._viewer.canvas.overlays.get(name)
        if overlay is not None:
            overlay.text = text
            overlay.visible = bool(text)
            return
        self._viewer.canvas.overlays[name] = TextOverlay(
            text=text,
            position=_PLACES[name],
            font_size=size,
            visible=bool(text),
            color="#f0e442",
            box=True,
            box_color="#000000b0",
        )
