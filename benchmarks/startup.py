"""How long a user waits: for the plugin menu's contributions, and for the dock after choosing it.

    xvfb-run python benchmarks/startup.py [--repeat N]

Each figure is of a fresh process. "cold" reads napari's and our compiled files for the first time in a process; the
dock is timed from the choice in the menu to the end of its first painting, with napari's window open already. Prints
JSON, times in seconds, and names what is imported by then; exits with 1 where the menu imports torch or SimpleITK, or
the dock takes longer than 1 s (2 s where its settings and caches are empty).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from own_settings import own_settings

HEAVY = ("torch", "SimpleITK", "segment_anything")
_MENU = f"""
import json, sys, time
began = time.perf_counter()
import napari_samadapt.ui.contributions
print(json.dumps({{"seconds": time.perf_counter() - began, "heavy": [n for n in {HEAVY} if n in sys.modules]}}))
"""
_DOCK = f"""
import json, sys, time
import napari
from qtpy.QtCore import QEventLoop
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer(show=True)
for _ in range(50):
    QApplication.processEvents()
from napari_samadapt.ui.launch import WIDGET
cpu, began = time.thread_time(), time.perf_counter()
_, dock = viewer.window.add_plugin_dock_widget("napari-samadapt", WIDGET)
made, cpu = time.perf_counter() - began, time.thread_time() - cpu
heavy = [n for n in {HEAVY} if n in sys.modules]
while not dock.isVisible() or dock.visibleRegion().isEmpty():
    QApplication.processEvents()
dock.repaint()
seen = time.perf_counter() - began
print(json.dumps({{"seconds": seen, "made": made, "cpu": cpu, "heavy": heavy}}))
sys.stdout.flush()
dock.shut_down()
viewer.close()
"""


def run(code: str, settings: Path) -> dict[str, Any]:
    """What a fresh process prints; its settings and caches lie in a folder of its own."""
    own = {**os.environ, **own_settings(settings)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=own)
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def main() -> int:
    """Measure and print; 1 where something takes too long."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder)
        first = run(_DOCK, settings)
        docks = [run(_DOCK, settings) for _ in range(given.repeat)]
        menus = [run(_MENU, settings) for _ in range(given.repeat)]
    menu, dock = (statistics.median(one["seconds"] for one in runs) for runs in (menus, docks))
    report = {
        "menu_s": round(menu, 3),
        "menu_imports": sorted({name for one in menus for name in one["heavy"]}),
        "dock_first_s": round(first["seconds"], 2),
        "dock_s": round(dock, 2),
        "dock_made_s": round(statistics.median(one["made"] for one in docks), 2),
        "dock_computing_s": round(statistics.median(one["cpu"] for one in docks), 2),
        "dock_imports_before_it_is_made": sorted({name for one in docks for name in one["heavy"]}),
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return int(bool(report["menu_imports"]) or first["seconds"] > 2 or dock > 1)


if __name__ == "__main__":
    sys.exit(main())
