"""How the dock looks: on top of napari's theme, in the font size that the user set there."""

from __future__ import annotations

from napari.settings import get_settings

ACCEPT, REJECT = "#00795a", "#b3261e"
"""Green and red on which white text can be read, in both themes."""
PLOT_TEXT = "#7b8490"
"""Axes and titles of plots: readable on the dark and on the light theme."""


def font_points() -> int:
    """The font size of napari's preferences."""
    return int(get_settings().appearance.font_size)


def dock_style(points: int, frame: str) -> str:
    """The style sheet of the dock for a font size in points. The frame, of this colour, shows where the keyboard is."""
    return f"""
    QPushButton, QComboBox {{ padding: 2px 5px; border: 1px solid transparent; }}
    QPushButton:focus, QComboBox:focus, QCheckBox:focus, QToolButton:focus, QTableView:focus, SliceStrip:focus
        {{ border: 1px solid {frame}; }}
    QToolButton {{ font-size: {points + 1}pt; }}
    QToolButton#fold {{ border: 1px solid transparent; background: transparent; font-weight: 600; padding: 0; }}
    QTableView, QHeaderView {{ font-size: {points}pt; }}
    QTableView::indicator:unchecked {{ border: 1px solid #808890; }}
    QLabel[small="true"] {{ font-size: {max(points - 1, 7)}pt; }}
    QPushButton#accept {{ background: {ACCEPT}; color: white; font-weight: 600; }}
    QPushButton#accept:hover {{ background: #009e73; }}
    QPushButton#accept:disabled {{ background: palette(window); color: palette(mid); }}
    QPushButton#sign[positive="true"] {{ background: {ACCEPT}; color: white; font-weight: 600; }}
    QPushButton#sign[positive="false"] {{ background: {REJECT}; color: white; font-weight: 600; }}
    """
