"""What this machine offers to the program, and what to do about each part that is missing or broken.

Parts that can take the whole process down with them (a Qt without its libraries aborts) are tried in a child
process.
"""

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from napari_samadapt import __version__
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.system_libraries import install_line, missing_packages
from napari_samadapt.window import BINDINGS, has_display

_OPENGL_SECONDS = 60
_MARKS = {True: "[green]ok[/]", False: "[yellow]![/]", None: "-"}
_NOT_LOADED = (ImportError, OSError, RuntimeError, AttributeError)
"""What a broken installation of a compiled package raises on import."""


@dataclass(frozen=True)
class Finding:
    """One part: its name, what was found, whether that is good (None: neither), and what to do about it."""

    part: str
    found: str
    good: bool | None = True
    advice: str = ""


def findings() -> Iterator[Finding]:
    """Every part, one after the other; never raises for a part that is missing."""
    yield Finding("napari-samadapt", __version__)
    yield _python()
    yield Finding("Platform", f"{platform.platform()}, {os.cpu_count()} processors")
    yield from _torch()
    yield _torchvision()
    yield from _weights()
    yield _package("napari")
    yield from _window()


def print_findings() -> None:
    """Print every finding as a table, and below it what to do about those that are not good."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    advice: list[str] = []
    for finding in findings():
        table.add_row(finding.part, _MARKS[finding.good], Text(finding.found))
        if finding.advice:
            advice.append(f"{finding.part}: {finding.advice}")
    console = Console(soft_wrap=True)
    console.print(table)
    if advice:
        console.print("\n[bold]What to do[/]")
    for line in advice:
        console.print(line, markup=False, highlight=False)


def _python() -> Finding:
    found = f"{platform.python_version()} ({sys.executable})"
    return Finding("Python", found)


def _package(name: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "not installed", False, f"pip install {name}")


def _torch() -> Iterator[Finding]:
    """torch's version and the device that is used."""
    try:
        import torch
    except _NOT_LOADED as error:
        yield Finding("torch", f"does not load: {_first_line(error)}", False, 'pip install "torch>=2.10"')
        return
    safe = tuple(int(number) for number in torch.__version__.split(".")[:2]) >= (2, 10)
    advice = "" if safe else 'Weights files can run code in this version: pip install "torch>=2.10"'
    yield Finding("torch", torch.__version__, safe, advice)
    if torch.cuda.is_available():
        gigabytes = torch.cuda.get_device_properties(0).total_memory / 2**30
        device = f"cuda: {torch.cuda.get_device_name(0)}, {gigabytes:.0f} GiB"
    elif torch.backends.mps.is_available():
        device = "mps: Apple GPU"
    else:
        device = f"cpu: {torch.get_num_threads()} threads"
    yield Finding("Device", device)


def _torchvision() -> Finding:
    """Whether torchvision's compiled operators load; segment-anything imports it and needs none of them."""
    version = _package("torchvision")
    if not version.good:
        return version
    try:
        from napari_samadapt.learning.segment_anything_modules import DECLARED
    except _NOT_LOADED as error:
        found = f"{version.found}; segment_anything does not load: {_first_line(error)}"
        return Finding("torchvision", found, False, "pip install segment-anything torchvision")
    if DECLARED:
        found = f"{version.found}; its compiled operators do not match this torch, which SAM does not need"
        advice = "Nothing to do here. Other programs may want the torchvision that was built for this torch."
        return Finding("torchvision", found, None, advice)
    return Finding("torchvision", f"{version.found}; its compiled operators load")


def _weights() -> Iterator[Finding]:
    """Which SAM weights are on this machine."""
    try:
        from napari_samadapt.learning.checkpoints import CHECKPOINTS, checkpoint_path
        from napari_samadapt.learning.sam import load_sam
    except _NOT_LOADED as error:
        yield Finding("Weights", f"cannot be looked for: {_first_line(error)}", False, "Mend torch first.")
        return
    try:
        load_sam("mini")
        yield Finding("Weights of mini", "bundled")
    except (SamAdaptError, *_NOT_LOADED) as error:
        yield Finding("Weights of mini", _first_line(error), False, "Install napari-samadapt again.")
    for name, checkpoint in CHECKPOINTS.items():
        path = checkpoint_path(name)
        size = f"{checkpoint.size / 1e6:.0f} MB"
        there = path.is_file()
        found = (
            str(path) if there else f"not downloaded ({size}); --model {name} fetches them to {path.parent}"
        )
        yield Finding(f"Weights of {name}", found, True if there else None)


def _window() -> Iterator[Finding]:
    """System libraries, the Qt binding, and OpenGL."""
    missing = missing_packages()
    if missing:
        yield Finding(
            "System libraries", f"{len(missing)} missing", False, f"Install them: {install_line(missing)}"
        )
    elif sys.platform.startswith("linux"):
        yield Finding("System libraries", "all there")
    bindings = [name for name in BINDINGS if importlib.util.find_spec(name)]
    if not bindings:
        advice = 'Only the window needs one: pip install "napari-samadapt[all]"'
        yield Finding("Qt binding", "none", False, advice)
        return
    yield Finding("Qt binding", f"{bindings[0]} {importlib.metadata.version(bindings[0])}")
    yield _display()
    yield _opengl() if has_display() else Finding("OpenGL", "not tried without a display", None)


def _display() -> Finding:
    if has_display():
        return Finding("Display", os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or "native")
    advice = (
        "Commands and `napari-samadapt demo --headless` work without one; a virtual one: xvfb-run COMMAND"
    )
    return Finding("Display", "none", None, advice)


def _opengl() -> Finding:
    """Ask a child process: a Qt that misses a library aborts its process."""
    try:
        child = subprocess.run(
            [sys.executable, "-m", "napari_samadapt.ui.opengl"],
            capture_output=True,
            text=True,
            timeout=_OPENGL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding("OpenGL", f"no answer within {_OPENGL_SECONDS} s", False, _OPENGL_ADVICE)
    if child.returncode == 0:
        return Finding("OpenGL", child.stdout.strip())
    reason = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    return Finding("OpenGL", f"does not work: {reason}", False, _OPENGL_ADVICE)


_OPENGL_ADVICE = (
    "napari draws with OpenGL 2.1 or newer. Install a graphics driver, or Mesa's software one: "
    "sudo apt-get update && sudo apt-get install --yes libgl1-mesa-dri libegl1"
)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
