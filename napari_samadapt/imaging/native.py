"""What SimpleITK reads: NRRD and MetaImage once their headers are checked, DICOM in a process of its own."""

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
from .volume import Source, Volume

_CHILD = Path(__file__).with_name("native_child.py")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_native(path: Path, kind: str) -> Volume:
    """Read a .nrrd, .nhdr, .mha or .mhd file as one volume; `kind` is "nrrd" or "mha"."""
    from .headers import check_complete

    spatial = check_complete(path, kind)
    data, affine = read_with_sitk(path)
    return Volume(single_volume(data, path.name), affine, Source(path, kind, spatial=spatial))


def read_isolated(paths: Sequence[Path]) -> list[NDArray[Any]]:
    """The voxels ((t,) z, y, x, c) of each file, read by SimpleITK in another process; read-only arrays.

    Raises SamAdaptError where a file is damaged, also if it crashes the reader.
    """
    request = json.dumps([str(path.resolve()) for path in paths]).encode()
    command = [sys.executable, "-P", str(_CHILD)]
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    done = subprocess.run(command, input=request, capture_output=True, creationflags=flags, check=False)
    arrays, start = [], 0
    while start < len(done.stdout):
        stream = io.BytesIO(done.stdout[start : start + 1024])
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        start += stream.tell()
        arrays.append(np.frombuffer(done.stdout, dtype, math.prod(shape), start).reshape(shape))
        start += arrays[-1].nbytes
    if len(arrays) < len(paths):
        ended = "cannot be decoded" if done.returncode == 3 else "stopped the reader"
        raise SamAdaptError(
            f"{paths[len(arrays)].name} {ended}: its pixels are damaged or of an unsupported coding."
        )
    return arrays


def read_with_sitk(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Voxels as SimpleITK gives them ((t,) z, y, x (, c)), and the affine of (x, y, z) to RAS mm."""
    import SimpleITK as sitk

    try:
        image: Any = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise SamAdaptError(f"{path.name} cannot be read: its header or its voxels are damaged.") from error
    data = np.asarray(sitk.GetArrayFromImage(image))
    if image.GetNumberOfComponentsPerPixel() == 1:
        data = data[..., None]
    size = image.GetDimension()
    return data, affine_from_lps(image.GetOrigin(), image.GetSpacing(), image.GetDirection(), size)


def affine_from_lps(
    origin: tuple[float, ...], spacing: tuple[float, ...], direction: tuple[float, ...], dimension: int
) -> NDArray[np.float64]:
    """(4, 4) affine to RAS mm from ITK's LPS origin, spacing and row-major direction of 2 to 4 dimensions."""
    used = min(dimension, 3)
    affine = np.eye(4)
    cosines = np.array(direction, np.float64).reshape(dimension, dimension)[:used, :used]
    affine[:used, :used] = cosines * np.array(spacing[:used])
    affine[:used, 3] = origin[:used]
    return np.asarray(LPS_TO_RAS @ affine, np.float64)


def single_volume(data: NDArray[Any], name: str) -> NDArray[Any]:
    """(z, y, x) or (z, y, x, 3) from ((t,) (z,) y, x, c); refuses what is no single volume."""
    channels = data.shape[-1]
    if data.ndim == 3:
        data = data[None]
    if data.ndim > 4:
        if math.prod(data.shape[:-4]) != 1:
            raise SamAdaptError(f"{name} holds more than one volume {data.shape[:-1]}: save one as a file.")
        data = data.reshape(data.shape[-4:])
    if channels == 1:
        return data[..., 0]
    if channels in (3, 4) and data.dtype == np.uint8:
        return data[..., :3]
    raise SamAdaptError(
        f"{name} has {channels} values of type {data.dtype} per voxel: only RGB of 8 bits can be shown."
    )
