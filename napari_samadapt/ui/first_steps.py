"""What the dock shows before there is a volume: three ways to begin, a tour, the models."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from .panels.flow import flow

_TITLE = "Segment a scan while the model learns"
_HOW = "Click a structure, correct the mask, accept the slice. The other slices get better while you go on."
_NOTICE = "Research use only, not a medical device. Nothing leaves this computer."
_WAYS = (
    (
        "Open a scan or image…",
        "NIfTI, NRRD, MHA, DICOM, PNG, JPEG or TIFF. You can also drop it on the window.",
    ),
    ("Open a DICOM folder…", "All files of one series in a folder."),
    ("Try the sample", "A generated abdomen, like a CT. Nothing is downloaded."),
)
_LETTERS = 64  # as wide as the title that napari gives the dock
_STYLE = "QPushButton { text-align: left; padding: 8px 12px; font-weight: 600; min-width: 0; }"
_FIRST = "QPushButton { background: #00795a; color: white; } QPushButton:hover { background: #009e73; }"


class FirstSteps(QWidget):
    """`open_file()`, `open_folder()`, `sample()`, `tour_asked()`, `models_asked()`."""

    open_file = Signal()
    open_folder = Signal()
    sample = Signal()
    tour_asked = Signal()
    models_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumWidth(_LETTERS * self.fontMetrics().averageCharWidth())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 16, 12, 12)
        layout.setSpacing(6)
        title = _wrapped(_TITLE)
        title.setStyleSheet("font-size: 120%; font-weight: 600;")
        layout.addWidget(title)
        layout.addWidget(_wrapped(_HOW))
        layout.addSpacing(10)
        self.ways = []
        for (text, told), signal in zip(_WAYS, (self.open_file, self.open_folder, self.sample), strict=True):
            made = QPushButton(text)
            made.setToolTip(told)
            made.setStyleSheet(_STYLE)
            made.setAutoDefault(True)  # Enter presses it, not the space bar alone
            made.clicked.connect(lambda _checked=False, signal=signal: signal.emit())
            layout.addWidget(made)
            hint = _wrapped(told)
            hint.setIndent(12)
            layout.addWidget(hint)
            layout.addSpacing(4)
            self.ways.append(made)
        self.ways[-1].setStyleSheet(_STYLE + _FIRST)
        layout.addSpacing(6)
        tour = QPushButton("Show me around")
        tour.setToolTip("A tour in five steps on the sample; it can be left at any time")
        tour.clicked.connect(lambda _checked=False: self.tour_asked.emit())
        models = QPushButton("Models and adapters…")
        models.setToolTip("Download a larger model, or use an adapter that you saved")
        models.clicked.connect(lambda _checked=False: self.models_asked.emit())
        layout.addLayout(flow(tour, models))
        self._status = _wrapped("")
        layout.addWidget(self._status)
        layout.addStretch(1)
        layout.addWidget(_wrapped(_NOTICE))

    def set_status(self, text: str) -> None:
        """What happens now: what is being read or loaded."""
        self._status.setText(text)


def _wrapped(text: str) -> QLabel:
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label
