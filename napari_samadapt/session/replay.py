"""Acts written down one after the other, and the work that they came to. Runs on any thread."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np

from napari_samadapt.imaging.volume import SliceKey

from .history import Change, Marks
from .label_pages import LabelPages
from .predictions import Predictions
from .records import Packer, Record
from .work import DONE, NOTED, REDONE, UNDONE, Act, Settings, Work
from .work_records import (
    change_json,
    classes_json,
    pages_json,
    prompts_json,
    read_change,
    read_pages,
    read_settings,
    view_json,
)

UNREADABLE = (ValueError, KeyError, TypeError, IndexError, AttributeError)
"""What reading a record of another kind, or of another volume, raises."""


class Dictation:
    """Turns acts into records. Settings are written where they are others than in the record before."""

    def __init__(self) -> None:
        self._written: dict[str, str] = {}
        self._prompts: tuple[Any, ...] | None = None

    def start(self, work: Work) -> bytes:
        """The record to begin with: everything there is."""
        pack = Packer()
        settings = self._news(work.settings, pack)
        return pack.record({"kind": "start", "time": time.time(), **settings, **pages_json(work.pages, pack)})

    def act(self, act: Act, when: float) -> bytes:
        """The record of an act; empty where nothing is new."""
        pack = Packer()
        content: dict[str, Any] = {"kind": act.kind, "time": when, **self._news(act.settings, pack)}
        if act.kind == NOTED and len(content) == 2:
            return b""
        if act.change is not None:
            content["change"] = change_json(act.change, pack)
        return pack.record(content)

    def _news(self, settings: Settings, pack: Packer) -> dict[str, Any]:
        news: dict[str, Any] = {}
        for name, content in (("classes", classes_json(settings.classes)), ("view", view_json(settings))):
            text = json.dumps(content)
            if self._written.get(name) != text:
                self._written[name], news[name] = text, content
        prompts = tuple(settings.prompts.items())
        if self._prompts is None or prompts != self._prompts:
            self._prompts, news["prompts"] = prompts, prompts_json(settings.prompts, pack)
        return news


class Replay:
    """Takes records in their order; `work` is what they came to."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._pages = _Sheets(shape)
        self._settings: dict[str, Any] = {}
        self._prompts_of: Record | None = None
        self.acts = 0
        """Acts since the beginning, without those that only changed a setting."""
        self.last_time = 0.0
        self.last_label = ""

    def take(self, record: Record) -> None:
        """Do what a record says. Raises one of UNREADABLE, with nothing done, where it does not fit."""
        content = record.content
        kind, when = content["kind"], float(content["time"])
        news: dict[str, Any] = {
            name: content[name] for name in ("classes", "prompts", "view") if name in content
        }
        if news:
            read_settings({**self._settings, **news}, record if "prompts" in news else self._old_prompts())
        if kind == "start":
            pages = read_pages(content, record, self._shape)
            for change in (*pages.done, *pages.undone):
                self._check(change)
            _check_marks(pages.marks, self._shape)
            self._pages = _Sheets(self._shape)
            self._pages.take_up(pages)
        elif kind == DONE:
            change = read_change(content["change"], record)
            self._check(change)
            self._pages.do(change)
        elif kind in (UNDONE, REDONE):
            step = self._pages.undo() if kind == UNDONE else self._pages.redo()
            if step is None:
                raise ValueError("there is nothing to undo or redo")
        elif kind != NOTED:
            raise ValueError(f"a record of kind {kind!r}")
        self._note(record, news, kind, when)

    def _note(self, record: Record, news: dict[str, Any], kind: str, when: float) -> None:
        self._settings |= news
        if "prompts" in news:
            self._prompts_of = record
        self.last_time = when
        if kind in (DONE, UNDONE, REDONE):
            self.acts += 1
            change = record.content.get("change") or {}
            self.last_label = str(change.get("label", kind))

    @property
    def work(self) -> Work:
        """A copy of what it came to. Raises one of UNREADABLE where no settings were written."""
        return Work(self._pages.pages(), read_settings(self._settings, self._old_prompts()))

    def _old_prompts(self) -> Record:
        if self._prompts_of is None:
            raise ValueError("a record before the first one")
        return self._prompts_of

    def _check(self, change: Change) -> None:
        """The change fits the volume: a damaged or foreign one would be written to any place."""
        count = change.voxels.size
        sides = (change.before, change.after, change.fixed_before, change.fixed_after)
        types = [side.dtype for side in sides] == [np.uint16, np.uint16, bool, bool]
        if not types or any(side.shape != (count,) for side in sides):
            raise ValueError("a change of several sizes")
        if count and (change.voxels.min() < 0 or change.voxels.max() >= self._pages.annotation.size):
            raise ValueError("a change outside the volume")
        _check_marks(change.marks_before, self._shape)
        _check_marks(change.marks_after, self._shape)


def _check_marks(marks: Marks, shape: tuple[int, int, int]) -> None:
    """Slices of this volume, and drafts of their size."""
    for key, mark in marks.items():
        if key.index >= shape[key.axis]:
            raise ValueError(f"slice {key}")
        size = tuple(side for axis, side in enumerate(shape) if axis != key.axis)
        while mark is not None and mark.draft is not None:
            draft = mark.draft
            planes = (draft.mask, draft.base, draft.before.labels, draft.before.fixed)
            if any(plane.shape != size for plane in planes):
                raise ValueError("a draft of another size")
            mark = draft.mark_before


class _NoPredictions(Predictions):
    """Nobody predicts here, and no memory is taken for it."""

    def cover(self, key: SliceKey) -> None:
        """Nothing is in sight."""

    def uncover(self, key: SliceKey, hidden: Any) -> None:
        """Nothing is beneath."""


class _Sheets(LabelPages):
    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__(shape)
        self.predictions = _NoPredictions(shape)
