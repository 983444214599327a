"""Makes docs/screenshots: uses a real window by mouse and keys, and photographs the screen.

    xvfb-run -s "-screen 0 1280x800x24" python docs/make_screenshots.py [--image IMAGE --labels LABELS]

The bundled CT-like sample is used where no IMAGE is given; LABELS hold the structures that are clicked and, where
SAM's mask is not good enough, painted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import napari
import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton

from napari_samadapt.imaging.prompts import box_of, click_in_error
from napari_samadapt.imaging.reading import read_labels
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.ui.contributions import sample_path
from napari_samadapt.ui.dock import Dock
from napari_samadapt.ui.exporting import MaskTarget
from napari_samadapt.ui.launch import WIDGET, fit_to_screen
from napari_samadapt.ui.layers import position_of

SIZE = (1280, 800)


class Stage:
    """A napari window with the dock, and hands to use it: only mouse and keys, as a user has."""

    def __init__(self, out: Path, theme: str) -> None:
        self.out = out
        self.began = time.monotonic()
        out.mkdir(parents=True, exist_ok=True)
        self.viewer = napari.Viewer(title="napari-samadapt", show=False)
        self.viewer.theme = theme
        _, dock = self.viewer.window.add_plugin_dock_widget("napari-samadapt", WIDGET)
        self.dock: Dock = dock
        self.window = self.viewer.window._qt_window  # napari has no public way to the window's geometry
        self.canvas = self.viewer.window._qt_viewer.canvas
        self.viewer.show()
        self.wait(0.5)
        fit_to_screen(self.window)
        self.window.setGeometry(0, 0, *SIZE)  # napari replaces what was set before it was shown
        self.wait(1.0)

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

    def shoot(self, name: str) -> None:
        """Photograph the screen."""
        self.wait(0.5)
        path = self.out / f"{name}.png"
        QApplication.primaryScreen().grabWindow(0).save(str(path))
        sys.stdout.write(f"{time.monotonic() - self.began:6.1f} s  {path}\n")
        sys.stdout.flush()

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

    def click(self, key: SliceKey, xy: tuple[float, float]) -> None:
        """Click a pixel of the slice on screen."""
        QTest.mouseClick(
            self.canvas.native, Qt.MouseButton.LeftButton, pos=self.canvas_point(key, xy), delay=20
        )
        self.wait(0.1)

    def drag(self, key: SliceKey, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from one pixel to another, and leave the button down; `release` lets go."""
        first, last = self.canvas_point(key, start), self.canvas_point(key, end)
        QTest.mousePress(self.canvas.native, Qt.MouseButton.LeftButton, pos=first, delay=20)
        for part in np.linspace(0, 1, 8)[1:]:
            self._move(first + (last - first) * float(part))
        self.wait(0.3)

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

    def release(self, key: SliceKey, end: tuple[float, float]) -> None:
        """Let the button go."""
        QTest.mouseRelease(self.canvas.native, Qt.MouseButton.LeftButton, pos=self.canvas_point(key, end))
        self.wait(0.1)

    def key(self, key: Qt.Key) -> None:
        """Press a key on the canvas."""
        QTest.keyClick(self.canvas.native, key)
        self.wait(0.1)

    def press(self, text: str) -> None:
        """Press the dock's button that starts with `text`."""
        made = next(made for made in self.dock.findChildren(QPushButton) if made.text().startswith(text))
        QTest.mouseClick(made, Qt.MouseButton.LeftButton)
        self.wait(0.1)

    def correct(self, key: SliceKey, wanted: NDArray[np.uint16]) -> None:
        """Lay the right labels (H, W) over a slice, as if they had been painted."""
        session = self.dock.session
        assert session is not None
        session.begin_edit(key)
        view = take_slice(session.annotation, key)
        changed = np.nonzero(view != wanted)
        before, after = view[changed].copy(), wanted[changed]
        view[changed] = after
        z, y, x = np.insert(np.stack(changed), key.axis, key.index, axis=0)
        session.record_edit((z, y, x), before, after)


def tell_the_story(stage: Stage, image: Path, labels_path: Path, seconds: float) -> None:
    """Empty window, volume, click, box, correction, learning, prediction, other axis, an error, export."""
    dock = stage.dock
    stage.shoot("01-empty")
    dock.open_path(image)
    stage.wait_until(lambda: dock.session is not None)
    session = dock.session
    assert session is not None
    assert dock.tools is not None
    labels, _ = read_labels(labels_path, session.volume)
    largest = sorted(np.unique(labels[labels > 0]), key=lambda number: -np.count_nonzero(labels == number))
    wanted = np.zeros(labels.shape, np.uint16)
    names = names_of(labels_path)
    for number, reference in enumerate(largest[:4], 1):
        wanted[labels == reference] = number
        name = names.get(int(reference), f"structure {number}")
        if number == 1:
            session.rename_class(1, name)
        else:
            session.add_class(name)
    session.select_class(1)
    session.set_policy(replace(session.policy, seconds=seconds))
    key = dock.tools.slice_on_screen()
    truth = take_slice(wanted, key)
    stage.shoot("02-volume")

    drafts: list[object] = []
    session.drafted.connect(drafts.append)
    present = [int(number) for number in np.unique(truth) if number]
    stage.key(Qt.Key.Key_P)
    session.select_class(present[0])
    (x, y), _ = click_in_error(np.zeros(truth.shape, bool), truth == present[0], None)
    stage.click(key, (float(x), float(y)))
    stage.wait_until(lambda: len(drafts) == 1)
    stage.shoot("03-click")

    session.select_class(present[-1])
    dock.tools.choose("box")
    x0, y0, x1, y1 = (float(part) for part in box_of(truth == present[-1]))
    stage.drag(key, (x0 - 1, y0 - 1), (x1 + 1, y1 + 1))
    stage.shoot("04-box")
    stage.release(key, (x1 + 1, y1 + 1))
    stage.wait_until(lambda: len(drafts) == 2)
    stage.correct(key, truth)
    stage.shoot("05-corrected")

    stage.key(Qt.Key.Key_A)
    stage.wait_until(lambda: session.learning_state == "training")
    stage.wait(min(seconds / 2, 20))
    stage.shoot("06-learning")
    stage.wait_until(lambda: session.adapter_version > 0)
    dock.panels.slice.strip.chosen.emit(key.index + 3)
    stage.wait_until(lambda: session.slice_state(SliceKey(key.axis, key.index + 3)) == "predicted", 60)
    stage.wait(6)
    stage.shoot("07-prediction")
    stage.press("Coronal" if key.axis == session.volume.anatomical_axis("axial") else "Axial")
    stage.wait(4)
    stage.shoot("08-other-axis")
    dock.open_path(stage.out / "missing.nii.gz")
    stage.wait(1.5)
    stage.shoot("09-error")
    stage.wait(4)
    with tempfile.TemporaryDirectory() as folder:
        dock.files.export(session, MaskTarget(Path(folder) / "masks.nii.gz"))
        stage.wait(2.0)
        stage.shoot("10-exported")


def names_of(labels_path: Path) -> dict[int, str]:
    """The names beside a label file, {id: name}; empty where there are none."""
    path = labels_path.with_name(labels_path.name.replace(".nii.gz", ".json"))
    if not path.is_file():
        return {}
    return {int(number): name for number, name in json.loads(path.read_text())["labels"].items()}


def main() -> None:
    """Read the command line and make the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("screenshots"))
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the episode of learning")
    given = parser.parse_args()
    image = given.image or sample_path("ct")
    labels = given.labels or image.with_name(image.name.replace(".nii.gz", "_labels.nii.gz"))
    stage = Stage(given.out, given.theme)
    try:
        tell_the_story(stage, image, labels, given.seconds)
    finally:
        stage.dock.shut_down()
        stage.viewer.close()


if __name__ == "__main__":
    main()
