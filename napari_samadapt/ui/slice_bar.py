"""The strip of slices and its legend, under the canvas; in the dock where there is no window to lay them into."""

from __future__ import annotations

from contextlib import suppress

from napari.components import ViewerModel
from qtpy.QtWidgets import QBoxLayout, QVBoxLayout, QWidget

from .slice_strip import SliceStrip, StripLegend


class SliceBar(QWidget):
    """Between the canvas and napari's sliders, and seen only with slices to choose from: not with a picture.

    It takes the strip and the legend along, as soon as there is a window; `take_back` ends it.
    """

    def __init__(self, viewer: ViewerModel, strip: SliceStrip, legend: StripLegend) -> None:
        super().__init__()
        canvas = canvas_of(viewer)
        parent = canvas.parentWidget() if canvas is not None else None
        around = parent.layout() if parent is not None else None
        if canvas is None or not isinstance(around, QBoxLayout):
            return
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 3, 4, 3)
        layout.setSpacing(2)
        layout.addWidget(strip)
        layout.addWidget(legend)
        around.insertWidget(around.indexOf(canvas) + 1, self)
        self.hide()
        strip.states_changed.connect(lambda states: self.setVisible(len(states) > 1))

    def take_back(self) -> None:
        """Leave the window, in which it would stay without the dock."""
        with suppress(RuntimeError):  # deleted with the window
            around = self.parentWidget()
            layout = around.layout() if around is not None else None
            self.setParent(None)
            if layout is not None:
                layout.activate()  # by itself the canvas would keep its height
            self.deleteLater()


def canvas_of(viewer: ViewerModel) -> QWidget | None:
    """The widget that the slice is drawn in; None where there is no window."""
    try:
        canvas: QWidget = viewer.window._qt_viewer.canvas.native  # napari has no public way there
    except (AttributeError, RuntimeError):
        return None
    return canvas
