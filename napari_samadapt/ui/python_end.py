"""How Python ends after a window: whole, and at once.

PySide6 before Python 3.12 takes references to None that it was not given: napari's Python event filters and size hints
lose some 220 of them at a resize and 4,000 at a change of theme, of about 90,000; when none is left Python ends with
"none_dealloc". From Python 3.12 on None is immortal (PEP 683) by itself.
"""

import atexit
import ctypes
import gc
import sys

_MANY = 1 << 40


def make_none_immortal() -> None:
    """Give None more references than can ever be lost; does nothing where it has them."""
    if sys.version_info < (3, 12) and sys.getrefcount(None) < _MANY:
        ctypes.c_ssize_t.from_address(id(None)).value += _MANY  # ob_refcnt is the first field of an object


def end_at_once() -> None:
    """Let Python end without looking for cycles among the million objects of napari and torch: 0.3 s, not 2.6 s."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
