"""What the user does on the canvas, in the panels and by key, told to the Session: the acts of every section."""

from __future__ import annotations

from . import notify
from .class_acts import ClassActs
from .keys import KeyBindings
from .learning_acts import LearningActs
from .prompt_acts import PromptActs
from .slice_acts import SliceActs
from .volume_acts import VolumeActs
from .workplace import Workplace


class UserActs:
    """Listens to the user for one session. An error of an act is shown, not raised."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        prompts = PromptActs(place)
        slices = SliceActs(place)
        self._closing = (prompts, VolumeActs(place))
        ClassActs(place, prompts.keep_draft)
        LearningActs(place)
        layers = place.layers
        self._keys = KeyBindings(
            (place.viewer, layers.annotation, layers.prediction, layers.prompts),
            {name: notify.reported(act) for name, act in (prompts.keys | slices.keys).items()},
        )

    def close(self) -> None:
        """Stop listening."""
        for acts in self._closing:
            acts.close()
        self._place.connections.close()
        self._keys.close()
