"""Words about places and values: the status bar, the corner of the canvas, the volumes of the classes."""

import numpy as np
import pytest
from qtpy.QtWidgets import QTableWidget

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey, Source, Volume, take_slice
from napari_samadapt.ui import class_volumes
from napari_samadapt.ui.class_volumes import millilitres_text, volume_text, voxels_of
from napari_samadapt.ui.readout import reading
from napari_samadapt.ui.view import dragged_window, view_text, window_text

PICTURE = Volume(np.full((1, 8, 9), 17, np.uint8), np.diag([-1.0, -1, 1, 1]), Source(spatial=False))


@pytest.mark.parametrize(
    ("voxel", "unit", "place", "value"),
    [
        ((2, 3, 4), "HU", "L 4.0  P 6.0  S 8.0 mm", "1294 HU"),
        ((2.4, 2.6, 4.4), "", "L 4.0  P 6.0  S 8.0 mm", "1294"),
        ((6, 3, 4), "HU", "", ""),
        ((-1, 3, 4), "HU", "", ""),
    ],
)
def test_place_and_value(volume, voxel, unit, place, value):
    assert reading(volume, voxel, unit) == (place, value)


def test_place_and_value_of_pictures():
    assert reading(PICTURE, (0, 3, 4)) == ("x 4  y 3", "17")
    color = Volume(np.full((1, 8, 9, 3), 17, np.uint8), PICTURE.affine, PICTURE.source)
    assert reading(color, (0, 3, 4))[1] == "17, 17, 17"


def test_the_status_bar_names_the_class_too(dock):
    dock.session.annotation[2, 3, 4] = 1
    annotation = dock.layers.annotation
    world = dock.layers.world_position((2, 3, 4))
    status = annotation.get_status(world, world=True)
    assert status["coordinates"] == "L 4.0  P 6.0  S 8.0 mm   1294   class 1"
    assert status["layer_name"] == "annotation"
    assert "coordinates" in annotation.get_status(None)
    assert annotation.as_layer_data_tuple()[2] == "labels", "napari tells writers by it"


@pytest.mark.parametrize(
    ("window", "text"), [(Window(-160, 240), "W 400  L 40"), (Window(0, 0.25), "W 0.25  L 0.125")]
)
def test_width_and_level(window, text):
    assert window_text(window) == text


def test_a_drag_to_the_right_widens_and_down_darkens():
    usual = Window(-160, 240)
    assert dragged_window(usual, usual, 100, 0) == Window(-260, 340)
    assert dragged_window(usual, usual, 0, 50) == Window(-60, 340)
    narrow = dragged_window(usual, usual, -10_000, 0)
    assert narrow.low < narrow.high


def test_shift_and_drag_changes_what_is_seen_at_once_and_what_sam_gets_at_the_end(qtbot, dock, viewer):
    before = dock.session.window
    dock.tools.window_dragged.emit(100.0, 0.0)
    seen = tuple(dock.layers.image.contrast_limits)
    assert seen != (before.low, before.high)
    assert viewer.canvas.overlays["samadapt view"].text.endswith(window_text(Window(*seen)))
    assert dock.session.window == before
    qtbot.waitUntil(lambda: dock.session.window == Window(*seen))


def test_the_convention_is_stated_where_there_is_one(dock, viewer, volume):
    assert viewer.canvas.overlays["samadapt view"].text.startswith("axial, radiological")
    dock.panels.volume.axis.emit("coronal")
    assert viewer.canvas.overlays["samadapt view"].text.startswith("coronal, radiological")
    assert view_text(PICTURE, 0) == ""
    dock.close_session()
    assert not [name for name in viewer.canvas.overlays if name.startswith("samadapt")]


@pytest.mark.parametrize(
    ("millilitres", "text"), [(0, "0"), (0.0041, "0"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")]
)
def test_millilitres(millilitres, text):
    assert millilitres_text(millilitres).removesuffix(".00") == text


def test_volumes_are_in_ml_or_in_pixels(volume):
    assert volume_text(1000, volume) == "8.00"
    assert volume_text(12345, PICTURE) == "12\u2009345"


def test_voxels_of_every_class():
    assert voxels_of(np.array([[0, 2], [2, 5]], np.uint16)) == {2: 2, 5: 1}


def volumes(dock):
    table = dock.findChild(QTableWidget)
    return [table.item(line, 2).text() for line in range(table.rowCount())]


def test_volumes_follow_what_is_displayed(qtbot, dock):
    session, key = dock.session, SliceKey(0, 3)
    take_slice(session.annotation, key)[:5, :5] = 1
    take_slice(session.prediction, SliceKey(0, 4))[:5, :10] = 1
    session.labels_changed.emit((key,))
    session.predicted.emit(SliceKey(0, 4))
    qtbot.waitUntil(lambda: volumes(dock) == ["0.60"])
    take_slice(session.annotation, key)[...] = 0
    session.labels_changed.emit((SliceKey(2, 0),))
    qtbot.waitUntil(lambda: volumes(dock) == ["0.40"])
    dock.panels.volume.axis.emit("sagittal")
    session.annotation[0, 0, 0:25] = 1
    session.labels_changed.emit((SliceKey(2, 0),))
    qtbot.waitUntil(lambda: volumes(dock) == ["0.60"])


def test_counting_never_takes_a_long_turn(qtbot, dock, monkeypatch):
    """One slice a turn where the time is up, and the total only when all are counted."""
    monkeypatch.setattr(class_volumes, "_TURN_SECONDS", 0.0)
    told = []
    counter = class_volumes.ClassVolumes(dock.session, told.append)
    turns = []
    count = class_volumes.voxels_of
    monkeypatch.setattr(class_volumes, "voxels_of", lambda labels: turns.append(len(told)) or count(labels))
    for _ in range(6):
        monkeypatch.setattr(class_volumes.time, "perf_counter", iter((0.0, -1.0, 1.0)).__next__)
        counter._count_some()
    counter.close()
    assert turns == [0] * 6
    assert len(told) == 1


def test_a_class_is_hidden_and_shown_when_it_is_chosen(dock):
    dock.session.add_class("liver")
    table = dock.findChild(QTableWidget)
    dock.panels.classes.visible_changed.emit(1, False)
    assert dock.layers.annotation.get_color(1)[3] == 0
    assert table.item(0, 3).checkState().value == 0
    dock.panels.classes.selected.emit(1)
    assert dock.layers.annotation.get_color(1)[3] == 1
