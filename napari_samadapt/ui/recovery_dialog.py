"""Asks what becomes of unfinished work: recover it, skip it, or delete it; with a picture of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QMessageBox, QPushButton, QVBoxLayout, QWidget

from napari_samadapt.imaging.intensity import render_slice
from napari_samadapt.imaging.volume import SliceKey, Volume, slice_spacing, take_slice

from .case_files import Offer
from .panels.section import row
from .view import slice_view

if TYPE_CHECKING:
    from napari_samadapt.session.work import Work

_SIDE = 240  # pixels of the picture
_OPACITY = 0.5


class RecoveryDialog(QDialog):
    """Emits one of `recovered`, `skipped`, `deleted`; closing the dialog is skipping."""

    recovered = Signal()
    skipped = Signal()
    deleted = Signal()

    def __init__(self, offer: Offer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Unfinished work")
        self.setObjectName("samadapt-recovery")
        picture = QLabel()
        picture.setPixmap(_pixmap(preview(offer.recovered.work, offer.volume)))
        text = QLabel(told(offer, time.time()))
        text.setTextFormat(Qt.TextFormat.PlainText)  # names come from files
        text.setWordWrap(True)
        text.setMinimumWidth(280)
        text.setAlignment(Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        line = row(picture, text)
        line.setSpacing(12)
        layout.addLayout(line)
        layout.addWidget(self._buttons())
        self.rejected.connect(self.skipped.emit)

    def _buttons(self) -> QDialogButtonBox:
        box = QDialogButtonBox()
        for name, tip, role, act in (
            ("Recover", "Open the image and go on where it ended", "AcceptRole", self._on_recover),
            ("Skip", "Do not ask again; kept for 30 days under Open ▸ Unfinished work", "RejectRole", self.reject),
            ("Delete…", "Delete the journal of this work for good", "DestructiveRole", self._on_delete),
        ):  # fmt: skip
            made = QPushButton(name)
            made.setToolTip(tip)
            made.clicked.connect(lambda _checked=False, act=act: act())
            box.addButton(made, getattr(QDialogButtonBox.ButtonRole, role))
            made.setDefault(name == "Recover")
        return box

    def _on_recover(self) -> None:
        self.accept()
        self.recovered.emit()

    def _on_delete(self) -> None:
        buttons = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self, "Delete unfinished work", "Delete these masks for good?", buttons.Yes | buttons.Cancel
        )
        if answer == buttons.Yes:
            self.accept()
            self.deleted.emit()


def told(offer: Offer, now: float) -> str:
    """What there is, in a few lines. `now` in seconds since 1970."""
    work, journal, recovered = offer.recovered.work, offer.journal, offer.recovered
    accepted = sum(mark.accepted for mark in work.pages.marks.values())
    shown = set(np.unique(work.pages.annotation).tolist())
    names = [one.name for one in work.settings.classes.shown if one.id in shown]
    gap = max(0.0, journal.ended - recovered.last)
    touched = len(work.pages.marks)
    lines = [
        journal.header.name,
        "",
        f"{touched} slice{'' if touched == 1 else 's'} with masks, {accepted} accepted",
        f"Classes: {', '.join(names[:6])}{' …' if len(names) > 6 else ''}"
        if names
        else "No voxel is labelled",
        f"Last change: {recovered.last_label or 'of a setting'}",
        f"{_when(recovered.last, now)}, {_span(gap)} before the end",
    ]
    if journal.header.source is not None:
        lines += ["", str(journal.header.source)]
    return "\n".join(lines)


def preview(work: Work, volume: Volume | None) -> NDArray[np.uint8]:
    """The slice with the most labelled pixels (H, W, 3), masks over the image, the way up that it is shown."""
    marks, axis = work.pages.marks, work.settings.axis
    keys = [key for key in marks if key.axis == axis] or list(marks) or [SliceKey(axis, 0)]
    key = max(
        keys, key=lambda one: (int(np.count_nonzero(take_slice(work.pages.annotation, one))), -one.index)
    )
    labels = take_slice(work.pages.annotation, key)
    picture = np.zeros((*labels.shape, 3), np.float32)
    if volume is not None:
        grey = render_slice(volume, key, work.settings.window)
        picture += grey if grey.ndim == 3 else grey[..., np.newaxis]
    for shown in work.settings.classes.shown:
        region = labels == shown.id
        picture[region] = (1 - _OPACITY) * picture[region] + _OPACITY * np.array(shown.color, np.float32)
    if volume is not None:
        picture = _turned(picture, volume, key)
    return (picture * 255).astype(np.uint8)


def _turned(picture: NDArray[np.float32], volume: Volume, key: SliceKey) -> NDArray[np.float32]:
    """As the canvas shows it, with square pixels."""
    seen = slice_view(volume, key.axis)
    steps = list(slice_spacing(volume, key.axis))
    if seen.order[1] > seen.order[2]:
        picture, steps = picture.transpose(1, 0, 2), steps[::-1]
    if seen.orientation[0] == "up":
        picture = picture[::-1]
    if seen.orientation[1] == "left":
        picture = picture[:, ::-1]
    smallest = min(steps)
    rows, columns = (
        np.arange(0, size, smallest / step).astype(int)
        for size, step in zip(picture.shape[:2], steps, strict=True)
    )
    resampled: NDArray[np.float32] = picture[rows][:, columns]
    return resampled


def _pixmap(picture: NDArray[np.uint8]) -> QPixmap:
    height, width = picture.shape[:2]
    data = np.ascontiguousarray(picture)
    image = QImage(data.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
    mode: Any = Qt.TransformationMode.SmoothTransformation
    return QPixmap.fromImage(image).scaled(_SIDE, _SIDE, Qt.AspectRatioMode.KeepAspectRatio, mode)


def _when(then: float, now: float) -> str:
    day = time.localtime(then)[:3]
    if day == time.localtime(now)[:3]:
        return time.strftime("Today at %H:%M", time.localtime(then))
    return time.strftime("%d %B %Y at %H:%M", time.localtime(then))


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
