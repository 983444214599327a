"""Journals and saved sessions read for the window, on worker threads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import Volume

if TYPE_CHECKING:
    from napari_samadapt.session.journal import Case
    from napari_samadapt.session.journal_files import Recovered, Unfinished
    from napari_samadapt.session.session_folder import SavedSession


@dataclass(frozen=True, eq=False)
class Offer:
    """Unfinished work and what it came to; `volume` is its image where it could be read."""

    journal: Unfinished
    recovered: Recovered
    volume: Volume | None


def look(volume: Volume, wanted: Callable[[], bool]) -> tuple[Case, list[Unfinished]]:
    """The case of a volume, and the work on it that is not skipped."""
    from napari_samadapt.session.journal import Case
    from napari_samadapt.session.journal_files import unfinished

    case = Case(volume)
    if not wanted():
        case.release()
    found = unfinished(case.header.case, case.folder, locked_too=True) if case.ours else []
    return case, [one for one in found if not one.skipped]


def first_offer(skipped: bool) -> Offer | None:
    """The newest unfinished work whose image is there. Old journals are deleted first."""
    from napari_samadapt.session.journal_files import purge, unfinished

    purge()
    for journal in unfinished():
        source = journal.header.source
        if (journal.skipped and not skipped) or source is None or not source.exists():
            continue
        with suppress(SamAdaptError):
            return read_offer(journal, None)
    return None


def read_offer(journal: Unfinished, volume: Volume | None) -> Offer:
    """An empty journal is deleted, which is told by SamAdaptError."""
    from napari_samadapt.imaging.reading import read_volume
    from napari_samadapt.session.journal_files import recover

    recovered = recover(journal.path)
    if recovered.empty:
        journal.delete()
        raise SamAdaptError("There is nothing to recover.")
    if volume is None and journal.header.source is not None:
        with suppress(SamAdaptError):
            volume = read_volume(journal.header.source, choices=dict(journal.header.choices))
    return Offer(journal, recovered, volume)


def read_saved(folder: Path) -> tuple[SavedSession, Volume]:
    """A saved session and its image."""
    from napari_samadapt.imaging.reading import read_volume
    from napari_samadapt.session.session_folder import read_session, source_of

    saved = read_session(folder)
    return saved, read_volume(source_of(saved.header), choices=dict(saved.header.choices))
