"""A real napari window with the dock, eyes to find things in it, and hands: only mouse and keys, as a user has."""

from __future__ import annotations

import time
from collections.abc import Callable

import napari
import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification  # napari has no public way to them
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QLineEdit, QTableWidget, QWidget

from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.ui.dock import Dock
from napari_samadapt.ui.launch import WIDGET, fit_to_screen
from napari_samadapt.ui.layers import position_of


class Hands:
    """The window, and what a user does in it; `clicks` and `keys` are counted."""

    def __init__(self, size: tuple[int, int], theme: str = "dark") -> None:
        self.clicks = self.keys = 0
        self.viewer = napari.Viewer(title="napari-samadapt", show=False)
        self.viewer.theme = theme
        _, dock = self.viewer.window.add_plugin_dock_widget("napari-samadapt", WIDGET)
        self.dock: Dock = dock
        self.window = self.viewer.window._qt_window  # napari has no public way to the window's geometry
        self.canvas = self.viewer.window._qt_viewer.canvas
        self.viewer.show()
        self.wait(0.5)
        fit_to_screen(self.window)
        self.window.setGeometry(0, 0, *size)  # napari replaces what was set before it was shown
        self.wait(1.0)

    def close(self) -> None:
        """End the dock and close the window."""
        self.dock.shut_down()
        self.viewer.close()

    # time

    def wait(self, seconds: float) -> None:
        """Let the window live for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.005)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 300.0) -> None:
        """Let the window live until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds:g} s in vain")
            self.wait(0.05)

    # eyes

    def canvas_point(self, key: SliceKey, xy: tuple[float, float]) -> QPoint:
        """Where pixel (x, y) of the slice on screen lies on the canvas widget."""
        layers = self.dock.layers
        assert layers is not None
        world = np.asarray(layers.world_position(position_of(key, xy)))
        row, column = self.viewer.dims.displayed
        camera = self.viewer.scene.camera
        vertical, horizontal = camera.orientation2d
        centre = np.asarray(camera.center)[-2:]
        off = (world[[row, column]] - centre) * camera.zoom
        width, height = self.canvas.size[1], self.canvas.size[0]
        right = off[1] if str(horizontal) == "right" else -off[1]
        down = off[0] if str(vertical) == "down" else -off[0]
        return QPoint(round(width / 2 + right), round(height / 2 + down))

    def button(self, text: str, within: QWidget | None = None) -> QAbstractButton:
        """The visible button whose text begins so."""
        place = within if within is not None else self.window
        for made in place.findChildren(QAbstractButton):
            if made.isVisible() and made.text().startswith(text):
                return made
        raise LookupError(f"there is no button {text!r}")

    # hands

    def press(self, text: str, within: QWidget | None = None) -> None:
        """Click the button whose text begins so."""
        self.clicks += 1
        QTest.mouseClick(self.button(text, within), Qt.MouseButton.LeftButton)
        self.wait(0.1)

    def click(self, key: SliceKey, xy: tuple[float, float]) -> None:
        """Click a pixel of the slice on screen."""
        self.clicks += 1
        QTest.mouseClick(
            self.canvas.native, Qt.MouseButton.LeftButton, pos=self.canvas_point(key, xy), delay=20
        )
        self.wait(0.1)

    def drag(self, key: SliceKey, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from one pixel to another, and leave the button down; `release` lets go."""
        self.clicks += 1
        first, last = self.canvas_point(key, start), self.canvas_point(key, end)
        QTest.mousePress(self.canvas.native, Qt.MouseButton.LeftButton, pos=first, delay=20)
        for part in np.linspace(0, 1, 8)[1:]:
            self._move(first + (last - first) * float(part))
        self.wait(0.3)

    def release(self, key: SliceKey, end: tuple[float, float]) -> None:
        """Let the button go."""
        QTest.mouseRelease(self.canvas.native, Qt.MouseButton.LeftButton, pos=self.canvas_point(key, end))
        self.wait(0.1)

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        """Press a key on the canvas."""
        self.keys += 1
        QTest.keyClick(self.canvas.native, key, modifier)
        self.wait(0.1)

    def strip(self, index: int) -> None:
        """Click the cell of a slice in the strip."""
        self.clicks += 1
        strip = self.dock.panels.slice.strip
        QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.cell(index).center())
        self.wait(0.1)

    def name_class(self, line: int, name: str) -> None:
        """Double-click a row of the class table and type a name."""
        table = self.dock.panels.classes.findChild(QTableWidget)
        assert table is not None
        item = table.item(line, 0)
        assert item is not None
        place = table.visualItemRect(item).center()
        viewport = table.viewport()
        QTest.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=place)
        QTest.mouseDClick(viewport, Qt.MouseButton.LeftButton, pos=place)
        self.clicks += 2
        self.wait(0.2)
        field = viewport.findChild(QLineEdit)
        if field is None:
            raise LookupError("no field to type a name into")
        QTest.keyClicks(field, name)
        QTest.keyClick(field, Qt.Key.Key_Return)
        self.keys += len(name) + 1
        self.wait(0.1)

    def close_notifications(self) -> None:
        """Press × on what is told; without a window manager napari would leave it for ever."""
        for shown in self.canvas.native.findChildren(NapariQtNotification):
            QTest.mouseClick(shown.close_button, Qt.MouseButton.LeftButton)
            self.clicks += 1
        self.wait(0.1)

    def _move(self, place: QPoint) -> None:
        """Move the mouse with the left button down; QTest.mouseMove would tell of no button."""
        event = QMouseEvent(
            QEvent.Type.MouseMove,
            QPointF(place),
            QPointF(self.canvas.native.mapToGlobal(place)),
            Qt.MouseButton.NoButton,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(self.canvas.native, event)
        self.wait(0.03)
