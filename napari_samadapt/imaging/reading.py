"""A file or folder becomes a Volume, or one plain sentence says why not.

The ending of the name chooses the reader; for DICOM also the content, as DICOM files often have no ending.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .file_kinds import ENDINGS, SUPPORTED, marked_dicom, suffix_of
from .label_coding import label_dtype, to_labels
from .label_grid import on_grid
from .questions import Answers
from .volume import Volume

__all__ = ["label_dtype", "read_labels", "read_volume"]

_STRAIGHT_DEGREES = 0.5
_NO_VALUE = 1e30  # some programs write 3.4e38 where nothing was measured


def read_volume(path: str | PathLike[str], *, choices: Mapping[str, str] | None = None) -> Volume:
    """Read an image: NIfTI, NRRD, MHA or MHD, a DICOM file or folder, PNG, JPEG or TIFF.

    Where the file can be understood in several ways, QuestionError carries the question; read again with its
    answer in `choices`, {name of the question: value of a choice}. Raises SamAdaptError, one plain sentence, for
    anything that cannot be read completely and placed safely.
    """
    answers = Answers(choices)
    volume = _read(Path(path).expanduser(), answers, exact=False)
    notes = (*volume.source.notes, *_noticed(volume))
    return _with_answers(Volume(volume.data, volume.affine, replace(volume.source, notes=notes)), answers)


def read_labels(
    path: str | PathLike[str],
    reference: Volume | None = None,
    *,
    choices: Mapping[str, str] | None = None,
) -> tuple[NDArray[Any], Volume]:
    """Read a label map: its ids (z, y, x) in the smallest unsigned integer type, and its volume.

    Values within 1e-3 of a whole number are rounded (the volume's notes say so). With `reference`, the result
    lies on the grid of the reference. Raises QuestionError, as `read_volume` does, for masks and colours that can
    mean several things and for labels of another grid; SamAdaptError for what is no label map.
    """
    path = Path(path).expanduser()
    answers = Answers(choices)
    volume = _read(path, answers, exact=True)
    labels, notes = to_labels(volume.data, path, answers)
    volume = Volume(labels, volume.affine, replace(volume.source, notes=(*volume.source.notes, *notes)))
    if reference is not None:
        volume = _on_reference(volume, reference, path, answers)
    return volume.data, _with_answers(volume, answers)


def _on_reference(labels: Volume, reference: Volume, path: Path, answers: Answers) -> Volume:
    placed, notes = on_grid(labels, reference, path, answers)
    if not notes:
        return labels
    source = replace(
        labels.source,
        notes=(*labels.source.notes, *notes),
        resampled=answers.used.get("grid") == "resample",
        header=None,
        frames=(),
    )
    return Volume(placed, reference.affine, source)


def _noticed(volume: Volume) -> Iterator[str]:
    """What the user should know of any volume that lies askew or holds voxels without a value."""
    if volume.spatial and volume.obliquity > _STRAIGHT_DEGREES:
        yield (
            f"The scan lies {volume.obliquity:.4g}° oblique: it is shown along its own axes, and masks keep its "
            "true position."
        )
    if volume.data.dtype.kind == "f":
        invalid = sum(int(np.count_nonzero(~(np.abs(plane) < _NO_VALUE))) for plane in volume.data)
        if invalid:
            yield (
                f"{invalid:,} voxels hold no value (NaN, infinite or beyond {_NO_VALUE:g}); they do not count for "
                "the grey values."
            )


def _with_answers(volume: Volume, answers: Answers) -> Volume:
    """The volume with the answers that it took to read it."""
    return Volume(volume.data, volume.affine, replace(volume.source, choices=tuple(answers.used.items())))


def _read(path: Path, answers: Answers, *, exact: bool) -> Volume:
    try:
        return _read_as(_format_of(path), path, answers, exact=exact)
    except MemoryError as error:
        raise SamAdaptError(
            f"{path.name} does not fit into memory: crop it or close other programs."
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise SamAdaptError(f"{path.name} cannot be read: {reason}.") from error


def _read_as(kind: str, path: Path, answers: Answers, *, exact: bool) -> Volume:
    """Import only the reader that is needed."""
    if kind == "nifti":
        from .nifti import read_nifti

        return read_nifti(path, answers, exact=exact)
    if kind == "image":
        from .pictures import read_picture

        return read_picture(path, answers, exact=exact)
    if kind == "dicom":
        from .dicom import read_dicom

        return read_dicom(path, answers)
    from .native import read_native

    return read_native(path, kind, answers)


def _format_of(path: Path) -> str:
    """Which reader; SamAdaptError for what is missing, empty or unknown."""
    if not path.exists():
        raise SamAdaptError(
            f"{path.name} does not exist in {path.parent}: check the spelling and the folder."
        )
    if path.is_dir():
        return "dicom"
    if not path.is_file():
        raise SamAdaptError(f"{path.name} is neither a file nor a folder.")
    if path.stat().st_size == 0:
        raise SamAdaptError(f"{path.name} is empty (0 bytes): copy it again.")
    if (kind := ENDINGS.get(suffix_of(path))) is not None:
        return kind
    if marked_dicom(path):
        return "dicom"
    raise SamAdaptError(f"{path.name} is of no supported kind; supported are {SUPPORTED}.")
