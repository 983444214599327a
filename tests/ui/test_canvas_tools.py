"""Clicks and drags as napari sends them."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

from napari_samadapt.imaging.volume import SliceKey


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
    said = []
    tools.clicked.connect(lambda *args: said.append(("clicked", *args)))
    tools.boxed.connect(lambda *args: said.append(("boxed", *args)))
    tools.hinted.connect(lambda text: said.append(("hinted", text)))
    tools.stroke_begins.connect(lambda: said.append(("stroke",)))
    return said


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
    "details", [{"button": 2}, {"button": 3}, {"modifiers": ("Shift",)}, {"modifiers": ("Alt",)}]
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
    assert [kind for kind, *_ in heard] == ["hinted", "hinted"]


def test_in_the_3d_view_there_is_a_hint(tools, mouse, heard):
    tools.choose("point")
    mouse.drag((0, 7, 11), displayed=(0, 1, 2))
    assert [kind for kind, *_ in heard] == ["hinted"]


def test_a_drag_of_the_box_tool_is_a_box_in_any_direction(layers, tools, mouse, heard):
    tools.choose("box")
    handled = mouse.drag((0, 12, 20), (0, 8, 15), (0, 3, 4))
    assert heard == [("boxed", SliceKey(0, 2), (4.0, 3.0, 20.0, 12.0))]
    assert handled, "the camera would pan under the box"


def test_the_box_is_shown_while_it_is_drawn_and_stays_inside(viewer, layers, tools, mouse, heard):
    tools.choose("box")
    mouse.drag((0, 12, 20), (0, 50, 50))
    assert layers.box is not None
    assert heard[0][2] == (20.0, 12.0, 29.5, 19.5)


def test_a_box_of_a_pixel_is_no_box(layers, tools, mouse, heard):
    tools.choose("box")
    mouse.drag((0, 12, 20), (0, 13, 20.5))
    assert [kind for kind, *_ in heard] == ["hinted"]
    assert layers.box is None


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


def test_a_stroke_is_announced_before_napari_paints(viewer, layers, tools, mouse, heard):
    tools.choose("brush")
    mouse.drag((0, 7, 11))
    assert heard == [("stroke",)]


def test_a_closed_tool_leaves_nothing_behind(viewer, layers, tools):
    tools.close()
    assert not any(getattr(callback, "__self__", None) is tools for callback in viewer.mouse_drag_callbacks)
