"""The sections of the dock, from top to bottom in the order of the work, and what they show without a session."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

from napari_samadapt.imaging.volume import AXIS_NAMES, Volume

from .companions import Companions
from .contributions import shown_name
from .panels.section import Column, Section, small
from .session_view import Panels
from .slice_strip import StripLegend
from .status import volume_text
from .view import shows_slices, window_names

_TITLES = {
    "volume": "Volume",
    "classes": "Classes",
    "prompts": "Prompt and correct",
    "slice": "This slice",
    "learning": "Learning",
    "export": "Export",
}
_STRETCH = 1000  # the class table takes the room that is left, as far as it has rows to show


def column_of(panels: Panels, companions: Companions, legend: StripLegend) -> Column:
    """All sections in a column that scrolls where the window is too low."""
    inner = QWidget()
    sections = QVBoxLayout(inner)
    sections.setContentsMargins(4, 2, 4, 2)
    sections.setSpacing(1)
    extras: dict[str, QWidget] = {
        "volume": companions.help,
        "slice": legend,
        "learning": companions.bar,
        "export": small(QLabel("Research use only, not a medical device")),
    }
    shown = {
        name: Section(title, getattr(panels, name), extras.get(name), name=name)
        for name, title in _TITLES.items()
    }
    companions.sections = shown
    for name, section in shown.items():
        sections.addWidget(section, _STRETCH if name == "classes" else 0)
    sections.addWidget(companions.first)
    sections.addStretch(1)
    column = Column()
    column.setWidgetResizable(True)
    column.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # its controls bring themselves into view
    column.setFrameShape(QFrame.Shape.NoFrame)
    column.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    column.setWidget(inner)
    return column


def show_volume(panels: Panels, volume: Volume) -> None:
    """Describe a volume, and offer the axes and the grey values that suit it."""
    panels.volume.set_volume(
        volume_text(shown_name(volume), volume.shape, volume.spacing, volume.spatial),
        () if volume.is_color else window_names(volume),
    )
    names = [name for name in AXIS_NAMES if shows_slices(volume, volume.anatomical_axis(name))]
    panels.volume.set_axes(names)


def show_ready(panels: Panels, ready: bool) -> None:
    """Enable the sections that need a session, or empty them."""
    for panel in (panels.classes, panels.prompts, panels.slice):
        panel.setEnabled(ready)
    panels.learning.set_ready(ready)
    panels.export.set_ready(ready, False)
    if not ready:
        panels.volume.set_volume("", ())
        panels.classes.set_classes((), 0)
        panels.slice.strip.set_states(())
