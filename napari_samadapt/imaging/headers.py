"""What a NRRD or MetaImage header says that ITK passes over, and whether the file is complete.

Both are told from the text header before any native code opens the file.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import SamAdaptError
from .memory import check_budget

_LONGEST_HEADER = 1 << 20
_CHUNK = 1 << 20
_NRRD_BYTES = {
    "signed char": 1, "int8": 1, "int8_t": 1, "uchar": 1, "unsigned char": 1, "uint8": 1, "uint8_t": 1,
    "short": 2, "short int": 2, "signed short": 2, "signed short int": 2, "int16": 2, "int16_t": 2,
    "ushort": 2, "unsigned short": 2, "unsigned short int": 2, "uint16": 2, "uint16_t": 2,
    "int": 4, "signed int": 4, "int32": 4, "int32_t": 4,
    "uint": 4, "unsigned int": 4, "uint32": 4, "uint32_t": 4,
    "longlong": 8, "long long": 8, "long long int": 8, "signed long long": 8, "signed long long int": 8,
    "int64": 8, "int64_t": 8, "ulonglong": 8, "unsigned long long": 8,
    "unsigned long long int": 8, "uint64": 8, "uint64_t": 8,
    "float": 4, "double": 8,
}  # fmt: skip
_NRRD_PACKING = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "txt": "text", "text": "text", "ascii": "text",
}  # fmt: skip
_META_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip


_PATIENT_SPACES = {
    *("right-anterior-superior", "ras", "left-anterior-superior", "las", "left-posterior-superior", "lps"),
}  # fmt: skip
_MM = {"", "?", "mm", "millimeter", "millimeters", "millimetre", "millimetres"}


@dataclass(frozen=True)
class Stated:
    """What ITK does not hand on: whether the header states a position in the patient, and whether the values of a
    voxel are volumes of their own ("list") and no colours."""

    spatial: bool
    listed: bool = False


@dataclass(frozen=True)
class _Stored:
    """Where the voxels lie (`path` from byte `start`), how many bytes they are, and how they are packed."""

    path: Path
    start: int
    needed: int
    packing: str  # "raw", "gzip", "zlib" or "text"
    stated: Stated


def check_complete(path: Path, kind: str) -> Stated:
    """What the header states beside the voxels; SamAdaptError unless every voxel that it names is there."""
    with path.open("rb") as stream:
        stored = _nrrd(stream, path) if kind == "nrrd" else _meta(stream, path)
    if not stored.path.is_file():
        raise SamAdaptError(f"{path.name} needs its data file {stored.path.name}, which is not beside it.")
    check_budget(stored.needed, path)
    _check_voxels(stored, path)
    return stored.stated


def _check_voxels(stored: _Stored, path: Path) -> None:
    size = stored.path.stat().st_size - stored.start
    if stored.packing == "raw":
        found = size
    elif stored.packing == "text":  # a number of up to 8 bytes takes at least 2 characters
        found = stored.needed if stored.needed <= 4 * size else size
    else:
        with stored.path.open("rb") as stream:
            stream.seek(stored.start)
            found = _unpacked_size(stream, stored.packing, stored.needed, path)
    if found < stored.needed:
        percent = min(99.9, math.floor(1000 * max(0, found) / stored.needed) / 10)
        raise SamAdaptError(
            f"{path.name} is incomplete: {percent:g} % of its voxels are there. Copy the file again."
        )


def _unpacked_size(stream: BinaryIO, packing: str, needed: int, path: Path) -> int:
    """Bytes that the compressed stream holds, read to its checksum; at most a little more than `needed`."""
    unpack = zlib.decompressobj(zlib.MAX_WBITS | (16 if packing == "gzip" else 0))
    found = 0
    try:
        while not unpack.eof and found <= needed:
            packed = unpack.unconsumed_tail or stream.read(_CHUNK)
            if not packed:
                return min(found, needed - 1)  # without its end the checksum is missing too
            found += len(unpack.decompress(packed, _CHUNK))
    except zlib.error as error:
        raise SamAdaptError(
            f"{path.name} is damaged: its compressed voxels cannot be unpacked. Copy it again."
        ) from error
    return found


def _nrrd(stream: BinaryIO, path: Path) -> _Stored:
    lines = _header_lines(stream, path, last=lambda line: not line)
    if not lines or not lines[0].startswith("NRRD000"):
        raise SamAdaptError(f"{path.name} is not an NRRD file, or its header is damaged.")
    fields = {key.strip().lower(): value.strip() for key, colon, value in _split(lines[1:], ":") if colon}
    try:
        sizes = [int(size) for size in fields["sizes"].split()]
        smallest = min(sizes)
        needed = math.prod(sizes) * _NRRD_BYTES[fields["type"].lower()]
        packing = _NRRD_PACKING[fields["encoding"].lower()]
        skip = int(fields.get("byte skip", fields.get("byteskip", "0")))
    except (KeyError, ValueError) as error:
        raise SamAdaptError(
            f"The NRRD header of {path.name} lacks a usable sizes, type or encoding field."
        ) from error
    detached = fields.get("data file", fields.get("datafile", ""))
    if detached.upper().startswith("LIST") or "%" in detached:
        raise SamAdaptError(f"{path.name} spreads its voxels over several files: save it as one .nrrd file.")
    data_path, start = (path.parent / detached, 0) if detached else (path, stream.tell())
    if smallest < 1 or skip or {"line skip", "lineskip"} & fields.keys():
        raise SamAdaptError(
            f"{path.name} skips part of its voxel data, which is not supported: save it anew."
        )
    _check_units(re.findall(r'"([^"]*)"', fields.get("space units", "")), path)
    spatial = fields.get("space", "").lower() in _PATIENT_SPACES
    stated = Stated(spatial, "list" in fields.get("kinds", "").lower().split())
    return _Stored(data_path, start, needed, packing, stated)


def _meta(stream: BinaryIO, path: Path) -> _Stored:
    lines = _header_lines(
        stream, path, last=lambda line: line.replace(" ", "").startswith("ElementDataFile=")
    )
    fields = {key.strip(): value.strip() for key, equals, value in _split(lines, "=") if equals}
    try:
        sizes = [int(size) for size in fields["DimSize"].split()]
        smallest = min(sizes)
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        needed = math.prod(sizes) * channels * _META_BYTES[fields["ElementType"].removesuffix("_ARRAY")]
        data_file = fields["ElementDataFile"]
    except (KeyError, ValueError) as error:
        raise SamAdaptError(f"{path.name} is not a MetaImage file, or its header is damaged.") from error
    if data_file.upper().startswith("LIST") or "%" in data_file:
        raise SamAdaptError(f"{path.name} spreads its voxels over several files: save it as one .mha file.")
    local = data_file.upper() == "LOCAL"
    data_path, start = (path, stream.tell()) if local else (path.parent / data_file, 0)
    packing = "zlib" if fields.get("CompressedData", "").lower() == "true" else "raw"
    if fields.get("BinaryData", "True").lower() != "true":
        packing = "text"
    if smallest < 1 or fields.get("HeaderSize", "0") != "0":
        raise SamAdaptError(
            f"{path.name} has sizes {sizes} or a header size, which is not supported: save it anew."
        )
    if any(
        fields.get(f"ElementToIntensityFunction{name}", plain).split() not in ([plain], [f"{plain}.0"])
        for name, plain in (("Slope", "1"), ("Offset", "0"))
    ):
        raise SamAdaptError(f"{path.name} scales its values, which cannot be read: save the scaled values.")
    spatial = bool({"Offset", "Position", "Origin", "TransformMatrix"} & fields.keys())
    _check_units([fields.get("DistanceUnits", "").removeprefix("MET_")], path)
    return _Stored(data_path, start, needed, packing, Stated(spatial))


def _check_units(units: list[str], path: Path) -> None:
    """Refuse lengths in another unit: ITK, and what builds on it, takes every number for mm."""
    for unit in units:
        if unit.strip().lower() not in _MM:
            raise SamAdaptError(
                f"{path.name} states its lengths in {unit[:20]!r}, which other programs take for mm: save it in mm."
            )


def _split(lines: list[str], mark: str) -> list[tuple[str, str, str]]:
    return [line.partition(mark) for line in lines]


def _header_lines(stream: BinaryIO, path: Path, last: Callable[[str], bool]) -> list[str]:
    """Text lines up to and with the last one; the stream stands behind it."""
    lines: list[str] = []
    while stream.tell() < _LONGEST_HEADER and (raw := stream.readline(_LONGEST_HEADER)):
        lines.append(raw.decode("latin-1").rstrip("\r\n"))
        if last(lines[-1]):
            break
    return lines
