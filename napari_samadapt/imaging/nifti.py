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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .memory import check_budget
from .nifti_position import position
from .questions import Answers, one_of_several, which_volume
from .volume import NiftiGeometry, Source, Volume

_GEOMETRY_FIELDS = (
    "pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
    "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip
_GZIP_MAGIC = b"\x1f\x8b"
_LARGEST_RATIO = 1040  # deflate cannot shrink data further than 1032 to 1
_TRAILING = 1 << 20  # bytes tolerated after the voxels
_CHUNK = 1 << 20
_CIFTI = range(3000, 3100)  # intent codes
_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}


@dataclass(frozen=True)
class _Layout:
    """What a header says of the voxels: (x, y, z), how many such volumes there are, and the stored type."""

    shape: tuple[int, int, int]
    volumes: int
    dtype: np.dtype[Any]

    @property
    def volume_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_nifti(path: Path, answers: Answers, *, exact: bool = False) -> Volume:
    """Read one volume of a .nii or .nii.gz file with its intensities in real units.

    Integers stay integers where the header scales by whole numbers or not at all; else float32, or float64
    with `exact` (labels). Asks which of several volumes (time), and which of two positions (transform).
    Raises SamAdaptError for a damaged, truncated or unsupported file.
    """
    with _open(path) as stream:
        header = _read_header(stream, path)
        layout = _layout(header, path)
        _check_size(header, layout, path, compressed=isinstance(stream, gzip.GzipFile))
        number = _chosen_volume(header, layout, path, answers)
        _give_missing_axes_a_size(header)
        affine, spatial, notes = position(header, path, answers)
        stored = _read_voxels(stream, path, header, layout, number)
    data = _to_values(stored, header, path, exact=exact)
    if layout.volumes > 1:
        notes = (*notes, one_of_several(number, layout.volumes))
    return Volume(data, affine, Source(path, "nifti", geometry_of(header), spatial, notes=notes))


def geometry_of(header: Any) -> NiftiGeometry:
    """The geometry fields of a nibabel header, verbatim."""
    fields = tuple((name, _numbers(header[name])) for name in _GEOMETRY_FIELDS)
    version = 2 if int(header["sizeof_hdr"]) == 540 else 1
    return NiftiGeometry(version, fields, dimensions=2 if int(header["dim"][0]) == 2 else 3)


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


def _layout(header: Any, path: Path) -> _Layout:
    """Sizes and type; refuses what the header cannot mean, and voxels that cannot be shown."""
    from nibabel.spatialimages import HeaderDataError

    count = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : count + 1]]
    if not 1 <= count <= 7 or min(sizes) < 1:
        raise SamAdaptError(
            f"The header of {path.name} is damaged: it claims {count} dimensions of sizes {sizes}."
        )
    if int(header["intent_code"]) in _CIFTI:
        raise SamAdaptError(f"{path.name} is a CIFTI file (values on a brain's surface), not a volume.")
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
    if not math.isfinite(header["vox_offset"]):
        raise SamAdaptError(f"The header of {path.name} is damaged: it does not say where the voxels begin.")
    x, y, z = [*sizes, 1, 1][:3]
    return _Layout((x, y, z), math.prod(sizes[3:]), dtype)


def _check_size(header: Any, layout: _Layout, path: Path, *, compressed: bool) -> None:
    """Refuse a header that names more voxels than the file can hold, or than the memory can."""
    start, needed, in_file = _first_voxel(header), layout.volumes * layout.volume_bytes, path.stat().st_size
    if not compressed and start + needed > in_file:
        raise _incomplete(path, max(0, in_file - start), needed)
    if compressed and (start + needed) > in_file * _LARGEST_RATIO:
        raise SamAdaptError(
            f"{path.name} claims {needed:,} bytes of voxels, more than {in_file:,} bytes can hold."
        )
    check_budget(layout.volume_bytes, path)


def _first_voxel(header: Any) -> int:
    """The byte at which the voxels begin."""
    return max(int(header["vox_offset"]), int(header["sizeof_hdr"]) + 4)


def _chosen_volume(header: Any, layout: _Layout, path: Path, answers: Answers) -> int:
    if layout.volumes == 1:
        return 0
    sizes = " x ".join(str(int(size)) for size in header["dim"][1 : int(header["dim"][0]) + 1])
    seconds = float(header["pixdim"][4]) * _SECONDS.get(int(header["xyzt_units"]) & 56, 0.0)
    step = f", {seconds:.4g} s apart" if seconds > 0 else ""
    return which_volume(layout.volumes, sizes, path.name, answers, step)


def _give_missing_axes_a_size(header: Any) -> None:
    """A 2D file need not say how thick it is; without a thickness no other tool can place the mask."""
    for axis in range(int(header["dim"][0]) + 1, 4):
        if not header["pixdim"][axis] > 0:
            header["pixdim"][axis] = 1


def _read_voxels(stream: BinaryIO, path: Path, header: Any, layout: _Layout, number: int) -> NDArray[Any]:
    """The stored voxels (z, y, x) of one volume; the file is read to its end."""
    size = layout.volume_bytes
    voxels, done = np.empty(size, np.uint8), 0
    window = voxels.data
    try:
        _skip(stream, _first_voxel(header) - int(header["sizeof_hdr"]))
        for index in range(layout.volumes):
            if index != number:
                done += _skip(stream, size)
                continue
            got = 0
            while got < size:
                chunk = stream.readinto(window[got : got + _CHUNK])  # type: ignore[attr-defined]
                if not chunk:
                    raise EOFError
                got, done = got + chunk, done + chunk
        _read_to_end(stream, path)
    except EOFError as error:
        raise _incomplete(path, done, layout.volumes * size) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise SamAdaptError(
            f"{path.name} is damaged: its checksum does not match. Copy the file again."
        ) from error
    return voxels.view(layout.dtype).reshape(layout.shape[::-1])  # NIfTI stores x fastest


def _skip(stream: BinaryIO, count: int) -> int:
    """Read `count` bytes and forget them; returns `count`."""
    left = count
    while left > 0:
        got = len(stream.read(min(left, _CHUNK)))
        if not got:
            raise EOFError
        left -= got
    return count


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
