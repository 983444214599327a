"""The words of the command line become values; files to write are looked at before work starts."""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.file_kinds import suffix_of
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.questions import QUESTIONS
from napari_samadapt.imaging.volume import SliceKey, Volume, parse_slices
from napari_samadapt.imaging.writing import (
    WRITABLE,
    check_label_file,
    names_beside,
    write_each_label,
    write_labels,
)

Keys = tuple[SliceKey, ...]
_SIGNS = {"+": 1, "-": 0}


@dataclass(frozen=True)
class ModelChoice:
    """A base model by name or file, the device (None: the fastest) and the side of its input (None: its own)."""

    name: str
    device: str | None = None
    input_size: int | None = None


@dataclass(frozen=True)
class MethodChoice:
    """How SAM is adapted and which automatic decoder is trained, by name; `settings` are NAME=VALUE."""

    name: str
    decoder: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class MaskOutput:
    """Where masks go: `each` label into a file of its own beside `path`; `patient`: copied into a DICOM-SEG."""

    path: Path
    each: bool = False
    patient: bool = False

    def check(self, volume: Volume, *inputs: Path) -> None:
        """Raises SamAdaptError unless masks of `volume` can be written there without harm to `inputs`."""
        check_label_target(self.path, *inputs)
        check_label_file(self.path, volume)

    def write(self, labels: NDArray[Any], volume: Volume, names: Mapping[int, str] | None = None) -> None:
        """Write labels (z, y, x) on the grid of `volume`; raises SamAdaptError as `write_labels` does."""
        write = write_each_label if self.each else write_labels
        write(self.path, labels, volume, names, identity=self.patient)


@dataclass(frozen=True)
class AdaptOutputs:
    """The files that `adapt` writes; the adapter and the report only if they are asked for."""

    prediction: MaskOutput
    adapter: Path | None = None
    report: Path | None = None

    def check(self, volume: Volume, *inputs: Path) -> None:
        """Raises SamAdaptError unless all can be written, each to its own place, without harm to `inputs`."""
        self.prediction.check(volume, *inputs)
        check_target(self.adapter, ".safetensors", *inputs)
        check_target(self.report, ".json", *inputs)
        names = names_beside(self.prediction.path)
        check_distinct(self.prediction.path, names, self.adapter, self.report)


def parse_prompts(points: Sequence[str], box: str | None) -> Prompts:
    """Prompts from "X,Y,+" or "X,Y,-" and from "X0,Y0,X1,Y1", in pixels of the slice.

    Raises SamAdaptError for another spelling, or when there is neither a point of the object nor a box.
    """
    if not points and box is None:
        raise SamAdaptError("There is no prompt: give --point X,Y,+ or --box X0,Y0,X1,Y1.")
    coords, labels = [], []
    for point in points:
        *numbers, sign = (part.strip() for part in point.split(","))
        if len(numbers) != 2 or sign not in _SIGNS:
            raise SamAdaptError(f'--point is X,Y,+ or X,Y,-, for example 60,45,+; "{point}" is not.')
        coords.append(_numbers(numbers, "--point", point))
        labels.append(_SIGNS[sign])
    corners = None
    if box is not None:
        corners = _numbers(box.split(","), "--box", box)
        if len(corners) != 4:
            raise SamAdaptError(f'--box is X0,Y0,X1,Y1, for example 20,30,80,90; "{box}" is not.')
    if corners is None and 1 not in labels:
        raise SamAdaptError(
            "There are only background points: give a point of the object (--point X,Y,+) or a --box as well."
        )
    return Prompts(point_coords=coords, point_labels=labels, box=corners)  # type: ignore[arg-type]  # lists will do


def _numbers(parts: Sequence[str], option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in parts]
    except ValueError as error:
        raise SamAdaptError(f'{option} holds something that is no number: "{text}".') from error


def parse_choices(texts: Sequence[str] | None) -> dict[str, str]:
    """Answers to questions of the readers from "QUESTION=ANSWER"; raises SamAdaptError for another spelling."""
    choices = {}
    for text in texts or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or name not in QUESTIONS:
            raise SamAdaptError(
                f'--choose is QUESTION=ANSWER, for example transform=sform; "{text}" is not. '
                f"Questions: {', '.join(QUESTIONS)}."
            )
        choices[name] = value
    return choices


def parse_ids(text: str) -> tuple[int, ...]:
    """Label ids from "1,2,3"; raises SamAdaptError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise SamAdaptError(f'--labels is a list of ids from 1 on, for example 1,2,5; "{text}" is not.')
    return tuple(dict.fromkeys(int(part) for part in parts))


def one_slice(text: str, volume: Volume) -> SliceKey:
    """The one slice that "AXIS:INDEX" names; raises SamAdaptError for none or several."""
    keys = parse_slices(text, volume)
    if len(keys) != 1:
        raise SamAdaptError(f"--slice takes one slice, for example axial:12; {text} names {len(keys)}.")
    return keys[0]


def check_label_target(path: Path, *inputs: Path) -> None:
    """Raises SamAdaptError unless a label file can be made at `path` without harm to `inputs`."""
    if suffix_of(path) not in WRITABLE:
        raise SamAdaptError(f"{path.name} must end in one of {', '.join(WRITABLE)}.")
    _check_place(path, inputs)


def check_target(path: Path | None, suffix: str, *inputs: Path) -> None:
    """Raises SamAdaptError unless a file with this ending can be made at `path`; None is fine."""
    if path is None:
        return
    if path.suffix.lower() != suffix:
        raise SamAdaptError(f"{path.name} must end in {suffix}.")
    _check_place(path, inputs)


def check_distinct(*paths: Path | None) -> None:
    """Raises SamAdaptError when two outputs have the same path."""
    given = [path.expanduser().resolve() for path in paths if path is not None]
    for path in given:
        if given.count(path) > 1:
            raise SamAdaptError(f"{path.name} is named for two outputs: give each its own name.")


def _check_place(path: Path, inputs: Sequence[Path]) -> None:
    path = path.expanduser()
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except OSError as error:  # a name that is too long
        raise SamAdaptError(f"{path} cannot be written ({error.strerror}). Choose another place.") from error
    if not path.parent.is_dir():
        raise SamAdaptError(f"The folder {path.parent} does not exist: make it or choose another.")
    if is_folder:
        raise SamAdaptError(f"{path} is a folder: name a file in it.")
    for existing in inputs:
        if exists and existing.exists() and path.samefile(existing):
            raise SamAdaptError(f"{path.name} is also an input: choose another name for what is written.")
    for place in (path.parent, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise SamAdaptError(f"{path} cannot be written: {place} is read-only. Choose another place.")
    _try_to_write(path)


def _try_to_write(path: Path) -> None:
    """Make and remove a file beside `path`: permissions alone do not tell of full disks or of /proc."""
    trial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise SamAdaptError(f"{path} cannot be written ({error.strerror}). Choose another place.") from error
