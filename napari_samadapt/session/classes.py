"""The named classes: stable ids that are never given twice, colours, locks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from napari_samadapt.imaging.errors import SamAdaptError

from .messages import LabelClass

LARGEST_ID = 65535  # the annotation is uint16
# Told apart by the colour-blind: Okabe and Ito (2008) without black, then the "muted" scheme of Tol (2021).
_PALETTE = (
    "e69f00", "56b4e9", "009e73", "f0e442", "cc79a7", "d55e00", "0072b2",
    "88ccee", "cc6677", "ddcc77", "44aa99", "aa4499", "999933", "882255", "117733", "332288",
)  # fmt: skip


Color = tuple[float, float, float]
"""RGB in [0, 1]."""


def safe_colors() -> tuple[Color, ...]:
    """Colours that the colour-blind tell apart, in the order in which classes get them."""
    return tuple(class_color(place) for place in range(1, len(_PALETTE) + 1))


def class_color(class_id: int) -> Color:
    """The colour of a class for which none was chosen: always the same for an id."""
    text = _PALETTE[(class_id - 1) % len(_PALETTE)]
    red, green, blue = (int(text[place : place + 2], 16) / 255 for place in (0, 2, 4))
    return red, green, blue


def first_name(class_id: int) -> str:
    """What a class is called until somebody names it."""
    return f"structure {class_id}"


@dataclass(frozen=True)
class Classes:
    """A class table at one moment: the classes by id, (id, name) of all there ever were, and the active id."""

    shown: tuple[LabelClass, ...]
    ever: tuple[tuple[int, str], ...]
    active: int

    @property
    def edited(self) -> bool:
        """True where it is not the table of one class that a session begins with."""
        return [(one.id, one.name, one.color) for one in self.shown] != [(1, first_name(1), class_color(1))]


class ClassTable:
    """Classes in the order of their ids. A removed class keeps its id and its name in case undo brings it back."""

    def __init__(self, classes: Mapping[int, str] | Sequence[str] | None = None) -> None:
        if classes is None:
            classes = {1: first_name(1)}
        named = classes if isinstance(classes, Mapping) else dict(enumerate(classes, start=1))
        self._shown: dict[int, LabelClass] = {}
        self._ever: dict[int, str] = {}
        for class_id, name in named.items():
            self._put(class_id, name)
        self.active = min(self._shown, default=0)

    @property
    def state(self) -> Classes:
        """The table as it is now."""
        return Classes(self.all, tuple(sorted(self._ever.items())), self.active)

    def take_up(self, state: Classes) -> None:
        """Become that table."""
        self._shown = {shown.id: shown for shown in state.shown}
        self._ever = dict(state.ever)
        self.active = state.active

    @property
    def all(self) -> tuple[LabelClass, ...]:
        """The classes, by id."""
        return tuple(self._shown[class_id] for class_id in sorted(self._shown))

    @property
    def ids(self) -> tuple[int, ...]:
        """Their ids, ascending."""
        return tuple(sorted(self._shown))

    @property
    def names(self) -> dict[int, str]:
        """{id: name}."""
        return {shown.id: shown.name for shown in self.all}

    @property
    def locked(self) -> frozenset[int]:
        """Ids whose voxels drafts leave alone."""
        return frozenset(shown.id for shown in self.all if shown.locked)

    def __contains__(self, class_id: int) -> bool:
        return class_id in self._shown

    def get(self, class_id: int) -> LabelClass:
        """The class; SamAdaptError where there is none."""
        if class_id not in self._shown:
            raise SamAdaptError(f"There is no class {class_id}: add it or choose one of {list(self.ids)}.")
        return self._shown[class_id]

    def add(self, name: str) -> LabelClass:
        """A new class with an id that was never used; it becomes the active one."""
        self._check_name(name, 0)
        class_id = max(self._ever, default=0) + 1
        if class_id > LARGEST_ID:
            raise SamAdaptError(f"No id above {LARGEST_ID} can be stored: rename a class instead.")
        added = self._put(class_id, name.strip())
        self.active = class_id
        return added

    def ensure(self, ids: Iterable[int], names: Mapping[int, str] | None = None) -> bool:
        """Add the classes of these ids that are not there, under their earlier name; True if there were any."""
        missing = sorted({int(class_id) for class_id in ids} - set(self._shown) - {0})
        for class_id in missing:
            name = (names or {}).get(class_id) or self._ever.get(class_id) or first_name(class_id)
            self._put(class_id, name)
        if missing and not self.active:
            self.active = missing[0]
        return bool(missing)

    def adopt(self, names: Mapping[int, str]) -> dict[int, str]:
        """Give classes that still have their first name these names; returns the names that were not taken."""
        refused = {}
        for class_id, name in names.items():
            current = self.names.get(class_id)
            if current is None or current == name:
                continue
            if current == first_name(class_id) and name not in self.names.values():
                self.rename(class_id, name)
            elif name != first_name(class_id):
                refused[class_id] = name
        return refused

    def rename(self, class_id: int, name: str) -> None:
        """Give a class another name; two classes may not share one."""
        self._check_name(name, class_id)
        self._shown[class_id] = replace(self.get(class_id), name=name.strip())
        self._ever[class_id] = name.strip()

    def recolor(self, class_id: int, color: Color) -> None:
        """Give a class another colour."""
        if not all(0.0 <= part <= 1.0 for part in color):
            raise SamAdaptError(f"{color} is no colour: red, green and blue go from 0 to 1.")
        self._shown[class_id] = replace(self.get(class_id), color=color)

    def set_locked(self, class_id: int, locked: bool) -> None:
        """Lock or unlock a class."""
        self._shown[class_id] = replace(self.get(class_id), locked=locked)

    def remove(self, class_id: int) -> None:
        """Take a class out; its id is not used again."""
        del self._shown[self.get(class_id).id]
        if self.active == class_id:
            self.active = min(self._shown, default=0)

    def change(self, classes: Mapping[int, LabelClass | None]) -> None:
        """Undo or redo: these come back as they were, those that are None go.

        A name that another class has got meanwhile is followed by the id.
        """
        for class_id, wanted in classes.items():
            if wanted is None and class_id in self._shown:
                self.remove(class_id)
            elif wanted is not None:
                taken = any(other.name == wanted.name and other.id != class_id for other in self.all)
                self._shown[class_id] = replace(wanted, name=f"{wanted.name} {class_id}") if taken else wanted
                self._ever[class_id] = self._shown[class_id].name
                self.active = self.active or class_id

    def select(self, class_id: int) -> None:
        """Make a class the one that prompts ask for."""
        self.active = self.get(class_id).id

    def _put(self, class_id: int, name: str) -> LabelClass:
        if not 1 <= class_id <= LARGEST_ID:
            raise SamAdaptError(f"Class id {class_id} does not fit: use ids from 1 to {LARGEST_ID}.")
        self._shown[class_id] = LabelClass(class_id, name, class_color(class_id))
        self._ever[class_id] = name
        return self._shown[class_id]

    def _check_name(self, name: str, class_id: int) -> None:
        if not name.strip():
            raise SamAdaptError("A class needs a name: type one, for example liver.")
        if any(shown.name == name.strip() and shown.id != class_id for shown in self.all):
            raise SamAdaptError(f"There is already a class {name.strip()!r}: choose another name.")
