"""What a weights file may look like before a library opens it, so that a hostile one costs neither memory nor time."""

import pickletools
import struct
import zipfile
from pathlib import Path
from typing import IO

from napari_samadapt.imaging.errors import SamAdaptError

_LARGEST_HEADER = 16 << 20  # bytes; SAM's names and shapes take 0.1 MB
_MOST_STEPS = 500_000  # of the unpickler; a SAM takes 40,000
_MOST_RECORDS = 0xFFFF
_ZIP_END = b"PK\x05\x06"
_LONGEST_ZIP_END = (1 << 16) + 22
_PICKLES_IN_OLD_FILES = 5


class CheckpointError(SamAdaptError):
    """A weights file or its download cannot be used."""


def check_header(path: Path) -> None:
    """Raise CheckpointError for a safetensors file whose header is longer than that of any model."""
    with path.open("rb") as stream:
        start = stream.read(8)
    if len(start) == 8 and struct.unpack("<Q", start)[0] > _LARGEST_HEADER:
        raise CheckpointError(f"{path.name} has a header longer than that of any model; it was not loaded.")


def check_archive(path: Path) -> None:
    """Raise CheckpointError for a zip file that PyTorch did not write.

    PyTorch stores its records uncompressed, so they unpack to no more than the file's size.
    """
    try:
        if _is_crowded(path):
            raise CheckpointError(f"{path.name} has more parts than any model; it was not loaded.")
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(record.file_size for record in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path.name} is damaged or cut short. Get the weights file again.") from error
    if unpacked > path.stat().st_size:
        raise CheckpointError(
            f"{path.name} unpacks to {unpacked} bytes, more than it holds; it was not loaded."
        )


def _is_crowded(path: Path) -> bool:
    """Whether the list of a zip file's records is longer than any model's; zipfile would read all of it."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - _LONGEST_ZIP_END))
        end = stream.read()
    at = end.rfind(_ZIP_END)
    if at < 0 or len(end) - at < 22:
        return False
    records, list_bytes = struct.unpack("<HI", end[at + 10 : at + 16])
    return bool(records >= _MOST_RECORDS or list_bytes > _LARGEST_HEADER)


def check_steps(path: Path, *, zipped: bool) -> None:
    """Raise CheckpointError for a file whose pickles have more steps than a model needs. Nothing is unpickled."""
    if not zipped:
        with path.open("rb") as stream:
            _count_steps(stream, path, _PICKLES_IN_OLD_FILES)
        return
    with zipfile.ZipFile(path) as archive:
        for record in archive.namelist():
            if record.endswith(".pkl"):
                with archive.open(record) as stream:
                    _count_steps(stream, path, 1)


def _count_steps(stream: IO[bytes], path: Path, pickles: int) -> None:
    steps = 0
    try:
        for _ in range(pickles):
            for _ in pickletools.genops(stream):
                steps += 1
                if steps > _MOST_STEPS:
                    raise CheckpointError(
                        f"{path.name} lists more things than any model has; it was not loaded."
                    )
    except CheckpointError:
        raise
    except (ValueError, OSError, zipfile.BadZipFile):  # no pickle: the reader will say so
        return
