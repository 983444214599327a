"""The end of what runs beside the window, which the window's widgets may not live to see."""

from psygnal import Signal
from qtpy.QtWidgets import QWidget

from napari_samadapt.ui.running import Running


class Labelling:
    failed = Signal(str)


class Session(Labelling):
    """Says a word on every signal while it is being closed, as a real one may."""

    predicted = Signal(int)

    def close(self) -> None:
        self.failed.emit("too late")
        self.predicted.emit(1)


def test_whoever_listened_hears_nothing_of_the_end(qtbot) -> None:
    """Not by the signals that a session inherits either: the listener may be a widget that Qt has deleted."""
    owner = QWidget()
    qtbot.addWidget(owner)
    running, heard = Running(owner), []
    running.session = session = Session()
    session.failed.connect(heard.append)
    session.predicted.connect(heard.append)
    running.end()
    assert heard == []
