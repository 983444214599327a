"""A real napari window with the real session and `mini`: mouse and keys in, a mask and a prediction out.

Needs a display with OpenGL; on a machine without one run the tests under xvfb-run.
"""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from napari.layers import Layer
from qtpy.QtCore import Qt
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QMessageBox

from napari_samadapt.imaging.volume import Source, Volume, take_slice
from napari_samadapt.ui import contributions
from napari_samadapt.ui.layers import position_of


@pytest.fixture
def blob():
    """(5, 48, 48): a bright ball in the dark, in voxels of 3 × 1 × 1 mm."""
    z, y, x = np.mgrid[-2:3, -24:24, -24:24]
    ball = np.hypot(np.hypot(x - 4, y + 3), 3 * z) < 11
    rng = np.random.default_rng(0)
    data = (ball * 200 + rng.normal(30, 5, ball.shape)).astype(np.float32)
    return Volume(data, np.diag([-1.0, -1.0, 3.0, 1.0]), Source(format="nifti")), ball


@pytest.fixture(autouse=True)
def _needs_opengl(qapp):
    if qapp.platformName() == "offscreen":
        pytest.skip("a real window needs a display with OpenGL: run under xvfb-run")


@pytest.fixture
def window(make_napari_viewer, qtbot, blob):
    """The viewer, with the dock opened as from the plugin menu, on the volume; an episode has 3 steps."""
    from dataclasses import replace

    viewer = make_napari_viewer()
    viewer.add_layer(Layer.create(*contributions.image_layer_tuple(blob[0])))
    _, dock = viewer.window.add_plugin_dock_widget("napari-samadapt", "Segment and adapt SAM")
    qtbot.waitUntil(lambda: dock.session is not None, timeout=60_000)
    dock.session.set_policy(replace(dock.session.policy, steps=3, seconds=None))
    yield viewer, dock
    dock.shut_down()


def canvas(viewer):
    return viewer.window._qt_viewer.canvas.native


def test_from_a_click_to_the_prediction_of_another_slice(qtbot, window, blob):
    viewer, dock = window
    session, key = dock.session, dock.tools.slice_on_screen()
    QTest.keyClick(canvas(viewer), Qt.Key.Key_P)
    assert dock.tools.tool == "point"
    drafts = []
    session.drafted.connect(drafts.append)
    dock.tools.clicked.emit(key, 28.0, 21.0)
    qtbot.waitUntil(lambda: bool(drafts), timeout=30_000)
    # What SAM found is corrected by the brush, as a user would.
    annotation = dock.layers.annotation
    annotation.mode = "paint"
    annotation.brush_size = 15
    dock.tools.stroke_begins.emit()
    with annotation.block_history():
        annotation.paint(tuple(position_of(key, (28, 21))), 1)
    assert session.slice_state(key) == "edited"
    displayed = take_slice(session.displayed(), key).copy()
    QTest.keyClick(canvas(viewer), Qt.Key.Key_A)
    qtbot.waitUntil(lambda: session.adapter_version > 0, timeout=60_000)
    assert np.array_equal(take_slice(session.annotation, key), displayed), (
        "accepting changed what was displayed"
    )
    qtbot.waitUntil(lambda: session.prediction.any(), timeout=60_000)
    assert not take_slice(session.prediction, key).any()
    assert viewer.layers["prediction"].data is session.prediction


def test_what_a_removed_layer_leaves_is_deleted_in_the_context_of_the_canvas(qtbot, window):
    """Deleted in the one that Qt draws the window with, it is missing at the next paint: a segmentation fault."""
    viewer, dock = window
    viewer.window._qt_window.show()
    qtbot.waitUntil(lambda: canvas(viewer).context() is not None)
    surface, other = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    assert other.create()
    assert other.makeCurrent(surface)
    found = []
    viewer.layers.events.removing.connect(
        lambda _event: found.append(QOpenGLContext.currentContext()), position="last"
    )
    dock.files.unsaved = False
    dock.close_session()
    assert found
    assert all(context is canvas(viewer).context() for context in found)


def test_changing_the_model_keeps_the_masks(qtbot, window):
    _, dock = window
    first, key = dock.session, dock.tools.slice_on_screen()
    first.rename_class(1, "ball")
    first.set_policy(type(first.policy)(enabled=False))
    with dock.layers.annotation.block_history():
        dock.layers.annotation.paint(tuple(position_of(key, (28, 21))), 1)
    first.accept(key)
    masks = first.annotation.copy()
    dock.load_model("mini")
    qtbot.waitUntil(lambda: dock.session not in (None, first), timeout=60_000)
    assert np.array_equal(dock.session.annotation, masks)
    assert dock.session.accepted == {key}
    assert [shown.name for shown in dock.session.classes] == ["ball"]


def test_the_window_asks_before_masks_are_lost(window, monkeypatch):
    viewer, dock = window
    asked = []

    def answer(*args):
        asked.append(args[2])
        return QMessageBox.StandardButton.Cancel

    monkeypatch.setattr(QMessageBox, "question", answer)
    key = dock.tools.slice_on_screen()
    with dock.layers.annotation.block_history():
        dock.layers.annotation.paint(tuple(position_of(key, (28, 21))), 1)
    viewer.window._qt_window.show()
    viewer.window._qt_window.close()
    assert asked
    assert dock.session is not None


_CLOSING = """
    import sys
    from dataclasses import replace
    import napari
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QMessageBox
    from napari_samadapt.ui.contributions import sample_path
    from napari_samadapt.ui.dock import Dock
    from napari_samadapt.ui.launch import open_window

    when, how = sys.argv[1:]
    QMessageBox.question = staticmethod(lambda *args: QMessageBox.StandardButton.Discard)
    viewer = open_window(sample_path("ct"))
    window = viewer.window._qt_window
    dock = window.findChild(Dock)
    accepted = []

    def look():
        session = dock.session
        if when == "loading":
            close()
        elif session is not None and not accepted:
            key = dock.tools.slice_on_screen()
            accepted.append(key)
            session.set_policy(replace(session.policy, seconds=60.0))
            annotation = dock.layers.annotation
            middle = [size // 2 for size in annotation.data.shape]
            middle[key.axis] = key.index
            annotation.brush_size = 15
            with annotation.block_history():
                annotation.paint(tuple(middle), 1)
            session.accept(key)
            session.progress.connect(lambda _: QTimer.singleShot(200, close))

    def close():
        timer.stop()
        print("closing", dock._loading, dock.session and dock.session.learning_state, flush=True)
        window.close() if how == "window" else viewer.close()
        print("left", dock.session, flush=True)

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(50)
    napari.run()
    print("ended", dock.session, flush=True)
"""


@pytest.mark.parametrize(
    ("when", "how"), [("episode", "window"), ("episode", "viewer"), ("loading", "window")]
)
def test_closing_the_window_ends_the_process_cleanly(when, how):
    ran = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(_CLOSING), when, how],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ("closing False training" if when == "episode" else "closing True None") in ran.stdout
    assert "left None" in ran.stdout, "the session goes on while Qt deletes the widgets"
    assert "ended None" in ran.stdout
    for word in ("Traceback", "Aborted", "Error", "terminate"):
        assert word not in ran.stderr
