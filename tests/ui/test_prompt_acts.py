"""Prompts on the canvas, told to the session: placed, drawn, moved, taken away; with a preview."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.key_bindings import KeymapHandler

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.ui.prompt_shapes import Grip

KEY = SliceKey(0, 2)
SQUARE = np.array([[4.0, 5.0], [12.0, 5.0], [12.0, 11.0], [4.0, 11.0]])


def press(viewer, key):
    """Press a key on the canvas."""
    handler = KeymapHandler()
    handler.keymap_providers = [viewer.layers.selection.active, viewer]
    handler.press_key(key)


def draw(dock, tool, path=SQUARE):
    dock.tools.drawing.emit(tool, KEY, path[:2])
    dock.tools.drawing.emit(tool, KEY, path)
    dock.tools.drawn.emit(tool, KEY, path)


def prompts(dock):
    return dock.session.prompts.get(KEY, Prompts())


@pytest.mark.parametrize(("key", "tool"), [("P", "point"), ("B", "box"), ("S", "scribble"), ("L", "lasso")])
def test_the_key_of_a_tool_takes_it_and_releases_it(dock, viewer, key, tool):
    press(viewer, key)
    assert dock.tools.tool == tool
    press(viewer, key)
    assert dock.tools.tool == ""


def test_a_scribble_is_points_of_the_sign_in_use(dock, viewer):
    draw(dock, "scribble", np.array([[2.0, 3.0], [22.0, 3.0]]))
    press(viewer, "T")
    draw(dock, "scribble", np.array([[2.0, 9.0], [8.0, 9.0]]))
    assert prompts(dock).point_labels.tolist() == [1, 1, 1, 0, 0]
    assert prompts(dock).point_coords[:, 1].tolist() == [3, 3, 3, 9, 9]


def test_a_lasso_is_a_mask_and_its_box(dock):
    dock.tools.clicked.emit(KEY, 6.0, 7.0)
    draw(dock, "lasso")
    given = prompts(dock)
    assert given.mask_input[6:11, 5:12].all()
    assert not given.mask_input[:5].any()
    assert given.box.tolist() == pytest.approx([4, 5, 12, 11], abs=0.6)
    assert len(given.point_coords) == 1


@pytest.mark.parametrize("tool", ["box", "lasso"])
def test_what_is_too_small_is_no_prompt(dock, tool, told):
    draw(dock, tool, np.array([[4.0, 5.0], [5.0, 5.5], [4.5, 5.5]]))
    assert prompts(dock).empty
    assert [kind for kind, _ in told] == ["hint"]
    assert len(dock.layers.prompts.data) == 0, "nothing of it stays on the canvas"


def test_the_mask_is_previewed_while_a_box_is_drawn(qtbot, dock):
    dock.tools.drawing.emit("box", KEY, SQUARE[:3])
    qtbot.waitUntil(lambda: bool(dock.session.called("preview")))
    ((key, asked),) = dock.session.called("preview")[-1:]
    assert key == KEY
    assert asked.box.tolist() == [4, 5, 12, 11]
    drawn = len(dock.layers.prompts.data)
    mask = np.zeros((20, 30), bool)
    mask[6:9, 6:9] = True
    answer = SimpleNamespace(request=SimpleNamespace(key=KEY), mask=mask)
    dock.session.previewed.emit(answer)
    assert len(dock.layers.prompts.data) > drawn > 0
    assert dock.session.can_undo is None, "a preview is no step"
    dock.tools.drawn.emit("box", KEY, SQUARE[:3])
    dock.session.previewed.emit(answer)
    assert len(dock.layers.prompts.data) == drawn, "a preview that comes after the drag is not shown"


def test_previews_are_rationed(qtbot, dock):
    for width in np.linspace(4, 20, 40):
        dock.tools.drawing.emit("box", KEY, np.array([[2.0, 2.0], [2.0 + width, 9.0]]))
    qtbot.waitUntil(lambda: len(dock.session.called("preview")) == 2)
    assert dock.session.called("preview")[-1][1].box.tolist() == [2, 2, 22, 9], "the newest one is asked for"


def test_a_point_is_dragged_and_the_mask_follows(qtbot, dock):
    dock.tools.clicked.emit(KEY, 5.0, 7.0)
    dock.tools.dragging.emit(KEY, Grip("point", 0), np.array([3.0, 1.0]))
    qtbot.waitUntil(lambda: bool(dock.session.called("preview")))
    assert dock.session.called("preview")[0][1].point_coords.tolist() == [[8, 8]]
    assert dock.layers.prompts.data[0].tolist() == [2, 8, 8]
    assert prompts(dock).point_coords.tolist() == [[5, 7]]
    dock.tools.dropped.emit(KEY, Grip("point", 0), np.array([4.0, 1.0]))
    assert prompts(dock).point_coords.tolist() == [[9, 8]]
    assert take_slice(dock.session.annotation, KEY)[8, 9] == 1


def test_prompts_are_taken_away_by_the_right_button(dock):
    for x in (5.0, 15.0, 25.0):
        dock.tools.clicked.emit(KEY, x, 7.0)
    dock.tools.removed.emit(KEY, Grip("point", 1))
    assert prompts(dock).point_coords[:, 0].tolist() == [5, 25]


@pytest.mark.parametrize("key", ["Delete", "Backspace"])
def test_delete_takes_the_chosen_prompt_or_the_last_one(dock, viewer, key, told):
    for x in (5.0, 15.0, 25.0):
        dock.tools.clicked.emit(KEY, x, 7.0)
    dock.tools.chosen.emit(KEY, Grip("point", 0))
    left = []
    for _ in range(3):
        press(viewer, key)
        left.append(prompts(dock).point_coords[:, 0].tolist())
    assert left == [[15, 25], [15], []]
    press(viewer, key)
    assert [kind for kind, _ in told] == ["hint"]


def test_the_chosen_point_is_told_by_its_border(dock):
    for x in (5.0, 15.0):
        dock.tools.clicked.emit(KEY, x, 7.0)

    def borders():
        return [tuple(color) for color in dock.layers.prompts.border_color]

    newest = borders()
    dock.tools.chosen.emit(KEY, Grip("point", 0))
    assert borders() == newest[::-1]


def test_the_mask_that_is_there_becomes_a_prompt(dock, viewer):
    take_slice(dock.session.annotation, KEY)[3:6, 4:8] = 1
    take_slice(dock.session.prediction, KEY)[10, 10] = 1
    press(viewer, "D")
    assert prompts(dock).mask_input.sum() == 13
    assert prompts(dock).box.tolist() == [3.5, 2.5, 10.5, 10.5]


@pytest.mark.parametrize("tool", ["point", "scribble"])
def test_what_takes_away_first_corrects_the_mask_that_is_there(dock, viewer, tool):
    take_slice(dock.session.prediction, KEY)[3:6, 4:8] = 1
    press(viewer, "T")
    if tool == "point":
        dock.tools.clicked.emit(KEY, 6.0, 4.0)
    else:
        draw(dock, tool, np.array([[4.0, 4.0], [7.0, 4.0]]))
    assert set(prompts(dock).point_labels) == {0}
    assert prompts(dock).mask_input.sum() == 12
    take_slice(dock.session.prediction, KEY)[10, 10] = 1
    dock.tools.clicked.emit(KEY, 5.0, 4.0)
    assert prompts(dock).mask_input.sum() == 12, "the one that the first click began from"


@pytest.mark.parametrize("sign", [0, 1])
def test_elsewhere_a_click_asks_for_something_new(dock, viewer, sign):
    take_slice(dock.session.prediction, KEY)[3:6, 4:8] = sign  # of another class, or a click on the structure
    if not sign:
        press(viewer, "T")
    dock.tools.clicked.emit(KEY, 6.0, 4.0)
    assert prompts(dock).mask_input is None


def test_a_mask_layer_of_the_user_becomes_a_prompt(dock, viewer):
    own = Labels(np.zeros(dock.session.annotation.shape, np.uint8), name="mine")
    own.data[2, 3:5, 6:9] = 7
    own.data[2, 10, 10] = 3
    viewer.add_layer(own)
    press(viewer, "D")
    assert prompts(dock).mask_input.sum() == 7, "everything, where the chosen label is not on the slice"
    own.selected_label = 7
    press(viewer, "D")
    assert prompts(dock).mask_input.sum() == 6


@pytest.mark.parametrize("shape", [(6, 20, 30), (4, 4, 4)])
def test_a_mask_that_cannot_be_used_is_told(dock, viewer, told, shape):
    viewer.add_layer(Labels(np.zeros(shape, np.uint8), name="mine"))
    press(viewer, "D")
    assert prompts(dock).empty
    assert [kind for kind, _ in told] == ["error"]
    assert "mine" in told[0][1]
