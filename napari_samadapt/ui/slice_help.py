"""What helps from slice to slice, shown: the suggested slice, proposals, propagation, what interpolation would use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from superqt.utils import qdebounced

from napari_samadapt.imaging.volume import SliceKey

from . import notify
from .canvas_tools import CanvasTools
from .connections import Connections, end_timer
from .panels.slice_actions import SlicePanel

if TYPE_CHECKING:
    from napari_samadapt.session.messages import Propagated
    from napari_samadapt.session.session import Session

_SETTLED_MS = 300


class SliceHelp:
    """Shows the help that a session offers on its slices, in the strip and on the buttons."""

    def __init__(self, session: Session, tools: CanvasTools, panel: SlicePanel) -> None:
        self._session = session
        self._tools = tools
        self._panel = panel
        self._progress = (0, 0)
        self._suggest_soon = qdebounced(notify.reported(self._show_suggestion), timeout=_SETTLED_MS)
        self._connections = Connections()
        add = self._connections.add
        add(session.propagation_progress, self._on_propagation_progress)
        add(session.propagated, self._on_propagated)
        add(session.labels_changed, self._on_changed)
        add(session.refresh_progress, self._on_refreshed)
        self._on_changed()

    def close(self) -> None:
        """Stop showing."""
        end_timer(self._suggest_soon)
        self._connections.close()
        self._panel.set_next(None)
        self._panel.set_interpolation(None)

    def state(self, key: SliceKey) -> str:
        """A state of the strip."""
        return "proposed" if key in self._session.proposed else self._session.slice_state(key)

    def look_at(self, key: SliceKey) -> None:
        """Another slice is on screen, or its state changed."""
        self._panel.set_interpolation(interpolation_ends(self._accepted(key.axis), key.index))
        self.show_propagation()

    def interpolation_ends(self) -> tuple[int, int] | None:
        """The accepted slices between which the slice on screen lies; None where they are missing."""
        key = self._tools.slice_on_screen()
        return interpolation_ends(self._accepted(key.axis), key.index)

    def show_propagation(self) -> None:
        """Show whether a propagation is under way, or could be started here."""
        accepted = self._tools.slice_on_screen() in self._session.accepted
        self._panel.set_propagation(
            self._progress if self._session.propagating else None,
            "" if accepted else "Accept this slice first.",
        )

    def _accepted(self, axis: int) -> set[int]:
        return {key.index for key in self._session.accepted if key.axis == axis}

    def _on_changed(self, _keys: Any = ()) -> None:
        self.look_at(self._tools.slice_on_screen())
        self._suggest_soon()

    def _on_refreshed(self, done: int, total: int) -> None:
        if done == total:
            self._suggest_soon()

    def _show_suggestion(self) -> None:
        key = self._session.suggest()
        self._panel.set_next(None if key is None else key.index)

    def _on_propagation_progress(self, done: int, total: int) -> None:
        self._progress = (done, total)
        self.show_propagation()

    def _on_propagated(self, result: Propagated) -> None:
        self.show_propagation()
        count = f"{len(result.keys)} slice{'' if len(result.keys) == 1 else 's'}"
        if result.keys:
            text = f"{count} proposed from slice {result.start.index}: look at them, correct and accept them."
        else:
            text = f"Nothing was proposed from slice {result.start.index}."
        notify.tell(" ".join((text, *result.endings)))


def interpolation_ends(accepted: set[int], here: int) -> tuple[int, int] | None:
    """The accepted slices nearest to slice `here`, before and after it, with slices in between.

    An accepted slice is itself an end: of the slices after it, or else of those before it.
    """
    before = max((index for index in accepted if index < here), default=None)
    after = min((index for index in accepted if index > here), default=None)
    if here not in accepted:
        return None if before is None or after is None else (before, after)
    if after is not None and after - here > 1:
        return here, after
    return (before, here) if before is not None and here - before > 1 else None
