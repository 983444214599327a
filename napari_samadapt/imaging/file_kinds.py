"""Which files are images, told by the endings of their names; DICOM also by its mark. Imports nothing heavy."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

SUPPORTED = "NIfTI (.nii, .nii.gz), NRRD, MHA, MHD, DICOM (file or folder), PNG, JPEG, TIFF"
ENDINGS = {
    ".nii": "nifti", ".nii.gz": "nifti",
    ".nrrd": "nrrd", ".nhdr": "nrrd", ".mha": "mha", ".mhd": "mha",
    ".png": "image", ".jpg": "image", ".jpeg": "image", ".tif": "image", ".tiff": "image",
    ".dcm": "dicom", ".dicom": "dicom", ".ima": "dicom",
}  # fmt: skip
"""The endings of files that can be read, and the reader of each; napari.yaml lists them too."""
PATTERNS = " ".join(f"*{ending}" for ending in ENDINGS)
"""All of them, as a file dialog takes them."""
_LOOKED_AT = 50  # files of a folder


def suffix_of(path: Path) -> str:
    """The ending that names the format, in lower case: ".nii.gz" as a whole."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def named_dicom(path: Path) -> bool:
    """True for a name with one of DICOM's endings."""
    return ENDINGS.get(suffix_of(path)) == "dicom"


def marked_dicom(path: Path) -> bool:
    """True for a file that begins as DICOM files do. Raises OSError where it cannot be read."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def is_dicom(path: Path) -> bool:
    """True for a file with the DICOM mark, or with a DICOM ending and no mark."""
    return marked_dicom(path) or named_dicom(path)


def holds_dicom(folder: Path) -> bool:
    """True when one of the first files of `folder` is a DICOM file. Raises OSError where it cannot be read."""
    return any(
        named_dicom(entry) or (entry.is_file() and marked_dicom(entry))
        for entry in islice(sorted(folder.iterdir()), _LOOKED_AT)
    )
