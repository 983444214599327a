"""Masks leave the window: which kind of file, what of the patient goes with it, and what lies there already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import Volume

from .contributions import volume_name
from .posting import Background

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session

_KINDS = "NIfTI (*.nii.gz *.nii);;NRRD with segment names (*.nrrd);;MetaImage (*.mha)"
_DICOM = "DICOM segmentation (*.dcm)"
_EACH = "One NIfTI file per class (*.nii.gz)"
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".dcm")
_SHOWN_FILES = 6


@dataclass(frozen=True)
class MaskTarget:
    """Where masks go: `each` class into a file of its own beside `path`; `identity`: the patient into a DICOM-SEG."""

    path: Path
    each: bool = False
    identity: bool = False


class NotExportedError(SamAdaptError):
    """Masks could not be written; they are still in the session."""


def ask_target(parent: QWidget, session: Session) -> MaskTarget | None:
    """Ask where the masks go, and as what; None where the user cancels."""
    if not _may_be_incomplete(parent, session.unseen):
        return None
    volume = session.volume
    kinds = f"{_KINDS};;{_DICOM};;{_EACH}" if volume.source.frames else f"{_KINDS};;{_EACH}"
    name, chosen = QFileDialog.getSaveFileName(
        parent, "Export masks", str(suggested_mask_path(volume)), kinds
    )
    if not name:
        return None
    path = with_suffix(Path(name), chosen)
    each = chosen == _EACH
    asked = [] if each else [Path(name)]  # the dialog itself asked about this one
    files = _files_of(path, session) if each else [path]
    if not _may_replace(parent, [file for file in files if file not in asked]):
        return None
    if path.suffix.lower() != ".dcm":
        return MaskTarget(path, each)
    identity = _asked_identity(parent)
    return None if identity is None else MaskTarget(path, each, identity)


def _may_be_incomplete(parent: QWidget, unseen: int) -> bool:
    """Ask where slices still wait for their first prediction along the axis."""
    if not unseen:
        return True
    slices = "One slice has" if unseen == 1 else f"{unseen} slices have"
    box = QMessageBox(parent)
    box.setWindowTitle("Export before all slices are predicted?")
    box.setText(f"{slices} no prediction yet.")
    box.setInformativeText("What is predicted there in a moment would not be in the file.")
    wait = box.addButton("Wait", QMessageBox.ButtonRole.RejectRole)
    now = box.addButton("Export now", QMessageBox.ButtonRole.AcceptRole)
    box.setDefaultButton(wait)
    box.exec()
    return box.clickedButton() is now


def _files_of(path: Path, session: Session) -> list[Path]:
    from napari_samadapt.imaging.writing import each_label_path

    names = {shown.id: shown.name for shown in session.classes}
    return [each_label_path(path, int(label), names) for label in np.unique(session.displayed()) if label]


def _may_replace(parent: QWidget, files: list[Path]) -> bool:
    """Ask about files that the dialog did not ask about; True where there are none."""
    there = [file.name for file in files if file.exists()]
    if not there:
        return True
    more = "" if len(there) <= _SHOWN_FILES else f"\nand {len(there) - _SHOWN_FILES} more"
    buttons = QMessageBox.StandardButton
    answer = QMessageBox.question(
        parent,
        "Replace files?",
        "These files exist already:\n" + "\n".join(there[:_SHOWN_FILES]) + more,
        buttons.Ok | buttons.Cancel,
        buttons.Cancel,
    )
    return answer == buttons.Ok


def _asked_identity(parent: QWidget) -> bool | None:
    """Ask whether the patient's name and number go into a DICOM-SEG; None for cancel."""
    box = QMessageBox(parent)
    box.setWindowTitle("Patient in the DICOM segmentation")
    box.setText("Leave the patient out of the DICOM segmentation?")
    box.setInformativeText(
        "Without name, number, birth date, sex and study date the file can be shared like an anonymous scan; its "
        "UIDs still link it to the images. An archive files it under the patient only if these are copied."
    )
    leave = box.addButton("Leave out", QMessageBox.ButtonRole.AcceptRole)
    copy = box.addButton("Copy from the images", QMessageBox.ButtonRole.ActionRole)
    cancel = box.addButton(QMessageBox.StandardButton.Cancel)
    box.setDefaultButton(leave)
    box.setEscapeButton(cancel)
    box.exec()
    return None if box.clickedButton() not in (leave, copy) else box.clickedButton() is copy


def export(
    background: Background,
    session: Session,
    target: MaskTarget,
    done: Callable[[str], None],
    failed: Callable[[BaseException], None],
) -> None:
    """Write the masks on a worker thread, from a copy: the user goes on painting.

    Then `done(what was written)`, or `failed(error)` with the masks still in the session.
    """
    labels, volume = session.displayed(), session.volume
    names = {shown.id: shown.name for shown in session.classes}

    def told(error: BaseException) -> None:
        kept = isinstance(error, SamAdaptError)
        failed(NotExportedError(f"{error} Your masks are still here, unsaved.") if kept else error)

    background.run(lambda: _write(target, labels, volume, names), lambda files: done(_said(files)), told)


def _write(target: MaskTarget, labels: Any, volume: Volume, names: dict[int, str]) -> tuple[Path, ...]:
    """Runs on a worker thread."""
    from napari_samadapt.imaging.writing import write_each_label, write_labels

    if target.each:
        return write_each_label(target.path, labels, volume, names, identity=target.identity)
    return (write_labels(target.path, labels, volume, names, identity=target.identity),)


def _said(files: tuple[Path, ...]) -> str:
    return f"Exported {files[0].name}" + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def suggested_mask_path(volume: Volume) -> Path:
    """Where the masks go unless the user says otherwise: beside the source, never with its name.

    A DICOM folder may be named after the patient, so its name is not used.
    """
    path = volume.source.path
    if path is None:
        return Path("masks.nii.gz")
    if volume.source.format == "dicom":
        return path.parent / "masks.nii.gz"
    return path.parent / f"{volume_name(volume)}_masks.nii.gz"


def with_suffix(path: Path, filter_text: str) -> Path:
    """`path`, with the suffix of the chosen file filter where the user typed none that we write."""
    if path.name.lower().endswith(_SUFFIXES):
        return path
    suffix = next((suffix for suffix in (".nrrd", ".mha", ".dcm") if suffix in filter_text), ".nii.gz")
    return path.with_name(path.name + suffix)
