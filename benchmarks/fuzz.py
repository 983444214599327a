"""Random clicks and keys in the real window, also while it learns and in 3D: no traceback, and nothing that hangs.

    xvfb-run -a -s "-screen 0 1280x800x24" python benchmarks/fuzz.py [--events 500] [--seed 0]

Real mouse and key events (QTest), seeded, on the canvas, on napari's controls and on every enabled widget of the dock.
Dialogs and menus that come up are left by Escape; file dialogs answer nothing; no download is begun. Every error that
reaches Python's, Qt's or napari's handlers or the log counts. In the end the window must still do its work: a volume is
opened, a click is answered by a mask. Prints JSON.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.utils.notifications import ErrorNotification, notification_manager
from own_settings import own_settings
from qtpy.QtCore import QEventLoop, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QTableWidget,
    QWidget,
)

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning import download
from napari_samadapt.ui.contributions import sample_path
from napari_samadapt.ui.dock import Dock
from napari_samadapt.ui.launch import WIDGET

KEYS = [getattr(Qt.Key, f"Key_{letter}") for letter in "ABCDEGHIKLMNOPRSTVXZ1234567890"] + [
    Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Escape, Qt.Key.Key_Return,
    Qt.Key.Key_Tab, Qt.Key.Key_Delete, Qt.Key.Key_Backspace, Qt.Key.Key_Space, Qt.Key.Key_F2, Qt.Key.Key_Comma,
    Qt.Key.Key_Period, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown, Qt.Key.Key_Home, Qt.Key.Key_Plus, Qt.Key.Key_Minus,
]  # fmt: skip
MODIFIERS = (
    [Qt.KeyboardModifier.NoModifier] * 6
    + [Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier]
    + [Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier]
)  # fmt: skip
CLOSING = {Qt.Key.Key_Q, Qt.Key.Key_W, Qt.Key.Key_O}  # napari's own: quit, close the window, open a file
KINDS = (QAbstractButton, QComboBox, QAbstractSlider, QAbstractSpinBox, QLineEdit, QTableWidget)
ENDLESS = 60.0  # seconds that nothing may take
NAPARIS_OWN = ("status_checker.py", "node_path_to_child")
"""Places of two defects of napari's, which happen without this plugin too: its status bar reads layers on a thread of
its own while they change, and the grid loses a cell whose camera is being dragged when a layer is removed."""
_OWN_DIALOGS = ("getOpenFileName", "getOpenFileNames", "getSaveFileName")


class Errors:
    """Collects what goes wrong, wherever it is told, until `close`."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.naparis: list[str] = []
        self._old = sys.excepthook, threading.excepthook
        sys.excepthook = self._raised
        threading.excepthook = lambda told: self._raised(
            told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback
        )
        notification_manager.notification_ready.connect(self._notified)
        self._handler = _Handler(self.found)
        logging.getLogger("napari_samadapt").addHandler(self._handler)

    def close(self) -> None:
        """Put the handlers back that were there."""
        sys.excepthook, threading.excepthook = self._old
        notification_manager.notification_ready.disconnect(self._notified)
        logging.getLogger("napari_samadapt").removeHandler(self._handler)

    def keep(self, error: BaseException) -> None:
        """Take note of an error."""
        text = "".join(traceback.format_exception(error))
        (self.naparis if any(place in text for place in NAPARIS_OWN) else self.found).append(text)

    def _raised(self, _kind: type[BaseException], error: BaseException, _trace: Any) -> None:
        self.keep(error)

    def _notified(self, notification: Any) -> None:
        if isinstance(notification, ErrorNotification):
            self.keep(notification.exception)


class _Handler(logging.Handler):
    """Keeps records of errors."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(self.format(record))


class Fuzz:
    """One window, and random events on it."""

    def __init__(self, viewer: napari.Viewer, dock: Dock, seed: int, errors: Errors) -> None:
        self.viewer, self.dock, self._errors = viewer, dock, errors
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.longest = ("", 0.0)
        self.trace: list[str] = []
        self._escape = QTimer()
        self._escape.timeout.connect(self._leave_dialogs)
        self._escape.start(50)

    def run(self, events: int) -> None:
        """So many events; in between the window works as it would for a user."""
        acts = self._acts()
        for _ in range(events):
            name = self.random.choices(list(acts), [weight for weight, _ in acts.values()])[0]
            self.trace.append(name)
            start = time.monotonic()
            try:
                acts[name][1]()
                QApplication.processEvents()
            except Exception as error:  # noqa: BLE001  # some come back through the call that sends the event
                self._errors.keep(error)
            if self.random.random() < 0.2:
                work(self.random.randint(5, 60) / 1000)
            self.counts[name] += 1
            if (took := time.monotonic() - start) > self.longest[1]:
                self.longest = (self.trace[-1], took)

    def close(self) -> None:
        """Leave what is still open, and stop watching."""
        work(0.2)
        self._escape.stop()

    def _acts(self) -> dict[str, tuple[int, Callable[[], None]]]:
        return {
            "click on the canvas": (20, lambda: self._click(self._canvas)),
            "right click on the canvas": (2, lambda: self._click(self._canvas, Qt.MouseButton.RightButton)),
            "double click on the canvas": (2, self._double_click),
            "drag on the canvas": (12, self._drag),
            "wheel on the canvas": (6, self._wheel),
            "key on the canvas": (24, lambda: self._key(self._canvas)),
            "click in the dock": (24, lambda: self._click_widget(self.dock)),
            "key in the dock": (6, self._key_widget),
            "click on napari's controls": (6, self._click_napari),
            "3D and back": (2, self._toggle_3d),
            "accept": (3, lambda: QTest.keyClick(self._canvas, Qt.Key.Key_A)),
            "another layer": (3, self._select_layer),
            "another volume": (1, self._open),
        }

    @property
    def _canvas(self) -> QWidget:
        native: QWidget = self.viewer.window._qt_viewer.canvas.native
        return native

    def _point(self, widget: QWidget) -> QPoint:
        return QPoint(
            self.random.randrange(max(widget.width(), 1)), self.random.randrange(max(widget.height(), 1))
        )

    def _click(self, widget: QWidget, button: Qt.MouseButton = Qt.MouseButton.LeftButton) -> None:
        modifiers = self.random.choice(MODIFIERS)
        QTest.mouseClick(widget, button, modifiers, self._point(widget))

    def _double_click(self) -> None:
        QTest.mouseDClick(self._canvas, Qt.MouseButton.LeftButton, pos=self._point(self._canvas))

    def _drag(self) -> None:
        points = [self._point(self._canvas) for _ in range(self.random.randint(2, 5))]
        button = self.random.choice([Qt.MouseButton.LeftButton] * 4 + [Qt.MouseButton.RightButton])
        modifiers = self.random.choice(MODIFIERS)
        QTest.mousePress(self._canvas, button, modifiers, points[0])
        for point in points[1:]:
            QTest.mouseMove(self._canvas, point)
            QApplication.processEvents()
        if self.random.random() < 0.2:
            QTest.keyClick(self._canvas, self.random.choice([Qt.Key.Key_Escape, Qt.Key.Key_P, Qt.Key.Key_B]))
        QTest.mouseRelease(self._canvas, button, modifiers, points[-1])

    def _wheel(self) -> None:
        where, turn = QPointF(self._point(self._canvas)), QPoint(0, self.random.choice([-120, 120]))
        event = QWheelEvent(
            where, self._canvas.mapToGlobal(where), QPoint(), turn, Qt.MouseButton.NoButton,
            self.random.choice(MODIFIERS), Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(self._canvas, event)

    def _key(self, widget: QWidget) -> None:
        key, modifiers = self.random.choice(KEYS), self.random.choice(MODIFIERS)
        if modifiers != Qt.KeyboardModifier.NoModifier and key in CLOSING:
            return
        self.trace[-1] += f" {key.name} {modifiers}"
        QTest.keyClick(widget, key, modifiers)

    def _widgets(self, parent: QWidget) -> list[QWidget]:
        return [
            widget
            for widget in parent.findChildren(QWidget)
            if isinstance(widget, KINDS) and widget.isVisible() and widget.isEnabled()
        ]

    def _click_widget(self, parent: QWidget) -> None:
        widgets = self._widgets(parent)
        if not widgets:
            return
        widget = self.random.choice(widgets)
        self.trace[-1] += f" {type(widget).__name__} {getattr(widget, 'text', str)()!r}"
        self._click(widget.viewport() if isinstance(widget, QTableWidget) else widget)

    def _key_widget(self) -> None:
        widgets = self._widgets(self.dock)
        if widgets:
            widget = self.random.choice(widgets)
            widget.setFocus()
            self._key(widget)

    def _click_napari(self) -> None:
        viewer = self.viewer.window._qt_viewer
        self._click_widget(self.random.choice([viewer.dockLayerControls, viewer.dims, viewer.viewerButtons]))

    def _toggle_3d(self) -> None:
        self.viewer.dims.ndisplay = 5 - self.viewer.dims.ndisplay

    def _select_layer(self) -> None:
        if self.viewer.layers:
            self.viewer.layers.selection.active = self.random.choice(list(self.viewer.layers))

    def _open(self) -> None:
        self.dock.open_path(sample_path(self.random.choice(["ct", "mr", "ultrasound"])))

    def _leave_dialogs(self) -> None:
        """Escape from menus and dialogs, which would wait for somebody who is not there."""
        for open_one in (QApplication.activePopupWidget(), QApplication.activeModalWidget()):
            if open_one is not None:
                QTest.keyClick(open_one, Qt.Key.Key_Escape)
                if open_one.isVisible():
                    open_one.close()


def work(seconds: float) -> None:
    """Let the window work for a while."""
    loop = QEventLoop()
    QTimer.singleShot(int(seconds * 1000), loop.quit)
    loop.exec()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = ENDLESS) -> None:
    """Let the window work until `condition()`; RuntimeError where that takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"stuck: {what}")
        work(0.01)


def still_works(viewer: napari.Viewer, dock: Dock) -> None:
    """Open a volume, draw a box and see a mask, learning at rest; RuntimeError where one of these does not come."""
    wait_until(lambda: not dock._loading, "a model is being loaded")
    if dock.session is not None:
        dock.session.set_policy(replace(dock.session.policy, enabled=False))
        dock.session.stop()
        wait_until(
            lambda: dock.session is None or dock.session.learning_state == "off", "learning does not stop"
        )
    dock.files.unsaved = False
    viewer.dims.ndisplay = 2
    before = dock.session
    dock.open_path(sample_path("ct"))
    wait_until(lambda: dock.session is not None and dock.session is not before, "a volume does not open")
    session = dock.session
    if session is None:
        raise RuntimeError("stuck: there is no session")
    key = SliceKey(session.axis, session.volume.shape[session.axis] // 2)
    before_click = session.displayed().copy()
    session.set_prompts(key, Prompts(box=np.array([40, 40, 80, 80], np.float32)))
    wait_until(lambda: bool((session.displayed() != before_click).any()), "a box gives no mask")


def fuzz(viewer: napari.Viewer, dock: Dock, events: int, seed: int) -> dict[str, Any]:
    """So many random events on a window with a session; what went wrong, and the longest act."""
    dialogs = {name: getattr(QFileDialog, name) for name in _OWN_DIALOGS}
    fetch, chosen = download.download, QFileDialog.getExistingDirectory
    for name in dialogs:
        setattr(QFileDialog, name, lambda *_, **__: ("", ""))
    QFileDialog.getExistingDirectory = lambda *_, **__: ""  # type: ignore[method-assign]
    download.download = _no_download
    errors = Errors()
    run = Fuzz(viewer, dock, seed, errors)
    try:
        run.run(events)
        run.close()
        still_works(viewer, dock)
    finally:
        errors.close()
        run._escape.stop()
        for name, dialog in dialogs.items():
            setattr(QFileDialog, name, dialog)
        QFileDialog.getExistingDirectory = chosen  # type: ignore[method-assign]
        download.download = fetch
    return {
        "events": dict(run.counts), "errors": errors.found, "errors_of_napari": len(errors.naparis),
        "longest_act": run.longest, "last": run.trace[-10:],
    }  # fmt: skip


def _no_download(*_: Any, **__: Any) -> Any:
    raise SamAdaptError("No download here.")


def main() -> None:
    """Read the command line, run, print JSON; exit code 1 where anything went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    faulthandler.enable()
    viewer = napari.Viewer(show=False)
    _, dock = viewer.window.add_plugin_dock_widget("napari-samadapt", WIDGET)
    viewer.show()
    dock.open_path(sample_path("ct"))
    wait_until(lambda: dock.session is not None, "the first volume does not open")
    session = dock.session
    session.set_policy(replace(session.policy, seconds=5.0))
    told = fuzz(viewer, dock, given.events, given.seed)
    dock.files.unsaved = False
    dock.shut_down()
    viewer.close()
    json.dump(told, sys.stdout, indent=2)
    sys.stdout.write("\n")
    sys.exit(1 if told["errors"] else 0)


if __name__ == "__main__":
    if "NAPARI_SAMADAPT_FUZZ" not in os.environ:  # settings, caches and journals of nobody
        with tempfile.TemporaryDirectory() as home:
            os.environ.update(own_settings(Path(home)), NAPARI_SAMADAPT_FUZZ="1")
            sys.exit(os.spawnv(os.P_WAIT, sys.executable, [sys.executable, *sys.argv]))
    main()
