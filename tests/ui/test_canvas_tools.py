"""Clicks and drags as napari sends them."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Image
from napari.utils.interactions import (
    mouse_double_click_callbacks,
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)

from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.ui.canvas_tools import CanvasTools
from napari_samadapt.ui.layers import VolumeLayers
from napari_samadapt.ui.prompt_shapes import Grip


class Mouse:
    """Presses, moves and releases the mouse at array positions (z, y, x); 10 screen pixels per voxel."""

    def __init__(self, viewer, layers):
        self.viewer, self.layers = viewer, layers

    def event(self, kind, position, button=1, modifiers=(), displayed=(1, 2)):
        return SimpleNamespace(
            type=kind,
            button=button,
            modifiers=modifiers,
            position=self.layers.world_position(position),
            pos=np.asarray(position[1:], float) * 10,
            dims_displayed=list(displayed),
            handled=False,
            is_dragging=kind == "mouse_move",
        )

    def drag(self, *positions, **details):
        """Press, move, release; returns whether the press was taken from the camera."""
        first, *moves = positions
        pressed = self.event("mouse_press", first, **details)
        mouse_press_callbacks(self.viewer, pressed)
        handled = pressed.handled
        for position in moves:
            self.move(self.event("mouse_move", position, **details))
        self.release(self.event("mouse_release", positions[-1], **details))
        return handled

    def move(self, event):
        for generator in self.viewer._persisted_mouse_event.values():
            generator.__dict__.update(event.__dict__)
        mouse_move_callbacks(self.viewer, event)

    def release(self, event):
        for generator in self.viewer._persisted_mouse_event.values():
            generator.__dict__.update(event.__dict__)
        mouse_release_callbacks(self.viewer, event)


@pytest.fixture
def mouse(viewer, layers, tools):
    return Mouse(viewer, layers)


@pytest.fixture
def heard(tools):
    """What the tools tell; paths as lists."""
    said = []

    def listen(name):
        def hear(*values):
            said.append((name, *(value.tolist() if hasattr(value, "tolist") else value for value in values)))

        getattr(tools, name).connect(hear)

    for name in (
        *("clicked", "drawing", "drawn", "chosen", "dragging", "dropped", "removed"),
        *("window_dragged", "hinted", "stroke_begins"),
    ):
        listen(name)
    return said


def kinds(heard):
    return [name for name, *_ in heard]


def test_a_click_is_a_point_on_the_slice_on_screen(viewer, layers, tools, mouse, heard):
    tools.choose("point")
    viewer.dims.set_point(0, layers.world_position((4, 0, 0))[0])
    mouse.drag((4, 7, 11))
    assert heard == [("clicked", SliceKey(0, 4), 11.0, 7.0)]


def test_a_click_on_another_axis(viewer, layers, tools, mouse, heard):
    tools.axis = 2
    tools.choose("point")
    viewer.dims.order = (2, 0, 1)
    viewer.dims.set_point(2, 25)
    mouse.drag((4, 7, 25), displayed=(0, 1))
    assert heard == [("clicked", SliceKey(2, 25), 7.0, 4.0)]


@pytest.mark.parametrize(
    "details", [{"button": 2}, {"button": 3}, {"modifiers": ("Control",)}, {"modifiers": ("Alt",)}]
)
def test_other_buttons_and_modifiers_stay_with_napari(tools, mouse, heard, details):
    tools.choose("point")
    mouse.drag((0, 7, 11), **details)
    assert heard == []


def test_without_a_tool_nothing_happens(mouse, heard):
    mouse.drag((0, 7, 11))
    assert heard == []


def test_dragging_moves_the_camera_and_places_no_point(tools, mouse, heard):
    tools.choose("point")
    handled = mouse.drag((0, 7, 11), (0, 9, 11))
    assert heard == []
    assert not handled


@pytest.mark.parametrize("position", [(0, -3, 5), (0, 5, 31), (0, 25, 5), (0, 5, -0.6)])
def test_outside_the_image_there_is_a_hint(tools, mouse, heard, position):
    for tool in ("point", "box"):
        tools.choose(tool)
        mouse.drag(position)
    assert kinds(heard) == ["hinted", "hinted"]


def test_in_the_3d_view_there_is_a_hint(tools, mouse, heard):
    tools.choose("point")
    mouse.drag((0, 7, 11), displayed=(0, 1, 2))
    assert kinds(heard) == ["hinted"]


@pytest.mark.parametrize("tool", ["box", "scribble", "lasso"])
def test_a_drag_is_a_path_that_stays_inside(tools, mouse, heard, tool):
    tools.choose(tool)
    handled = mouse.drag((0, 12, 20), (0, 8, 15), (0, 50, 50))
    path = [[20, 12], [15, 8], [29.5, 19.5]]
    assert heard == [
        ("drawing", tool, SliceKey(0, 2), path[:2]),
        ("drawing", tool, SliceKey(0, 2), path),
        ("drawn", tool, SliceKey(0, 2), [*path, path[-1]]),
    ]
    assert handled, "the camera would pan under the path"


@pytest.mark.parametrize("tool", ["box", "scribble", "lasso"])
def test_in_the_3d_view_nothing_is_drawn(tools, mouse, heard, tool):
    tools.choose(tool)
    mouse.drag((0, 12, 20), (0, 8, 15), displayed=(0, 1, 2))
    assert kinds(heard) == ["hinted"]


@pytest.fixture
def point_at(viewer, tools):
    """A prompt at pixel (11, 7) of slice 2; the reach is 8 of 10 screen pixels of a voxel."""
    viewer.scene.camera.zoom = 10
    grip = Grip("point", 0)

    def grip_at(key, place, reach):
        there = key == SliceKey(0, 2) and (np.abs(place - (11, 7)) <= reach).all()
        return grip if there else None

    tools.grip_at = grip_at
    return grip


def test_the_reach_is_measured_on_the_screen(viewer, tools, mouse):
    """Voxels of 2 × 1 mm at 10 pixels a millimetre: 8 screen pixels are 0.8 columns and 0.4 rows."""
    viewer.scene.camera.zoom = 10
    reaches = []
    tools.grip_at = lambda key, place, reach: reaches.append(reach.tolist())
    tools.choose("point")
    mouse.drag((0, 7, 11))
    assert reaches == [pytest.approx([0.8, 0.4])]


@pytest.mark.parametrize("tool", ["", "point", "box"])
def test_a_prompt_is_dragged_with_any_tool(tools, mouse, heard, point_at, tool):
    tools.choose(tool)
    handled = mouse.drag((0, 7, 11), (0, 7.1, 11.1), (0, 9, 14))
    assert handled
    assert heard == [
        ("dragging", SliceKey(0, 2), point_at, [3, 2]),
        ("dropped", SliceKey(0, 2), point_at, [3, 2]),
    ]


def test_a_click_on_a_prompt_chooses_it_and_adds_none(tools, mouse, heard, point_at):
    tools.choose("point")
    mouse.drag((0, 7, 11))
    assert heard == [("chosen", SliceKey(0, 2), point_at)]


def test_the_right_button_removes_a_prompt_and_is_the_camera_s_elsewhere(tools, mouse, heard, point_at):
    tools.choose("point")
    assert mouse.drag((0, 7, 11), button=2)
    assert heard == [("removed", SliceKey(0, 2), point_at)]
    assert not mouse.drag((0, 15, 11), button=2)
    assert len(heard) == 1


def test_the_brush_goes_over_prompts(tools, mouse, heard, point_at):
    tools.choose("brush")
    mouse.drag((0, 7, 11), (0, 9, 14))
    mouse.drag((0, 7, 11), button=2)
    assert kinds(heard) == ["stroke_begins"]


@pytest.mark.parametrize("tool", ["", "point", "lasso"])
def test_shift_and_drag_is_for_the_grey_values(tools, mouse, heard, tool):
    tools.choose(tool)
    assert mouse.drag((0, 7, 11), (0, 8, 11), (0, 8, 14), modifiers=("Shift",))
    assert heard == [("window_dragged", 10.0, 0.0), ("window_dragged", 0.0, 30.0)]


def test_in_the_3d_view_shift_is_the_camera_s(tools, mouse, heard):
    assert not mouse.drag((0, 7, 11), (0, 8, 11), modifiers=("Shift",), displayed=(0, 1, 2))
    assert heard == []


def test_two_quick_clicks_are_two_points_and_do_not_zoom(viewer, tools, mouse, heard):
    before = list(viewer.mouse_double_click_callbacks)
    assert before, "napari zooms on a double click"
    tools.choose("point")
    mouse_double_click_callbacks(viewer, mouse.event("mouse_double_click", (2, 7, 11)))
    assert heard == [("clicked", SliceKey(0, 2), 11.0, 7.0)]
    tools.choose("")
    assert list(viewer.mouse_double_click_callbacks) == before
    tools.choose("box")
    tools.close()
    assert list(viewer.mouse_double_click_callbacks) == before


@pytest.mark.parametrize(
    "moved",
    [
        {"scale": (4, -2, 1)},
        {"translate": (5, -30, 100)},
        {"rotate": (20, 0, 0)},
        {"rotate": (90, 0, 0), "scale": (4, 2, -1), "translate": (0, 10, 10)},
        {"affine": np.diag([1.0, -1.0, 2.0, 1.0])},
    ],
)
def test_a_click_finds_its_voxel_wherever_the_user_put_the_image(viewer, volume, session, moved):
    image = Image(volume.data, **({"scale": volume.spacing} | moved))
    viewer.add_layer(image)
    layers = VolumeLayers(viewer, volume, session.annotation, session.prediction, session.displayed, image)
    tools = CanvasTools(viewer, layers, 0)
    said = []
    tools.clicked.connect(lambda *values: said.append(values))
    tools.choose("point")
    viewer.dims.point = layers.world_position((4, 10, 15))
    Mouse(viewer, layers).drag((4, 7, 11))
    tools.close()
    assert said[0][0] == SliceKey(0, 4)
    assert said[0][1:] == pytest.approx((11, 7))


def test_brush_and_eraser_are_modes_of_the_annotation_layer(layers, tools):
    tools.choose("brush")
    assert layers.annotation.mode == "paint"
    layers.annotation.mode = "erase"
    assert tools.tool == "eraser"
    layers.annotation.mode = "fill"
    assert tools.tool == ""
    tools.choose("point")
    assert layers.annotation.mode == "pan_zoom"
    assert tools.tool == "point"


def test_a_polygon_that_was_begun_does_not_follow_into_3d(viewer, layers, tools, heard):
    """Regression: it was an error at every paint in 3D."""
    begun = layers.annotation._overlays["polygon"]
    layers.annotation.mode = "polygon"
    begun.points = [[2, 3, 3], [2, 3, 12], [2, 12, 3]]
    viewer.dims.ndisplay = 3
    assert begun.points == []
    assert "dropped" in str(heard)
    heard.clear()
    viewer.dims.ndisplay = 2
    viewer.dims.ndisplay = 3
    assert heard == []


def test_a_stroke_is_announced_before_napari_paints(viewer, layers, tools, mouse, heard):
    tools.choose("brush")
    mouse.drag((0, 7, 11))
    assert heard == [("stroke_begins",)]


def test_a_closed_tool_leaves_nothing_behind(viewer, layers, tools):
    tools.close()
    assert not any(getattr(callback, "__self__", None) is tools for callback in viewer.mouse_drag_callbacks)
