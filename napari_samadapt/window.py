"""The commands with a window, and what they say or do instead where there is none."""

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from napari_samadapt.console import note, progress_bars, tell
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.system_libraries import install_line, missing_packages

BINDINGS = ("PySide6", "PyQt6", "PyQt5")


def has_display() -> bool:
    """Whether a window can be shown: always on macOS and Windows, with X or Wayland elsewhere."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_gui(path: Path | None, choices: Mapping[str, str] | None = None) -> None:
    """Open napari with the dock, on `path` if it is given; returns when the window is closed.

    `choices` holds answers to what the file leaves open. Raises SamAdaptError for a file that cannot be read, and
    where no window can open.
    """
    if path is not None and not path.expanduser().exists():
        raise SamAdaptError(
            f"There is no file or command {path}. Check the path; napari-samadapt --help lists the commands."
        )
    if not has_display():
        raise SamAdaptError(
            "There is no display to open a window on. Run it on a desktop or under xvfb-run, "
            "or see it off screen: napari-samadapt demo --headless."
        )
    if not any(importlib.util.find_spec(binding) for binding in BINDINGS):
        raise SamAdaptError('napari has no Qt binding here: pip install "napari-samadapt[all]".')
    if missing := missing_packages():
        note(f"If the window does not open, install its system libraries: {install_line(missing)}")

    from napari_samadapt.ui.launch import run_window

    run_window(path, choices)


def run_demo(*, headless: bool, out: Path, seconds: float) -> None:
    """The bundled sample volume in a window; off screen on demand, and where there is no display."""
    with resources.as_file(resources.files("napari_samadapt.resources")) as folder:
        if headless or not has_display():
            _demonstrate(folder, out, seconds)
        else:
            open_gui(folder / "sample_ct.nii.gz")


def _demonstrate(samples: Path, out: Path, seconds: float) -> None:
    """The whole loop off screen, on the sample CT; prints what came out."""
    from napari_samadapt.arguments import ModelChoice
    from napari_samadapt.imaging.reading import read_labels, read_volume
    from napari_samadapt.inputs import load_model
    from napari_samadapt.session.demonstration import demonstrate

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SamAdaptError(f"The folder {out} cannot be made ({error.strerror}). Choose another.") from error
    volume = read_volume(samples / "sample_ct.nii.gz")
    reference, _ = read_labels(samples / "sample_ct_labels.nii.gz", volume)
    texts = json.loads((samples / "sample_ct_labels.json").read_text(encoding="utf-8"))["labels"]
    names = {int(class_id): name for class_id, name in texts.items()}
    tell(
        "A simulated annotator prompts, corrects and accepts 5 slices of the sample volume; then SAM adapts."
    )
    with progress_bars() as bars:
        done = demonstrate(
            volume,
            reference,
            names,
            load_model(ModelChoice("mini")),
            out.resolve(),
            seconds,
            lambda progress: bars.show("Learning", progress.fraction, 1),
        )
    slices = ", ".join(str(key.index) for key in done.annotated)
    effort = done.effort
    tell(f"Annotated {volume.axis_name(done.annotated[0].axis)} slices: {slices}")
    tell(f"Effort: {effort.boxes} boxes, {effort.clicks} clicks, {effort.painted_pixels} painted pixels")
    tell(f"Learnt in {done.steps} steps. Mean Dice of {len(names)} structures on the other slices:")
    tell(f"Dice before adaptation, no prompt: {done.dice_before:.3f}")
    tell(f"Dice before adaptation, {done.boxes} boxes: {done.boxed_dice:.3f}")
    tell(f"Dice after adaptation, no prompt: {done.dice_after:.3f}")
    tell(f"Adapter: {done.adapter}")
    tell(f"Mask: {done.mask}")
