"""The saved adapters that this user has: a folder of the platform, and files saved elsewhere that are remembered."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.saving import put_in_place
from napari_samadapt.learning.adapter_file import AdapterCard, read_card

ADAPTERS_VARIABLE = "NAPARI_SAMADAPT_ADAPTERS"
"""Environment variable that names another folder for saved adapters."""
SUFFIX = ".safetensors"
_ELSEWHERE = "elsewhere.json"
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def adapters_folder() -> Path:
    """Where saved adapters are kept: the platform's folder for data, or the one in NAPARI_SAMADAPT_ADAPTERS."""
    named = os.environ.get(ADAPTERS_VARIABLE)
    return (
        Path(named).expanduser() if named else user_data_path("napari-samadapt", appauthor=False) / "adapters"
    )


@dataclass(frozen=True)
class SavedAdapter:
    """An adapter file and its card; `size` in bytes."""

    path: Path
    card: AdapterCard
    size: int
    ours: bool
    """It lies in the library's folder."""

    @property
    def name(self) -> str:
        """What it is called: the file's name without its suffix."""
        return self.path.stem


class AdapterLibrary:
    """Lists, adds, renames and deletes. Reads and writes small files; what cannot be read is left out of the list."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or adapters_folder()

    def adapters(self) -> tuple[SavedAdapter, ...]:
        """All that are there, by name."""
        ours = sorted(self.folder.glob(f"*{SUFFIX}")) if self.folder.is_dir() else []
        found = [_read(path, ours=True) for path in ours]
        found += [_read(path, ours=False) for path in self._elsewhere()]
        return tuple(
            sorted((one for one in found if one), key=lambda one: (one.name.casefold(), str(one.path)))
        )

    def path_for(self, name: str) -> Path:
        """A file in the folder that does not exist yet, called `name` or, where that is taken, with a number."""
        stem = checked_name(name)
        path, number = self.folder / f"{stem}{SUFFIX}", 2
        while path.exists():
            path, number = self.folder / f"{stem} {number}{SUFFIX}", number + 1
        self._make_folder()
        return path

    def remember(self, path: Path) -> None:
        """Keep an adapter that was saved elsewhere in the list; it stays where it is."""
        path = path.expanduser().resolve()
        if path.parent != self.folder.resolve():
            self._note([*(known for known in self._elsewhere() if known != path), path])

    def add(self, path: Path) -> Path:
        """Copy an adapter file into the folder; SamAdaptError when it is none."""
        read_card(path)
        target = self.path_for(path.stem)
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            raise SamAdaptError(f"{path.name} was not copied ({error.strerror}).") from error
        return target

    def rename(self, adapter: SavedAdapter, name: str) -> Path:
        """Give the file another name, in its own folder; SamAdaptError where that is taken."""
        target = adapter.path.with_name(checked_name(name) + SUFFIX)
        if target == adapter.path:
            return target
        if target.exists():
            raise SamAdaptError(f"There is an adapter {target.stem!r} already: choose another name.")
        try:
            adapter.path.rename(target)
        except OSError as error:
            raise SamAdaptError(f"{adapter.name} was not renamed ({error.strerror}).") from error
        if not adapter.ours:
            self._note([target if known == adapter.path else known for known in self._elsewhere()])
        return target

    def delete(self, adapter: SavedAdapter) -> None:
        """Delete the file of an adapter in the folder; one that lies elsewhere is only forgotten."""
        if not adapter.ours:
            self._note([known for known in self._elsewhere() if known != adapter.path])
            return
        try:
            adapter.path.unlink(missing_ok=True)
        except OSError as error:
            raise SamAdaptError(f"{adapter.name} was not deleted ({error.strerror}).") from error

    def _elsewhere(self) -> list[Path]:
        try:
            known = json.loads((self.folder / _ELSEWHERE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return [Path(path) for path in known if isinstance(path, str)] if isinstance(known, list) else []

    def _note(self, paths: list[Path]) -> None:
        self._make_folder()
        text = json.dumps([str(path) for path in paths if path.is_file()], indent=1)
        try:
            put_in_place(self.folder / _ELSEWHERE, text.encode())
        except OSError as error:
            raise SamAdaptError(f"The list of adapters was not written ({error.strerror}).") from error

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SamAdaptError(
                f"Adapters cannot be kept in {self.folder} ({error.strerror}): name another folder in the "
                f"environment variable {ADAPTERS_VARIABLE}."
            ) from error


def checked_name(name: str) -> str:
    """A name that every file system takes; SamAdaptError for one without letters or with characters of paths."""
    stem = name.strip().removesuffix(SUFFIX).strip(". ")
    if not stem or _NOT_IN_NAMES.search(stem) or len(stem) > 100:
        raise SamAdaptError(f"{name!r} is no name for a file: use letters, digits, spaces and dashes.")
    return stem


def card_lines(card: AdapterCard) -> tuple[tuple[str, str], ...]:
    """What a card says, as pairs of a heading and a text."""
    from napari_samadapt.learning.method_texts import METHOD_TEXTS

    text = METHOD_TEXTS.get(card.config.method)
    options = ", ".join(f"{name} {value}" for name, value in card.config.options.items() if value is not None)
    low, high = card.window
    dice = "not measured" if card.held_out_dice is None else f"{card.held_out_dice:.3f}"
    return (
        ("Method", (text.title if text else card.config.method) + (f" ({options})" if options else "")),
        ("Decoder", card.config.decoder),
        ("Classes", ", ".join(f"{class_id} {name}" for class_id, name in card.classes.items())),
        ("Grey values", f"{low:g} to {high:g}"),
        ("Slices", card.axis),
        ("Dice, held out", dice),
        ("Base model", f"{card.model_type}, {card.input_size} pixels, sha256 {card.base_sha256[:12]}…"),
    )


def _read(path: Path, *, ours: bool) -> SavedAdapter | None:
    try:
        return SavedAdapter(path, read_card(path), path.stat().st_size, ours)
    except (SamAdaptError, OSError):
        return None
