"""Makes docs/screenshots: uses a real window by mouse and keys, and photographs the screen.

    xvfb-run -s "-screen 0 1280x800x24" python docs/make_screenshots.py [--theme light] [--out FOLDER] [--seconds S]
    xvfb-run -s "-screen 0 1920x1080x24" python docs/make_screenshots.py [--theme light] [--out FOLDER] [--seconds S]

Every scene is photographed as large as the screen; the whole set is four runs. The scenes show the bundled CT-like
sample. What SAM does not get right is painted from the sample's reference. PNGs have a palette, so that the set stays
small.
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
_FOLDERS = {
    ((1280, 800), "dark"): "",
    ((1280, 800), "light"): "1280x800-light",
    ((1920, 1080), "dark"): "1920x1080-dark",
    ((1920, 1080), "light"): "1920x1080-light",
}
_COLORS, _FLAT = 256, 64


class Camera:
    """Photographs the screen, with the larger views in the middle."""

    def __init__(self, hands: Any, out: Path, size: tuple[int, int]) -> None:
        self.hands, self.out, self.size = hands, out, size
        self.began = time.monotonic()
        out.mkdir(parents=True, exist_ok=True)

    def shoot(self, name: str) -> None:
        """Photograph what there is."""
        from napari_samadapt.ui.tool_window import ToolWindow

        for view in self.hands.window.findChildren(ToolWindow):
            view.move((self.size[0] - view.width()) // 2, (self.size[1] - view.height()) // 2)
        self.hands.wait(0.5)
        self._save(self.out / f"{name}.png", self.size)
        sys.stdout.write(f"{time.monotonic() - self.began:6.1f} s  {name}\n")
        sys.stdout.flush()

    def _save(self, path: Path, size: tuple[int, int]) -> None:
        from PIL import Image
        from qtpy.QtGui import QImage
        from qtpy.QtWidgets import QApplication

        shot = QApplication.primaryScreen().grabWindow(0, 0, 0, *size).toImage()
        shot = shot.convertToFormat(QImage.Format.Format_RGB888)
        pixels = Image.frombytes(
            "RGB", (shot.width(), shot.height()), bytes(shot.constBits()), "raw", "RGB", shot.bytesPerLine()
        )
        # The colours of buttons and grounds as they are; those of the slices and of the edges of letters nearly so.
        flat = sorted(pixels.getcolors(shot.width() * shot.height()), reverse=True)[:_FLAT]
        rest = pixels.quantize(_COLORS - _FLAT, Image.Quantize.MAXCOVERAGE).getpalette()
        palette = Image.new("P", (1, 1))
        palette.putpalette([part for _count, color in flat for part in color] + rest)
        pixels.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


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
    hands.wait(2.0)
    hands.wait_until(lambda: not session.refreshing)
    camera.shoot("14-coronal")
    dock.open_path(folder / "missing.nii.gz")
    hands.wait(1.0)
    camera.shoot("15-error")
    hands.close_notifications()
    dock.files.export(session, MaskTarget(folder / "masks.nii.gz"))
    hands.wait(2.0)
    camera.shoot("16-exported")
    dock.files.unsaved = False


def screen_size() -> tuple[int, int]:
    """The size of the screen, one of those that there is a set for."""
    from qtpy.QtWidgets import QApplication

    application = QApplication.instance() or QApplication([])
    size = application.primaryScreen().size()
    found = (size.width(), size.height())
    if found not in {size for size, _theme in _FOLDERS}:
        raise SystemExit(f"A screen of {found[0]} x {found[1]} has no set: use 1280 x 800 or 1920 x 1080.")
    return found


def main() -> None:
    """Read the command line and make the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("screenshots"))
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--seconds", type=float, default=30.0, help="length of an episode of learning")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        from own_settings import own_settings

        os.environ.update(own_settings(Path(folder)))
        from window_hands import Hands

        size = screen_size()
        hands = Hands(size, given.theme)
        try:
            tell_the_story(
                hands,
                Camera(hands, given.out / _FOLDERS[size, given.theme], size),
                Path(folder),
                given.seconds,
            )
        finally:
            hands.close()


if __name__ == "__main__":
    main()
