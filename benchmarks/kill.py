"""Killed at any time, what is lost: a scripted session in the real window, SIGKILL, and its journal against a log.

    xvfb-run python benchmarks/kill.py [--runs 100] [--closings 10] [--seed 0]

Each run opens napari with the dock on a small volume and does what a user does, an act every 80 ms or so: strokes,
boxes answered by SAM, accept, reject, undo, redo, classes, imports, while the model learns. Before an act goes to the
journal the driver writes a digest of what the session holds to a log of its own; SIGKILL comes at a random time. What
the journal gives back must be what the log says after the last act, or after the one before. With --closings the
window is closed instead, while an episode runs: exit code 0 within two seconds is asked for. Prints JSON.

A run that is killed is a fork of this process, which has only imported what it needs; a run that is closed is a process
of its own. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari
import nibabel
import numpy as np
from napari.settings import get_settings
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QMessageBox

import napari_samadapt.session.session  # noqa: F401  # here, so that no run has to wait for torch
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.session.journal_files import recover
from napari_samadapt.session.work import Act
from napari_samadapt.ui.dock import Dock
from napari_samadapt.ui.launch import open_window

_SHAPE = (10, 48, 56)
_ACTS_MS = (20, 140)
_READY_SECONDS = 120.0
_ALLOWED_SECONDS = 2.0


def digest(
    annotation: Any, accepted: Any, edited: Any, classes: Any, prompts: dict[SliceKey, Prompts], steps: Any
) -> str:
    """What a user would miss, in one word."""
    said = hashlib.sha256(np.ascontiguousarray(annotation).tobytes())
    said.update(repr((sorted(accepted), sorted(edited), classes, steps)).encode())
    for key in sorted(prompts):
        shown = prompts[key]
        said.update(repr((key, shown.point_coords.tolist(), shown.point_labels.tolist())).encode())
        said.update(repr(None if shown.box is None else shown.box.tolist()).encode())
    return said.hexdigest()[:16]


def session_digest(session: Any) -> str:
    """Of the session in the window, by what it shows."""
    return digest(
        session.annotation,
        session.accepted,
        session.edited,
        [(shown.id, shown.name, shown.locked) for shown in session.classes],
        session.prompts,
        (session.can_undo, session.can_redo),
    )


def journal_digest(path: Path) -> str:
    """Of what a journal gives back."""
    work = recover(path).work
    marks, (done, undone) = work.pages.marks, (work.pages.done, work.pages.undone)
    return digest(
        work.pages.annotation,
        [key for key, mark in marks.items() if mark.accepted],
        [key for key, mark in marks.items() if not mark.accepted],
        [(shown.id, shown.name, shown.locked) for shown in work.settings.classes.shown],
        dict(work.settings.prompts),
        (done[-1].label if done else None, undone[-1].label if undone else None),
    )


class User:
    """Does a random act at each turn; `number` counts them, answers of SAM included."""

    def __init__(self, viewer: Any, dock: Dock, seed: int) -> None:
        self._viewer, self._dock = viewer, dock
        self._random = random.Random(seed)
        self.number = 0
        dock.session.drafted.connect(self._count)  # type: ignore[union-attr]  # it is open
        self._acts: list[Callable[[], object]] = [
            *[self._stroke] * 6, *[self._box] * 3, *[self._accept] * 2, *[self._undo] * 3, *[self._redo] * 2,
            self._turn_page, self._turn_page, self._reject, self._add, self._rename, self._lock, self._select,
            self._remove, self._import, self._keep,
        ]  # fmt: skip

    def act(self) -> None:
        """One of them."""
        self._count()
        self._random.choice(self._acts)()

    def _count(self, _draft: object = None) -> None:
        self.number += 1

    @property
    def _session(self) -> Any:
        return self._dock.session

    @property
    def _key(self) -> SliceKey:
        assert self._dock.tools is not None
        return self._dock.tools.slice_on_screen()

    def _class(self) -> int:
        return int(self._random.choice(self._session.classes).id)

    def _stroke(self) -> None:
        assert self._dock.layers is not None
        assert self._dock.tools is not None
        layer, key = self._dock.layers.annotation, self._key
        self._dock.tools.stroke_begins.emit()
        layer.brush_size = self._random.randint(3, 15)
        place = [self._random.randrange(size) for size in _SHAPE]
        place[key.axis] = key.index
        with layer.block_history():
            for _ in range(3):
                layer.paint(
                    tuple(place), self._random.choice((layer.selected_label, layer.selected_label, 0))
                )
                place = [min(size - 1, part + 2 * (axis != key.axis)) for axis, (part, size) in
                         enumerate(zip(place, _SHAPE, strict=True))]  # fmt: skip

    def _box(self) -> None:
        height, width = take_slice(self._session.annotation, self._key).shape
        x, y = self._random.randrange(width - 12), self._random.randrange(height - 12)
        box = np.array([x, y, x + self._random.randint(5, 11), y + self._random.randint(5, 11)], np.float32)
        locked = {shown.id for shown in self._session.classes if shown.locked}
        if self._session.active_class not in locked:
            self._session.set_prompts(self._key, Prompts(box=box))

    def _accept(self) -> None:
        self._session.accept(self._key)

    def _reject(self) -> None:
        self._session.reject(self._key)

    def _undo(self) -> None:
        self._session.undo()

    def _redo(self) -> None:
        self._session.redo()

    def _keep(self) -> None:
        self._session.keep_draft(self._key)

    def _turn_page(self) -> None:
        axis = self._session.axis
        step = self._viewer.dims.range[axis].step
        self._viewer.dims.set_point(axis, self._random.randrange(_SHAPE[axis]) * step)

    def _add(self) -> None:
        self._session.add_class(f"structure no. {self.number}")

    def _rename(self) -> None:
        self._session.rename_class(self._class(), f"renamed {self.number}")

    def _lock(self) -> None:
        self._session.set_locked(self._class(), self._random.random() < 0.3)

    def _select(self) -> None:
        self._session.select_class(self._class())

    def _remove(self) -> None:
        unlocked = [shown.id for shown in self._session.classes if not shown.locked]
        if len(self._session.classes) > 3 and unlocked:
            self._session.remove_class(self._random.choice(unlocked))

    def _import(self) -> None:
        labels = np.zeros(_SHAPE, np.uint16)
        z, y, x = (self._random.randrange(size - 2) for size in _SHAPE)
        labels[z : z + 2, y : y + 9, x : x + 9] = self._class() + self._random.choice((0, 0, 1))
        self._session.import_labels(labels)


def be_the_user(image: Path, log: int, seed: int, *, closing: bool) -> None:
    """In a process of its own, until it is killed or, with `closing`, until the window is closed while it learns."""
    get_settings().application.ipy_interactive = False
    QMessageBox.question = staticmethod(lambda *_args: QMessageBox.StandardButton.Discard)  # type: ignore[assignment]
    viewer = open_window(image)
    window = viewer.window._qt_window
    dock = window.findChild(Dock)
    waiting = time.monotonic()
    timer, user = QTimer(), list[User]()

    def write(**said: object) -> None:
        os.write(log, (json.dumps(said) + "\n").encode())

    def begin() -> None:
        session, journal = dock.session, dock.cases.journal
        assert session is not None
        assert journal is not None
        seconds = 60.0 if closing else 2.0
        session.set_policy(replace(session.policy, seconds=seconds))
        user.append(User(viewer, dock, seed))

        def record(act: Act) -> None:
            write(act=user[0].number, digest=session_digest(session))
            journal(act)

        session.record_to(record)
        write(path=str(journal.path))
        if closing:
            session.progress.connect(lambda _progress: QTimer.singleShot(300, close))

    def close() -> None:
        if timer.isActive():
            timer.stop()
            write(closing=time.monotonic())
            window.close()
            write(closed=time.monotonic())

    def turn() -> None:
        if time.monotonic() - waiting > _READY_SECONDS:
            os._exit(9)
        if not user:
            if dock.session is not None and dock.cases.journal is not None:
                begin()
            return
        user[0].act()
        timer.setInterval(random.Random(seed + user[0].number).randint(*_ACTS_MS))

    timer.timeout.connect(turn)
    timer.start(20)
    napari.run()
    write(ended=time.monotonic())


def kill_once(image: Path, folder: Path, seed: int) -> dict[str, Any]:
    """One fork, killed at a random time after it began; what came of it."""
    os.environ["SAMADAPT_STATE_DIR"] = str(folder)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            be_the_user(image, writing, seed, closing=False)
        finally:
            sys.stderr.flush()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as log:
        lines = [json.loads(log.readline() or "{}")]
        if "path" in lines[0]:
            time.sleep(random.Random(seed).uniform(0.05, 6.0))
            os.kill(child, signal.SIGKILL)
        lines += [json.loads(line) for line in log]
    os.waitpid(child, 0)
    return _told(compare(lines))


def close_once(image: Path, folder: Path, seed: int) -> dict[str, Any]:
    """One process of its own, as a user starts it: a fork would end later, for it copies what it releases."""
    reading, writing = os.pipe()
    own = {**os.environ, "SAMADAPT_STATE_DIR": str(folder)}
    command = [sys.executable, __file__, "--seed", str(seed), "--close", str(image), "--log", str(writing)]
    child = subprocess.Popen(command, env=own, pass_fds=[writing])
    os.close(writing)
    times: dict[str, float] = {}
    with os.fdopen(reading) as log:
        for line in log:
            times |= json.loads(line)
    code = child.wait()
    done = time.monotonic()
    began = times.get("closing", float("-inf"))
    return _told({"code": code, "seconds": done - began, "window": times.get("ended", float("inf")) - began})


def _told(result: dict[str, Any]) -> dict[str, Any]:
    """While it goes on, one line for each run."""
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


def compare(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether the journal gives back what the log says after its last act, or after the one before."""
    if "path" not in lines[0]:
        return {"lost": None, "acts": 0, "why": "it never began"}
    states = [(line["act"], line["digest"]) for line in lines if "digest" in line]
    path = Path(lines[0]["path"])
    if not path.exists():
        return {"lost": len({number for number, _ in states}), "acts": len(states)}
    found = journal_digest(path)
    numbers = sorted({number for number, _ in states})
    later = [number for number, said in states if said == found]
    lost = len([number for number in numbers if number > max(later)]) if later else None
    return {"lost": lost, "acts": len(numbers)}


def make_image(folder: Path) -> Path:
    """A few bright blobs in the noise."""
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[tuple(slice(0, size) for size in _SHAPE)]
    data = rng.normal(40, 8, _SHAPE)
    for centre, radius in (((5, 16, 16), 9), ((4, 30, 38), 11), ((6, 12, 44), 6)):
        distance = np.hypot(np.hypot(y - centre[1], x - centre[2]), 2 * (z - centre[0]))
        data[distance < radius] += 120
    path = folder / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(data.astype(np.int16).T, np.diag([-1.0, -1.0, 2.0, 1.0])), path)  # type: ignore[no-untyped-call]
    return path


def main() -> None:
    """Run, and print what was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--closings", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--close", type=Path, help=argparse.SUPPRESS)  # what close_once starts
    parser.add_argument("--log", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.close:
        be_the_user(asked.close, asked.log, asked.seed, closing=True)
        return
    folder = Path(tempfile.mkdtemp())  # no context: a fork that ends by itself would delete it
    image = make_image(folder)
    kills = [kill_once(image, folder / f"{n}", asked.seed + n) for n in range(asked.runs)]
    ends = [close_once(image, folder / f"c{n}", asked.seed + n) for n in range(asked.closings)]
    shutil.rmtree(folder)
    worst = [one["lost"] for one in kills]
    summary = {
        "kills": len(kills),
        "acts": sum(one["acts"] for one in kills),
        "nothing lost": worst.count(0),
        "last act lost": worst.count(1),
        "more lost": [one for one in kills if one["lost"] is None or one["lost"] > 1],
        "closings": len(ends),
        "exit code 0": sum(one["code"] == 0 for one in ends),
        "longest seconds until the window was gone": round(
            max((one["window"] for one in ends), default=0.0), 2
        ),
        "longest seconds until the process ended": round(
            max((one["seconds"] for one in ends), default=0.0), 2
        ),
        "within two seconds": sum(one["seconds"] <= _ALLOWED_SECONDS for one in ends),
    }
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
