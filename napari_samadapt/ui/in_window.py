"""What the dock has in napari's window outside of its own frame: a column, the strip under the canvas, the focus."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtWidgets import QWidget

from .connections import Connections
from .launch import fit_to_screen
from .shared_column import SharedColumn
from .slice_bar import SliceBar, canvas_of
from .slice_strip import SliceStrip, StripLegend
from .style import dock_style, font_points


class InWindow:
    """Made with the dock; `close` gives the window back as it was."""

    def __init__(self, viewer: ViewerModel, dock: QWidget, strip: SliceStrip, legend: StripLegend) -> None:
        self._viewer, self._dock = viewer, dock
        self._column = SharedColumn()
        self._bar = SliceBar(viewer, strip, legend)
        self._connections = Connections()
        self._connections.add(get_settings().appearance.events.font_size, self._set_style)
        self._connections.add(viewer.events.theme, self._set_style)
        self._set_style()

    def fit(self) -> None:
        """Once the window is laid out: make it fit its screen."""
        self._column.share(self._dock)
        fit_to_screen(self._dock.window())

    def begin_work(self) -> None:
        """The keyboard goes to the canvas, where the arrow keys turn the slices over."""
        canvas = canvas_of(self._viewer)
        if canvas is not None:
            canvas.setFocus()

    def close(self) -> None:
        """Leave nothing behind."""
        self._connections.close()
        self._column.close()
        self._bar.take_back()

    def _set_style(self, _event: object = None) -> None:
        style = dock_style(font_points(), get_theme(self._viewer.theme).text.as_hex())
        for part in (self._dock, self._bar):
            part.setStyleSheet(style)
