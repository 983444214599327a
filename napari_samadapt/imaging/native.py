"""What SimpleITK reads, NRRD, MetaImage and DICOM pixels, in a process of its own that may die without harm."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .questions import Answers, one_of_several, which_volume
from .volume import NO_POSITION, Source, Volume, check_affine

_CHILD = Path(__file__).with_name("native_child.py")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
Decoded = tuple[NDArray[Any], NDArray[np.float64]]
"""The voxels ((t,) z, y, x, c) of a file, read-only, and its affine (4, 4) of (x, y, z) to LPS mm."""


def read_native(path: Path, kind: str, answers: Answers) -> Volume:
    """Read a .nrrd, .nhdr, .mha or .mhd file as one volume; `kind` is "nrrd" or "mha".

    Asks ("time") which of several volumes.
    """
    from .headers import check_complete

    stated = check_complete(path, kind)
    [(data, lps)] = read_isolated([path])
    values, notes = single_volume(data, path.name, answers, colors=not stated.listed)
    affine = LPS_TO_RAS @ lps
    if stated.spatial:
        check_affine(affine, values.shape[:3], path)
    else:
        notes = (*notes, NO_POSITION)
    return Volume(values, affine, Source(path, kind, spatial=stated.spatial, notes=notes))


def read_isolated(paths: Sequence[Path], codings: Sequence[str] = ()) -> list[Decoded]:
    """Each file, read by SimpleITK in another process; `codings` names how each stores its pixels.

    Raises SamAdaptError where a file is damaged, also if it crashes the reader.
    """
    request = json.dumps([str(path.resolve()) for path in paths]).encode()
    command = [sys.executable, "-P", str(_CHILD)]
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    done = subprocess.run(command, input=request, capture_output=True, creationflags=flags, check=False)
    arrays = _arrays(done.stdout)
    if len(arrays) < 2 * len(paths):
        number = len(arrays) // 2
        coding = f" of the coding {codings[number]}" if codings and codings[number] else ""
        if done.returncode == 3:
            what = f"cannot be decoded: its pixels{coding} are damaged, or this coding is not supported here"
        else:
            what = f"stopped the reader: its pixels{coding} are damaged"
        raise SamAdaptError(
            f"{paths[number].name} {what}. Save it uncompressed with the program that made it."
        )
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def _arrays(content: bytes) -> list[NDArray[Any]]:
    """The .npy arrays that follow each other in `content`, without copying; an incomplete last one is dropped."""
    arrays: list[NDArray[Any]] = []
    start = 0
    while start < len(content):
        stream = io.BytesIO(content[start : start + 1024])
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        start += stream.tell()
        count = math.prod(shape)
        if start + count * dtype.itemsize > len(content):
            break
        arrays.append(np.frombuffer(content, dtype, count, start).reshape(shape))
        start += arrays[-1].nbytes
    return arrays


def single_volume(
    data: NDArray[Any], name: str, answers: Answers, *, colors: bool = True
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """(z, y, x) or (z, y, x, 3) from ((t,) (z,) y, x, c), and notes; asks ("time") which of several volumes.

    Without `colors` three or four values of a voxel are volumes too.
    """
    channels = data.shape[-1]
    if data.ndim == 3:
        data = data[None]
    notes: tuple[str, ...] = ()
    if data.ndim > 4:
        volumes = data.reshape(-1, *data.shape[-4:])
        data, notes = _chosen(volumes, data.shape[-2::-1], name, answers)
    if channels == 1:
        return data[..., 0], notes
    if colors and channels in (3, 4) and data.dtype == np.uint8:
        return data[..., :3], notes
    if notes:
        raise SamAdaptError(
            f"{name} holds several volumes of {channels} values per voxel: save one as a file."
        )
    volumes = np.moveaxis(data, -1, 0)
    return _chosen(volumes, (*data.shape[-2::-1], channels), name, answers)


def _chosen(
    volumes: NDArray[Any], sizes: Sequence[int], name: str, answers: Answers
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """One of the volumes (t, ...), and a note that it is one of several."""
    count = len(volumes)
    if count == 1:
        return volumes[0], ()
    number = which_volume(count, " x ".join(map(str, sizes)), name, answers)
    return np.ascontiguousarray(volumes[number]), (one_of_several(number, count),)
