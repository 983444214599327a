"""The work of a session as records, and back. No pickle: numbers, names and packed arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey

from .classes import LARGEST_ID, Classes
from .history import Change, OpenDraft, SliceMark, SlicePixels
from .label_pages import Pages
from .messages import LabelClass
from .records import Packer, Record
from .work import Settings

Json = dict[str, Any]

# Settings.


def view_json(settings: Settings) -> list[Any]:
    """Grey values and axis."""
    return [settings.window.low, settings.window.high, settings.axis]


def prompts_json(prompts: Mapping[SliceKey, Prompts], pack: Packer) -> list[Any]:
    """The prompts of each slice."""
    return [[_key_json(key), _prompts_json(shown, pack)] for key, shown in prompts.items()]


def read_settings(content: Json, record: Record) -> Settings:
    """From "classes", "prompts" and "view"; `record` holds the arrays of the prompts.

    Raises ValueError, KeyError or TypeError where it is none; so do the others that read."""
    low, high, axis = content["view"]
    prompts = {_read_key(key): _read_prompts(p, record) for key, p in content["prompts"]}
    if axis not in (0, 1, 2):
        raise ValueError(f"axis {axis}")
    return Settings(_read_classes(content["classes"]), prompts, Window(float(low), float(high)), axis)


def classes_json(classes: Classes) -> Json:
    """The table of classes."""
    return {
        "shown": [_class_json(shown) for shown in classes.shown],
        "ever": [list(pair) for pair in classes.ever],
        "active": classes.active,
    }


def _read_classes(content: Json) -> Classes:
    shown = tuple(_read_class(one) for one in content["shown"])
    ever = tuple((int(class_id), str(name)) for class_id, name in content["ever"])
    active = int(content["active"])
    if active and active not in {one.id for one in shown}:
        raise ValueError(f"active class {active}")
    return Classes(shown, ever, active)


def _class_json(shown: LabelClass) -> list[Any]:
    return [shown.id, shown.name, list(shown.color), shown.locked]


def _read_class(content: list[Any]) -> LabelClass:
    class_id, name, (red, green, blue), locked = content
    if not 1 <= class_id <= LARGEST_ID:
        raise ValueError(f"class id {class_id}")
    if not all(0.0 <= float(part) <= 1.0 for part in (red, green, blue)):
        raise ValueError(f"colour {red}, {green}, {blue}")
    return LabelClass(int(class_id), str(name), (float(red), float(green), float(blue)), bool(locked))


def _key_json(key: SliceKey) -> list[int]:
    return [key.axis, key.index]


def _read_key(content: list[int]) -> SliceKey:
    axis, index = content
    return SliceKey(int(axis), int(index))


def _prompts_json(prompts: Prompts, pack: Packer) -> Json:
    return {name: None if value is None else pack.put(value) for name, value in sorted(vars(prompts).items())}


def _read_prompts(content: Json, record: Record) -> Prompts:
    arrays = {name: None if placed is None else record.get(placed) for name, placed in content.items()}
    return Prompts(**arrays)  # type: ignore[arg-type]  # checked there


# Changes and marks.


def change_json(change: Change, pack: Packer) -> Json:
    """A change, with what was before and what comes after it."""
    return {
        "label": change.label,
        "voxels": pack.put(np.diff(change.voxels.astype(np.int64), prepend=0)),
        "before": pack.put(change.before),
        "after": pack.put(change.after),
        "fixed_before": pack.put(change.fixed_before),
        "fixed_after": pack.put(change.fixed_after),
        "marks_before": _marks_json(change.marks_before, pack),
        "marks_after": _marks_json(change.marks_after, pack),
        "classes_before": [[i, one and _class_json(one)] for i, one in change.classes_before.items()],
        "classes_after": [[i, one and _class_json(one)] for i, one in change.classes_after.items()],
        "open": change.open,
    }


def read_change(content: Json, record: Record) -> Change:
    """The change; whether it fits a volume is the reader's business."""
    steps = record.get(content["voxels"])
    if steps.dtype != np.int64:
        raise ValueError(f"voxels of type {steps.dtype}")
    return Change(
        str(content["label"]),
        np.cumsum(steps).astype(np.intp),
        record.get(content["before"]),
        record.get(content["after"]),
        record.get(content["fixed_before"]),
        record.get(content["fixed_after"]),
        _read_marks(content["marks_before"], record),
        _read_marks(content["marks_after"], record),
        {int(i): one and _read_class(one) for i, one in content["classes_before"]},
        {int(i): one and _read_class(one) for i, one in content["classes_after"]},
        bool(content["open"]),
    )


def _marks_json(marks: Mapping[SliceKey, SliceMark | None], pack: Packer) -> list[Any]:
    return [[_key_json(key), _mark_json(mark, pack)] for key, mark in marks.items()]


def _read_marks(content: list[Any], record: Record) -> dict[SliceKey, SliceMark | None]:
    return {_read_key(key): _read_mark(mark, record) for key, mark in content}


def _mark_json(mark: SliceMark | None, pack: Packer) -> Json | None:
    if mark is None:
        return None
    draft = mark.draft and _draft_json(mark.draft, pack)
    return {"accepted": mark.accepted, "proposed": mark.proposed, "made_by": mark.made_by, "draft": draft}


def _read_mark(content: Json | None, record: Record) -> SliceMark | None:
    if content is None:
        return None
    draft, made_by = content["draft"], content["made_by"]
    return SliceMark(
        bool(content["accepted"]),
        draft and _read_draft(draft, record),
        bool(content["proposed"]),
        None if made_by is None else int(made_by),
    )


def _draft_json(draft: OpenDraft, pack: Packer) -> Json:
    return {
        "class": draft.class_id,
        "prompts": _prompts_json(draft.prompts, pack),
        "mask": pack.put(draft.mask),
        "base": pack.put(draft.base),
        "labels": pack.put(draft.before.labels),
        "fixed": pack.put(draft.before.fixed),
        "mark": _mark_json(draft.mark_before, pack),
    }


def _read_draft(content: Json, record: Record) -> OpenDraft:
    return OpenDraft(
        int(content["class"]),
        _read_prompts(content["prompts"], record),
        record.get(content["mask"]),
        record.get(content["base"]),
        SlicePixels(record.get(content["labels"]), record.get(content["fixed"])),
        _read_mark(content["mark"], record),
    )


# Everything at once.


def pages_json(pages: Pages, pack: Packer) -> Json:
    """Masks and marks, cropped to the box where there are any, and the undo steps."""
    box = _box(pages.annotation, pages.fixed)
    return {
        "shape": list(pages.annotation.shape),
        "box": [[part.start, part.stop] for part in box],
        "annotation": pack.put(pages.annotation[box]),
        "fixed": pack.put(pages.fixed[box]),
        "marks": _marks_json(pages.marks, pack),
        "done": [change_json(change, pack) for change in pages.done],
        "undone": [change_json(change, pack) for change in pages.undone],
    }


def read_pages(content: Json, record: Record, shape: tuple[int, int, int]) -> Pages:
    """Raises ValueError for those of a volume of another shape."""
    if tuple(content["shape"]) != shape:
        raise ValueError(f"a volume of {content['shape']}")
    annotation, fixed = np.zeros(shape, np.uint16), np.zeros(shape, bool)
    box = tuple(slice(int(start), int(stop)) for start, stop in content["box"])
    annotation[box] = record.get(content["annotation"])
    fixed[box] = record.get(content["fixed"])
    marks = {key: mark for key, mark in _read_marks(content["marks"], record).items() if mark is not None}
    done, undone = (tuple(read_change(one, record) for one in content[name]) for name in ("done", "undone"))
    return Pages(annotation, fixed, marks, done, undone)


def _box(annotation: NDArray[np.uint16], fixed: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box (z, y, x) around all that is not zero."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        places = np.flatnonzero(annotation.any(axis=others) | fixed.any(axis=others))
        box.append(slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0))
    return tuple(box)
