"""Compares the session's masks with a reference while its window is open: loading, measuring, exporting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import Volume

from . import notify
from .comparison_view import ComparisonView
from .connections import Connections
from .posting import Background
from .questions import run_asking

if TYPE_CHECKING:
    from napari_samadapt.session.comparison import Comparison
    from napari_samadapt.session.session import Session

_MASKS = "Label files (*.nii *.nii.gz *.nrrd *.mha *.mhd *.png *.tif *.tiff);;All files (*)"


@dataclass(frozen=True, eq=False)
class Reference:
    """Labels (z, y, x) to compare with, and the names of those that have one."""

    title: str
    labels: NDArray[np.integer[Any]]
    ids: tuple[int, ...]
    names: dict[int, str]


class Comparing:
    """One comparison window of one session. `others` gives napari's Labels layers that are not ours."""

    def __init__(
        self,
        session: Session,
        others: Callable[[], Iterable[Labels]],
        background: Background,
        parent: QWidget,
    ) -> None:
        self._session, self._others, self._background = session, others, background
        self.view = ComparisonView("mm" if session.volume.spatial else "px", parent)
        self._reference: Reference | None = None
        self._matches: dict[int, int] = {}
        self._made: Comparison | None = None
        self._asked = 0
        self._connections = Connections()
        acts = (
            (self.view.file_asked, self._ask_file),
            (self.view.layer_chosen, self._take_layer),
            (self.view.match_chosen, self._set_match),
            (self.view.settings_changed, self._measure),
            (self.view.compare_asked, self._compare_again),
            (self.view.csv_asked, self._ask_csv),
        )
        for signal, act in acts:
            self._connections.add(signal, notify.reported(act))

    def present(self) -> None:
        """Show the window; masks that were opened since can be chosen."""
        self.view.set_layers([layer.name for layer in self._usable()])
        self.view.present()

    def close(self) -> None:
        """Close the window for good."""
        self._asked += 1
        self._connections.close()
        self.view.close()
        self.view.deleteLater()

    def load(self, path: Path) -> None:
        """Read a label file on a worker thread, then compare."""
        volume = self._session.volume
        self.view.set_hint(f"Reading {path.name}…")

        def failed(error: BaseException | None) -> None:
            self.view.set_hint("The reference was not loaded. Choose a label file drawn on this volume.")
            if error is not None:
                notify.report(error)

        run_asking(
            self._background, lambda choices: _read(path, volume, choices), self._take, failed, self.view
        )

    def _take(self, reference: Reference) -> None:
        from napari_samadapt.session.comparison import matching_ids

        self._reference = reference
        names = {shown.id: shown.name for shown in self._session.classes}
        self._matches = matching_ids(names, reference.ids, reference.names)
        self.view.set_source(f"Reference: {reference.title}")
        self._compare_again()

    def _take_layer(self, name: str) -> None:
        layer = next(layer for layer in self._usable() if layer.name == name)
        labels = np.asarray(layer.data).copy().reshape(self._session.volume.shape)
        ids = tuple(int(number) for number in np.unique(labels) if number > 0)
        self._take(Reference(f"layer {name}", labels, ids, {}))

    def _usable(self) -> list[Labels]:
        """The layers on this volume's grid."""
        shape = self._session.volume.shape
        flat = tuple(size for size in shape if size > 1)
        return [layer for layer in self._others() if layer.data.shape in (shape, flat)]

    def _set_match(self, class_id: int, number: int) -> None:
        self._matches[class_id] = number
        self._measure()

    def _compare_again(self) -> None:
        """Classes may have come or gone since."""
        if self._reference is None:
            return
        reference = {number: self._reference.names.get(number, "") for number in self._reference.ids}
        self.view.set_matches(self._session.classes, reference, self._matches)
        self._measure()

    def _measure(self) -> None:
        """Measure on a worker thread; a newer wish makes an older answer worthless."""
        from napari_samadapt.session.comparison import compare

        if self._reference is None:
            return
        session, reference = self._session, self._reference
        names = {shown.id: shown.name for shown in session.classes}
        matches = {class_id: number for class_id, number in self._matches.items() if class_id in names}
        if not any(matches.values()):
            self.view.set_ready(True)
            self.view.set_hint("No class is compared: choose a label of the reference for each in the table.")
            return
        labels, axis, tolerance = session.displayed(), session.axis, self.view.tolerance
        left_out = session.accepted if self.view.only_unseen else frozenset()
        spacing = session.volume.spacing if session.volume.spatial else (1.0, 1.0, 1.0)
        self._asked += 1
        asked = self._asked
        self.view.set_hint("Measuring…")

        def measured(made: Comparison) -> None:
            if asked == self._asked:
                self._show(made)

        def failed(error: BaseException) -> None:
            if asked == self._asked:
                self.view.set_hint("The masks could not be compared.")
                notify.report(error)

        self._background.run(
            lambda: compare(
                labels, reference.labels, spacing, axis, names, matches,
                tolerance_mm=tolerance, left_out=left_out,
            ),
            measured,
            failed,
        )  # fmt: skip

    def _show(self, made: Comparison) -> None:
        self._made = made
        self.view.set_comparison(made, {shown.id: shown.color for shown in self._session.classes})
        self.view.set_ready(True, measured=True)
        count = len(made.left_out)
        left_out = f", {count} accepted slice{'' if count == 1 else 's'} left out" if count else ""
        self.view.set_hint(
            f"Mean Dice {made.mean_dice:.3f}{left_out}. Click in the plot to go to a slice that agrees badly."
        )

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self.view, "Load a reference", "", _MASKS)
        if path:
            self.load(Path(path))

    def _ask_csv(self) -> None:
        if self._made is None:
            return
        path, _ = QFileDialog.getSaveFileName(
            self.view, "Export the comparison", "comparison.csv", "CSV (*.csv)"
        )
        if path:
            target = Path(path)
            saved = self._made.save(target if target.suffix else target.with_suffix(".csv"))
            notify.tell(f"Exported {saved.name}")


def _read(path: Path, volume: Volume, choices: Mapping[str, str]) -> Reference:
    """Runs on a worker thread."""
    from napari_samadapt.imaging.reading import read_labels
    from napari_samadapt.imaging.writing import label_names

    labels, _ = read_labels(path, volume, choices=choices)
    ids = tuple(int(number) for number in np.unique(labels) if number)
    if not ids:
        raise SamAdaptError(f"{path.name} holds no label: choose the file with the reference masks.")
    return Reference(path.name, labels, ids, label_names(path))
