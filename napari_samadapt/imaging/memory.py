"""Whether an array fits into memory, asked before it is made; and what is freed, given back."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from .errors import SamAdaptError

_SHARE = 0.8  # of the memory that is free now; the rest is for the masks and the model


def check_budget(size: int, path: Path) -> None:
    """Raise SamAdaptError if `size` bytes are more than this machine has free."""
    import psutil  # type: ignore[import-untyped]

    free = int(psutil.virtual_memory().available * _SHARE)
    if size > free:
        raise SamAdaptError(
            f"{path.name} needs {size / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are free: "
            "crop it or close other programs."
        )


def return_memory() -> None:
    """Give freed memory back to the system: glibc keeps it, and what stays among it makes it useless for the next.

    Does nothing where there is no glibc.
    """
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
