"""The dock on a viewer model: everything a user does, without a window."""

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QLabel, QMessageBox

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey, Volume
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.session.session import Session as RealSession
from napari_samadapt.ui import contributions, file_acts
from napari_samadapt.ui.file_acts import volume_of


def texts(dock):
    return " ".join(label.text() for label in dock.findChildren(QLabel))


def press(viewer, key):
    """Press a key on the canvas."""
    from napari.utils.key_bindings import KeymapHandler

    handler = KeymapHandler()
    active = viewer.layers.selection.active
    handler.keymap_providers = [viewer] if active is None else [active, viewer]
    handler.press_key(key)


def test_the_fake_session_has_nothing_that_a_session_has_not(fake_session_class):
    own = {name for name in vars(fake_session_class) if not name.startswith("_")} - {"called"}
    assert not {name for name in own if not hasattr(RealSession, name)}


def test_an_empty_dock_says_how_to_begin(qtbot, make_dock):
    dock = make_dock()
    qtbot.waitUntil(lambda: "Open a volume or a sample to begin." in texts(dock))
    assert "Research use only, not a medical device" in texts(dock)
    assert not dock.panels.slice.isEnabled()


def test_a_volume_opens_with_its_layers_and_its_description(dock, viewer):
    assert [layer.name for layer in viewer.layers] == ["image", "prediction", "annotation", "prompts"]
    assert viewer.dims.order == (0, 1, 2)
    assert viewer.scene.camera.orientation2d == ("down", "right")
    assert dock.panels.slice.strip.current == 2
    assert dock.session.called("look_at")[-1] == (SliceKey(0, 2),)
    assert "30 × 20 × 6 · 1 × 2 × 4 mm" in texts(dock)
    assert viewer.canvas.overlays["samadapt left"].text == "R"


def test_an_image_that_is_open_already_is_taken(qtbot, make_dock, viewer):
    image = Image(np.zeros((5, 16, 17)), scale=(2, 1, 1), name="mine")
    viewer.add_layer(image)
    dock = make_dock()
    qtbot.waitUntil(lambda: dock.session is not None)
    assert dock.layers.image is image
    assert dock.session.volume.spacing == (2, 1, 1)


def test_an_image_that_is_dropped_later_is_taken_if_none_is_open(qtbot, make_dock, viewer, volume):
    dock = make_dock()
    viewer.add_layer(Image(*contributions.image_layer_tuple(volume)[:1], metadata={}))
    qtbot.waitUntil(lambda: dock.session is not None)
    first = dock.session
    viewer.add_layer(Image(np.zeros((3, 8, 8))))
    qtbot.wait(20)
    assert dock.session is first


def test_point_key_click_and_sign(dock, viewer):
    key = SliceKey(0, 2)
    press(viewer, "P")
    assert dock.tools.tool == "point"
    dock.tools.clicked.emit(key, 5.0, 7.0)
    press(viewer, "T")
    dock.tools.clicked.emit(key, 9.0, 3.0)
    prompts = dock.session.prompts[key]
    assert prompts.point_coords.tolist() == [[5, 7], [9, 3]]
    assert prompts.point_labels.tolist() == [1, 0]
    assert len(dock.layers.prompts.data) == 2
    assert viewer.layers["annotation"].data[2, 7, 5] == 1
    press(viewer, "P")
    assert dock.tools.tool == ""


def test_a_box_joins_the_points(dock, viewer):
    key = SliceKey(0, 2)
    press(viewer, "B")
    assert dock.tools.tool == "box"
    dock.tools.clicked.emit(key, 5.0, 7.0)
    dock.tools.drawn.emit("box", key, np.array([[10.0, 2.0], [1.0, 12.0]]))
    prompts = dock.session.prompts[key]
    assert prompts.box.tolist() == [1, 2, 10, 12]
    assert len(prompts.point_coords) == 1
    assert len(dock.layers.prompts.data) > 40, "the box is outlined"


def test_keys_of_the_slice(dock, viewer):
    key = SliceKey(0, 2)
    dock.session.set_prompts(key, file_acts_prompts())
    for name, act in (("A", None), ("R", "reject"), ("Control-Z", "undo"), ("Control-Shift-Z", "redo")):
        press(viewer, name)
        if act:
            assert dock.session.called(act), name
    assert dock.session.accepted == {key}
    assert dock.panels.slice.strip.states[2] == "accepted"
    press(viewer, "V")
    assert not viewer.layers["prediction"].visible
    press(viewer, "V")
    assert viewer.layers["prediction"].visible


def file_acts_prompts():
    from napari_samadapt.imaging.prompts import Prompts

    return Prompts([[4, 4]], [1])


def test_choosing_a_class_keeps_the_open_mask(dock, viewer):
    key = SliceKey(0, 2)
    dock.session.set_prompts(key, file_acts_prompts())
    dock.panels.classes.added.emit()
    assert [shown.name for shown in dock.session.classes] == ["class 1", "structure 2"]
    dock.panels.classes.selected.emit(1)
    assert dock.session.called("keep_draft") == [(key,)]
    assert viewer.layers["annotation"].selected_label == 1


def test_a_colour_is_chosen_and_seen_on_the_canvas(dock, monkeypatch):
    asked = []

    def choose(color, parent, title):
        asked.append(title)
        return QColor("#336699") if len(asked) == 1 else QColor()

    monkeypatch.setattr(QColorDialog, "getColor", choose)
    for _ in range(2):  # the second time the user cancels
        dock.panels.classes.color_asked.emit(1)
    assert asked == ["Colour of class 1"] * 2
    assert dock.session.classes[0].color == pytest.approx((0.2, 0.4, 0.6), abs=1e-4)
    for layer in (dock.layers.annotation, dock.layers.prediction):
        assert layer.get_color(1)[:3] == pytest.approx((0.2, 0.4, 0.6), abs=1e-2)


def test_labels_chosen_by_napari_are_followed_if_they_are_classes(dock, viewer, told):
    dock.panels.classes.added.emit()
    annotation = viewer.layers["annotation"]
    annotation.selected_label = 1
    assert dock.session.active_class == 1
    annotation.selected_label = 9
    assert annotation.selected_label == 1
    assert "no class 9" in told[-1][1]


def test_paint_is_reported_and_locked_classes_are_put_back(dock, viewer, told):
    annotation = viewer.layers["annotation"]
    annotation.data[2, 5, 5] = 2
    dock.panels.classes.added.emit()
    dock.session.set_locked(2, True)
    annotation.brush_size = 3
    with annotation.block_history():  # as a stroke of the mouse does
        annotation.paint((2, 5, 5), 1)
    ((indices, before, after),) = dock.session.called("record_edit")
    assert annotation.data[2, 5, 5] == 2, "a locked class was painted over"
    assert (before == 0).all()
    assert (after == 1).all()
    assert len(indices[0]) == np.count_nonzero(annotation.data == 1)
    assert "locked" in told[-1][1]


@pytest.mark.parametrize("value", [0, 1, 2], ids=["eraser", "another class", "the locked class itself"])
def test_no_stroke_changes_a_locked_class(dock, viewer, told, value):
    annotation = viewer.layers["annotation"]
    annotation.data[2, 5, 5:7] = 2
    dock.panels.classes.added.emit()
    dock.session.set_locked(2, True)
    annotation.brush_size = 5
    with annotation.block_history():
        annotation.paint((2, 5, 5), value)
    assert np.argwhere(annotation.data == 2).tolist() == [[2, 5, 5], [2, 5, 6]]
    assert "locked" in told[-1][1]


def test_a_finished_polygon_is_reported_too(qtbot, dock, viewer):
    annotation = viewer.layers["annotation"]
    annotation.paint_polygon([[2, 3, 3], [2, 3, 12], [2, 12, 3]], 1)
    qtbot.waitUntil(lambda: bool(dock.session.called("record_edit")))
    ((indices, _, after),) = dock.session.called("record_edit")
    assert len(indices[0]) == np.count_nonzero(annotation.data)
    assert (after == 1).all()


def test_a_stroke_takes_the_prediction_over_first(dock):
    dock.tools.stroke_begins.emit()
    assert dock.session.called("begin_edit") == [(SliceKey(0, 2),)]


def test_axes_by_name(dock, viewer):
    dock.panels.volume.axis.emit("sagittal")
    assert dock.session.axis == 2
    assert viewer.dims.order == (2, 0, 1)
    assert len(dock.panels.slice.strip.states) == 30
    viewer.dims.order = (1, 0, 2)
    assert dock.session.axis == 1, "rolling napari's axes is followed"
    assert dock.tools.slice_on_screen() == SliceKey(1, 9)


def test_the_strip_goes_to_a_slice(dock, viewer):
    dock.panels.slice.strip.chosen.emit(5)
    assert dock.tools.slice_on_screen() == SliceKey(0, 5)
    assert viewer.dims.point[0] == pytest.approx(20)


def test_windows(qtbot, dock, viewer):
    dock.panels.volume.window_preset.emit("percentile")
    chosen = dock.session.window
    assert tuple(viewer.layers["image"].contrast_limits) == (chosen.low, chosen.high)
    viewer.layers["image"].contrast_limits = (100, 900)
    qtbot.waitUntil(lambda: dock.session.window == Window(100, 900))


def test_predictions_show_on_the_strip_and_the_layer(dock, viewer):
    dock.session.prediction[2:4] = 1
    for index in (2, 3):
        dock.session.predicted.emit(SliceKey(0, index))
    assert dock.panels.slice.strip.states[1:5] == ("empty", "predicted", "predicted", "empty")
    dock.session.refresh_progress.emit(2, 6)
    assert "2 of 6" in texts(dock)


def test_learning_from_the_panel(dock):
    panel, session = dock.panels.learning, dock.session
    panel.seconds.emit(15)
    panel.enabled.emit(False)
    assert (session.policy.seconds, session.policy.enabled) == (15, False)
    for signal, act in (
        (panel.started, "start_learning"),
        (panel.paused, "pause"),
        (panel.resumed, "resume"),
        (panel.stopped, "stop"),
        (panel.rolled_back, "roll_back"),
        (panel.reset, "reset_adapter"),
    ):
        signal.emit()
        assert session.called(act)
    panel.method.emit("lora")
    chosen = session.called("set_method")[0][0]
    kept = AdapterConfig("lora", decoder="queries", last_blocks=2, prompts=True)
    assert chosen == kept, "another method keeps the decoder and the blocks"


def test_progress_is_drawn_and_said(dock):
    from types import SimpleNamespace

    session = dock.session
    session.accepted = frozenset({SliceKey(0, 2)})
    session.learning_state = "training"
    session.learning_changed.emit("training")
    for step, dice in ((1, None), (2, None), (3, 0.75)):
        session.progress.emit(
            SimpleNamespace(step=step, seconds=step * 2.0, fraction=step / 100, loss=1.0, held_out_dice=dice)
        )
    assert "24 s left, held-out Dice 0.75" in texts(dock)
    assert dock.panels.learning.curves.dice_points == ((3, 0.75),)
    session.adapter_changed.emit(0)
    assert dock.panels.learning.curves.points == ()


def test_errors_are_shown_not_raised(dock, told, monkeypatch):
    def refuse(key):
        raise SamAdaptError("This slice is empty: annotate it first.")

    monkeypatch.setattr(dock.session, "accept", refuse)
    dock.panels.slice.accepted.emit()
    dock.session.failed.emit("GPU memory is full.")
    assert [text for _, text in told] == ["This slice is empty: annotate it first.", "GPU memory is full."]


def test_a_deleted_layer_comes_back(qtbot, dock, viewer, told):
    viewer.layers.remove("annotation")
    qtbot.waitUntil(lambda: "annotation" in viewer.layers)
    assert viewer.layers["annotation"].data is dock.session.annotation
    assert told


def test_deleting_all_layers_brings_them_back(qtbot, dock, viewer, told):
    names = [layer.name for layer in viewer.layers]
    viewer.dims.set_point(0, 12.0)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: len(viewer.layers) == 4)
    assert [layer.name for layer in viewer.layers] == names
    assert viewer.layers.selection.active is dock.layers.annotation
    assert dock.tools.slice_on_screen() == SliceKey(0, 3)
    assert [kind for kind, _ in told] == ["hint"]


def test_a_deleted_image_comes_back(qtbot, dock, viewer, told):
    viewer.layers.remove(dock.layers.image)
    qtbot.waitUntil(lambda: dock.layers.image in viewer.layers)
    assert viewer.layers[0] is dock.layers.image
    assert told


def test_qt_deleting_the_dock_ends_the_session(qtbot, make_dock, volume, told, monkeypatch):
    monkeypatch.setattr(qtbot, "addWidget", lambda widget: None)  # it would close the dock once more
    dock = make_dock()
    dock.open_volume(volume)
    qtbot.waitUntil(lambda: dock.session is not None)
    session, post, widget = dock.session, dock._post, dock.panels.learning
    shiboken = pytest.importorskip("shiboken6")
    shiboken.delete(dock)
    assert not shiboken.isValid(widget)
    assert session.called("close") == [()]
    session.learning_changed.emit("idle")
    ran = []
    post(lambda: ran.append(1))
    qtbot.wait(1)
    assert ran == told == []


def test_the_next_volume_begins_with_empty_curves(qtbot, dock, volume):
    first, curves = dock.session, dock.panels.learning.curves
    curves.add(1, 0.5, 0.7)
    dock.open_volume(volume)
    qtbot.waitUntil(lambda: dock.session not in (None, first))
    assert curves.points == curves.dice_points == ()


def test_another_volume_ends_the_session_after_a_question(qtbot, dock, viewer, volume, monkeypatch):
    first = dock.session
    first.set_prompts(SliceKey(0, 2), file_acts_prompts())
    monkeypatch.setattr(QMessageBox, "question", lambda *args: QMessageBox.StandardButton.Cancel)
    dock.open_volume(volume)
    assert dock.session is first
    monkeypatch.setattr(QMessageBox, "question", lambda *args: QMessageBox.StandardButton.Discard)
    dock.open_volume(volume)
    qtbot.waitUntil(lambda: dock.session not in (None, first))
    assert first.called("close")
    assert [layer.name for layer in viewer.layers].count("annotation") == 1


def test_closing_gives_everything_back(dock, viewer):
    session = dock.session
    dock.close()
    dock.shut_down()
    assert session.called("close") == [()]
    assert [layer.name for layer in viewer.layers] == ["image"]
    assert not viewer.keymap
    assert not [name for name in viewer.canvas.overlays if name.startswith("samadapt")]


def test_a_model_that_cannot_be_loaded_leaves_the_old_one(qtbot, dock, told, monkeypatch):
    session = dock.session

    def refuse(name, say):
        raise SamAdaptError(f"{name} is no SAM.")

    monkeypatch.setattr(file_acts, "_load_model", refuse)
    dock.choose_model("/some/file.pth")
    qtbot.waitUntil(lambda: bool(told))
    assert told == [("error", "/some/file.pth is no SAM.")]
    assert dock.session is session


def test_layers_that_are_no_volume_are_refused():
    with pytest.raises(SamAdaptError):
        volume_of(Image(np.zeros((2, 3, 4, 5))))
    assert volume_of(Image(np.zeros((7, 9, 3), np.uint8), rgb=True)).is_color
    assert isinstance(volume_of(Image(np.zeros((7, 9)))), Volume)
