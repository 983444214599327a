"""Layers share memory and place; pixels and world positions agree under every transform."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, Volume, take_slice
from napari_samadapt.ui.contributions import NAMES_KEY, VOLUME_KEY, write_labels_layer
from napari_samadapt.ui.layers import VolumeLayers, is_inside, pixel_of, position_of
from napari_samadapt.ui.prompt_shapes import Grip

TRANSFORMS = {
    "plain": {},
    "scale": {"scale": (4, 0.5, 0.7)},
    "translate": {"scale": (4, 2, 1), "translate": (-100, 30, 7)},
    "rotate": {"scale": (4, 2, 1), "rotate": 30},
    "negative scale": {"scale": (-4, 2, -1), "translate": (5, 6, 7)},
    "shear": {"shear": (0.1, 0.0, 0.2)},
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_masks_lie_on_an_image_that_was_moved(volume, transform):
    viewer = ViewerModel()
    image = Image(volume.data, **transform)
    viewer.add_layer(image)
    labels = np.zeros(volume.shape, np.uint16)
    layers = VolumeLayers(viewer, volume, labels, labels.copy(), lambda: labels, image)
    world = image.data_to_world((3, 7, 11))
    assert np.allclose(layers.data_position(world), (3, 7, 11))
    assert np.allclose(layers.world_position((3, 7, 11)), world)
    for layer in layers.owned:
        assert np.allclose(layer.data_to_world((1, 2, 3)), image.data_to_world((1, 2, 3)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pixels_are_those_of_take_slice(axis):
    data = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    key, position = SliceKey(axis, 2), np.array([2, 3, 1])
    position[axis] = 2
    x, y = pixel_of(position, axis)
    assert take_slice(data, key)[int(y), int(x)] == data[tuple(position)]
    assert np.array_equal(position_of(key, (x, y)), position)


def test_masks_share_the_session_memory(layers, session):
    assert layers.annotation.data is session.annotation
    assert layers.prediction.data is session.prediction
    assert layers.annotation.data.dtype == np.uint16
    assert not layers.prediction.editable
    assert tuple(layers.annotation.scale) == (4, 2, 1)


def test_classes_give_colours_and_names(layers, session):
    session.add_class("liver")
    layers.show_classes(session.classes, 2)
    assert layers.annotation.selected_label == 2
    assert np.allclose(layers.annotation.get_color(2)[:3], session.classes[1].color)
    assert np.allclose(layers.prediction.get_color(2)[:3], session.classes[1].color)
    assert layers.annotation.get_color(0) is None or layers.annotation.get_color(0)[3] == 0
    assert layers.annotation.metadata[NAMES_KEY] == {1: "class 1", 2: "liver"}
    assert isinstance(layers.annotation.metadata[VOLUME_KEY], Volume)


def test_points_are_green_inside_and_red_outside_and_of_other_shapes(layers):
    layers.show_prompts({SliceKey(0, 3): Prompts([[5, 7], [9, 2]], [1, 0])})
    assert np.array_equal(layers.prompts.data, [[3, 7, 5], [3, 2, 9]])
    green, red = layers.prompts.face_color
    assert green[1] > green[0]
    assert red[0] > red[1]
    assert len(set(layers.prompts.symbol)) == 2
    layers.show_prompts({})
    assert len(layers.prompts.data) == 0


def test_the_chosen_point_has_another_border(layers):
    key = SliceKey(0, 3)
    layers.show_prompts({key: Prompts([[5, 7], [9, 2]], [1, 1])}, chosen=(key, Grip("point", 1)))
    plain, chosen = layers.prompts.border_color
    assert not np.allclose(plain, chosen)


def test_outlines_are_dots_in_the_layer_of_the_points(layers, viewer):
    mask = np.zeros((20, 30), bool)
    mask[5:8, 20:25] = True
    prompts = Prompts([[5, 7]], [1], box=[2, 3, 10, 12], mask_input=mask)
    layers.show_prompts({SliceKey(0, 3): prompts}, drawn=[(SliceKey(0, 4), np.array([[1.0, 2.0]]))])
    dots = layers.prompts.data[1:-1]
    assert set(dots[:, 0]) == {3}
    box = dots[dots[:, 2] < 15]
    assert box.min(axis=0).tolist() == [3, 3, 2]
    assert box.max(axis=0).tolist() == [3, 12, 10]
    around = dots[dots[:, 2] >= 15]
    assert around.min(axis=0).tolist() == [3, 4.5, 19.5]
    assert around.max(axis=0).tolist() == [3, 7.5, 24.5]
    assert layers.prompts.data[-1].tolist() == [4, 2, 1]
    large = layers.prompts.size > 1
    assert large.tolist() == [True, *([False] * (len(large) - 1))]
    assert [layer.name for layer in viewer.layers] == ["image", "prediction", "annotation", "prompts"]
    assert viewer.layers.selection.active is layers.annotation


def test_a_view_with_prompts_is_fitted_to_the_slice(layers, viewer):
    viewer.reset_view()
    before = viewer.scene.camera.zoom, viewer.scene.camera.center
    layers.show_prompts({SliceKey(0, 3): Prompts([[5, 7]], [1])})
    viewer.reset_view()
    assert (viewer.scene.camera.zoom, viewer.scene.camera.center) == before


def test_a_hidden_class_has_no_colour(layers, session):
    session.add_class("liver")
    layers.hidden.add(1)
    layers.show_classes(session.classes, 2)
    for layer in (layers.annotation, layers.prediction):
        assert layer.get_color(1)[3] == 0
        assert layer.get_color(2)[3] == 1


def test_a_duplicate_of_the_annotation_is_saved_as_it_is(layers, session, tmp_path):
    """It carries our metadata, and was saved as the annotation of the session."""
    import nibabel

    session.annotation[2, 5, 5] = 1
    copied = layers.annotation.data.copy()
    copied[2, 5, 6] = 1
    _, state, _ = layers.annotation.as_layer_data_tuple()
    (path,) = write_labels_layer(str(tmp_path / "copy.nii.gz"), copied, state)
    assert nibabel.load(path).get_fdata().sum() == 2
    (path,) = write_labels_layer(str(tmp_path / "own.nii.gz"), layers.annotation.data, state)
    assert nibabel.load(path).get_fdata().sum() == 1


def test_colour_images_and_2d_images(viewer):
    volume = Volume(np.zeros((1, 8, 9, 3), np.uint8), np.diag([-1.0, -1, 1, 1]))
    labels = np.zeros(volume.shape, np.uint16)
    layers = VolumeLayers(viewer, volume, labels, labels.copy(), lambda: labels)
    assert layers.image.rgb


def test_a_deleted_layer_comes_back_and_all_are_removed_in_the_end(layers, viewer, session):
    assert not layers.restore()
    viewer.layers.remove(layers.annotation)
    assert layers.restore()
    assert viewer.layers["annotation"].data is session.annotation
    layers.remove()
    assert [layer.name for layer in viewer.layers] == ["image"]


def test_deleted_layers_come_back_where_they_were(layers, viewer):
    viewer.add_layer(Image(np.zeros((6, 20, 30)), name="mine"))
    viewer.layers.selection.active = layers.prediction
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, 14.0)
    before, point = list(viewer.layers), viewer.dims.point
    layers.note_places()
    for layer in (layers.prediction, layers.image, layers.prompts):
        viewer.layers.remove(layer)
        layers.note_places()
    assert layers.restore()
    assert list(viewer.layers) == before
    assert viewer.layers.selection.active is layers.prediction
    layers.note_places()
    viewer.layers.clear()
    viewer.layers.append(before[-1])
    assert layers.restore()
    assert [layer.name for layer in viewer.layers] == ["image", "prediction", "annotation", "prompts", "mine"]
    assert viewer.dims.order == (1, 0, 2)
    assert viewer.dims.point == point


@pytest.mark.parametrize(
    ("position", "inside"),
    [
        ((0, 0, 0), True),
        ((-0.5, 0, 0), True),
        ((-0.6, 0, 0), False),
        ((0, 3.4, 0), True),
        ((0, 3.5, 0), False),
    ],
)
def test_a_voxel_reaches_half_a_step_beyond_its_centre(position, inside):
    assert is_inside(position, (2, 4, 5)) is inside
