"""The canvas's context is made current before layers go, once for each viewer, also when the dock is gone."""

from types import SimpleNamespace

from napari.components import ViewerModel

from napari_samadapt.ui import canvas_context
from napari_samadapt.ui.canvas_context import keep_context_current


def test_it_is_asked_for_once_and_stays():
    viewer, calls = ViewerModel(), []
    canvas = SimpleNamespace(
        _scene_canvas=SimpleNamespace(set_current=lambda: calls.append(len(viewer.layers)))
    )
    object.__setattr__(viewer, "window", SimpleNamespace(_qt_viewer=SimpleNamespace(canvas=canvas)))
    for _ in range(2):
        keep_context_current(viewer)
    viewer.layers.remove(viewer.add_points())
    assert calls == [1], "before the layer is gone"
    viewer.add_points()
    calls.clear()
    viewer.layers.events.end_batch.connect(
        lambda: calls.append("napari's"), position="first", after=canvas_context._NAME
    )
    viewer.layers.clear()
    assert calls[-2:] == [0, "napari's"], "and before the scene is cleaned of many"


def test_a_model_without_a_window_is_left_alone():
    viewer = ViewerModel()
    keep_context_current(viewer)
    viewer.layers.remove(viewer.add_points())
    assert canvas_context._NAME in viewer.layers.events.removing.callback_refs
