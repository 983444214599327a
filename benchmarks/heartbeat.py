"""How long the window stands still while the model learns: the gaps between beats of a 10 ms timer.

    xvfb-run python benchmarks/heartbeat.py [--image IMAGE --labels LABELS] [--slices N] [--seconds S]

Opens the real window with the dock, accepts slices as they are in LABELS, lets an episode run while it clicks,
paints and changes slices, and prints JSON: the longest gap, the 99th percentile and the number of beats of each
phase, in milliseconds. Without IMAGE the bundled CT-like sample is used.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import napari
import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication

from napari_samadapt.imaging.prompts import Prompts, click_in_error
from napari_samadapt.imaging.reading import read_labels
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.ui.contributions import sample_path
from napari_samadapt.ui.dock import Dock
from napari_samadapt.ui.launch import WIDGET

_BEAT_MS = 10
_WAIT_SECONDS = 600.0


@dataclass
class Beats:
    """Times between beats of the main thread, in ms, by phase."""

    phase: str = "start"
    gaps: dict[str, list[float]] = field(default_factory=dict)
    last: float = 0.0

    def beat(self) -> None:
        """Called by the timer."""
        now = time.perf_counter()
        if self.last:
            self.gaps.setdefault(self.phase, []).append((now - self.last) * 1000)
        self.last = now

    def summary(self) -> dict[str, dict[str, float]]:
        """Longest gap, 99th percentile, share over 100 ms and number of beats of each phase."""
        return {
            phase: {
                "max_ms": round(max(gaps), 1),
                "p99_ms": round(float(np.percentile(gaps, 99)), 1),
                "over_100_ms": sum(gap > 100 for gap in gaps),
                "beats": len(gaps),
            }
            for phase, gaps in self.gaps.items()
        }


def wait_until(condition: Callable[[], bool], seconds: float = _WAIT_SECONDS) -> None:
    """Let the event loop run until `condition()`; TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    application = QApplication.instance()
    assert application is not None
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the window did not get there in time")
        application.processEvents()
        time.sleep(0.001)


def open_window(image: Path) -> tuple[napari.Viewer, Dock]:
    """The window, with the session running on `image`."""
    viewer = napari.Viewer(show=False)
    _, dock = viewer.window.add_plugin_dock_widget("napari-samadapt", WIDGET)
    viewer.show()
    dock.open_path(image)
    wait_until(lambda: dock.session is not None)
    return viewer, dock


def accept_slices(dock: Dock, labels: NDArray[np.integer], keys: list[SliceKey]) -> None:
    """Lay the reference over each slice as a user's paint, and accept it; learning waits."""
    session = dock.session
    assert session is not None
    policy = session.policy
    session.set_policy(replace(policy, enabled=False))
    for key in keys:
        before = take_slice(session.annotation, key).copy()
        values = take_slice(labels, key).astype(np.uint16)
        changed = np.nonzero(before != values)
        place = [np.full(changed[0].shape, key.index)] * 3
        row, column = (axis for axis in range(3) if axis != key.axis)
        place[row], place[column] = changed
        take_slice(session.annotation, key)[...] = values
        session.record_edit((place[0], place[1], place[2]), before[changed], values[changed])
        session.accept(key)
        wait_until(lambda: True)
    session.set_policy(policy)


def _look_on(seconds: float, stop: Callable[[], bool]) -> None:
    """Do nothing for a while, as a user between two acts."""
    end = time.monotonic() + seconds
    wait_until(lambda: stop() or time.monotonic() > end)


def work_on(dock: Dock, labels: NDArray[np.integer], stop: Callable[[], bool]) -> int:
    """Go from slice to slice and click into the structures, as a user does meanwhile; the number of clicks."""
    session = dock.session
    assert session is not None
    rng, clicks = np.random.default_rng(0), 0
    count = labels.shape[session.axis]
    while not stop():
        index = int(rng.integers(count))
        dock.panels.slice.strip.chosen.emit(index)
        key = SliceKey(session.axis, index)
        _look_on(0.3, stop)
        wanted = take_slice(labels, key) > 0
        if wanted.any() and session.slice_state(key) != "accepted":
            (x, y), _ = click_in_error(np.zeros_like(wanted), wanted, rng)
            session.set_prompts(key, Prompts(np.array([[x, y]], np.float32), np.array([1])))
            clicks += 1
        _look_on(0.5, stop)
        if key in session.prompts:
            session.reject(key)
            _look_on(0.2, stop)
    return clicks


def measure(image: Path, labels_path: Path, slices: int, seconds: float) -> dict[str, object]:
    """Run one episode of `seconds` in a real window and measure its heartbeat."""
    viewer, dock = open_window(image)
    session = dock.session
    assert session is not None
    labels, _ = read_labels(labels_path, session.volume)
    beats, timer = Beats(), QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(beats.beat)
    timer.start(_BEAT_MS)
    failures: list[str] = []
    session.failed.connect(failures.append)

    beats.phase = "idle"
    end = time.monotonic() + 3
    wait_until(lambda: time.monotonic() > end)
    beats.phase = "working without learning"
    working = time.monotonic() + 10
    work_on(dock, labels, lambda: time.monotonic() > working)
    beats.phase = "accepting"
    filled = np.flatnonzero(
        np.moveaxis(labels, session.axis, 0).reshape(labels.shape[session.axis], -1).any(1)
    )
    chosen = filled[np.linspace(0, len(filled) - 1, slices + 2).round().astype(int)[1:-1]]
    accept_slices(dock, labels, [SliceKey(session.axis, int(index)) for index in chosen])
    beats.phase = "working while learning"
    session.set_policy(replace(session.policy, seconds=seconds))
    session.start_learning()
    clicks = work_on(dock, labels, lambda: session.learning_state != "training")
    beats.phase = "refreshing"
    shape = labels.shape[session.axis]
    wait_until(
        lambda: (
            bool(failures)
            or sum(session.slice_state(SliceKey(session.axis, index)) != "empty" for index in range(shape))
            >= shape - 3
        ),
        60,
    )
    timer.stop()
    dock.shut_down()
    viewer.close()
    return {"phases": beats.summary(), "clicks_while_learning": clicks, "failures": failures}


def main() -> None:
    """Read the command line, measure, print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--slices", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    image = given.image or sample_path("ct")
    labels = given.labels or image.with_name(image.name.replace(".nii.gz", "_labels.nii.gz"))
    json.dump(measure(image, labels, given.slices, given.seconds), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
