"""NRRD and MetaImage files, read by SimpleITK after the header and the file's size have been checked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .volume import Source, Volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_native(path: Path, kind: str) -> Volume:
    """Read a .nrrd, .nhdr, .mha or .mhd file as one volume; `kind` is "nrrd" or "mha"."""
    from .headers import check_complete

    spatial = check_complete(path, kind)
    data, affine = read_with_sitk([path])
    return Volume(single_volume(data, path.name), affine, Source(path, kind, spatial=spatial))


def read_with_sitk(paths: list[Path]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Voxels as SimpleITK gives them ((t,) z, y, x (, c)), and the affine of (x, y, z) to RAS mm."""
    import SimpleITK as sitk

    names = [str(path) for path in paths]
    try:
        image: Any = sitk.ReadImage(names[0] if len(names) == 1 else names)
    except RuntimeError as error:
        raise SamAdaptError(
            f"{paths[0].name} cannot be read: its header or its voxels are damaged."
        ) from error
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
    return np.asarray(_LPS_TO_RAS @ affine, np.float64)


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
