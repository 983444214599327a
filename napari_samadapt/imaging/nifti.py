"""NIfTI files, read completely or not at all: sizes checked first, gzip read to its checksum, no memory map.

nibabel reads the headers. The voxels are read here, because nibabel stops before the gzip checksum and
believes a header that claims more voxels than the file can hold.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .memory import check_budget
from .volume import NiftiGeometry, Source, Volume, corner_distance

_GEOMETRY_FIELDS = (
    "pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
    "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip
_GZIP_MAGIC = b"\x1f\x8b"
_LARGEST_RATIO = 1040  # deflate cannot shrink data further than 1032 to 1
_TRAILING = 1 << 20  # bytes tolerated after the voxels
_CHUNK = 1 << 20
_UNIT_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
_SAME_PLACE_MM = 0.05
NO_POSITION = "This file holds no position information: lengths, and overlays on other scans, are not valid."


class AmbiguousPositionError(SamAdaptError):
    """A NIfTI file states two positions that disagree; the caller has to choose the sform or the qform."""


def read_nifti(path: Path, *, exact: bool = False, transform: str = "ask") -> Volume:
    """Read a .nii or .nii.gz file with its intensities in real units.

    Integers stay integers where the header scales by whole numbers or not at all; else float32, or float64
    with `exact` (labels). `transform` is "ask", "sform" or "qform": which to take where the two disagree.
    Raises SamAdaptError for a damaged, truncated or unsupported file, and AmbiguousPositionError.
    """
    with _open(path) as stream:
        header = _read_header(stream, path)
        shape, dtype = _layout(header, path)
        _give_missing_axes_a_size(header)
        stored = _read_voxels(stream, path, header, shape, dtype)
    data = _to_values(stored, header, path, exact=exact)
    affine, spatial, notes = _position(header, path, transform)
    return Volume(data, affine, Source(path, "nifti", geometry_of(header), spatial, notes=notes))


def geometry_of(header: Any) -> NiftiGeometry:
    """The geometry fields of a nibabel header, verbatim."""
    fields = tuple((name, _numbers(header[name])) for name in _GEOMETRY_FIELDS)
    return NiftiGeometry(2 if int(header["sizeof_hdr"]) == 540 else 1, fields)


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """The uncompressed bytes of the file, whatever its name says."""
    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw


def _read_header(stream: BinaryIO, path: Path) -> Any:
    """The nibabel header, unchecked; the stream stands at byte 348 or 540 afterwards."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    start = _read_at_most(stream, 348, path)
    size = {order: int.from_bytes(start[:4], order) for order in ("little", "big")}
    if 540 in size.values():
        start += _read_at_most(stream, 540 - 348, path)
    kind, magic = (Nifti2Header, start[4:8]) if 540 in size.values() else (Nifti1Header, start[344:348])
    if magic in (b"ni1\0", b"ni2\0"):
        raise SamAdaptError(
            f"{path.name} is one half of a NIfTI pair (.hdr and .img): save it as one .nii file."
        )
    if magic not in (b"n+1\0", b"n+2\0") or not {348, 540} & set(size.values()):
        raise SamAdaptError(f"{path.name} is not a NIfTI file, or its header is damaged.")
    if len(start) < (540 if kind is Nifti2Header else 348):
        raise SamAdaptError(f"{path.name} is incomplete: it ends inside its header. Copy the file again.")
    return kind.from_fileobj(io.BytesIO(start), check=False)  # type: ignore[no-untyped-call]


def _read_at_most(stream: BinaryIO, size: int, path: Path) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SamAdaptError(
            f"{path.name} is damaged or incomplete: 0 % could be read. Copy it again."
        ) from error


def _layout(header: Any, path: Path) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """(x, y, z) and the stored type; refuses what is no single volume."""
    from nibabel.spatialimages import HeaderDataError

    count = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : count + 1]]
    if not 1 <= count <= 7 or min(sizes) < 1:
        raise SamAdaptError(
            f"The header of {path.name} is damaged: it claims {count} dimensions of sizes {sizes}."
        )
    if math.prod(sizes[3:]) != 1:
        text = " x ".join(map(str, sizes))
        raise SamAdaptError(
            f"{path.name} holds more than one volume ({text}): save one of them as a file of its own."
        )
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise SamAdaptError(
            f"{path.name} has an unknown voxel type, code {int(header['datatype'])}."
        ) from error
    if dtype.kind == "c" or dtype.itemsize == 0:
        raise SamAdaptError(
            f"{path.name} has {dtype} voxels, which cannot be shown: save its magnitude as real numbers."
        )
    x, y, z = [*sizes, 1, 1][:3]
    return (x, y, z), dtype


def _give_missing_axes_a_size(header: Any) -> None:
    """A 2D file need not say how thick it is; without a thickness no other tool can place the mask."""
    for axis in range(int(header["dim"][0]) + 1, 4):
        if not header["pixdim"][axis] > 0:
            header["pixdim"][axis] = 1


def _read_voxels(
    stream: BinaryIO, path: Path, header: Any, shape: tuple[int, int, int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The stored voxels (z, y, x), after checking that the file can hold them and reading it to its end."""
    needed = math.prod(shape) * dtype.itemsize
    start = max(int(header["vox_offset"]), int(header["sizeof_hdr"]) + 4)
    in_file = path.stat().st_size
    compressed = isinstance(stream, gzip.GzipFile)
    if not compressed and start + needed > in_file:
        raise _incomplete(path, max(0, in_file - start), needed)
    if compressed and (start + needed) > in_file * _LARGEST_RATIO:
        raise SamAdaptError(
            f"{path.name} claims {needed:,} bytes of voxels, more than {in_file:,} bytes can hold."
        )
    check_budget(needed, path)

    voxels, done = np.empty(needed, np.uint8), 0
    window = voxels.data
    try:
        _skip(stream, start - int(header["sizeof_hdr"]))
        while done < needed:
            got = stream.readinto(window[done : done + _CHUNK])  # type: ignore[attr-defined]
            if not got:
                raise EOFError
            done += got
        _read_to_end(stream, path)
    except EOFError as error:
        raise _incomplete(path, done, needed) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise SamAdaptError(
            f"{path.name} is damaged: its checksum does not match. Copy the file again."
        ) from error
    return voxels.view(dtype).reshape(shape[::-1])  # NIfTI stores x fastest


def _skip(stream: BinaryIO, count: int) -> None:
    while count > 0:
        got = len(stream.read(min(count, _CHUNK)))
        if not got:
            raise EOFError
        count -= got


def _read_to_end(stream: BinaryIO, path: Path) -> None:
    """Only the end of a gzip stream proves that all of it was right."""
    extra = 0
    while chunk := stream.read(_CHUNK):
        extra += len(chunk)
        if extra > _TRAILING:
            raise SamAdaptError(
                f"{path.name} is damaged: it goes on after the last voxel that its header names."
            )


def _incomplete(path: Path, done: int, needed: int) -> SamAdaptError:
    percent = min(99.9, math.floor(1000 * done / needed) / 10)
    return SamAdaptError(
        f"{path.name} is incomplete: {percent:g} % of its voxels are there. Copy the file again."
    )


def _to_values(stored: NDArray[Any], header: Any, path: Path, *, exact: bool) -> NDArray[Any]:
    """Real values (z, y, x), or (z, y, x, 3) uint8 of an RGB file, in native byte order."""
    if stored.dtype.names:
        if not {"R", "G", "B"} <= set(stored.dtype.names):
            raise SamAdaptError(f"{path.name} has voxels of {stored.dtype.names}, which cannot be shown.")
        return np.stack([stored[channel] for channel in "RGB"], axis=-1).astype(np.uint8)
    if stored.dtype.itemsize > 8:
        stored = stored.astype(np.float64)
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    slope, offset = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return stored
    return rescale(stored, slope, offset if math.isfinite(offset) else 0.0, exact=exact)


def rescale(stored: NDArray[Any], slope: float, offset: float, *, exact: bool = False) -> NDArray[Any]:
    """`stored * slope + offset`; integers scaled by whole numbers stay integers, of the smallest type."""
    if (slope, offset) == (1.0, 0.0):
        return stored
    if stored.dtype.kind in "iu" and slope.is_integer() and offset.is_integer():
        ends = [int(stored.min()) * int(slope) + int(offset), int(stored.max()) * int(slope) + int(offset)]
        for size in ("int16", "int32", "int64"):
            if np.iinfo(size).min <= min(ends) and max(ends) <= np.iinfo(size).max:
                wide = stored.astype(np.int64) * int(slope) + int(offset)
                return wide.astype(size)
    values = stored.astype(np.float64) * slope + offset
    return values if exact else values.astype(np.float32)


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(float(number) for number in np.atleast_1d(value))


def _position(header: Any, path: Path, transform: str) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    """The affine to RAS mm, whether it is a physical position, and what to tell the user."""
    unit = _UNIT_MM.get(int(header["xyzt_units"]) & 7, 1.0)
    stated = {name: affine for name in ("sform", "qform") if (affine := _stated(header, name)) is not None}
    if not stated:
        return _grid_affine(header), False, (NO_POSITION,)
    stated = {name: np.diag([unit, unit, unit, 1.0]) @ affine for name, affine in stated.items()}
    if len(stated) == 2 and transform not in stated:
        apart = corner_distance(_shape(header), stated["sform"], stated["qform"])
        if apart > _SAME_PLACE_MM:
            raise AmbiguousPositionError(
                f"{path.name} states two positions that differ by {apart:.3g} mm (sform and qform): "
                "say which one is right, or correct its header."
            )
    affine = stated[transform] if transform in stated else next(iter(stated.values()))
    _check_affine(affine, header, path)
    return affine, True, ()


def _stated(header: Any, name: str) -> NDArray[np.float64] | None:
    """The sform or qform where its code is set and it can be used; else None."""
    from nibabel.spatialimages import HeaderDataError

    if int(header[f"{name}_code"]) <= 0:
        return None
    header = header.copy()
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1  # the standard's meaning of 0
    try:
        affine = np.asarray(header.get_sform() if name == "sform" else header.get_qform(), np.float64)
    except (HeaderDataError, ValueError):  # a quaternion longer than 1
        return None
    size = np.prod(np.linalg.norm(affine[:3, :3], axis=0))
    usable = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-3 * size
    return affine if usable else None


def _shape(header: Any) -> tuple[int, ...]:
    sizes = [int(size) for size in header["dim"][1 : int(header["dim"][0]) + 1]]
    return tuple([*sizes, 1, 1][:3][::-1])


def _grid_affine(header: Any) -> NDArray[np.float64]:
    """Voxel sizes only, as nibabel places a file without position; sizes that make no sense become 1."""
    sizes = np.abs(np.nan_to_num(np.asarray(header["pixdim"][1:4], np.float64), posinf=0.0))
    sizes[(sizes < 1e-3) | (sizes > 100.0)] = 1.0
    affine = np.diag([-sizes[0], sizes[1], sizes[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(_shape(header)[::-1]) - 1) / 2)
    return affine


def _check_affine(affine: NDArray[np.float64], header: Any, path: Path) -> None:
    """Refuse voxels of impossible size, and grids whose axes are not at right angles."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if sizes.min() < 1e-3 or sizes.max() > 100.0:
        text = " x ".join(f"{size:.3g}" for size in sizes)
        raise SamAdaptError(
            f"{path.name} claims voxels of {text} mm: correct the unit or the voxel size in its header."
        )
    u, _, vt = np.linalg.svd(affine[:3, :3] / sizes)
    straight = affine.copy()
    straight[:3, :3] = (u @ vt) * sizes
    shear = corner_distance(_shape(header), affine, straight)
    if shear > _SAME_PLACE_MM:
        raise SamAdaptError(
            f"The axes of {path.name} are sheared by {shear:.3g} mm: resample it onto a straight grid."
        )
