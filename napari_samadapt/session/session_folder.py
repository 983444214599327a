"""A session as a folder, to be gone on with later: the masks for other programs, and all that this one needs.

`masks.nii.gz` with `masks.json` is what was displayed, as an export gives it. `session.json` says which image, model
and policy; it holds the path of the image, and that is all it says of where the image came from. `work.records` holds
masks, drafts, prompts, accepted slices, classes and undo steps; from it, not from the masks, the session goes on.
`adapter.safetensors` is the adapter in use, where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.saving import new_file, part_beside, plain_reason, removed_at_end, sync_folder
from napari_samadapt.imaging.volume import Volume
from napari_samadapt.imaging.writing import write_labels
from napari_samadapt.learning.adapter_file import AdapterCard, save_adapter
from napari_samadapt.learning.adapters import AdapterState

from .journal_files import Header
from .messages import LearningPolicy, Post
from .records import read_records
from .replay import UNREADABLE, Dictation, Replay
from .work import Work

if TYPE_CHECKING:
    from napari_samadapt.learning.promptable_sam import PromptableSam

    from .session import Session

FORMAT = "napari-samadapt session 1"
SESSION, WORK, MASKS, ADAPTER = "session.json", "work.records", "masks.nii.gz", "adapter.safetensors"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A session at one moment: copies, so that it can be written on any thread while the user goes on."""

    volume: Volume
    displayed: NDArray[np.uint16]
    work: Work
    policy: LearningPolicy
    model: str
    base_sha256: str
    adapter: tuple[AdapterState, AdapterCard] | None

    def write(self, folder: Path) -> Path:
        """Make the folder, or renew the session in it. SamAdaptError, with the old files whole, where it cannot be."""
        _check_target(folder)
        with plain_reason(folder):
            folder.mkdir(exist_ok=True)
        names = {shown.id: shown.name for shown in self.work.settings.classes.shown}
        write_labels(folder / MASKS, self.displayed, self.volume, names)
        _replace(folder / WORK, Dictation().start(self.work))
        if self.adapter is not None:
            save_adapter(folder / ADAPTER, *self.adapter)
        text = json.dumps(self._description(), indent=1)
        _replace(folder / SESSION, text.encode())
        if self.adapter is None:
            with plain_reason(folder):
                (folder / ADAPTER).unlink(missing_ok=True)
        return folder

    def _description(self) -> dict[str, Any]:
        accepted = sorted(key for key, mark in self.work.pages.marks.items() if mark.accepted)
        return {
            "format": FORMAT,
            "image": Header.of(self.volume).json(),
            "model": self.model,
            "base_sha256": self.base_sha256,
            "policy": asdict(self.policy),
            "accepted": [[key.axis, key.index] for key in accepted],
            "adapter": self.adapter is not None,
        }


@dataclass(frozen=True, eq=False)
class SavedSession:
    """What a session's folder holds; `adapter` is the file of its adapter, None for the plain model."""

    folder: Path
    header: Header
    work: Work
    policy: LearningPolicy
    model: str
    base_sha256: str
    adapter: Path | None

    def check(self, volume: Volume) -> None:
        """SamAdaptError where this is not the image that the session is of."""
        if Header.of(volume).case != self.header.case:
            raise SamAdaptError(
                f"The session in {self.folder.name} belongs to another image: its voxels or their place differ. "
                "Open the image it was made on."
            )

    def go_on(self, session: Session) -> Future[None]:
        """Take the work up in a new session on the image; the future ends when the adapter predicts, if there is one.

        An adapter of another base model is told by `failed`; the work is there without it.
        """
        session.take_up(self.work)
        session.set_policy(self.policy)
        if self.adapter is not None:
            return session.apply_adapter(self.adapter)
        done = Future[None]()
        done.set_result(None)
        return done


def read_session(folder: Path) -> SavedSession:
    """Read a session's folder; nothing in it is run. SamAdaptError where it is none, or damaged."""
    try:
        described = json.loads((folder / SESSION).read_text(encoding="utf-8"))
    except OSError as error:
        raise SamAdaptError(f"{folder.name} holds no saved session: choose the folder of one.") from error
    except ValueError as error:
        raise SamAdaptError(f"The session in {folder.name} is damaged: {SESSION} cannot be read.") from error
    try:
        if described["format"] != FORMAT:
            raise ValueError("another format")
        header = Header.from_json(described["image"])
        policy = LearningPolicy(**described["policy"])
        model, base = str(described["model"]), str(described["base_sha256"])
        work = _read_work(folder / WORK, header.shape)
    except (OSError, *UNREADABLE) as error:
        raise SamAdaptError(f"The session in {folder.name} is damaged or of another version.") from error
    adapter = folder / ADAPTER if described.get("adapter") else None
    return SavedSession(folder, header, work, policy, model, base, adapter)


def open_session(
    folder: Path,
    *,
    post: Post,
    volume: Volume | None = None,
    sam: PromptableSam | None = None,
    load: Callable[[str], PromptableSam] | None = None,
) -> Session:
    """Go on with a saved session, without a window. The image and the model are those it was made with.

    `volume` where the image has moved, `sam` for another model, `load` to get the model by its name in another way
    than `load_sam`. Raises SamAdaptError where one of them is not there or does not fit.
    """
    from napari_samadapt.imaging.reading import read_volume
    from napari_samadapt.learning.sam import best_device, load_sam

    from .session import Session

    saved = read_session(folder)
    if volume is None:
        volume = read_volume(source_of(saved.header), choices=dict(saved.header.choices))
    saved.check(volume)
    load = load or (lambda name: load_sam(name, device=best_device()))
    session = Session(volume, sam or load(saved.model), post=post)
    saved.go_on(session)
    return session


def source_of(header: Header) -> Path:
    """Where the image of a journal or a session was. SamAdaptError where it was no file, or is there no more."""
    if header.source is None:
        raise SamAdaptError("The image of this session was no file: open it first, then the session.")
    if not header.source.exists():
        raise SamAdaptError(
            f"The image {header.source} is not there any more: open it where it is now first."
        )
    return header.source


def _read_work(path: Path, shape: tuple[int, int, int]) -> Work:
    replay = Replay(shape)
    with path.open("rb") as file:
        for record, _ in read_records(file):
            replay.take(record)
    return replay.work


def _check_target(folder: Path) -> None:
    """A new or empty folder, or one that holds a session."""
    if folder.exists() and not folder.is_dir():
        raise SamAdaptError(f"{folder.name} is a file: choose another name for the session's folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / SESSION).is_file():
        raise SamAdaptError(f"{folder.name} holds other things than a session: choose a new folder.")
    if not folder.parent.is_dir():
        raise SamAdaptError(f"The folder {folder.parent} does not exist: make it or choose another.")


def _replace(path: Path, content: bytes) -> None:
    part = part_beside(path)
    with plain_reason(path), removed_at_end(part):
        with new_file(part) as file:
            file.write(content)
        part.replace(path)
        sync_folder(path.parent)
