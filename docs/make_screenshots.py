"""Makes docs/screenshots: uses a real window by mouse and keys, and photographs the screen.

    xvfb-run -s "-screen 0 1920x1080x24" python docs/make_screenshots.py [--out FOLDER] [--seconds S] [--quick]

Every scene is photographed at 1280 × 800 and at 1920 × 1080, in the dark and in the light theme; `--quick` takes the
first of them only. The scenes show the bundled CT-like sample. What SAM does not get right is painted from the sample's
reference. PNGs have a palette, so that the set stays small.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
_CLASSES = {1: "liver", 2: "spleen", 3: "right kidney", 4: "left kidney"}
_SETS = (
    ("", (1280, 800), "dark"),
    ("1280x800-light", (1280, 800), "light"),
    ("1920x1080-dark", (1920, 1080), "dark"),
    ("1920x1080-light", (1920, 1080), "light"),
)
_COLORS = 128


class Camera:
    """Photographs each scene once for every size and theme."""

    def __init__(self, hands: Any, out: Path, *, quick: bool) -> None:
        self.hands, self.out = hands, out
        self.sets = _SETS[:1] if quick else _SETS
        self.began = time.monotonic()

    def shoot(self, name: str) -> None:
        """Photograph what there is."""
        for folder, size, theme in self.sets:
            self._arrange(size, theme)
            path = self.out / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._save(path, size)
        self._arrange(*self.sets[0][1:])
        sys.stdout.write(f"{time.monotonic() - self.began:6.1f} s  {name}\n")
        sys.stdout.flush()

    def _arrange(self, size: tuple[int, int], theme: str) -> None:
        """The window in this size and theme, its picture whole, its larger views in the middle."""
        from qtpy.QtCore import Qt
        from qtpy.QtWidgets import QDockWidget

        from napari_samadapt.ui.tool_window import ToolWindow

        hands = self.hands
        hands.viewer.theme = theme
        if (hands.window.width(), hands.window.height()) != size:
            hands.window.setGeometry(0, 0, *size)
            hands.wait(0.3)
            docked = hands.dock
            while not isinstance(docked, QDockWidget):
                docked = docked.parentWidget()
            hands.window.resizeDocks([docked], [docked.minimumSizeHint().width()], Qt.Orientation.Horizontal)
            hands.wait(0.3)
            hands.viewer.reset_view()
        for view in hands.window.findChildren(ToolWindow):
            view.move((size[0] - view.width()) // 2, (size[1] - view.height()) // 2)
        hands.wait(0.5)

    def _save(self, path: Path, size: tuple[int, int]) -> None:
        from PIL import Image
        from qtpy.QtGui import QImage
        from qtpy.QtWidgets import QApplication

        shot = QApplication.primaryScreen().grabWindow(0, 0, 0, *size).toImage()
        shot = shot.convertToFormat(QImage.Format.Format_RGB888)
        pixels = Image.frombytes(
            "RGB", (shot.width(), shot.height()), bytes(shot.constBits()), "raw", "RGB", shot.bytesPerLine()
        )
        pixels.quantize(_COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


def paint(hands: Any, key: Any, wanted: Any) -> None:
    """Lay the right labels (H, W) over a slice, as if they had been painted."""
    import numpy as np

    from napari_samadapt.imaging.volume import take_slice

    session = hands.dock.session
    session.begin_edit(key)
    view = take_slice(session.annotation, key)
    changed = np.nonzero(view != wanted)
    before, after = view[changed].copy(), wanted[changed]
    view[changed] = after
    z, y, x = np.insert(np.stack(changed), key.axis, key.index, axis=0)
    session.record_edit((z, y, x), before, after)


def tell_the_story(hands: Any, camera: Camera, folder: Path, seconds: float) -> None:
    """From the empty window to the export."""
    import numpy as np
    from qtpy.QtCore import Qt

    from napari_samadapt.imaging.prompts import box_of, click_in_error
    from napari_samadapt.imaging.reading import read_labels
    from napari_samadapt.imaging.volume import SliceKey, take_slice
    from napari_samadapt.ui.contributions import sample_path
    from napari_samadapt.ui.exporting import MaskTarget
    from napari_samadapt.ui.slice_overlays import UNCERTAINTY
    from napari_samadapt.ui.views import Views

    dock = hands.dock
    reference_path = sample_path("ct").with_name("sample_ct_labels.nii.gz")
    reference, _ = read_labels(reference_path)
    wanted = np.where(reference <= len(_CLASSES), reference, 0).astype(np.uint16)

    camera.shoot("01-empty")
    hands.press("Try the sample")
    hands.wait_until(lambda: dock.session is not None)
    hands.wait(1.0)
    camera.shoot("02-tour")
    hands.press("Skip the tour")
    session = dock.session
    session.set_policy(replace(session.policy, seconds=seconds))
    camera.shoot("03-volume")
    for number, name in _CLASSES.items():
        if number > 1:
            hands.press("+", within=dock.panels.classes)
        hands.name_class(number - 1, name)
    camera.shoot("04-classes")

    key = dock.tools.slice_on_screen()
    truth = take_slice(wanted, key)
    drafts: list[object] = []
    session.drafted.connect(drafts.append)
    session.select_class(4)
    hands.key(Qt.Key.Key_P)
    (x, y), _ = click_in_error(np.zeros(truth.shape, bool), truth == 4, None)
    hands.click(key, (float(x), float(y)))
    hands.wait_until(lambda: len(drafts) == 1)
    camera.shoot("05-click")
    session.select_class(3)
    hands.key(Qt.Key.Key_B)
    x0, y0, x1, y1 = (float(part) for part in box_of(truth == 3))
    hands.drag(key, (x0 - 1, y0 - 1), (x1 + 1, y1 + 1))
    hands.wait(1.0)
    camera.shoot("06-box")
    hands.release(key, (x1 + 1, y1 + 1))
    hands.wait_until(lambda: len(drafts) == 2)
    paint(hands, key, truth)
    hands.key(Qt.Key.Key_A)
    hands.wait_until(lambda: session.learning_state == "training")
    hands.wait(seconds / 2)
    camera.shoot("07-learning")
    hands.wait_until(lambda: session.learning_state != "training")
    for step in (6, -6):
        other = SliceKey(key.axis, key.index + step)
        hands.strip(other.index)
        hands.wait(3.0)
        paint(hands, other, take_slice(wanted, other))
        hands.key(Qt.Key.Key_A)
        hands.wait_until(lambda: session.learning_state == "training")
        hands.wait_until(lambda: session.learning_state != "training")
        hands.wait(2.0)
    seen = SliceKey(key.axis, key.index - 2)
    hands.strip(seen.index)
    hands.wait_until(lambda: session.slice_state(seen) == "predicted" and not session.refreshing)
    hands.wait(5.0)
    camera.shoot("08-accepted-and-predicted")
    hands.key(Qt.Key.Key_U)
    views = next(part for part in dock._parts if isinstance(part, Views))
    hands.wait_until(lambda: bool(views.overlays.layers), 60)
    camera.shoot("09-uncertainty")
    views.overlays.switch(UNCERTAINTY, False)
    dock.companions.bar.side_by_side_asked.emit()
    camera.shoot("10-before-and-after")
    views.before_after.close()
    dock.companions.bar.learning_asked.emit()
    camera.shoot("11-how-it-learned")
    views.learning.close()
    dock.companions.bar.comparison_asked.emit()
    views.comparing.load(reference_path)
    hands.wait_until(lambda: views.comparing.view.plot.getPlotItem().listDataItems() != [])
    camera.shoot("12-reference")
    views.comparing.view.close()
    hands.press("Models…")
    camera.shoot("13-models")
    dock.companions.models.view.close()
    hands.press("Coronal")
    hands.wait(6.0)
    camera.shoot("14-coronal")
    dock.open_path(folder / "missing.nii.gz")
    hands.wait(1.0)
    camera.shoot("15-error")
    hands.wait(6.0)
    dock.files.export(session, MaskTarget(folder / "masks.nii.gz"))
    hands.wait(2.0)
    camera.shoot("16-exported")
    dock.files.unsaved = False


def main() -> None:
    """Read the command line and make the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("screenshots"))
    parser.add_argument("--seconds", type=float, default=30.0, help="length of an episode of learning")
    parser.add_argument("--quick", action="store_true", help="one size and theme only")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            os.environ[variable] = str(Path(folder) / variable)
        os.environ["NAPARI_CONFIG"] = str(Path(folder) / "napari.yaml")
        from window_hands import Hands

        hands = Hands(_SETS[0][1])
        try:
            tell_the_story(hands, Camera(hands, given.out, quick=given.quick), Path(folder), given.seconds)
        finally:
            hands.close()


if __name__ == "__main__":
    main()
