"""Opens napari with the dock, on a volume or empty, and stays until the window is closed."""

from collections.abc import Mapping
from pathlib import Path

import napari
from napari.layers import Layer
from napari.qt import get_qapp
from qtpy.QtWidgets import QWidget

from napari_samadapt.imaging.reading import read_volume

from .contributions import image_layer_tuple
from .questions import read_asking

WIDGET = "Segment and adapt SAM"
"""The dock's name in napari.yaml."""


def open_window(path: Path | None, choices: Mapping[str, str] | None = None) -> napari.Viewer:
    """napari's viewer with the dock, on the volume at `path`, read with the answers in `choices`.

    Asks what they leave open; without a volume where the user cancels. Raises SamAdaptError before a window opens.
    """
    get_qapp()
    volume = None if path is None else read_asking(lambda known: read_volume(path, choices=known), choices)
    viewer = napari.Viewer(title="napari-samadapt", show=False)
    if volume is not None:
        viewer.add_layer(Layer.create(*image_layer_tuple(volume)))
    viewer.window.add_plugin_dock_widget("napari-samadapt", WIDGET)
    viewer.show()
    fit_to_screen(viewer.window._qt_window)  # napari offers no public way to its window
    return viewer


def fit_to_screen(window: QWidget) -> None:
    """Shrink and move a window that reaches beyond its screen: with three columns napari's own size often does."""
    available = window.screen().availableGeometry()
    geometry = window.geometry()
    if not available.contains(geometry):
        window.resize(geometry.size().boundedTo(available.size()))
        window.move(available.topLeft())


def run_window(path: Path | None, choices: Mapping[str, str] | None = None) -> None:
    """Open the window and return when it is closed."""
    open_window(path, choices)
    napari.run()
