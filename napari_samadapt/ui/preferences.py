"""What the user chose in napari's Preferences for this plugin; the defaults where napari has no such page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session

PLUGIN = "napari-samadapt"


@dataclass(frozen=True)
class Preferences:
    """The values of `configurations` in napari.yaml, with the same defaults.

    `episode_seconds` 0 leaves the length to the session: a minute, half of it on a GPU.
    """

    learn_on_accept: bool = True
    episode_seconds: int = 0
    every_n_slices: int = 1
    method: str = "conv-lora"
    model: str = "mini"
    keep_activations: bool = False

    def prefix_folder(self) -> Path | None:
        """Where a new session keeps activations; None unless the user wants them kept."""
        from napari_samadapt.session.prefix_files import prefix_folder

        return prefix_folder() if self.keep_activations else None

    def delete_unwanted(self) -> None:
        """Delete the activations that were kept, unless the user wants them.

        They may be many files: runs on a worker thread.
        """
        from napari_samadapt.session.prefix_files import PrefixFiles, prefix_folder

        if not self.keep_activations:
            PrefixFiles(prefix_folder()).clear()

    def apply_to(self, session: Session) -> None:
        """Let a new session learn as the user prefers; what was left at its default is the session's to choose."""
        changes: dict[str, Any] = {}
        if not self.learn_on_accept:
            changes["enabled"] = False
        if self.episode_seconds:
            changes["seconds"] = float(self.episode_seconds)
        if self.every_n_slices != 1:
            changes["every_n_slices"] = self.every_n_slices
        if changes:
            session.set_policy(replace(session.policy, **changes))
        if self.method != session.config.method:
            session.set_method(session.config.of_method(self.method))


def preferences() -> Preferences:
    """What napari keeps for this plugin now."""
    try:
        from napari.settings import get_plugin_settings

        kept = get_plugin_settings(PLUGIN)
    except (ImportError, KeyError):  # an older napari, or a plugin that it does not know by its manifest
        return Preferences()
    learning, start, disk = kept.learning, kept.start, kept.disk
    return replace(
        Preferences(),
        learn_on_accept=bool(learning.learn_on_accept),
        episode_seconds=int(learning.episode_seconds),
        every_n_slices=int(learning.every_n_slices),
        method=str(learning.method),
        model=str(start.model),
        keep_activations=bool(disk.keep_activations),
    )
