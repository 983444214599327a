"""How Python ends after a window: whole, and at once.

PySide6 before Python 3.12 takes references that it was not given: one to True at every signal that is emitted,
connected or disconnected, some 40 a second while the model learns, of about 50,000; and to None in napari's Python
event filters and size hints, some 220 at a resize and 4,000 at a change of theme, of about 250,000. When none is left
Python ends with "bool_dealloc" or "none_dealloc". From Python 3.12 on all are immortal (PEP 683) by themselves.
"""

import atexit
import ctypes
import gc
import sys

_MANY = 1 << 40


def make_constants_immortal() -> None:
    """Give None, True and False more references than can ever be lost; does nothing where they have them."""
    for constant in (None, True, False):
        if sys.version_info < (3, 12) and sys.getrefcount(constant) < _MANY:
            ctypes.c_ssize_t.from_address(id(constant)).value += _MANY  # ob_refcnt is an object's first field


def end_at_once() -> None:
    """Let Python end without looking for cycles among the million objects of napari and torch: 0.3 s, not 2.6 s."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
