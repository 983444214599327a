"""pydicom without its warnings, which quote the values they complain of: names and numbers of patients."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_muted = threading.local()


def _heard(_record: logging.LogRecord) -> bool:
    return not getattr(_muted, "depth", 0)


@contextmanager
def quietly() -> Iterator[None]:
    """Drop what pydicom warns of and logs on this thread inside the block."""
    logger = logging.getLogger("pydicom")
    if _heard not in logger.filters:
        logger.addFilter(_heard)
    _muted.depth = getattr(_muted, "depth", 0) + 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _muted.depth -= 1
