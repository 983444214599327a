"""The commands with a window, and what they say or do instead where there is none."""

import importlib.util
import os
import sys
from importlib import resources
from pathlib import Path

from napari_samadapt.console import note
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.system_libraries import install_line, missing_packages

BINDINGS = ("PySide6", "PyQt6", "PyQt5")


def has_display() -> bool:
    """Whether a window can be shown: always on macOS and Windows, with X or Wayland elsewhere."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_gui(path: Path | None) -> None:
    """Open napari with the dock, on `path` if it is given; returns when the window is closed.

    Raises SamAdaptError for a file that cannot be read, and where no window can open.
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

    run_window(path)


def run_demo(*, headless: bool, out: Path, seconds: float) -> None:
    """The bundled sample volume in a window; off screen on demand, and where there is no display."""
    with resources.as_file(resources.files("napari_samadapt.resources") / "sample_ct.nii.gz") as sample:
        if headless or not has_display():
            from napari_samadapt.session.demonstration import demonstrate

            demonstrate(sample, out, seconds)
        else:
            open_gui(sample)
