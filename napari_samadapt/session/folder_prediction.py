"""An adapter on a folder of volumes: one mask file for each, the rest goes on where one cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.file_kinds import ENDINGS, holds_dicom, named_dicom, suffix_of
from napari_samadapt.imaging.questions import Question, QuestionError
from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.imaging.volume import Volume
from napari_samadapt.imaging.writing import write_labels
from napari_samadapt.learning.adapter_file import AdapterCard, load_adapter, read_card
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.semantic import SemanticSam

from .batch import chosen_names, predict_volume, window_for
from .predictor import in_plain_words

_MASKS = "_masks"
_OUT = ".nii.gz"


class Stopped(Exception):
    """Raised inside the work when the user stopped it."""


@dataclass(frozen=True)
class FolderProgress:
    """Where the work is: `name` is volume number `volume` of `volumes`, from 1 on; `slice` of `slices` are done."""

    name: str
    volume: int
    volumes: int
    slice: int
    slices: int

    @property
    def fraction(self) -> float:
        """The part of all volumes that is done, in [0, 1]."""
        inside = self.slice / self.slices if self.slices else 0.0
        return (self.volume - 1 + inside) / self.volumes if self.volumes else 1.0


@dataclass(frozen=True)
class Undecided:
    """The volume `name` can be read in several ways, and nobody said which."""

    name: str
    question: Question

    @property
    def sentence(self) -> str:
        """What is open, and how to go on."""
        return f"{self.question.text} Open {self.name} by itself, or answer for the whole folder."


@dataclass(frozen=True)
class FolderOutcome:
    """The mask files written, those left alone because they were there, and sentences on volumes that failed."""

    written: tuple[Path, ...]
    there: tuple[Path, ...]
    failures: tuple[str, ...]
    undecided: tuple[Undecided, ...]
    stopped: bool


def volumes_in(folder: Path) -> tuple[Path, ...]:
    """The volumes of a folder, by name: image files that are no masks of ours, and folders with DICOM files.

    DICOM files that lie in the folder itself are one volume, the folder. SamAdaptError where there is none.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise SamAdaptError(f"{folder} cannot be read ({error.strerror}).") from error
    found = [entry for entry in entries if entry.is_file() and _is_image(entry)]
    found += [entry for entry in entries if entry.is_dir() and _may_hold_dicom(entry)]
    if any(entry.is_file() and named_dicom(entry) for entry in entries) or _may_hold_dicom(folder):
        found.append(folder)
    if not found:
        raise SamAdaptError(
            f"There is no volume in {folder.name}: choose a folder with NIfTI, NRRD or DICOM."
        )
    return tuple(found)


def _is_image(path: Path) -> bool:
    ending = suffix_of(path)
    stem = path.name[: len(path.name) - len(ending)]
    return (
        ENDINGS.get(ending, "dicom") != "dicom"
        and not stem.endswith(_MASKS)
        and not path.name.startswith(".")
    )


def _may_hold_dicom(folder: Path) -> bool:
    """Also of a folder that cannot be looked into, so that reading it tells why."""
    try:
        return holds_dicom(folder)
    except OSError:
        return True


def mask_path(volume: Path, out: Path) -> Path:
    """Where the masks of a volume go."""
    stem = volume.name[: -len(suffix_of(volume))] if volume.is_file() else volume.name
    return out / f"{stem}{_MASKS}{_OUT}"


def predict_folder(
    load_base: Callable[[], PromptableSam],
    adapter: Path,
    folder: Path,
    out: Path,
    progressed: Callable[[FolderProgress], None] = lambda _progress: None,
    may_go_on: Callable[[], bool] = lambda: True,
    choices: Mapping[str, str] | None = None,
) -> FolderOutcome:
    """Predict every volume of `folder` and write its masks into `out`. Runs on a worker thread.

    Files that are there already are left alone. The volume at hand is not written when `may_go_on` says no, which is
    asked after every slice. `choices` answer what any of the volumes leaves open, {name of the question: value}; where
    they do not, that volume is `undecided`. Raises SamAdaptError when the adapter does not fit or `out` cannot be made.
    """
    card = read_card(adapter)
    volumes = volumes_in(folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SamAdaptError(f"{out} cannot be made ({error.strerror}): choose another folder.") from error
    model, _ = load_adapter(adapter, load_base())
    written: list[Path] = []
    there: list[Path] = []
    failures: list[str] = []
    undecided: list[Undecided] = []

    def outcome(*, stopped: bool) -> FolderOutcome:
        return FolderOutcome(tuple(written), tuple(there), tuple(failures), tuple(undecided), stopped)

    for number, path in enumerate(volumes, 1):
        target = mask_path(path, out)
        if target in written:
            failures.append(
                f"{path.name} was left out: {target.name} holds the masks of another file of that name."
            )
            continue
        if target.exists():
            there.append(target)
            continue

        def after_slice(done: int, count: int, name: str = path.name, number: int = number) -> None:
            progressed(FolderProgress(name, number, len(volumes), done, count))
            if not may_go_on():
                raise Stopped

        try:
            after_slice(0, 0)
            volume = read_volume(path, choices=choices)
            written.append(_predict(model, card, volume, target, after_slice))
        except Stopped:
            return outcome(stopped=True)
        except QuestionError as error:
            undecided.append(Undecided(path.name, error.question))
        except Exception as error:  # noqa: BLE001  # one bad file must not end a night's work
            failures.append(in_plain_words(path.name, error))
    return outcome(stopped=False)


def _predict(
    model: SemanticSam,
    card: AdapterCard,
    volume: Volume,
    target: Path,
    after_slice: Callable[[int, int], None],
) -> Path:
    axis = volume.anatomical_axis(card.axis)
    labels = predict_volume(model, volume, axis, window_for(volume, card), after_slice)
    return write_labels(target, labels, volume, chosen_names(card))
