"""The acts on classes: add, remove, choose, rename, colour, lock, hide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox

from . import notify
from .color_choice import ask_color
from .workplace import Workplace


class ClassActs:
    """Listens to the class table, and to the label chosen by napari's own means.

    `keep_draft` is called before another class is chosen: the open mask stays as it is, without its prompts.
    """

    def __init__(self, place: Workplace, keep_draft: Callable[[], None]) -> None:
        self._place = place
        self._session = place.session
        self._keep_draft = keep_draft
        on, panel = place.on, place.panels.classes
        on(panel.added, lambda: self._session.add_class(self._new_name()))
        on(panel.removed, self.remove_class)
        on(panel.selected, self.select_class)
        on(panel.renamed, self.rename_class)
        on(panel.color_asked, self.recolor_class)
        on(panel.lock_changed, self._session.set_locked)
        on(panel.visible_changed, self.show_class)
        on(place.layers.annotation.events.selected_label, self._on_label_selected)

    def select_class(self, class_id: int) -> None:
        """Choose what clicks and brush draw; what is drawn is seen."""
        self._keep_draft()
        self._place.layers.hidden.discard(class_id)
        self._session.select_class(class_id)

    def remove_class(self, class_id: int) -> None:
        """Remove a class; ask first where it has voxels."""
        count = int(np.count_nonzero(self._session.annotation == class_id))
        name = next((shown.name for shown in self._session.classes if shown.id == class_id), "")
        if not count or self._may_remove(name, count):
            self._session.remove_class(class_id)

    def _may_remove(self, name: str, count: int) -> bool:
        buttons = QMessageBox.StandardButton
        box = QMessageBox(self._place.panels.classes)
        box.setWindowTitle("Remove a class")
        box.setTextFormat(Qt.TextFormat.PlainText)  # names come from files
        box.setText(f"Remove {name} and its {count:,} voxels? Undo brings them back.")
        box.setStandardButtons(buttons.Yes | buttons.Cancel)
        box.setDefaultButton(buttons.Cancel)
        return box.exec() == buttons.Yes

    def rename_class(self, class_id: int, name: str) -> None:
        """Give a class another name; a refused name is replaced by the old one in the table."""
        try:
            self._session.rename_class(class_id, name)
        finally:
            self._place.view.show_classes()

    def recolor_class(self, class_id: int) -> None:
        """Ask for a class's colour."""
        shown = next((one for one in self._session.classes if one.id == class_id), None)
        color = ask_color(self._place.panels.classes, shown.name, shown.color) if shown else None
        if color is not None:
            self._session.recolor_class(class_id, color)

    def show_class(self, class_id: int, visible: bool) -> None:
        """Show or hide the voxels of a class; its masks stay."""
        hidden = self._place.layers.hidden
        (hidden.discard if visible else hidden.add)(class_id)
        self._place.view.show_classes()

    def _new_name(self) -> str:
        taken = {shown.name for shown in self._session.classes}
        number = len(taken) + 1
        while f"structure {number}" in taken:
            number += 1
        return f"structure {number}"

    def _on_label_selected(self, _event: Any) -> None:
        """The user chose a label by napari's own means (picker, M, spin box): follow it if it is a class."""
        annotation = self._place.layers.annotation
        chosen = int(annotation.selected_label)
        known = {shown.id for shown in self._session.classes}
        if chosen in known and chosen != self._session.active_class:
            self.select_class(chosen)
        elif chosen not in known and chosen != 0:
            annotation.selected_label = self._session.active_class
            notify.tell(f"There is no class {chosen}: add it in the class table first.")
