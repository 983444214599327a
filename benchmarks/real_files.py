"""What becomes of real files: read correctly, asked about, or refused, and why.

    python benchmarks/real_files.py [--data ../shared/data] [--all]

Walks a folder of NIfTI, NRRD, MetaImage, DICOM and picture files, opens each file and each DICOM series, and compares:
NIfTI with nibabel (position and values), DICOM pixels with pydicom where pydicom decodes them, DICOM series with the
NIfTI beside them that is known to be right, and files of one image in several transfer syntaxes with each other. Prints
a table of what was asked or refused (of all files with --all), and how many ordinary files were refused wrongly.
"""

import argparse
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.questions import QuestionError
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import Volume

nibabel: Any = import_module("nibabel")  # its types do not cover what is used here

SUFFIXES = (".nii", ".gz", ".nrrd", ".mha", ".mhd", ".dcm", ".png", ".jpg", ".tif", ".tiff", ".mgz")
LABEL_WORDS = ("seg", "mask", "label", "mnia", "totalseg")
ODD = ("pydicom+pydicom", "failing", "not-nifti", "truncated")
"""Parts of paths of files that are odd on purpose; all others are ordinary."""
NOT_IMAGES = ("SEG", "RTDOSE", "RTPLAN", "RTSTRUCT", "SR")


@dataclass(frozen=True)
class Outcome:
    """What became of one file: "correct", "asked", "refused" or "WRONG", the reason, and what it was compared with."""

    path: Path
    result: str
    reason: str = ""
    compared: str = ""


def outcome(path: Path) -> Outcome:
    """Open a file as what it is, and compare it."""
    try:
        volume = read_volume(path)
        compared = wrong = ""
        if path.name.endswith((".nii", ".nii.gz")):
            compared, wrong = "nibabel", against_nibabel(path, volume)
        elif path.suffix == ".dcm":
            compared, wrong = against_pydicom(path, volume)
        if any(word in "/".join(path.parts[-2:]).lower() for word in LABEL_WORDS) and not is_an_image(path):
            read_labels(path)
    except QuestionError as error:
        return Outcome(path, "asked", error.question.text)
    except SamAdaptError as error:
        return Outcome(path, "refused", str(error))
    return Outcome(path, "WRONG" if wrong else "correct", wrong, compared)


def is_an_image(path: Path) -> bool:
    """A file whose name has a word of label files, and that is none."""
    return path.name.endswith("_ct.nii.gz") or path.suffix == ".dcm"


def against_nibabel(path: Path, volume: Volume) -> str:
    """What differs from nibabel; empty where nothing does."""
    image = nibabel.load(path)
    if not np.allclose(volume.affine, image.affine, atol=1e-4):
        return "the position differs from nibabel's"
    if volume.is_color:
        return ""
    expected = image.get_fdata().reshape(volume.shape[::-1]).T
    return "" if np.allclose(volume.data, expected, rtol=1e-5, atol=1e-5, equal_nan=True) else "values differ"


def against_pydicom(path: Path, volume: Volume) -> tuple[str, str]:
    """What the pixels were compared with, and what differs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(path, force=True)
        try:
            pixels = header.pixel_array
        except Exception:  # noqa: BLE001  # whatever a decoder that is not here raises
            return "", ""
    if volume.is_color or "PerFrameFunctionalGroupsSequence" in header:
        return "", ""  # pydicom leaves palettes, YBR and the order and scaling of frames as they are stored
    expected = pixels.reshape(volume.shape).astype(float)
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        expected = 2.0 ** int(header.BitsStored) - 1 - expected
    expected = expected * float(header.get("RescaleSlope") or 1) + float(header.get("RescaleIntercept") or 0)
    same = np.allclose(volume.data, expected, rtol=1e-5, atol=1e-3)
    return "pydicom", "" if same else f"values differ by up to {np.abs(volume.data - expected).max():g}"


def files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            yield path


def series_with_truth(folder: Path) -> Iterator[tuple[Path, Path]]:
    """DICOM folders and the NIfTI files that are known to be right."""
    for truth in sorted(folder.rglob("*_ground_truth.nii*")):
        series = truth.with_name(truth.name.split("_ground_truth")[0])
        if series.is_dir():
            yield series, truth


def against_truth(series: Path, truth: Path) -> Outcome:
    """A DICOM series against its NIfTI: every voxel at the same place with the same value."""
    try:
        volume, right = read_volume(series), read_volume(truth)
    except QuestionError as error:
        return Outcome(series, "asked", error.question.text)
    except SamAdaptError as error:
        return Outcome(series, "refused", str(error))
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in volume.shape[::-1]), indexing="ij"), -1).reshape(
        -1, 3
    )
    there = nibabel.affines.apply_affine(np.linalg.inv(right.affine) @ volume.affine, voxels)
    i, j, k = np.rint(there).astype(int).T
    ours: NDArray[Any] = volume.data[voxels[:, 2], voxels[:, 1], voxels[:, 0]].astype(float)
    if np.abs(there - np.rint(there)).max() > 1e-2:
        return Outcome(series, "WRONG", "the grids differ")
    same = np.allclose(ours, right.data[k, j, i], rtol=1e-5, atol=1e-3)
    return Outcome(series, "correct" if same else "WRONG", "" if same else "the values differ", "true NIfTI")


def transfer_syntaxes(folder: Path) -> str:
    """Whether the files of one image in several transfer syntaxes have the same pixels."""
    codings: dict[str, NDArray[Any]] = {}
    for path in sorted(folder.glob("*.dcm")):
        coding = str(pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID.name)
        codings[f"{path.name} {coding}"] = read_volume(path).data
    first, *others = codings.values()
    same = all(np.array_equal(first, other) for other in others)
    return (
        f"{len(codings)} files in {len({name.split(' ', 1)[1] for name in codings})} transfer syntaxes: "
        + ("equal pixels" if same else "DIFFERENT pixels")
    )


def refused_wrongly(results: list[Outcome]) -> tuple[int, int]:
    """Ordinary image files that were refused, and how many ordinary ones there are."""
    ordinary = [r for r in results if not any(part in str(r.path) for part in ODD) and not _no_image(r)]
    return sum(r.result == "refused" for r in ordinary), len(ordinary)


def _no_image(result: Outcome) -> bool:
    return any(f"({kind})" in result.reason for kind in NOT_IMAGES)


def print_outcomes(results: list[Outcome], folder: Path) -> None:
    for result in results:
        name = str(result.path.relative_to(folder))
        print(f"{name[-60:]:60} {result.result:8} {result.compared or '-':11} {result.reason}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--all", action="store_true", help="list the files that were read correctly too")
    options = parser.parse_args()
    results = [outcome(path) for path in files_below(options.data)]
    print_outcomes([r for r in results if options.all or r.result != "correct"], options.data)
    print()
    truths = [against_truth(*pair) for pair in series_with_truth(options.data)]
    failing = [
        outcome(path) for path in sorted(options.data.glob("*/tests/data/failing/*/*")) if path.is_dir()
    ]
    print_outcomes([*truths, *failing], options.data)
    print()
    for folder in sorted(options.data.glob("*dcm_qa_ts/In")):
        print(transfer_syntaxes(folder))
    counts, compared = Counter(r.result for r in results), Counter(r.compared for r in results if r.compared)
    print(f"{len(results)} files: {dict(counts)}; compared with {dict(compared)}")
    print(f"{len(truths)} series with a true NIfTI: {dict(Counter(r.result for r in truths))}")
    wrong, ordinary = refused_wrongly(results)
    print(f"{wrong} of {ordinary} ordinary files refused ({100 * wrong / max(1, ordinary):.1f} %)")


if __name__ == "__main__":
    main()
