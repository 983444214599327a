"""Which system libraries of a Linux machine the window needs and does not find.

Uses the standard library only, and runs as a script before anything is installed
(`python3 napari_samadapt/system_libraries.py`): it prints the missing Debian packages on one line.
"""

import ctypes
import sys

PACKAGE_OF_LIBRARY: dict[str, str] = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libOpenGL.so.0": "libopengl0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
}
"""What PySide6's xcb platform plug-in and vispy load, and the Debian or Ubuntu package that holds each."""


def missing_packages() -> tuple[str, ...]:
    """The Debian packages whose library does not load here, sorted; empty where Qt brings its own libraries.

    Only Linux takes these from the system.
    """
    if not sys.platform.startswith("linux"):
        return ()
    return tuple(sorted(package for library, package in PACKAGE_OF_LIBRARY.items() if not _loads(library)))


def install_line(packages: tuple[str, ...]) -> str:
    """The exact command that installs `packages` on Debian or Ubuntu."""
    return "sudo apt-get update && sudo apt-get install --yes " + " ".join(packages)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.stdout.write(" ".join(missing_packages()) + "\n")
