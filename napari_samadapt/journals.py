"""The command that lists the journals of unfinished work, and deletes them."""

import time

from napari_samadapt.console import tell
from napari_samadapt.session.journal_files import KEPT_DAYS, purge, unfinished
from napari_samadapt.session.private_files import journals_folder


def print_journals(*, delete_all: bool) -> None:
    """One line for each journal that no window is writing; `delete_all` deletes them for good instead."""
    folder = journals_folder()
    if delete_all:
        tell(f"{purge(0)} journals were deleted from {folder}.")
        return
    found = unfinished()
    for one in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.ended))
        state = "skipped" if one.skipped else "offered at the next start"
        tell(f"{one.header.name}: until {when}, {one.path.stat().st_size / 1e6:.1f} MB, {state}")
    tell(
        f"{len(found)} journals of unfinished work in {folder}. "
        f"They are deleted after {KEPT_DAYS} days, or with --delete-all."
    )
