"""The prompt tools: point and box for SAM, brush and eraser for correction, each with its key."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from .section import button, column, hint_label, row

TOOLS = {
    "point": ("Point  P", "Click inside the structure; press P again to release"),
    "box": ("Box  B", "Drag a box around the structure; press B again to release"),
    "brush": ("Brush  2", "Paint the chosen class; [ and ] change the size (napari's own tool)"),
    "eraser": ("Erase  1", "Erase; [ and ] change the size (napari's own tool)"),
}
_HINTS = {
    "": "Choose Point or Box to ask SAM for a mask, or Brush to draw it.",
    "point": "Click inside the structure. T switches to points outside it.",
    "point-": "Click where the mask is too large. T switches back.",
    "box": "Drag a box around the structure.",
    "brush": "Paint the chosen class. Right-drag encircles an area.",
    "eraser": "Erase what does not belong.",
}
_POSITIVE, _NEGATIVE = "+  T", "−  T"


class PromptsPanel(QWidget):
    """`tool(name)` with "" when the active tool is released; `sign(positive)`; `kept()`."""

    tool = Signal(str)
    sign = Signal(bool)
    kept = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._buttons = {
            name: button(text, tip, lambda name=name: self._on_tool_clicked(name), checkable=True)  # type: ignore[misc]
            for name, (text, tip) in TOOLS.items()
        }
        self._sign = button(
            _POSITIVE, "Positive points (inside) or negative points (outside)", self._on_sign_clicked
        )
        self._positive = True
        self._hint = hint_label(2)
        layout = column(self)
        tools = row(
            self._buttons["point"], self._sign, *(self._buttons[name] for name in ("box", "brush", "eraser"))
        )
        for place, weight in enumerate((4, 2, 3, 4, 4)):
            tools.setStretch(place, weight)
        layout.addLayout(tools)
        self._keep = button(
            "Keep  K", "Keep this mask: the next point or box is for another object", self.kept.emit
        )
        hint = row(self._hint, self._keep)
        hint.setStretch(0, 1)
        layout.addLayout(hint)
        self.set_sign(True)

    def set_tool(self, name: str) -> None:
        """Show which tool is active; "" for none."""
        for other, made in self._buttons.items():
            made.setChecked(other == name)
        self._tool = name
        self._show_hint()

    def set_sign(self, positive: bool) -> None:
        """Show whether points are positive (green) or negative (red)."""
        self._positive = positive
        self._sign.setText(_POSITIVE if positive else _NEGATIVE)
        color = "#1b7f4d" if positive else "#b3261e"
        self._sign.setStyleSheet(
            f"QPushButton {{ background: {color}; color: white; font-weight: 600; padding: 3px 2px; }}"
            "QPushButton:disabled { background: #555b63; color: #9aa5b1; }"
        )
        self._show_hint()

    def set_hint(self, text: str) -> None:
        """Say something else than the tool's own hint, until the tool changes."""
        self._hint.setText(text)

    _tool = ""

    def reset_hint(self) -> None:
        """Say the tool's own hint again."""
        self._show_hint()

    def _show_hint(self) -> None:
        negative = self._tool == "point" and not self._positive
        self._hint.setText(_HINTS["point-" if negative else self._tool])

    def _on_tool_clicked(self, name: str) -> None:
        self.tool.emit("" if name == self._tool else name)

    def _on_sign_clicked(self) -> None:
        self.sign.emit(not self._positive)
