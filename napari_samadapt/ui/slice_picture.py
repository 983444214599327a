"""A slice with coloured regions as a picture that keeps its true proportions, the way up that the canvas has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QRect, QSize
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_samadapt.imaging.volume import Volume, slice_spacing

from .view import slice_view

_OPACITY = 0.5


class SlicePicture(QWidget):
    """Shows what `set_picture` is given, as large as there is room."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._image: QImage | None = None
        self._aspect = 1.0
        self.setMinimumSize(160, 160)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def set_picture(self, pixels: NDArray[np.uint8], aspect: float) -> None:
        """RGB (H, W, 3), and the height of a pixel over its width."""
        pixels = np.ascontiguousarray(pixels)
        height, width = pixels.shape[:2]
        self._image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        self._aspect = aspect
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self._image = None
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(360, 360)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor("black"))
        if self._image is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(
                self._place(self._image.width(), self._image.height() * self._aspect), self._image
            )
        painter.end()

    def _place(self, width: float, height: float) -> QRect:
        scale = min(self.width() / width, self.height() / height)
        size = QSize(max(round(width * scale), 1), max(round(height * scale), 1))
        return QRect(
            (self.width() - size.width()) // 2,
            (self.height() - size.height()) // 2,
            size.width(),
            size.height(),
        )


def colored(
    image: NDArray[np.floating], labels: NDArray[np.integer], colors: Mapping[int, Sequence[float]]
) -> NDArray[np.uint8]:
    """A slice (H, W) or (H, W, 3) in [0, 1] under its regions, RGB (H, W, 3); `colors` are RGB in [0, 1] by id."""
    pixels = np.array(image if image.ndim == 3 else np.repeat(image[..., np.newaxis], 3, axis=2), np.float64)
    for class_id, color in colors.items():
        inside = labels == class_id
        pixels[inside] = (1 - _OPACITY) * pixels[inside] + _OPACITY * np.asarray(color)
    return np.asarray((pixels * 255).round().clip(0, 255), np.uint8)


def upright(volume: Volume, axis: int, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """A picture of a slice as the canvas shows it, and the height of its pixels over their width."""
    seen = slice_view(volume, axis)
    row_mm, column_mm = slice_spacing(volume, axis)
    if seen.order[1] > seen.order[2]:  # the canvas swaps rows and columns of the array
        pixels, row_mm, column_mm = np.swapaxes(pixels, 0, 1), column_mm, row_mm
    if seen.orientation[0] == "up":
        pixels = pixels[::-1]
    if seen.orientation[1] == "left":
        pixels = pixels[:, ::-1]
    return pixels, row_mm / column_mm
