"""The slice fills the canvas until the user zooms or moves it, also when the canvas gets another size."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel


class Fitting:
    """Fits the layers to the canvas: at `fit`, and whenever the canvas is resized while the view is still that."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._fitted: tuple[float, ...] | None = None
        viewer.canvas.events.size.connect(self._on_resized)

    def fit(self) -> None:
        """Show all of the slice."""
        self._viewer.reset_view()
        self._fitted = self._view()

    def close(self) -> None:
        """Leave the view to the user."""
        self._viewer.canvas.events.size.disconnect(self._on_resized)

    def _on_resized(self, _event: Any = None) -> None:
        if self._fitted is not None and self._view() == self._fitted:
            self.fit()

    def _view(self) -> tuple[float, ...]:
        camera = self._viewer.scene.camera
        return (float(camera.zoom), *map(float, camera.center), *map(float, camera.angles))
