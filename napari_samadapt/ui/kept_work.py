"""The user's work on a volume, carried from one session to the next when the model is changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey

if TYPE_CHECKING:
    from napari_samadapt.session.messages import LabelClass, LearningPolicy
    from napari_samadapt.session.session import Session


@dataclass(frozen=True, eq=False)
class KeptWork:
    """Masks (z, y, x), classes and settings of a session; what was learned is not in it."""

    annotation: NDArray[np.uint16]
    classes: tuple[LabelClass, ...]
    active_class: int
    accepted: frozenset[SliceKey]
    axis: int
    window: Window
    policy: LearningPolicy

    @classmethod
    def of(cls, session: Session) -> KeptWork:
        """A copy of what the user did in `session`."""
        return cls(
            session.annotation.copy(),
            session.classes,
            session.active_class,
            session.accepted,
            session.axis,
            session.window,
            session.policy,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What the next session is made with, as keyword arguments."""
        return {
            "axis": self.axis,
            "window": self.window,
            "policy": self.policy,
            "classes": {shown.id: shown.name for shown in self.classes},
        }

    def give_to(self, session: Session) -> None:
        """Put the masks into a new session made with `settings`; accepting them again starts no episode."""
        session.set_policy(replace(self.policy, enabled=False))
        painted = np.nonzero(self.annotation)
        if painted[0].size:
            z, y, x = painted
            values = self.annotation[painted]
            session.annotation[painted] = values
            session.record_edit((z, y, x), np.zeros_like(values), values)
        for key in sorted(self.accepted):
            if key.axis == self.axis:
                session.accept(key)
        session.set_policy(self.policy)
        for shown in self.classes:
            if shown.locked:
                session.set_locked(shown.id, True)
        if self.active_class:
            session.select_class(self.active_class)
