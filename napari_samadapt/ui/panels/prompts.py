"""The prompt tools: point, box, scribble and lasso for SAM, brush and eraser for correction, each with its key."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from .flow import flow
from .section import button, column, hint_label

TOOLS = {
    "point": ("Point  P", "Click inside the structure; press P again to release"),
    "box": ("Box  B", "Drag a box around the structure; press B again to release"),
    "scribble": (
        "Scribble  S",
        "Draw a line inside the structure, or outside it with −; press S again to release",
    ),
    "lasso": ("Lasso  L", "Draw around the structure, roughly; press L again to release"),
    "brush": ("Brush  2", "Paint the chosen class; [ and ] change the size (napari's own tool)"),
    "eraser": ("Erase  1", "Erase; [ and ] change the size (napari's own tool)"),
}
_HINTS = {
    "": "Choose Point or Box to ask SAM for a mask, or Brush to draw it.",
    "point": "Click inside the structure. T switches to points outside it.",
    "point-": "Click where the mask is too large. T switches back.",
    "box": "Drag a box around the structure.",
    "scribble": "Draw a line inside the structure. T switches to lines outside it.",
    "scribble-": "Draw a line where the mask is too large. T switches back.",
    "lasso": "Draw around the structure; SAM finds its edge.",
    "brush": "Paint the chosen class. Right-drag encircles an area.",
    "eraser": "Erase what does not belong.",
}
_ABOUT_SLICE = {
    "predicted": "Predicted: accept it (A) if it is right. ",
    "proposed": "Proposed: accept it (A) if it is right. ",
}
_POSITIVE, _NEGATIVE = "+  T", "−  T"


class PromptsPanel(QWidget):
    """`tool(name)` with "" when the active tool is released; `sign(positive)`; `kept()`; `mask_used()`."""

    tool = Signal(str)
    sign = Signal(bool)
    kept = Signal()
    mask_used = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tool = ""
        self._positive = True
        self._about_slice = ""
        self._buttons = {
            name: button(text, tip, lambda name=name: self._on_tool_clicked(name), checkable=True)  # type: ignore[misc]
            for name, (text, tip) in TOOLS.items()
        }
        self._sign = button(
            _POSITIVE,
            "Points and scribbles inside the structure (+) or outside it (−)",
            self._on_sign_clicked,
        )
        self._sign.setObjectName("sign")
        self._mask = button(
            "Mask  D",
            "Give SAM the mask that is there: of the chosen class on this slice, or of the mask layer that is selected",
            self.mask_used.emit,
        )
        self._keep = button(
            "Keep  K", "Keep this mask: the next prompt is for another object", self.kept.emit
        )
        self._hint = hint_label(2)
        layout = column(self)
        tools = self._buttons
        layout.addLayout(flow(tools["point"], self._sign, tools["box"], tools["scribble"], tools["lasso"]))
        layout.addLayout(flow(tools["brush"], tools["eraser"], self._mask, self._keep))
        layout.addWidget(self._hint)
        self.set_sign(True)

    def set_tool(self, name: str) -> None:
        """Show which tool is active; "" for none."""
        for other, made in self._buttons.items():
            made.setChecked(other == name)
        self._tool = name
        self.reset_hint()

    def set_sign(self, positive: bool) -> None:
        """Show whether points are positive (green) or negative (red)."""
        self._positive = positive
        self._sign.setText(_POSITIVE if positive else _NEGATIVE)
        self._sign.setProperty("positive", positive)
        self._sign.style().unpolish(self._sign)  # a style sheet looks at a property only once
        self._sign.style().polish(self._sign)
        self.reset_hint()

    def set_slice_state(self, state: str) -> None:
        """Show what can be done about a mask that is there already: the slice on screen is "predicted", "edited"…"""
        own = self._hint.text() == self._own_hint()
        self._about_slice = _ABOUT_SLICE.get(state, "")
        if own:
            self.reset_hint()

    def set_hint(self, text: str) -> None:
        """Say something else than the tool's own hint, until the tool or the slice changes."""
        self._hint.setText(text)

    def reset_hint(self) -> None:
        """Say the tool's own hint again."""
        self._hint.setText(self._own_hint())

    def _own_hint(self) -> str:
        negative = self._tool in ("point", "scribble") and not self._positive
        return self._about_slice + _HINTS[f"{self._tool}-" if negative else self._tool]

    def _on_tool_clicked(self, name: str) -> None:
        self.tool.emit("" if name == self._tool else name)

    def _on_sign_clicked(self) -> None:
        self.sign.emit(not self._positive)
