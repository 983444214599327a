"""Write the bundled sample data, which is procedural: python resources/make_samples.py [FOLDER]."""

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.phantom import ct_phantom, mr_phantom, ultrasound_phantom
from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.imaging.volume import Volume
from napari_samadapt.imaging.writing import write_labels

CT_SEED, MR_SEED, ULTRASOUND_SEED = 1, 5, 1
ALIGNED = 2
"""NIfTI's code for a position that no scanner gave."""


def make_samples(folder: Path) -> None:
    """CT, MR and ultrasound with their labels (NIfTI) and the labels' names (JSON)."""
    for name, phantom in (("ct", ct_phantom(CT_SEED)), ("mr", mr_phantom(MR_SEED))):
        volume, labels, names = phantom
        path = folder / f"sample_{name}.nii.gz"
        _write_nifti(path, volume)
        _write_labels(path, labels, names)
    volume, labels, names = ultrasound_phantom(ULTRASOUND_SEED)
    path = folder / "sample_ultrasound.png"
    _write_png(path, volume.data[0])
    _write_labels(path, labels, names)


def _write_nifti(path: Path, volume: Volume) -> None:
    import nibabel as nib

    nifti: Any = nib  # has no types
    image = nifti.Nifti1Image(volume.data.transpose(2, 1, 0), volume.affine)
    image.set_sform(volume.affine, ALIGNED)
    image.set_qform(volume.affine, ALIGNED)
    image.header.set_xyzt_units("mm")
    path.write_bytes(gzip.compress(image.to_bytes(), 9, mtime=0))


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    from skimage.io import imsave

    imsave(path, image, check_contrast=False)


def _write_labels(path: Path, labels: NDArray[np.uint8], names: dict[int, str]) -> None:
    stem = path.name.partition(".")[0]
    write_labels(path.with_name(f"{stem}_labels.nii.gz"), labels, read_volume(path), names)


if __name__ == "__main__":
    make_samples(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
