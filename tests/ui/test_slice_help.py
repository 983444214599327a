"""From slice to slice: the suggested one, propagation and interpolation, as buttons, keys and marks."""

from types import SimpleNamespace

import pytest
from napari.utils.key_bindings import KeymapHandler
from qtpy.QtWidgets import QPushButton

from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.ui.slice_help import interpolation_ends


def press(viewer, key):
    handler = KeymapHandler()
    handler.keymap_providers = [viewer.layers.selection.active, viewer]
    handler.press_key(key)


def button(dock, text):
    return next(made for made in dock.findChildren(QPushButton) if made.text().startswith(text))


@pytest.mark.parametrize(
    ("accepted", "here", "ends"),
    [
        ({2, 9}, 5, (2, 9)),
        ({0, 2, 9, 12}, 5, (2, 9)),
        ({2, 9}, 2, (2, 9)),
        ({2, 9}, 9, (2, 9)),
        ({2, 9, 10}, 9, (2, 9)),
        ({2, 9, 15}, 9, (9, 15)),
        ({2, 3}, 2, None),
        ({2}, 5, None),
        ({9}, 5, None),
        (set(), 5, None),
    ],
)
def test_the_slices_that_interpolation_uses(accepted, here, ends):
    assert interpolation_ends(accepted, here) == ends


def test_interpolation_tells_its_slices_before_and_what_it_filled_after(dock, viewer, told):
    assert not button(dock, "Interpolate").isEnabled()
    press(viewer, "I")
    assert told.pop()[0] == "hint"
    for index in (1, 4):
        dock.session.accept(SliceKey(0, index))
    assert button(dock, "Interpolate 1–4").isEnabled()
    press(viewer, "I")
    assert dock.session.called("interpolate") == [(SliceKey(0, 1), SliceKey(0, 4))]
    assert told[-1][1].startswith("2 slices between 1 and 4")


def test_propagation_starts_from_an_accepted_slice_and_is_stopped_by_the_same_key(dock, viewer):
    assert not button(dock, "Propagate").isEnabled()
    dock.session.accept(SliceKey(0, 2))
    assert button(dock, "Propagate").isEnabled()
    press(viewer, "G")
    assert dock.session.called("propagate") == [(SliceKey(0, 2), "both")]
    dock.session.propagating = True
    dock.session.propagation_progress.emit(3, 8)
    assert button(dock, "Stop").text().endswith("3 of 8")
    press(viewer, "G")
    assert dock.session.called("cancel_propagation") == [()]
    dock.session.propagating = False
    dock.panels.slice.propagated.emit("up")
    assert dock.session.called("propagate")[-1] == (SliceKey(0, 2), "up")


def test_what_came_of_a_propagation_is_told(dock, told):
    start = SliceKey(0, 2)
    keys = (SliceKey(0, 3), SliceKey(0, 4))
    dock.session.propagated.emit(SimpleNamespace(start=start, keys=keys, endings=("liver ends.",)))
    dock.session.propagated.emit(SimpleNamespace(start=start, keys=(), endings=()))
    assert told[0][1].startswith("2 slices proposed from slice 2")
    assert told[0][1].endswith("liver ends.")
    assert told[1][1] == "Nothing was proposed from slice 2."


def test_proposed_slices_are_marked(dock):
    key = SliceKey(0, 3)
    dock.session.proposed = frozenset({key})
    dock.session.edited |= {key}
    dock.session.labels_changed.emit((key,))
    assert dock.panels.slice.strip.states[3] == "proposed"
    dock.panels.volume.axis.emit("coronal")
    dock.panels.volume.axis.emit("axial")
    assert dock.panels.slice.strip.states[3] == "proposed"


def test_the_suggested_slice_is_marked_and_n_goes_there(qtbot, dock, viewer, told):
    dock.session._suggested = SliceKey(0, 5)
    dock.session.labels_changed.emit((SliceKey(0, 2),))
    qtbot.waitUntil(lambda: dock.panels.slice.strip.suggested == 5)
    press(viewer, "N")
    assert dock.panels.slice.strip.current == 5
    dock.session._suggested = None
    press(viewer, "N")
    assert told[-1] == ("hint", "Every slice is accepted: export the masks.")


def test_the_prediction_is_an_outline_or_an_area(dock, viewer):
    press(viewer, "O")
    assert dock.layers.prediction.contour == 1
    assert button(dock, "Outline").isChecked()
    dock.panels.slice.outlined.emit(False)
    assert dock.layers.prediction.contour == 0
    assert not button(dock, "Outline").isChecked()
