"""What the acts of the user work with: one session, its layers and tools, and the panels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel

from . import notify
from .canvas_tools import CanvasTools
from .connections import Connections
from .layers import VolumeLayers
from .session_view import Panels, SessionView

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session


@dataclass(frozen=True, eq=False)
class Workplace:
    """Everything that an act may need. `post` runs a function later, on the main thread."""

    viewer: ViewerModel
    session: Session
    layers: VolumeLayers
    tools: CanvasTools
    panels: Panels
    view: SessionView
    post: Callable[[Callable[[], None]], None]
    connections: Connections = field(default_factory=Connections)

    def on(self, signal: Any, act: Callable[..., object]) -> None:
        """Do `act` at a signal; what goes wrong is shown to the user."""
        self.connections.add(signal, notify.reported(act))
