"""Opens napari with the dock, on a volume or empty, and stays until the window is closed."""

from pathlib import Path

import napari
from napari.layers import Layer

from napari_samadapt.imaging.reading import read_volume

from .contributions import image_layer_tuple

WIDGET = "Segment and adapt SAM"
"""The dock's name in napari.yaml."""


def open_window(path: Path | None) -> napari.Viewer:
    """napari's viewer with the dock, on the volume at `path`. Raises SamAdaptError before a window opens."""
    volume = None if path is None else read_volume(path)
    viewer = napari.Viewer(title="napari-samadapt", show=False)
    if volume is not None:
        viewer.add_layer(Layer.create(*image_layer_tuple(volume)))
    viewer.window.add_plugin_dock_widget("napari-samadapt", WIDGET)
    viewer.show()
    return viewer


def run_window(path: Path | None) -> None:
    """Open the window and return when it is closed."""
    open_window(path)
    napari.run()
