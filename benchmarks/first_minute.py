"""The first five minutes of a new user, by mouse and keys alone: a kidney in one, the model visibly learning in five.

    xvfb-run -s "-screen 0 1280x800x24" python benchmarks/first_minute.py [--minutes M]

Starts where the window stands open and empty, without settings from before. The user skips the tour, opens the sample,
clicks the left kidney, corrects it with at most a few clicks, and accepts; then goes to a slice that shows it, far from
those accepted, corrects by clicks and accepts, until the time is up. Nothing of ours is called: what the user knows of
anatomy is the sample's reference, what is seen is the mask layers. A second of thought is spent before each act.

Prints JSON: seconds, clicks, keys and Dice of the first accepted kidney on its slice, then for each accepted slice the
seconds, the clicks it took and Dice of what was predicted there before; and Dice of the kidney over the slices that
the user never accepted, at the end. Prompts are rehearsed on the bundled sample while the model learns, so another one
takes its place: made alike, with another seed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from own_settings import own_settings

CLASS, REFERENCE = 1, 4
"""The first class of a new session, and the left kidney in the sample's reference."""
SEED = 2
"""Of the sample; the bundled one has 1."""
THINKING_SECONDS = 1.0
GOOD, MOST_CLICKS = 0.95, 8
"""A slice is accepted when it is this good, or after so many clicks."""


@dataclass
class FirstUser:
    """A user at the window who knows the kidney when seeing it."""

    hands: Any
    truth: NDArray[np.bool_]
    began: float

    def think(self) -> None:
        self.hands.wait(THINKING_SECONDS)

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 1)

    def here(self) -> Any:
        """The slice on screen."""
        return self.hands.dock.tools.slice_on_screen()

    def seen(self) -> NDArray[np.bool_]:
        """The kidney as both mask layers show it, (z, y, x)."""
        layers = self.hands.dock.layers
        return np.asarray((layers.annotation.data == CLASS) | (layers.prediction.data == CLASS))

    def next_slice(self, touched: set[int], axis: int) -> int | None:
        """The slice that shows the kidney and lies farthest from those accepted; None where all are."""
        others = tuple(other for other in range(3) if other != axis)
        left = [int(index) for index in np.flatnonzero(self.truth.any(others)) if index not in touched]
        return max(left, key=lambda index: min(abs(index - done) for done in touched), default=None)

    def dice_here(self) -> float:
        """Dice of what is seen on the slice on screen."""
        from napari_samadapt.imaging.metrics import dice
        from napari_samadapt.imaging.volume import take_slice

        return dice(take_slice(self.seen(), self.here()), take_slice(self.truth, self.here()))

    def correct_by_clicks(self) -> int:
        """Click where the mask is most wrong until it is good; returns the clicks."""
        from qtpy.QtCore import Qt

        from napari_samadapt.imaging.prompts import click_in_error
        from napari_samadapt.imaging.volume import take_slice

        hands, clicks, positive = self.hands, 0, True
        while clicks < MOST_CLICKS and not self.dice_here() >= GOOD:
            mask, truth = take_slice(self.seen(), self.here()), take_slice(self.truth, self.here())
            (x, y), inside = click_in_error(mask, truth, None)
            self.think()
            if bool(inside) != positive:
                hands.key(Qt.Key.Key_T)
                positive = bool(inside)
            hands.click(self.here(), (float(x), float(y)))
            clicks += 1
            settle(hands)
        if not positive:
            hands.key(Qt.Key.Key_T)
        return clicks


def settle(hands: Any) -> None:
    """A user sees the mask come, and waits until it stands still."""
    layer, last, quiet = hands.dock.layers.annotation, -1, 0
    for _ in range(100):
        hands.wait(0.1)
        now = int(np.count_nonzero(layer.data))
        quiet = quiet + 1 if now == last else 0
        last = now
        if quiet >= 5:
            return


def untouched_dice(user: FirstUser, touched: set[int], axis: int) -> float | None:
    """Dice of the kidney over all slices that the user did not accept; None where it is on none of them."""
    from napari_samadapt.imaging.metrics import dice

    others = [index for index in range(user.truth.shape[axis]) if index not in touched]
    if not user.truth.take(others, axis).any():
        return None
    return round(dice(user.seen().take(others, axis), user.truth.take(others, axis)), 3)


def replace_sample(folder: Path) -> NDArray[np.bool_]:
    """Let the window open another sample; the kidney (z, y, x) in it."""
    import nibabel as nib

    from napari_samadapt.imaging.phantom import ct_phantom
    from napari_samadapt.ui import dock

    volume, labels, _ = ct_phantom(SEED)
    path = folder / "sample_ct.nii.gz"
    nifti: Any = nib  # has no types
    nifti.save(nifti.Nifti1Image(volume.data.transpose(2, 1, 0), volume.affine), path)
    dock.sample_path = lambda name: path  # type: ignore[attr-defined]
    return np.asarray(labels == REFERENCE)


def use(minutes: float, kidney: NDArray[np.bool_]) -> dict[str, Any]:
    """The story, and its figures."""
    from qtpy.QtCore import Qt
    from window_hands import Hands

    hands = Hands((1280, 800))
    user = FirstUser(hands, kidney, time.monotonic())
    report: dict[str, Any] = {"slices": []}
    try:
        user.think()
        hands.press("Try the sample")
        hands.wait_until(lambda: hands.dock.layers is not None, 60)
        hands.wait(0.5)
        user.think()
        hands.press("Skip the tour")
        user.think()
        hands.key(Qt.Key.Key_P)
        clicks = user.correct_by_clicks()
        axis = user.here().axis
        touched = {user.here().index}
        first = {
            "seconds": user.seconds,
            "clicks": hands.clicks,
            "keys": hands.keys,
            "dice": round(user.dice_here(), 3),
        }
        report["first_mask"] = first
        user.think()
        hands.key(Qt.Key.Key_A)
        report["slices"].append({"slice": user.here().index, "seconds": user.seconds, "clicks": clicks})
        while user.seconds < 60 * minutes and (index := user.next_slice(touched, axis)) is not None:
            user.think()
            hands.strip(index)
            hands.wait(3.0)  # a look at what is predicted
            row = {"slice": index, "dice_before": round(user.dice_here(), 3)}
            row["clicks"] = user.correct_by_clicks()
            row["dice"] = round(user.dice_here(), 3)
            user.think()
            touched.add(index)
            hands.key(Qt.Key.Key_A)
            report["slices"].append({**row, "seconds": user.seconds})
        report["clicks"], report["keys"], report["seconds"] = hands.clicks, hands.keys, user.seconds
        report["untouched_dice"] = untouched_dice(user, touched, axis)
        report["untouched_slices"] = user.truth.shape[axis] - len(touched)
    finally:
        hands.close()
    return report


def main() -> int:
    """Measure and print; 1 where the first mask took longer than a minute or is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(own_settings(Path(folder)))
        report = use(given.minutes, replace_sample(Path(folder)))
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return int(report["first_mask"]["seconds"] > 60 or report["first_mask"]["dice"] < 0.9)


if __name__ == "__main__":
    sys.exit(main())
