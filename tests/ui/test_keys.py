"""The keys reach the session from the canvas, whatever layer is active, and are given back."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels, Points
from napari.utils.key_bindings import KeymapHandler

from napari_samadapt.ui.keys import KEYS, KeyBindings

NAPARI_LABELS_KEYS = {*"1234567", "M", "[", "]"}


@pytest.fixture
def places():
    return ViewerModel(), Labels(np.zeros((1, 1, 1), int)), Points(ndim=3)


def press(place, viewer, key):
    handler = KeymapHandler()
    handler.keymap_providers = [place, viewer]
    handler.press_key(key)


@pytest.mark.parametrize("name", KEYS)
def test_every_key_acts_on_every_layer_of_ours(places, name):
    pressed = []
    viewer, *layers = places
    bindings = KeyBindings(places, {name: lambda: pressed.append(name)})
    for layer in layers:
        press(layer, viewer, KEYS[name])
    assert pressed == [name, name]
    bindings.close()
    for place in places:
        assert not place.keymap


def test_napari_keeps_its_labels_keys():
    assert not NAPARI_LABELS_KEYS & set(KEYS.values())


def test_bindings_of_others_are_restored(places):
    viewer, *_ = places

    def other(_viewer):
        pass

    viewer.bind_key("A", other, overwrite=True)
    before = dict(viewer.keymap)
    KeyBindings(places, {"accept": lambda: None}).close()
    assert viewer.keymap == before
