"""The slice fills the canvas until the user zooms or moves it."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_samadapt.ui.fitting import Fitting


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.canvas.size = (600, 800)
    viewer.add_image(np.zeros((4, 60, 80)))
    return viewer


def test_a_canvas_that_gets_narrower_still_shows_all_of_the_slice(viewer) -> None:
    fitting = Fitting(viewer)
    fitting.fit()
    before = viewer.scene.camera.zoom
    viewer.canvas.size = (600, 400)
    assert viewer.scene.camera.zoom == pytest.approx(before / 2)
    viewer.canvas.size = (600, 800)
    assert viewer.scene.camera.zoom == pytest.approx(before), "it goes on"


@pytest.mark.parametrize("change", [{"zoom": 7.0}, {"center": (0.0, 5.0, 5.0)}])
def test_what_the_user_looks_at_is_left_alone(viewer, change) -> None:
    fitting = Fitting(viewer)
    fitting.fit()
    viewer.scene.camera.update(change)
    wanted = viewer.scene.camera.zoom, viewer.scene.camera.center
    viewer.canvas.size = (600, 400)
    assert (viewer.scene.camera.zoom, viewer.scene.camera.center) == wanted


def test_nothing_is_fitted_before_it_is_asked_for_or_after_the_end(viewer) -> None:
    fitting, before = Fitting(viewer), viewer.scene.camera.zoom
    viewer.canvas.size = (300, 400)
    assert viewer.scene.camera.zoom == before
    fitting.fit()
    before = viewer.scene.camera.zoom
    fitting.close()
    viewer.canvas.size = (100, 100)
    assert viewer.scene.camera.zoom == before
