"""Which images of a DICOM folder belong together, and which of them the user wants.

Images are together where patient, series, frame of reference, size, pixel size and orientation agree. Several images
of one place (echoes, b-values, times, reconstructions) are told apart by what their headers state; none is dropped.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .dicom_headers import DicomFile, Frame
from .dicom_stack import normal_of, same_directions, same_pixel_size
from .questions import Answers, Choice, Question

_SAME_MM = 0.01  # two slices closer than this are at the same place
_PLANES = ("sagittal", "coronal", "axial")  # by the LPS axis that the slices are stacked along


@dataclass(frozen=True)
class ImageGroup:
    """Frames that may form one volume; `label` says how they differ from others of their series."""

    file: DicomFile  # one of its files
    frames: tuple[Frame, ...]
    label: str = ""


def chosen_group(files: Sequence[DicomFile], name: str, answers: Answers) -> ImageGroup:
    """The frames to open; asks ("series") where the files hold several volumes."""
    groups = [part for group in _alike(files) for part in _one_per_place(group)]
    if len(groups) == 1:
        return groups[0]
    values = _numbered(groups)
    choices = tuple(Choice(value, _described(group)) for value, group in zip(values, groups, strict=True))
    text = f"{name} holds {len(groups)} volumes or pictures: which one is to be opened?"
    return groups[values.index(answers.to(Question("series", text, choices)))]


def _alike(files: Sequence[DicomFile]) -> list[ImageGroup]:
    """Frames of the same series, size and orientation, by the series' numbers; without a place, one file each."""
    by_path = {file.path: file for file in files}
    found: dict[Hashable, list[list[Frame]]] = defaultdict(list)
    for frame in (frame for file in files for frame in file.frames):
        file = by_path[frame.path]
        placed = frame.position is not None and frame.orientation is not None
        parts = found[
            file.person, file.series, file.space, file.photometric, file.samples, frame.rows, frame.columns,
            None if placed else frame.path,
        ]  # fmt: skip
        fitting = (part for part in parts if not placed or _same_plane(part[0], frame))
        if (part := next(fitting, None)) is None:
            parts.append([frame])
        else:
            part.append(frame)
    groups = [ImageGroup(by_path[part[0].path], tuple(part)) for parts in found.values() for part in parts]
    return sorted(groups, key=lambda group: _as_number(group.file.series_number))


def _same_plane(first: Frame, second: Frame) -> bool:
    return same_pixel_size(first, second) and same_directions(first, second)


def _one_per_place(group: ImageGroup) -> list[ImageGroup]:
    """The group, or its parts with one image at each place."""
    most = max(Counter(_places(group.frames)).values())
    if most == 1:
        return [group]
    stated = [dict(frame.differences) for frame in group.frames]
    names = list(dict.fromkeys(name for known in stated for name in known))
    varying = [name for name in names if len({known.get(name) for known in stated}) > 1]
    for chosen in [*combinations(varying, 1), *combinations(varying, 2)]:
        labels = [", ".join(filter(None, map(known.get, chosen))) for known in stated]
        parts = _split(group, labels)
        if len(parts) <= 2 * most and all(max(Counter(_places(part.frames)).values()) == 1 for part in parts):
            return parts
    return _split(group, _ranks(group.frames, most))


def _places(frames: Sequence[Frame]) -> list[int]:
    """A number for the place of each frame along the normal; the same where two coincide. None stated: all differ."""
    if frames[0].position is None or frames[0].orientation is None:
        return list(range(len(frames)))
    along = np.array([frame.position for frame in frames]) @ normal_of(frames[0])
    order = np.argsort(along, kind="stable")
    numbers = np.concatenate([[0], np.cumsum(np.diff(along[order]) >= _SAME_MM)])
    places: NDArray[np.int64] = np.empty(len(frames), np.int64)
    places[order] = numbers
    return [int(place) for place in places]


def _ranks(frames: Sequence[Frame], most: int) -> list[str]:
    """For frames that nothing tells apart: which one of its place each is, by the numbers of the images."""
    places, met = _places(frames), Counter[int]()
    labels = [""] * len(frames)
    for number in sorted(
        range(len(frames)), key=lambda n: (frames[n].order, frames[n].path, frames[n].index)
    ):
        met[places[number]] += 1
        labels[number] = f"image {met[places[number]]} of up to {most} at each place"
    return labels


def _split(group: ImageGroup, labels: Sequence[str]) -> list[ImageGroup]:
    """One group for each label, in the order of the images' numbers."""
    parts: dict[str, list[Frame]] = defaultdict(list)
    for frame, label in zip(group.frames, labels, strict=True):
        parts[label].append(frame)
    first: Callable[[list[Frame]], tuple[int, int]] = lambda part: min((f.order, f.index) for f in part)  # noqa: E731
    return [
        replace(group, frames=tuple(part), label=label)
        for label, part in sorted(parts.items(), key=lambda item: first(item[1]))
    ]


def _numbered(groups: Sequence[ImageGroup]) -> list[str]:
    """The number of each group's series, with a second number where several have the same."""
    shared, met = Counter(group.file.series_number for group in groups), Counter[str]()
    values = []
    for number in (group.file.series_number for group in groups):
        met[number] += 1
        values.append(number if shared[number] == 1 else f"{number}.{met[number]}")
    return values


def _described(group: ImageGroup) -> str:
    """What a group is, in numbers; names that people gave are left out, as they may name a patient."""
    frame, count = group.frames[0], len(group.frames)
    parts = [
        group.file.modality or "image",
        f"{count} image{'s' if count > 1 else ''} of {frame.columns} x {frame.rows}",
    ]
    if frame.spacing is not None:
        parts.append(f"pixels of {frame.spacing[1]:.3g} x {frame.spacing[0]:.3g} mm")
    if frame.position is None or frame.orientation is None:
        parts.append(f"without a position, {group.file.path.name}")
    else:
        normal = normal_of(frame)
        along = np.sort(np.array([f.position for f in group.frames]) @ normal)
        if count > 1:
            parts.append(f"{np.median(np.diff(along)):.3g} mm apart")
        parts.append(_PLANES[int(np.abs(normal).argmax())])
    return ", ".join([*parts, *([group.label] if group.label else [])])


def _as_number(text: str) -> float:
    return float(text) if text.isdecimal() else 0.0
