"""Asks for the colour of a class; those that the colour-blind tell apart are offered first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QWidget

if TYPE_CHECKING:
    from napari_samadapt.session.classes import Color


def ask_color(parent: QWidget, name: str, color: Sequence[float]) -> Color | None:
    """RGB in [0, 1] for the class of this name; None where the user cancels."""
    from napari_samadapt.session.classes import safe_colors

    for place, safe in enumerate(safe_colors()):
        QColorDialog.setCustomColor(place, QColor.fromRgbF(*safe))
    chosen = QColorDialog.getColor(QColor.fromRgbF(*color), parent, f"Colour of {name}")
    return (chosen.redF(), chosen.greenF(), chosen.blueF()) if chosen.isValid() else None
