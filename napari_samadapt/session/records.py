"""Records in a file: JSON and arrays, with length and checksum, so that a torn last one is told from a whole one.

Nothing that is read is ever run: arrays are packed numbers of a few known types, of the size that they claim.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_FRAME = struct.Struct("<QI")  # bytes of the record, and their crc32
_TYPES = {"bool", "uint16", "int64", "float32"}
_LARGEST = 2**36  # bytes of one array: no volume that fits into memory has more


@dataclass
class Packer:
    """Collects the arrays of one record; an array that comes twice is written once."""

    _parts: list[bytes] = field(default_factory=list)
    _places: dict[int, int] = field(default_factory=dict)
    _alive: list[NDArray[Any]] = field(default_factory=list)  # as long as their ids are in use

    def put(self, array: NDArray[Any]) -> dict[str, Any]:
        """What stands for the array in the JSON."""
        if id(array) not in self._places:
            self._places[id(array)] = len(self._parts)
            self._alive.append(array)
            bare = np.packbits(array) if array.dtype == bool else np.ascontiguousarray(array)
            self._parts.append(zlib.compress(bare.reshape(-1).view(np.uint8).data, 1))
        return {"part": self._places[id(array)], "type": array.dtype.name, "shape": list(array.shape)}

    def record(self, content: dict[str, Any]) -> bytes:
        """The record as it is written."""
        head = json.dumps([content, [len(part) for part in self._parts]]).encode()
        body = b"".join((struct.pack("<I", len(head)), head, *self._parts))
        return _FRAME.pack(len(body), zlib.crc32(body)) + body


@dataclass(frozen=True)
class Record:
    """A record that was read: its JSON, and its arrays."""

    content: dict[str, Any]
    _parts: tuple[bytes, ...] = field(repr=False)

    def get(self, placed: dict[str, Any]) -> NDArray[Any]:
        """The array that this stands for; ValueError where it is not what it claims to be."""
        name, shape = placed["type"], tuple(int(size) for size in placed["shape"])
        if name not in _TYPES or min(shape, default=0) < 0:
            raise ValueError(f"an array of {name} {shape}")
        count = math.prod(shape)
        size = -(-count // 8) if name == "bool" else count * np.dtype(name).itemsize
        if size > _LARGEST:
            raise ValueError(f"an array of {size} bytes")
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(self._parts[placed["part"]], size + 1)
        if len(data) != size or unpacking.unconsumed_tail:
            raise ValueError("an array of another size than it says")
        if name == "bool":
            return np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(bool).reshape(shape)
        return np.frombuffer(data, name).reshape(shape)


def read_records(stream: BinaryIO, end: int | None = None) -> Iterator[tuple[Record, int]]:
    """The whole records from here on (up to the byte `end`), each with the place in the stream after it.

    Ends quietly at the first one that is torn or damaged.
    """
    while True:
        frame = stream.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            return
        size, checksum = _FRAME.unpack(frame)
        if size > _remaining(stream):
            return
        body = stream.read(size)
        if zlib.crc32(body) != checksum or (end is not None and stream.tell() > end):
            return
        try:
            record = _parsed(body)
        except (ValueError, TypeError, IndexError, struct.error):
            return
        yield record, stream.tell()


def _parsed(body: bytes) -> Record:
    (length,) = struct.unpack_from("<I", body)
    content, sizes = json.loads(body[4 : 4 + length])
    if not isinstance(content, dict):
        raise ValueError("no record")
    parts, place = [], 4 + length
    for size in sizes:
        parts.append(body[place : place + size])
        place += size
    return Record(content, tuple(parts))


def _remaining(stream: BinaryIO) -> int:
    here = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(here)
    return end - here
