"""Work that comes from elsewhere or goes there: earlier work taken up, masks imported, every act told to a recorder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey

from .classes import LARGEST_ID, ClassTable
from .label_book import AdoptRules
from .labelling import Labelling
from .messages import LabelClass
from .work import Recorder, Work


@dataclass(frozen=True)
class Imported:
    """What an import came to: the slices and classes it brought, and what it left alone."""

    slices: tuple[SliceKey, ...]
    new_classes: tuple[LabelClass, ...]
    kept_slices: int = 0
    kept_voxels: int = 0

    @property
    def told(self) -> str:
        """One sentence or two for the user."""
        text = f"Masks on {len(self.slices)} slices were imported."
        if self.new_classes:
            text += f" New classes: {', '.join(added.name for added in self.new_classes)}."
        if self.kept_slices:
            text += f" {self.kept_slices} accepted slices were left as they are."
        if self.kept_voxels:
            text += f" {self.kept_voxels:,} voxels of locked classes or of other axes' slices were left as they are."
        return text


class Keeping(Labelling):
    """Labelling whose state can be kept and taken up again."""

    window_changed = Signal(Window)
    axis_changed = Signal(int)

    @property
    def work(self) -> Work:
        """A copy of everything the user made here, undo steps included; what the model learned is not in it."""
        return Work(self._book.pages(), self._settings)

    def take_up(self, work: Work) -> None:
        """Go on from earlier work on this volume, in a session where nothing was done yet.

        Prompts that no mask had answered are asked again. SamAdaptError where the shape is another, or something was
        done here.
        """
        if work.pages.annotation.shape != self._volume.shape:
            raise SamAdaptError(
                f"The work is of a volume of {work.pages.annotation.shape} voxels, and this one has "
                f"{self._volume.shape} (z, y, x): open the volume it was made on."
            )
        if self._book.marks or self.can_undo:
            raise SamAdaptError(
                "There is work on this volume already: save it, open the volume anew and try again."
            )
        settings, axis, window = work.settings, self._axis, self._window
        self._classes.take_up(settings.classes)
        self._window, self._axis = settings.window, settings.axis
        self._book.take_up(work.pages)
        self._on_taken_up(tuple(work.pages.marks))
        self.classes_changed.emit()
        if window != self._window:
            self.window_changed.emit(self._window)
        if axis != self._axis:
            self.axis_changed.emit(self._axis)
        self.labels_changed.emit(tuple(work.pages.marks))
        self._ask_again(work)

    def _on_taken_up(self, keys: tuple[SliceKey, ...]) -> None:
        """Earlier work is in place: window, axis and these slices may be others than before."""
        self._on_changed(keys)

    def _ask_again(self, work: Work) -> None:
        """Show the prompts of open drafts, and have those without one answered."""
        active = self._classes.active
        for key, prompts in work.settings.prompts.items():
            mark = self._book.marks.get(key)
            if mark is not None and mark.draft is not None and _same(mark.draft.prompts, prompts):
                self._prompts[key] = prompts
                self.prompts_changed.emit(key)
            elif active and active not in self._classes.locked:
                self.set_prompts(key, prompts)

    def record_to(self, recorder: Recorder | None) -> None:
        """Tell `recorder` every act from now on; None for nobody. It is called on the main thread and must not wait."""
        self._recorder = recorder

    def import_labels(
        self,
        labels: NDArray[Any],
        names: Mapping[int, str] | None = None,
        *,
        overwrite: bool = False,
        label: str = "import of masks",
    ) -> Imported:
        """Adopt masks (z, y, x) of integer ids on this grid as the user's own, in one undo step.

        They are laid over what the user has, where they are not 0; slices of the model become what they say. Ids that
        are new become classes, called as in `names` where there is a name. Accepted slices and locked classes stay as
        they are unless `overwrite`. SamAdaptError for another shape or type, and for ids beyond 65535.
        """
        masks = self._checked(np.asarray(labels))
        found = np.unique(masks[masks > 0]).tolist()
        new = self._new_classes(found, names or {})
        locked = () if overwrite else tuple(self._classes.locked)
        change, kept = self._book.adopt(label, self._axis, masks, AdoptRules(locked, overwrite, new))
        if change is None:
            return Imported((), (), kept.slices, kept.voxels)
        self._classes.change(new)
        for key in change.marks_after:
            self._forget_prompts(key)
        self._on_classes_replaced(new)
        self._changed(change)
        return Imported(tuple(change.marks_after), tuple(new.values()), kept.slices, kept.voxels)

    def _checked(self, labels: NDArray[Any]) -> NDArray[np.uint16]:
        if labels.shape != self._volume.shape:
            raise SamAdaptError(
                f"The masks are {labels.shape} and the image is {self._volume.shape} (z, y, x)."
            )
        if labels.dtype.kind not in "bui":
            raise SamAdaptError(f"Masks are whole numbers; these are {labels.dtype}.")
        lowest, highest = int(labels.min()), int(labels.max())
        if lowest < 0 or highest > LARGEST_ID:
            wrong = lowest if lowest < 0 else highest
            raise SamAdaptError(
                f"The masks hold the id {wrong}, and ids go from 0 (background) to {LARGEST_ID}: number them anew."
            )
        return labels.astype(np.uint16)

    def _new_classes(self, ids: list[int], names: Mapping[int, str]) -> dict[int, LabelClass]:
        """The classes of those ids that have none, as they will be."""
        table = ClassTable({})
        table.take_up(self._classes.state)
        missing = [class_id for class_id in ids if class_id not in table]
        table.ensure(missing, names)
        for class_id in missing:
            table.change({class_id: table.get(class_id)})  # a name that is taken gets the id behind it
        return {class_id: table.get(class_id) for class_id in missing}


def _same(first: Prompts, second: Prompts) -> bool:
    return all(
        other is None if one is None else other is not None and np.array_equal(one, other)
        for one, other in zip(vars(first).values(), vars(second).values(), strict=True)
    )
