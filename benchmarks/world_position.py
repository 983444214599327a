"""Exported masks lie where their sources lie, in nibabel and in SimpleITK.

    python benchmarks/world_position.py [--data ../shared/data]

For an oblique, an anisotropic, a PIR and a DICOM source: read it, write a mask through the export, open the mask in
both libraries, and print the largest distance of the eight corners from the source's, and the number of 400 random
voxels whose label differs at the same world point.
"""

import argparse
import tempfile
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.imaging.volume import Volume
from napari_samadapt.imaging.writing import write_labels

nibabel: Any = import_module("nibabel")  # its types do not cover what is used here

SOURCES = {
    "oblique": "neurolabusc+niivue-images",
    "anisotropic": "AIM-Harvard+pyradiomics",
    "PIR": "Hendrik-code+TPTBox",
    "DICOM": "fepegar+torchio/tests/image_data/dicom",
}


def first_source(kind: str, data: Path) -> Volume:
    """The first volume below the folder that is what its name says."""
    folder = data / SOURCES[kind]
    if kind == "DICOM":
        return read_volume(folder)
    for path in sorted(p for p in folder.rglob("*") if p.name.endswith((".nii", ".nii.gz", ".nrrd"))):
        try:
            volume = read_volume(path)
        except ValueError:
            continue
        if _matches(kind, volume):
            return volume
    raise SystemExit(f"no {kind} volume below {folder}")


def _matches(kind: str, volume: Volume) -> bool:
    if min(volume.shape) < 5 or not volume.spatial or volume.is_color:
        return False
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    if kind == "oblique":
        return bool((np.abs(directions).max(axis=0) < 0.99).any())
    if kind == "anisotropic":
        return max(volume.spacing) > 4 * min(volume.spacing)
    return "".join(nibabel.aff2axcodes(volume.affine)) == "PIR"


def corners(shape_zyx: tuple[int, ...]) -> NDArray[np.float64]:
    """(8, 4) homogeneous voxel indices (x, y, z, 1)."""
    return np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in shape_zyx[::-1]))], float)


def itk_affine(image: Any) -> NDArray[np.float64]:
    """Voxel (x, y, z) to RAS mm of a SimpleITK image (LPS)."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1, 1, 1]) @ affine


def check(volume: Volume, folder: Path) -> tuple[float, int]:
    """Largest corner distance in mm and wrong labels, over both libraries."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, volume.shape).astype(np.uint16)
    path = write_labels(folder / "mask.nii.gz", labels, volume)
    as_nibabel, as_itk = nibabel.load(path), sitk.ReadImage(str(path))
    expected = corners(volume.shape) @ volume.affine.T
    affines = (as_nibabel.affine, itk_affine(as_itk))
    distance = max(np.abs(corners(volume.shape) @ affine.T - expected).max() for affine in affines)
    arrays = (np.asarray(as_nibabel.dataobj).reshape(volume.shape[::-1]).T, sitk.GetArrayFromImage(as_itk))
    points = tuple(rng.integers(0, n, 400) for n in volume.shape)
    world = np.stack([*points[::-1], np.ones(400)], 1) @ volume.affine.T
    wrong = 0
    for affine, array in zip(affines, arrays, strict=True):
        found = np.rint(world @ np.linalg.inv(affine).T)[:, 2::-1].astype(int)
        wrong += int((array[tuple(found.T)] != labels[points]).sum())
    return float(distance), wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    for kind in SOURCES:
        volume = first_source(kind, options.data)
        with tempfile.TemporaryDirectory() as folder:
            distance, wrong = check(volume, Path(folder))
        codes = "".join(nibabel.aff2axcodes(volume.affine))
        name = volume.source.path.name if volume.source.path else ""
        print(f"{kind:12} {name:32} {codes} {volume.shape}: {distance:.1e} mm, {wrong} of 800 labels differ")


if __name__ == "__main__":
    main()
