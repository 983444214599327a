"""Constants outlive a binding that takes references to them, and the end looks for no cycles."""

import ctypes
import sys

import pytest

from napari_samadapt.ui.python_end import make_constants_immortal


@pytest.mark.parametrize("constant", [None, True, False])
def test_constants_survive_the_loss_of_many_references(constant) -> None:
    make_constants_immortal()
    for _ in range(300_000):
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(constant))
    assert sys.getrefcount(constant) > 1 << 30


def test_many_signals_do_not_end_python(python) -> None:
    """PySide6 takes a reference to True at each, of which a bare Python has some hundreds."""
    code = (
        "from qtpy.QtCore import QObject, Signal\n"
        "from napari_samadapt.ui.python_end import make_constants_immortal\n"
        "make_constants_immortal()\n"
        "class Sender(QObject):\n"
        "    sent = Signal()\n"
        "sender = Sender()\n"
        "for _ in range(100_000):\n"
        "    sender.sent.emit()\n"
        "print('alive')\n"
    )
    assert python(code) == "alive"


@pytest.mark.parametrize("constant", [None, True, False])
def test_it_is_done_once(constant) -> None:
    make_constants_immortal()
    before = sys.getrefcount(constant)
    make_constants_immortal()
    assert abs(sys.getrefcount(constant) - before) < 10_000


def test_python_ends_without_a_search_for_cycles(python) -> None:
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 1000))\n"  # the last to run
        "from napari_samadapt.ui.python_end import end_at_once\n"
        "end_at_once()\n"
    )
    assert python(code) == "True"
