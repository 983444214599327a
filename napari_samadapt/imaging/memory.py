"""Whether an array fits into memory, asked before it is made."""

from __future__ import annotations

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
