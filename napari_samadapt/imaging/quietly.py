"""Readers without their warnings and logs, which quote the values of tags: names and numbers of patients."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_muted = threading.local()
_TALKATIVE = (
    "pydicom",
    "tifffile",
    "PIL.TiffImagePlugin",  # reads EXIF too
    "PIL.PngImagePlugin",
    "PIL.Image",
)  # filters of a logger do not reach its children


def _heard(_record: logging.LogRecord) -> bool:
    return not getattr(_muted, "depth", 0)


@contextmanager
def quietly() -> Iterator[None]:
    """Drop what these libraries warn of and log on this thread inside the block."""
    for logger in map(logging.getLogger, _TALKATIVE):
        if _heard not in logger.filters:
            logger.addFilter(_heard)
    _muted.depth = getattr(_muted, "depth", 0) + 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _muted.depth -= 1
