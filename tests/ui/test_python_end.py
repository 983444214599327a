"""None outlives a binding that takes references to it, and the end looks for no cycles."""

import ctypes
import subprocess
import sys

from napari_samadapt.ui.python_end import make_none_immortal


def test_none_survives_the_loss_of_many_references() -> None:
    make_none_immortal()
    for _ in range(300_000):
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(None))
    assert sys.getrefcount(None) > 1 << 30


def test_it_is_done_once() -> None:
    make_none_immortal()
    before = sys.getrefcount(None)
    make_none_immortal()
    assert abs(sys.getrefcount(None) - before) < 10_000


def test_python_ends_without_a_search_for_cycles() -> None:
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 1000))\n"  # the last to run
        "from napari_samadapt.ui.python_end import end_at_once\n"
        "end_at_once()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
