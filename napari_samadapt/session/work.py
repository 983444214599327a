"""What the user made of a volume, as a value: it can be kept, written, read and taken up by another session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey

from .classes import Classes
from .history import Change
from .label_pages import Pages

DONE, UNDONE, REDONE, NOTED = "done", "undone", "redone", "noted"


@dataclass(frozen=True)
class Settings:
    """What goes with the masks: the classes, the prompts shown, the grey values and the numpy axis of the slices."""

    classes: Classes
    prompts: Mapping[SliceKey, Prompts]
    window: Window
    axis: int


@dataclass(frozen=True, eq=False)
class Work:
    """Masks, marks, undo steps and settings. What the model learned and predicts is not in it."""

    pages: Pages
    settings: Settings


@dataclass(frozen=True, eq=False)
class Act:
    """One thing that the user did: a change was done, undone or redone, or (`NOTED`) only the settings changed.

    `settings` are those after it; `change` is the one that was done, None for the other kinds.
    """

    kind: str
    settings: Settings
    change: Change | None = None


Recorder = Callable[[Act], None]
