"""Four layers, and none that the user must not touch: renaming, hiding, duplicating and deleting are survived."""

import numpy as np
import pytest
from napari.layers import Layer
from napari.utils.key_bindings import KeymapHandler

from napari_samadapt.imaging.volume import SliceKey, take_slice

KEY = SliceKey(0, 2)
NAMES = ("image", "prediction", "annotation", "prompts")


def press(viewer, key):
    """On the canvas; a layer of the user's has napari's own keys, which a window binds to its whole class."""
    handler, active = KeymapHandler(), viewer.layers.selection.active
    ours = active is not None and not active.name.endswith("copy")
    handler.keymap_providers = [active, viewer] if ours else [viewer]
    handler.press_key(key)


def duplicate(viewer, layer):
    """As napari's menu does."""
    data, state, kind = layer.as_layer_data_tuple()
    copy = Layer.create(data.copy(), state | {"name": f"{layer.name} copy"}, kind)
    viewer.layers.insert(viewer.layers.index(layer) + 1, copy)
    return copy


def works(dock, viewer, x):
    """A click gives a mask, it is seen, and the slice is accepted."""
    dock.tools.clicked.emit(KEY, float(x), 7.0)
    assert take_slice(dock.session.annotation, KEY)[7, x] == 1
    assert dock.layers.annotation.data is dock.session.annotation
    assert (dock.layers.prompts.data[-1] == (2, 7, x)).all()
    press(viewer, "A")
    assert KEY in dock.session.accepted
    dock.session.accepted = frozenset()


def test_there_are_four_layers_whatever_is_prompted(dock, viewer):
    for tool in ("box", "lasso", "scribble"):
        dock.tools.drawn.emit(tool, KEY, np.array([[4.0, 5.0], [12.0, 5.0], [12.0, 11.0]]))
        assert tuple(layer.name for layer in viewer.layers) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_is_renamed(dock, viewer, name):
    viewer.layers[name].name = "my own name"
    works(dock, viewer, 5)
    dock.close_session()
    assert [layer.name for layer in viewer.layers] == ["my own name" if name == "image" else "image"]


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_is_hidden(dock, viewer, name):
    viewer.layers[name].visible = False
    works(dock, viewer, 5)
    assert not viewer.layers[name].visible


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_is_duplicated_and_the_copy_is_the_users(qtbot, dock, viewer, name):
    works(dock, viewer, 5)
    copy = duplicate(viewer, viewer.layers[name])
    before = copy.data.copy()
    viewer.layers.selection.active = copy
    works(dock, viewer, 15)
    assert np.array_equal(copy.data, before), "the session works on its own layers only"
    viewer.layers.remove(copy)
    qtbot.wait(10)
    works(dock, viewer, 25)
    assert tuple(layer.name for layer in viewer.layers) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_deleted_layer_is_put_back(qtbot, dock, viewer, told, name):
    works(dock, viewer, 5)
    viewer.layers.remove(viewer.layers[name])
    qtbot.waitUntil(lambda: name in viewer.layers)
    assert [kind for kind, _ in told] == ["hint"]
    assert tuple(layer.name for layer in viewer.layers) == NAMES
    works(dock, viewer, 15)


def test_all_are_deleted_at_once(qtbot, dock, viewer, told):
    works(dock, viewer, 5)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: len(viewer.layers) == 4)
    works(dock, viewer, 15)
