"""None outlives a binding that takes references to it."""

import ctypes
import sys

from napari_samadapt.ui.immortal_none import make_none_immortal


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
