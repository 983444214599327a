"""The activations of the frozen blocks on disk, for a volume that is opened again. Used on the predict thread only.

An entry says itself what it was made of; one that says anything else than was asked for, or is damaged, is not used.
Activations show the slice to whoever can read them, so folder and files are their owner's alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning.predict import SlicePrefix
from napari_samadapt.learning.promptable_sam import Prefix

from .cache import PrefixKey
from .private_files import create_private, make_private_folder

CACHE_VARIABLE = "SAMADAPT_CACHE_DIR"
LIMIT = 4 * 2**30
"""Bytes; beyond them the entries that were not used for longest are deleted."""
_SUFFIX, _PART = ".prefix", ".part"


def prefix_folder() -> Path:
    """Where a user's entries are: the cache folder, or that of the environment variable SAMADAPT_CACHE_DIR."""
    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named) if named else user_cache_path("napari-samadapt", appauthor=False)) / "activations"


class PrefixFiles:
    """Entries in a folder of their own, which is made when the first one is written."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self._folder, self._limit = folder, limit

    def get(self, key: PrefixKey, image: NDArray[np.float32]) -> SlicePrefix | None:
        """The activations of what the model sees, `image` (H, W) or (H, W, 3); None where they have to be made."""
        asked = _description(key, image)
        path = self._path(asked)
        try:
            with safe_open(path, "pt") as entry:
                told = entry.metadata() or {}
                if told.get("of") != asked:
                    return None
                tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118  # no mapping
            os.utime(path)
            fine = tuple(tensors[f"fine {level}"] for level in range(len(tensors) - 1))
            height, width = json.loads(told["input size"])
            prefix = Prefix(tensors["tokens"], fine)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            return None
        return SlicePrefix(prefix, key.depth, (height, width), (image.shape[0], image.shape[1]))

    def put(self, key: PrefixKey, image: NDArray[np.float32], made: SlicePrefix) -> None:
        """Keep an entry; where the disk does not take it there is none."""
        told = {"of": _description(key, image), "input size": json.dumps(made.input_size)}
        levels = {f"fine {level}": tensor for level, tensor in enumerate(made.prefix.fine)}
        tensors = {"tokens": made.prefix.tokens, **levels}
        data = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, told)
        part = self._folder / f"{secrets.token_hex(8)}{_PART}"
        try:
            make_private_folder(self._folder)
            with os.fdopen(create_private(part), "wb") as stream:
                stream.write(data)
            part.replace(self._path(told["of"]))
            self._make_room()
        except (OSError, SamAdaptError):
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete every entry, and what was left of one that was being written."""
        for path in (*self._folder.glob(f"*{_SUFFIX}"), *self._folder.glob(f"*{_PART}")):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _path(self, description: str) -> Path:
        return self._folder / (hashlib.sha256(description.encode()).hexdigest()[:32] + _SUFFIX)

    def _make_room(self) -> None:
        entries = sorted((path.stat().st_mtime_ns, path) for path in self._folder.glob(f"*{_SUFFIX}"))
        sizes = [path.stat().st_size for _, path in entries]
        total = sum(sizes)
        for (_, path), size in zip(entries, sizes, strict=True):
            if total <= self._limit:
                return
            path.unlink(missing_ok=True)
            total -= size


def _description(key: PrefixKey, image: NDArray[np.float32]) -> str:
    """Everything that the activations depend on; the pixels are those that the model sees."""
    pixels = hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
    said: dict[str, Any] = {
        "pixels": pixels, "shape": image.shape, "window": (key.window.low, key.window.high),
        "axis": key.slice.axis, "index": key.slice.index, "part": key.part, "slices": 1,
        "model": key.model, "input_size": key.input_size, "blocks": key.depth,
    }  # fmt: skip
    return json.dumps(said)
