"""Random clicks and keys in a real window with the real session and `mini`; the long runs are `benchmarks/fuzz.py`.

Needs a display with OpenGL; on a machine without one run the tests under xvfb-run.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from napari.layers import Layer
from napari.utils.notifications import ErrorNotification, notification_manager

from napari_samadapt.imaging.phantom import ct_phantom
from napari_samadapt.ui import contributions, notify

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import fuzz

EVENTS = 60


@pytest.fixture
def window(qapp, make_napari_viewer, qtbot):
    """The dock beside a small canvas, on a small volume; an episode is short."""
    if qapp.platformName() == "offscreen":
        pytest.skip("a real window needs a display with OpenGL: run under xvfb-run")
    viewer = make_napari_viewer()
    viewer.window._qt_window.resize(900, 600)
    volume, _, _ = ct_phantom(shape=(6, 48, 48))
    viewer.add_layer(Layer.create(*contributions.image_layer_tuple(volume)))
    _, dock = viewer.window.add_plugin_dock_widget("napari-samadapt", "Segment and adapt SAM")
    qtbot.waitUntil(lambda: dock.session is not None, timeout=60_000)
    dock.session.set_policy(replace(dock.session.policy, seconds=1.0))
    yield viewer, dock
    dock.files.unsaved = False
    dock.shut_down()


@pytest.mark.parametrize("seed", [1])
def test_random_events_leave_no_error_and_a_window_that_works(window, seed):
    told = fuzz.fuzz(*window, EVENTS, seed)
    assert sum(told["events"].values()) == EVENTS
    assert told["errors"] == []


def raised_on_a_thread():
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()


def raised_in_a_slot():
    notify.reported(lambda: 1 / 0)()


def raised_in_napari():
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        notification_manager.dispatch(ErrorNotification(error))


@pytest.mark.parametrize("go_wrong", [raised_on_a_thread, raised_in_a_slot, raised_in_napari])
def test_what_goes_wrong_is_found(told, go_wrong):
    """So the test above can fail."""
    errors = fuzz.Errors()
    try:
        go_wrong()
    finally:
        errors.close()
    assert "ZeroDivisionError" in "".join(errors.found)


def test_what_never_comes_is_found(qapp):
    with pytest.raises(RuntimeError, match="stuck: a mask"):
        fuzz.wait_until(lambda: False, "a mask", 0.05)
