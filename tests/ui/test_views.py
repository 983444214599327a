"""The looks at the slice and the larger views: reference, before and after, how the model learned."""

import math
from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QToolButton

from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.imaging.writing import write_labels
from napari_samadapt.session.insight import AcceptedSlice, Uncertainty, Update
from napari_samadapt.ui.learning_view import update_cells
from napari_samadapt.ui.slice_overlays import BEFORE, UNCERTAINTY
from napari_samadapt.ui.slice_picture import colored, upright
from napari_samadapt.ui.views import Views

KEY = SliceKey(0, 2)


@pytest.fixture
def views(dock):
    return next(part for part in dock._parts if isinstance(part, Views))


def names(viewer):
    return [layer.name for layer in viewer.layers]


def button_of(dock, text):
    return next(made for made in dock.findChildren(QToolButton) if made.text().startswith(text))


def press(viewer, key):
    from napari.utils.key_bindings import KeymapHandler

    handler = KeymapHandler()
    handler.keymap_providers = [viewer.layers.selection.active, viewer]
    handler.press_key(key)


# uncertainty


def test_the_uncertainty_lies_on_the_slice_on_screen(qtbot, dock, viewer):
    dock.session.adapter_version = 1
    qtbot.mouseClick(button_of(dock, "Unsure"), Qt.MouseButton.LeftButton)
    assert dock.session.insight.asked == [KEY]
    dock.session.insight.uncertain.emit(Uncertainty(KEY, 1, np.full((20, 30), 0.5, np.float32)))
    layer = viewer.layers[UNCERTAINTY]
    assert layer.data.shape == (1, 20, 30), "one slice, never the volume"
    place = layer.data_to_world((0, 7, 11))
    assert np.allclose(place, dock.layers.annotation.data_to_world((2, 7, 11)))
    assert viewer.layers.selection.active is dock.layers.annotation, "the user goes on painting"
    viewer.dims.set_point(0, 4 * 4.0)
    assert UNCERTAINTY not in names(viewer)
    assert dock.session.insight.asked == [KEY, SliceKey(0, 4)]


def test_an_answer_for_another_slice_is_dropped(dock, viewer, views):
    dock.session.adapter_version = 1
    views.overlays.switch(UNCERTAINTY, True)
    dock.session.insight.uncertain.emit(Uncertainty(SliceKey(0, 5), 1, np.zeros((20, 30), np.float32)))
    assert UNCERTAINTY not in names(viewer)


def test_the_plain_model_has_nothing_to_show(qtbot, dock, told):
    qtbot.mouseClick(button_of(dock, "Unsure"), Qt.MouseButton.LeftButton)
    assert not button_of(dock, "Unsure").isChecked()
    assert "predicts nothing yet" in told[-1][1]
    assert dock.session.insight.asked == []


def test_deleting_the_layer_switches_the_look_off(dock, viewer):
    dock.session.adapter_version = 1
    press(viewer, "U")
    assert button_of(dock, "Unsure").isChecked()
    dock.session.insight.uncertain.emit(Uncertainty(KEY, 1, np.zeros((20, 30), np.float32)))
    viewer.layers.remove(UNCERTAINTY)
    assert not button_of(dock, "Unsure").isChecked()
    press(viewer, "U")
    dock.session.insight.uncertain.emit(Uncertainty(KEY, 1, np.zeros((20, 30), np.float32)))
    press(viewer, "U")
    assert UNCERTAINTY not in names(viewer)


# before and after


@pytest.fixture
def twice_predicted(dock):
    """Adapter 1 said a square of class 1, adapter 2 a larger one that is shown now."""
    session = dock.session
    first, second = np.zeros((2, 20, 30), np.uint16)
    first[5:9, 5:9] = 1
    second[5:13, 5:9] = 1
    session.insight.past.said[KEY] = {1: first, 2: second}
    session.prediction[2] = second
    session.adapter_version = 2
    return session


def test_the_outline_of_the_prediction_before(twice_predicted, dock, viewer, views):
    press(viewer, "W")
    layer = viewer.layers[BEFORE]
    assert np.array_equal(layer.data[0], twice_predicted.insight.past.get(KEY, 1))
    assert layer.contour > 0
    assert viewer.layers.selection.active is dock.layers.annotation
    viewer.dims.set_point(0, 0.0)
    assert BEFORE not in names(viewer), "nothing was predicted there before"
    viewer.dims.set_point(0, 2 * 4.0)
    assert BEFORE in names(viewer)
    views.close()
    assert BEFORE not in names(viewer)


def test_side_by_side(twice_predicted, dock, viewer, views):
    views.open_before_after()
    window = views.before_after
    choice = window.findChild(QComboBox)
    assert [choice.itemText(place) for place in range(choice.count())] == ["Before: adapter 1"]
    said = " ".join(label.text() for label in window.findChildren(type(window._now)))
    assert "Now: adapter 2" in said
    assert f"Dice of {2 * 16 / 48:.2f}" in said
    viewer.dims.set_point(0, 0.0)
    assert not choice.isEnabled()
    picture = window._right.grab().toImage()
    assert picture.width() > 100


def test_a_picture_stands_as_the_canvas_does(volume):
    labels = np.zeros((20, 30), np.uint16)
    labels[0, 0] = 3
    pixels = colored(np.zeros((20, 30), np.float32), labels, {3: (1.0, 0.0, 0.0)})
    assert pixels[0, 0].tolist() == [128, 0, 0]
    turned, aspect = upright(volume, 0, pixels)
    assert aspect == 2.0
    assert turned.shape == (20, 30, 3)
    assert turned[0, 0, 0] == 128, "down and right on the canvas: as in the array"
    turned, aspect = upright(volume, 1, np.zeros((6, 30, 3), np.uint8))
    assert (turned.shape, aspect) == ((6, 30, 3), 4.0)


# how the model learned


def test_updates_are_told_with_what_became_of_them():
    slices = frozenset({SliceKey(0, 7), SliceKey(0, 3)})
    kept = Update("episode", 2, slices, 61.2, 140, 0.913, at=75)
    assert update_cells(kept) == ("1:15", "Episode", "3, 7", "61 s, 140 steps", "0.91", "In use as adapter 2")
    refused = replace(kept, version=1, held_out_dice=None, reason="The update was kept back: …")
    assert update_cells(refused)[-1] == "The update was kept back: …"
    assert update_cells(Update("reset", 0))[-1] == "Plain model in use"


def test_the_window_of_the_learning_follows_the_session(qtbot, dock, views, viewer):
    views.open_learning()
    insight = dock.session.insight
    insight.updates = (Update("fit", 1, frozenset({KEY})),)
    insight.accepted = tuple(
        AcceptedSlice(SliceKey(0, index), 0.0, 4 - index, 1, 0.5 + index / 10, 3.0) for index in range(4)
    )
    insight.changed.emit()
    window = views.learning
    assert window._table.rowCount() == 1
    assert "0.50 at first, 0.80 at last" in window._plots_hint.text()
    assert "3.5 in the first half, 1.5 in the second" in window._plots_hint.text()
    window._on_plot_clicked(4.2)
    assert dock.panels.slice.strip.current == 3
    window._on_plot_clicked(9.0)
    assert dock.panels.slice.strip.current == 3


# comparison with a reference


@pytest.fixture
def reference(dock, tmp_path):
    """A label file in which the structure of class 1 is called so, and has the id 4."""
    labels = np.zeros(dock.session.volume.shape, np.uint16)
    labels[1:4, 5:15, 5:15] = 4
    dock.session.annotation[1:4, 5:15, 5:13] = 1
    return write_labels(tmp_path / "truth.nii.gz", labels, dock.session.volume, {4: "class 1"})


def shown(view, place, line=0):
    return view._table.item(line, place).text()


def test_a_reference_is_read_and_compared(qtbot, dock, views, reference, monkeypatch, tmp_path):
    views.open_comparison()
    view = views.comparing.view
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(reference), ""))
    view.file_asked.emit()
    qtbot.waitUntil(lambda: "Mean Dice" in view._hint.text())
    assert float(shown(view, 2)) == pytest.approx(2 * 8 / 18, abs=1e-3)
    assert shown(view, 5) == "1.9 ml"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "table"), ""))
    view.csv_asked.emit()
    assert (tmp_path / "table.csv").read_text().startswith("class_id,class,")


def test_a_click_in_the_plot_goes_to_the_slice(qtbot, dock, views, reference):
    views.open_comparison()
    view = views.comparing.view
    views.comparing.load(reference)
    qtbot.waitUntil(lambda: "Mean Dice" in view._hint.text())
    assert view.plot._here.isVisible(), (
        "the slice on screen was not marked in a plot that was empty when it opened"
    )
    plot = view.plot.getPlotItem()
    scene = plot.vb.mapViewToScene(plot.vb.viewRect().center())
    place = view.plot.mapFromScene(scene)
    qtbot.mouseClick(view.plot.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place))
    assert dock.panels.slice.strip.current in (2, 3)


def test_accepted_slices_can_be_left_out(qtbot, dock, views, reference):
    dock.session.accepted = frozenset({SliceKey(0, 1)})
    views.open_comparison()
    view = views.comparing.view
    views.comparing.load(reference)
    qtbot.waitUntil(lambda: "Mean Dice" in view._hint.text())
    view._unseen.click()
    qtbot.waitUntil(lambda: "1 accepted slice left out" in view._hint.text())
    assert shown(view, 5) == "1.3 ml"


def test_another_label_of_the_reference_can_be_chosen(qtbot, dock, views, reference):
    views.open_comparison()
    view = views.comparing.view
    views.comparing.load(reference)
    qtbot.waitUntil(lambda: "Mean Dice" in view._hint.text())
    view.match_chosen.emit(1, 0)
    assert "No class is compared" in view._hint.text()


def test_masks_that_are_open_in_napari_can_be_the_reference(qtbot, dock, viewer, views):
    dock.session.annotation[2, 5:9, 5:9] = 1
    viewer.add_layer(Labels(dock.session.annotation.copy(), name="truth"))
    viewer.add_layer(Labels(np.zeros((3, 3), int), name="elsewhere"))
    views.open_comparison()
    view = views.comparing.view
    assert [view._layers.itemText(place) for place in range(1, view._layers.count())] == ["truth"]
    view.layer_chosen.emit("truth")
    qtbot.waitUntil(lambda: "Mean Dice 1.000" in view._hint.text())


def test_a_file_that_is_no_reference_is_told(qtbot, dock, views, told, tmp_path):
    path = tmp_path / "bad.nii.gz"
    path.write_bytes(b"nothing")
    views.open_comparison()
    views.comparing.load(path)
    qtbot.waitUntil(lambda: any(kind == "error" for kind, _ in told))
    assert "not loaded" in views.comparing.view._hint.text()


def test_undefined_values_are_told_in_words():
    from napari_samadapt.ui.comparison_view import number_text

    assert number_text(math.nan, 2) == "–"
    assert number_text(math.inf, 1, "mm") == "missed"
    assert number_text(1.25, 1, "mm") == "1.2 mm"


def test_the_windows_close_with_the_session(dock, views):
    views.open_comparison()
    views.open_learning()
    views.open_before_after()
    windows = (views.comparing.view, views.learning, views.before_after)
    dock.close_session()
    assert not any(window.isVisible() for window in windows)
