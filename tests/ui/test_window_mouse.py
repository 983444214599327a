"""A real napari window with the real session and `mini`: prompts by real mouse events and keys alone.

Needs a display with OpenGL; on a machine without one run the tests under xvfb-run.
"""

import numpy as np
import pytest
from napari._qt.qt_viewer import QtViewer
from napari.layers import Layer
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QCursor, QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_samadapt.imaging.volume import Source, Volume
from napari_samadapt.ui import contributions
from napari_samadapt.ui.layers import position_of

LEFT, RIGHT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton, Qt.MouseButton.NoButton
PLAIN = Qt.KeyboardModifier.NoModifier
_BETWEEN_MOVES_MS = 20


class Hand:
    """A user's hand on the canvas: presses, moves and releases at pixels (x, y) of the slice on screen."""

    def __init__(self, viewer, dock):
        self.viewer, self.dock = viewer, dock

    @property
    def canvas(self):
        return self.viewer.window._qt_viewer.canvas

    def at(self, x, y):
        world = np.asarray(
            self.dock.layers.world_position(position_of(self.dock.tools.slice_on_screen(), (x, y)))
        )
        camera, displayed = self.viewer.scene.camera, list(self.viewer.dims.displayed)
        down, right = (world[displayed] - np.asarray(camera.center)[-2:]) * camera.zoom
        vertical, horizontal = (str(side) for side in camera.orientation2d)
        height, width = self.canvas.size
        right, down = right if horizontal == "right" else -right, down if vertical == "down" else -down
        return QPoint(round(width / 2 + right), round(height / 2 + down))

    def _send(self, kind, place, button, buttons, modifiers):
        native = self.canvas.native
        event = QMouseEvent(
            kind, QPointF(place), QPointF(native.mapToGlobal(place)), button, buttons, modifiers
        )
        QApplication.sendEvent(native, event)
        QApplication.processEvents()

    def press(self, x, y, button=LEFT, modifiers=PLAIN):
        self._send(QEvent.Type.MouseButtonPress, self.at(x, y), button, button, modifiers)

    def move(self, x, y, button=LEFT, modifiers=PLAIN):
        """Moves so quick that the canvas would leave them out (vispy within 10 ms, napari within 5) are no drag."""
        self._send(QEvent.Type.MouseMove, self.at(x, y), NONE, button, modifiers)
        QTest.qWait(_BETWEEN_MOVES_MS)

    def release(self, x, y, button=LEFT, modifiers=PLAIN):
        self._send(QEvent.Type.MouseButtonRelease, self.at(x, y), button, NONE, modifiers)

    def click(self, x, y, button=LEFT):
        self.press(x, y, button)
        self.release(x, y, button)

    def drag(self, *path, modifiers=PLAIN):
        self.press(*path[0], modifiers=modifiers)
        for place in path[1:]:
            self.move(*place, modifiers=modifiers)
        self.release(*path[-1], modifiers=modifiers)

    def key(self, key):
        QTest.keyClick(self.canvas.native, key)


def settle(qtbot, look):
    """Wait until what `look` gives stays the same: the window is laid out in several steps."""
    seen = [look()]

    def same():
        seen.append(look())
        return len(seen) > 30 and len(set(map(str, seen[-30:]))) == 1

    qtbot.waitUntil(same, timeout=60_000)


@pytest.fixture
def desk(qapp, make_napari_viewer, qtbot):
    """The dock on (5, 48, 48) voxels of 3 × 1 × 1 mm, a bright ball in the dark, and a hand."""
    if qapp.platformName() == "offscreen":
        pytest.skip("a real window needs a display with OpenGL: run under xvfb-run")
    z, y, x = np.mgrid[-2:3, -24:24, -24:24]
    ball = np.hypot(np.hypot(x - 4, y + 3), 3 * z) < 11
    data = (ball * 200 + np.random.default_rng(0).normal(30, 5, ball.shape)).astype(np.float32)
    volume = Volume(data, np.diag([-1.0, -1.0, 3.0, 1.0]), Source(format="nifti"))
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1200, 780)
    viewer.add_layer(Layer.create(*contributions.image_layer_tuple(volume)))
    _, dock = viewer.window.add_plugin_dock_widget("napari-samadapt", "Segment and adapt SAM")
    qtbot.waitUntil(lambda: dock.session is not None, timeout=60_000)
    QCursor.setPos(0, 0)  # the screen's own pointer, which enters what opens below it, is not part of a drag
    hand = Hand(viewer, dock)
    settle(qtbot, lambda: (hand.canvas.size, dock.size()))
    viewer.reset_view()
    yield dock, hand, viewer
    dock.shut_down()
    QtViewer._instances.clear()  # a window that was shown outlives its test; test_window.py looks for forgotten ones


def test_prompts_by_mouse_and_keys_alone(qtbot, desk):
    dock, hand, viewer = desk
    session, key = dock.session, dock.tools.slice_on_screen()
    answers, previews = [], []
    session.drafted.connect(answers.append)
    session.previewed.connect(previews.append)

    def answered(count):
        qtbot.waitUntil(lambda: len(answers) == count, timeout=60_000)
        return session.prompts.get(key)

    hand.key(Qt.Key.Key_B)
    hand.press(15, 9)
    for step in np.linspace(0, 1, 8)[1:]:
        hand.move(15 + 25 * step, 9 + 25 * step)
    qtbot.waitUntil(lambda: bool(previews), timeout=60_000)
    assert session.can_undo is None, "a preview is no step"
    hand.release(40, 34)
    assert answered(1).box == pytest.approx([15, 9, 40, 34], abs=0.3)
    assert session.annotation[key.index, 21, 28] == 1

    hand.drag((40, 34), (41, 35), (38, 32))
    assert answered(2).box == pytest.approx([15, 9, 38, 32], abs=0.6)

    hand.key(Qt.Key.Key_P)
    hand.click(28, 21)
    assert answered(3).point_coords.tolist()[0] == pytest.approx([28, 21], abs=0.3)
    hand.drag((28, 21), (29, 21), (31, 24))
    assert answered(4).point_coords.tolist()[0] == pytest.approx([31, 24], abs=0.6)
    hand.click(31, 24, RIGHT)
    assert len(answered(5).point_coords) == 0
    hand.key(Qt.Key.Key_Delete)
    assert key not in session.prompts
    assert not session.annotation.any(), "without prompts there is no mask"

    hand.key(Qt.Key.Key_L)
    around = [(28 + 13 * np.cos(t), 21 + 13 * np.sin(t)) for t in np.linspace(0, 6, 20)]
    hand.drag(*around)
    assert answered(6).mask_input[21, 28]
    hand.key(Qt.Key.Key_S)
    hand.drag((24, 21), (28, 21), (32, 21))
    assert (answered(7).point_labels == 1).all()
    assert session.annotation[key.index, 21, 28] == 1
    hand.key(Qt.Key.Key_S)
    assert dock.tools.tool == ""
    assert [layer.name for layer in viewer.layers][1:] == ["prediction", "annotation", "prompts"]


def test_napari_keeps_its_mouse(qtbot, desk):
    dock, hand, viewer = desk
    key = dock.tools.slice_on_screen()
    hand.key(Qt.Key.Key_P)
    before = viewer.scene.camera.center
    hand.drag((10, 10), (15, 12), (20, 15))
    assert viewer.scene.camera.center != before, "a drag moves the camera"
    hand.click(20, 20, Qt.MouseButton.MiddleButton)
    assert key not in dock.session.prompts
    limits = tuple(viewer.layers[0].contrast_limits)
    hand.drag((20, 20), (25, 22), (30, 24), modifiers=Qt.KeyboardModifier.ShiftModifier)
    assert tuple(viewer.layers[0].contrast_limits) != limits, "Shift + drag changes the grey values"
    assert key not in dock.session.prompts
    place = hand.at(20, 20)
    viewer.dims.ndisplay = 3
    QTest.mouseClick(hand.canvas.native, LEFT, pos=place)
    assert key not in dock.session.prompts
