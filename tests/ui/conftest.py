"""A Session without torch and threads, small volumes, and a dock on a viewer model: no window is needed."""

import os
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace

if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import nibabel
import numpy as np
import pytest
from napari.components import ViewerModel
from psygnal import Signal

from napari_samadapt.imaging.intensity import auto_window
from napari_samadapt.imaging.volume import SliceKey, Source, Volume, put_slice, take_slice
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.ui import file_acts, remembered
from napari_samadapt.ui.canvas_tools import CanvasTools
from napari_samadapt.ui.layers import VolumeLayers
from napari_samadapt.ui.python_end import make_constants_immortal

make_constants_immortal()

COLORS = ((0.9, 0.62, 0.0), (0.34, 0.71, 0.91), (0.0, 0.62, 0.45))


@dataclass(frozen=True)
class FakeClass:
    id: int
    name: str
    color: tuple
    locked: bool = False


@dataclass(frozen=True)
class FakePolicy:
    seconds: float | None = 30.0
    enabled: bool = True


def recorded(name):
    """A method that does nothing but remember its call."""

    def act(self, *args):
        self.calls.append((name, *args))

    return act


class FakePast:
    """What each adapter said of slices; `said` is filled by the test: {key: {version: labels}}."""

    def __init__(self):
        self.said = {}

    def versions(self, key):
        return tuple(self.said.get(key, {}))

    def get(self, key, version):
        return self.said[key][version]


class FakeInsight:
    """Nothing was learned yet; `asked` holds the slices whose uncertainty somebody wanted."""

    changed = Signal()
    uncertain = Signal(object)

    def __init__(self):
        self.past = FakePast()
        self.updates = self.accepted = ()
        self.asked = []

    def describe(self, version):
        return "drawn by hand" if version is None else f"adapter {version}"

    def ask_uncertainty(self, key):
        self.asked.append(key)


class FakeSession:
    """A point gives a square of radius 1, a box itself; `calls` holds the names of the acts that nothing simulates."""

    drafted = Signal(object)
    labels_changed = Signal(object)
    predicted = Signal(object)
    progress = Signal(object)
    learning_changed = Signal(str)
    adapter_changed = Signal(int)
    forecasted = Signal()
    forecast = None
    classes_changed = Signal()
    prompts_changed = Signal(object)
    failed = Signal(str)
    window_changed = Signal(object)
    refresh_progress = Signal(int, int)
    previewed = Signal(object)
    propagated = Signal(object)
    propagation_progress = Signal(int, int)
    propagating = False
    unseen = 0
    proposed = frozenset()
    _suggested = None

    def __init__(self, volume, sam=None, *, post=None, **settings):
        self.volume = volume
        self.axis = volume.default_axis
        self.window = auto_window(volume)
        self.annotation = np.zeros(volume.shape, np.uint16)
        self.prediction = np.zeros(volume.shape, np.uint16)
        self.classes = (FakeClass(1, "class 1", COLORS[0]),)
        self.active_class = 1
        self.accepted = self.edited = frozenset()
        self.prompts = {}
        self.policy = FakePolicy()
        self.config = AdapterConfig("conv-lora", decoder="queries", last_blocks=2, prompts=True)
        self.learning_state = "idle"
        self.adapter_version = 0
        self.held_out_dice = None
        self.can_roll_back = False
        self.can_undo = self.can_redo = None
        self.insight = FakeInsight()
        self.calls = []

    def called(self, name):
        return [call[1:] for call in self.calls if call[0] == name]

    def slice_state(self, key):
        if key in self.accepted:
            return "accepted"
        if key in self.edited:
            return "edited"
        return "predicted" if take_slice(self.prediction, key).any() else "empty"

    def made_by(self, key):
        return self.adapter_version if take_slice(self.prediction, key).any() else None

    def displayed_slice(self, key):
        return take_slice(self.annotation, key) + take_slice(self.prediction, key)

    def displayed(self):
        return self.annotation + self.prediction

    def add_class(self, name):
        number = max(shown.id for shown in self.classes) + 1
        self.classes = (*self.classes, FakeClass(number, name, COLORS[(number - 1) % 3]))
        self.active_class = number
        self.classes_changed.emit()

    def select_class(self, class_id):
        self.active_class = class_id
        self.classes_changed.emit()

    def rename_class(self, class_id, name):
        self._change(class_id, name=name)

    def recolor_class(self, class_id, color):
        self._change(class_id, color=color)

    def set_locked(self, class_id, locked):
        self._change(class_id, locked=locked)

    def remove_class(self, class_id):
        self.classes = tuple(shown for shown in self.classes if shown.id != class_id)
        self.active_class = self.classes[0].id
        self.classes_changed.emit()

    def _change(self, class_id, **changes):
        self.classes = tuple(
            replace(shown, **changes) if shown.id == class_id else shown for shown in self.classes
        )
        self.classes_changed.emit()

    def suggest(self):
        return self._suggested

    def interpolate(self, first, last):
        self.calls.append(("interpolate", first, last))
        return tuple(SliceKey(first.axis, index) for index in range(first.index + 1, last.index))

    def set_axis(self, axis):
        self.axis = axis

    def set_window(self, window):
        self.window = window
        self.window_changed.emit(window)

    def set_policy(self, policy):
        self.policy = policy

    def set_prompts(self, key, prompts):
        self.prompts = {**self.prompts, key: prompts}
        self.edited |= {key}
        labels = take_slice(self.annotation, key)
        for (x, y), sign in zip(prompts.point_coords, prompts.point_labels, strict=True):
            row, column = round(float(y)), round(float(x))
            labels[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = (
                self.active_class if sign else 0
            )
        self.can_undo = "mask"
        self.prompts_changed.emit(key)
        self.labels_changed.emit((key,))

    def accept(self, key):
        put_slice(self.annotation, key, take_slice(self.annotation, key) + take_slice(self.prediction, key))
        take_slice(self.prediction, key)[...] = 0
        self.accepted |= {key}
        self.prompts = {other: kept for other, kept in self.prompts.items() if other != key}
        self.prompts_changed.emit(key)
        self.labels_changed.emit((key,))

    def keep_draft(self, key):
        self.calls.append(("keep_draft", key))
        self.prompts = {other: kept for other, kept in self.prompts.items() if other != key}
        self.prompts_changed.emit(key)

    @property
    def work(self):
        return self.annotation.copy(), self.accepted

    def take_up(self, work):
        self.annotation[...], self.accepted = work

    adapter_merges = True

    def save_adapter(self, path):
        self.calls.append(("save_adapter", path))
        return finished(path)

    def apply_adapter(self, path):
        self.calls.append(("apply_adapter", path))
        return finished(None)


for name in (
    *(
        "record_to",
        "import_labels",
        "undo",
        "redo",
        "reject",
        "begin_edit",
        "record_edit",
        "look_at",
        "close",
    ),
    *("preview", "propagate", "cancel_propagation"),
    *("start_learning", "pause", "resume", "stop", "roll_back", "reset_adapter", "set_method"),
):
    setattr(FakeSession, name, recorded(name))


def finished(result):
    future = Future()
    future.set_result(result)
    return future


@pytest.fixture(scope="session")
def python():
    """Runs code in a Python of its own; what it prints. A process that fails fails the test with what it told."""

    def run(code):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture(autouse=True)
def _own_memory(monkeypatch, tmp_path):
    """What the window remembers is not the user's."""
    monkeypatch.setattr(remembered, "user_config_path", lambda name: tmp_path / name)


@pytest.fixture
def fake_session_class():
    return FakeSession


@pytest.fixture
def volume():
    """(6, 20, 30) voxels of 4 × 2 × 1 mm, stored x to the left, y to the back, z upwards."""
    data = np.arange(6 * 20 * 30, dtype=np.int16).reshape(6, 20, 30)
    return Volume(data, np.diag([-1.0, -2.0, 4.0, 1.0]), Source(format="nifti"))


@pytest.fixture
def scan(tmp_path):
    """A NIfTI file of (6, 24, 20) voxels: a bright block."""
    data = np.random.default_rng(0).normal(50, 5, (6, 24, 20)).astype(np.float32)
    data[:, 6:16, 5:14] += 100
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data.T, np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return path


@pytest.fixture
def session(volume):
    return FakeSession(volume)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def layers(viewer, volume, session):
    return VolumeLayers(viewer, volume, session.annotation, session.prediction, session.displayed)


@pytest.fixture
def tools(viewer, layers):
    made = CanvasTools(viewer, layers, 0)
    yield made
    made.close()


@pytest.fixture
def told(monkeypatch):
    """What the user is told instead of a notification: (kind, text)."""
    from napari_samadapt.ui import notify

    said = []
    monkeypatch.setattr(notify, "_napari_info", lambda text: said.append(("hint", text)))
    monkeypatch.setattr(notify, "_napari_error", lambda text: said.append(("error", text)))
    return said


@pytest.fixture
def make_dock(qtbot, viewer, monkeypatch, told):
    """Makes a dock whose sessions are fake, on the viewer model if on no other; the model is loaded at its return."""
    from napari_samadapt.ui.dock import Dock

    module = ModuleType("napari_samadapt.session.session")
    module.Session = FakeSession
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(file_acts, "_load_model", lambda name, say: SimpleNamespace(name=name))
    docks = []

    def make(on=None):
        dock = Dock(viewer if on is None else on)
        qtbot.addWidget(dock)
        docks.append(dock)
        return dock

    yield make
    for dock in docks:
        dock.shut_down()


@pytest.fixture
def dock(qtbot, make_dock, volume):
    """A dock that works on the small volume."""
    made = make_dock()
    made.open_volume(volume)
    qtbot.waitUntil(lambda: made.session is not None)
    return made
