"""Exports onto disks that fail, and exports that are killed: the old file or the new one, never half of one.

    python benchmarks/export_faults.py [--kills 50] [--formats .nii .nii.gz .nrrd .mha .dcm]

For every format: a file of masks is there already, and another is exported over it while

- the system refuses to let a file grow beyond 0, 1,000, 50,000 and n - 1 bytes (RLIMIT_FSIZE), n being the size of the
  finished file,
- every write goes to /dev/full,
- the disk is a file system of 64 KiB that is full (Linux, where a user may make one).

Each must end in an error that says so, with the old file unchanged to the byte and nothing else in the folder. Then a
process that exports two versions in turns is killed (SIGKILL) at a random time, again and again: the file must hold one
of the two whole. Prints JSON. Needs Linux.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging import writing
from napari_samadapt.imaging.dicom_seg import read_dicom_seg
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.saving import part_beside
from napari_samadapt.imaging.volume import Volume
from napari_samadapt.imaging.writing import WRITABLE, write_labels

SHAPE = (24, 160, 192)
LIMITS = ("0", "1000", "50000", "n-1")
_NAMES = {1: "liver", 2: "spleen"}
_FULL_DISK_BYTES = 64 << 10
_WAIT_SECONDS = 60.0
_SPREAD = 1.3  # kills fall into the first two exports and the time between


def dicom_series(folder: Path) -> Volume:
    """A CT of SHAPE as DICOM files, read."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir()
    for index in range(SHAPE[0]):
        image, uid = pydicom.Dataset(), UID(f"1.2.3.4.{index + 1}")
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = uid
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = "1.2.1", "1.2.2", "1.2.3"
        image.Modality, image.Rows, image.Columns = "CT", *SHAPE[1:]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 2.5 * index], [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.SliceThickness = [0.8, 0.8], 2.5
        image.PixelData = bytes(2 * SHAPE[1] * SHAPE[2])
        image.save_as(folder / f"{index:03}.dcm", enforce_file_format=True)
    return read_volume(folder)


def versions() -> tuple[NDArray[Any], NDArray[Any]]:
    """Two label maps (z, y, x) that differ in most voxels and do not compress well."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 3, SHAPE).astype(np.uint8), rng.integers(0, 3, SHAPE).astype(np.uint8)


def read_back(path: Path, volume: Volume) -> NDArray[Any]:
    """The labels in a file that was exported for `volume`; SamAdaptError where it is not whole."""
    if path.suffix == ".dcm":
        return read_dicom_seg(path, volume)[0]
    return read_labels(path, volume)[0]


def in_child(act: Callable[[], str]) -> str:
    """What `act` returns in a forked process; raises RuntimeError where that dies."""
    reading, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(writing_end, act().encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing_end)
    with os.fdopen(reading) as stream:
        told = stream.read()
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError("the export died instead of telling what is wrong")
    return told


def export(path: Path, labels: NDArray[Any], volume: Volume) -> str:
    """Export once; the message of the error, or nothing."""
    try:
        write_labels(path, labels, volume, _NAMES)
    except SamAdaptError as error:
        return str(error)
    return ""


def limited(path: Path, labels: NDArray[Any], volume: Volume, limit: int) -> str:
    """Export in a process whose files may not grow beyond `limit` bytes."""

    def act() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        return export(path, labels, volume)

    return in_child(act)


def to_dev_full(path: Path, labels: NDArray[Any], volume: Volume) -> str:
    """Export with every temporary file being a link to /dev/full."""
    beside, opened = part_beside, io.open

    def linked(target: Path) -> Path:
        part = beside(target)
        part.symlink_to("/dev/full")
        return part

    def over(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        return opened(file, mode.replace("x", "w"), *rest, **named)

    def act() -> str:
        vars(writing)["part_beside"], vars(io)["open"] = linked, over
        return export(path, labels, volume)

    return in_child(act)


def fails_safely(path: Path, fault: Callable[[], str]) -> str:
    """The error that `fault` ends in.

    Raises RuntimeError where there is none, or where anything in the folder has changed.
    """
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    said = fault()
    if not said:
        raise RuntimeError("the export told of no error")
    after = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    if before != after:
        raise RuntimeError("the folder is not as it was")
    return said


def faults(suffix: str, volume: Volume, folder: Path) -> dict[str, str]:
    """What each fault ends in, for one format."""
    old, new = versions()
    path = write_labels(folder / f"new{suffix}", new, volume, _NAMES)
    size = path.stat().st_size
    path = write_labels(folder / f"masks{suffix}", old, volume, _NAMES)
    told = {}
    for name in LIMITS:
        limit = size - 1 if name == "n-1" else int(name)
        told[f"limit {name}"] = fails_safely(path, partial(limited, path, new, volume, limit))
    told["/dev/full"] = fails_safely(path, lambda: to_dev_full(path, new, volume))
    return told


def full_disk(suffix: str) -> str:
    """Export onto a small file system that is full, in a namespace of our own.

    What it ends in; empty where the system does not allow that.
    """
    script = f'mount -t tmpfs -o size={_FULL_DISK_BYTES} none "$0" && exec "$@"'
    with tempfile.TemporaryDirectory() as folder:
        allowed = ["unshare", "-rm", "sh", "-c", script, folder, "true"]
        try:
            subprocess.run(allowed, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
        command = [*allowed[:-1], sys.executable, __file__, "--onto", folder, "--formats", suffix]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()


def onto(folder: Path, suffix: str) -> str:
    """Write small masks into `folder`, then masks that do not fit; the error."""
    with tempfile.TemporaryDirectory() as images:
        volume = dicom_series(Path(images) / "ct")
        small = np.zeros(SHAPE, np.uint8)
        small[0, 0, 0] = 1
        new = versions()[1]
        if suffix == ".nii":  # is never small
            (folder / "film.bin").write_bytes(bytes(_FULL_DISK_BYTES // 2))
            path = folder / "masks.nii"
            return fails_safely(path, lambda: in_child(lambda: export(path, new, volume)))
        path = write_labels(folder / f"masks{suffix}", small, volume, _NAMES)
        return fails_safely(path, lambda: in_child(lambda: export(path, new, volume)))


def killed(suffix: str, volume: Volume, folder: Path, count: int, seed: int = 0) -> dict[str, int]:
    """Kill an export `count` times; how often the file held the first version and how often the second.

    Raises RuntimeError where it held neither.
    """
    rng, both = np.random.default_rng(seed), versions()
    path = folder / f"masks{suffix}"
    write_labels(path, both[0], volume, _NAMES)
    start = time.perf_counter()
    write_labels(path, both[0], volume, _NAMES)
    usual = time.perf_counter() - start
    found = {"first": 0, "second": 0, "unfinished": 0}
    for _ in range(count):
        _kill_one(path, both, volume, float(rng.uniform(0, 2 * _SPREAD * usual)))
        left = [file for file in folder.iterdir() if ".part" in file.name]
        found["unfinished"] += bool(left)
        for file in left:
            file.unlink()
        labels = read_back(path, volume)
        which = [bool((labels == version).all()) for version in both]
        if sum(which) != 1:
            raise RuntimeError(f"{suffix}: the file is neither the old nor the new one")
        found["first" if which[0] else "second"] += 1
        if writing.label_names(path) != _NAMES:
            raise RuntimeError(f"{suffix}: the names are not whole")
    return found


def _kill_one(path: Path, both: tuple[NDArray[Any], NDArray[Any]], volume: Volume, seconds: float) -> None:
    """Export in turns in a process and its helpers, and kill them all after so many seconds."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        while True:
            for version in both[::-1]:
                export(path, version, volume)
    os.setpgid(child, child)
    time.sleep(seconds)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    end = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < end:  # helpers of the child die with it
        try:
            os.killpg(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.005)


def main() -> None:
    """Read the command line, run, print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--formats", nargs="+", default=list(WRITABLE), choices=WRITABLE)
    parser.add_argument("--onto", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.onto is not None:
        sys.stdout.write(onto(given.onto, given.formats[0]))
        return
    told = {}
    with tempfile.TemporaryDirectory() as made:
        volume = dicom_series(Path(made) / "ct")
        for suffix in given.formats:
            folder = Path(made) / suffix.strip(".")
            folder.mkdir()
            told[suffix] = {
                "errors": {**faults(suffix, volume, folder), "full disk": full_disk(suffix)},
                f"after {given.kills} kills": killed(suffix, volume, folder, given.kills),
            }
    json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
